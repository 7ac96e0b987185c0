"""A checkpoint of the authors' code becomes a finished run, or is refused with nothing written."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch

from benchmark.errors import UserError
from benchmark.evaluation.scores import load_scores
from benchmark.importing.checkpoint import import_checkpoint, read_checkpoint
from benchmark.importing.model import ANATOMY, WEIGHTS, read_model, write_model
from benchmark.measure.finished import load_model
from methods.official import from_official
from methods.official_config import describe
from results.store.folder import Store, StoreError
from tests.conftest import Command
from tests.methods.test_official import DEIT, SWIN, VIT, checkpoint


def files(folder: Path, config: dict[str, object], suffix: str = ".bin") -> tuple[Path, Path]:
    official, _ = checkpoint(config)
    file, described = folder / f"pytorch_model{suffix}", folder / "config.json"
    torch.save(official, file)
    described.write_text(json.dumps(config))
    return file, described


@pytest.mark.parametrize("config", [VIT, DEIT], ids=["vit", "deit"])
@pytest.mark.slow
def test_a_checkpoint_becomes_a_run_that_reports(
    tmp_path: Path, benchmark_command: Command, config: dict[str, object]
) -> None:
    file, described = files(tmp_path, config)
    out = tmp_path / "imported"
    arguments = ("import-checkpoint", file, "--config", described, "--out", out)
    first = benchmark_command(*arguments)
    assert first.returncode == 0, first.stderr
    assert "--dataset" in first.stdout
    done = benchmark_command(*arguments, "--dataset", "fashion-mnist-mini")
    assert done.returncode == 0, done.stderr
    store = Store(out)
    (run_id,) = store.run_ids()
    record = store.record(run_id)
    assert record.label == "imported(highway_type=LGViT)"
    assert record.method.options["drops_are_against"] == "the checkpoint's own final classifier"
    assert record.data is not None
    assert record.data.sizes["val"] == record.data.sizes["test"] == 2000
    fixed = {point.target for point in record.points if point.kind == "fixed"}
    assert fixed == {0.8, 0.9, 0.99}
    # The scores are the logits of the authors' model.
    _, expected = checkpoint(config)
    (stage,) = store.stages("scores")
    scores = load_scores(store.artifact(stage, "test.safetensors"))
    assert scores.logits.shape == (9, 2000, 10)
    again = load_model(store, record, torch.device("cpu"))
    images = torch.randn(3, 1, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(again(images), expected(images))
    reported = benchmark_command("report", "--results", out, "--out", tmp_path / "report")
    assert reported.returncode == 0, reported.stderr
    assert (tmp_path / "report" / "paper.pdf").is_file()


def test_missing_classes_are_an_error_before_files_are_written(tmp_path: Path, benchmark_command: Command) -> None:
    file, described = files(tmp_path, SWIN | {"id2label": {"0": "a", "1": "b"}})
    done = benchmark_command(
        "import-checkpoint", file, "--config", described, "--out", tmp_path / "out", "--dataset", "fashion-mnist-mini"
    )
    assert done.returncode == 2
    assert all(part in done.stderr for part in (str(file), "2 classes", "fashion-mnist-mini", "10"))
    assert not (tmp_path / "out").exists()


def test_wrong_keys_and_wrong_files_are_named(tmp_path: Path, benchmark_command: Command) -> None:
    file, described = files(tmp_path, VIT)
    tensors = torch.load(file, weights_only=True)
    tensors["deit.encoder.highway.0.extra"] = tensors.pop("deit.layernorm.weight")
    torch.save(tensors, file)
    done = benchmark_command("import-checkpoint", file, "--config", described, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "deit.layernorm.weight" in done.stderr
    assert "deit.encoder.highway.0.extra" in done.stderr
    assert "Traceback" not in done.stderr

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("pwned",))

    file.write_bytes(pickle.dumps(Evil()))
    refused = benchmark_command("import-checkpoint", file, "--config", described, "--out", tmp_path / "out")
    assert refused.returncode == 2
    assert str(file) in refused.stderr
    assert "pwned" not in refused.stdout + refused.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"weights", b"\x80", {1: torch.zeros(2)}, {"a": 1}, {"a": {"b": torch.zeros(2)}}, {}, [torch.zeros(2)],
     {"a": torch.tensor([1.0, float("nan")])}, {"a": torch.tensor(float("-inf"))},
     {"a": torch.eye(2).to_sparse()}, {"a": torch.zeros(2, device="meta")}, {"a": torch.zeros(2, dtype=torch.int8)},
     {"a": torch.zeros(2, dtype=torch.complex64)}, {"module.a": torch.zeros(2), "b": torch.zeros(2)}],
)  # fmt: skip
def test_a_file_without_finite_named_tensors_is_one_message(tmp_path: Path, content: object) -> None:
    file, config = tmp_path / "pytorch_model.bin", tmp_path / "config.json"
    config.write_text(json.dumps(VIT))
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(UserError) as caught:
        read_checkpoint(file, config)
    (message,) = caught.value.messages
    assert message.startswith(str(file))
    assert "weights_only" not in message


@pytest.mark.parametrize("prefix", ["model.", "net."])
def test_names_with_an_unknown_prefix_are_one_message(tmp_path: Path, prefix: str) -> None:
    file, described = files(tmp_path, VIT)
    tensors = torch.load(file, weights_only=True)
    torch.save({prefix + name: tensor for name, tensor in tensors.items()}, file)
    with pytest.raises(UserError) as caught:
        import_checkpoint(file, described, Store(tmp_path / "out"), None, None, torch.device("cpu"), print)
    (message,) = caught.value.messages
    assert prefix in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_names_of_wrapped_models_are_read(tmp_path: Path, prefix: str) -> None:
    file, config = tmp_path / "pytorch_model.bin", tmp_path / "config.json"
    config.write_text(json.dumps(VIT))
    torch.save({f"{prefix}{name}": torch.zeros(1) for name in ("a.b", "c")}, file)
    assert sorted(read_checkpoint(file, config)[0]) == ["a.b", "c"]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a":' * 100_000, "[" * 100_000, "\udcff"])
def test_a_configuration_that_is_not_an_object_is_an_error(tmp_path: Path, content: str) -> None:
    file, config = tmp_path / "pytorch_model.bin", tmp_path / "config.json"
    config.write_bytes(content.encode(errors="surrogateescape"))
    torch.save({"a": torch.zeros(1)}, file)
    with pytest.raises(UserError, match="--config"):
        read_checkpoint(file, config)


@pytest.mark.parametrize("config", [VIT, SWIN], ids=["vit", "swin"])
def test_a_stored_model_is_checked_before_it_is_built(tmp_path: Path, config: dict[str, object]) -> None:
    official, _ = checkpoint(config)
    described = describe(config, official)
    model = from_official(official, config)
    write_model(model, described, tmp_path)
    weights, anatomy = tmp_path / WEIGHTS, tmp_path / ANATOMY
    images = torch.randn(2, described.card.channels, described.card.image_size, described.card.image_size)
    with torch.no_grad():
        again = read_model(weights, anatomy, torch.device("cpu"))(images)
        torch.testing.assert_close(again, model.eval()(images))
    stored = json.loads(anatomy.read_text())
    wrong = {
        "no mapping": [], "exits": {**stored, "exits": [0, 99]}, "classes": {**stored, "classes": True},
        "heads": {**stored, "heads": stored["heads"][1:]}, "options": {**stored, "heads": [{"name": "os", "options": {}}]},
        "text": {**stored, "backbone": {**stored["backbone"], "embed_dim": "32"}},
        "large": {**stored, "backbone": {**stored["backbone"], "embed_dim": 20_000}},
        "zero": {**stored, "backbone": {**stored["backbone"], "patch_size": 0}},
        "odd": {**stored, "backbone": {**stored["backbone"], "patch_size": 1_024}},
        "target": {**stored, "backbone": {**stored["backbone"], "target": "os:system"}}, "code": {**stored, "run": "x"},
    }  # fmt: skip
    for content in wrong.values():
        anatomy.write_text(json.dumps(content))
        with pytest.raises(StoreError) as error:
            read_model(weights, anatomy, torch.device("cpu"))
        assert str(anatomy) in str(error.value) or str(weights) in str(error.value)
        assert "\n" not in str(error.value)
