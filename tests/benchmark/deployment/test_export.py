"""The command `export`: graphs and runner answer as `predict` does."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner, Result

from benchmark.cli.export import command
from benchmark.deployment import runner
from benchmark.deployment.export import DESCRIPTION, TORCH, Exported, export
from benchmark.deployment.exported_speed import measure_exported
from benchmark.deployment.predictor import load_predictor
from benchmark.deployment.segments import Preprocess
from benchmark.errors import UserError
from benchmark.evaluation.stored_runs import load_run_scores
from benchmark.registry import card
from benchmark.training.inputs import read_inputs
from datasets.transforms import to_input
from methods.policies import get_policy
from results.store.folder import Store
from tests.trained_runs import write_trained_run

BACKBONES = ("vit_nano_patch4_28", "deit_nano_distilled_patch4_28", "swin_nano_patch2_window7_28")
CLOSE = 1e-3
"""Signals this near to the threshold may be decided either way."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs with LGViT's heads and random weights on each kind of backbone."""
    folder = tmp_path_factory.mktemp("export") / "results"
    for backbone in BACKBONES:
        write_trained_run(folder, backbone)
    return folder


def run_export(results: Path, *arguments: object) -> Result:
    return CliRunner().invoke(command, [*map(str, arguments), "--results", str(results)])


def loaded(folder: Path) -> ModuleType:
    """The runner in an exported folder."""
    spec = importlib.util.spec_from_file_location("exported_runner", folder / "runner.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def exported(results: Path) -> dict[str, Path]:
    """Folders that the command wrote, by backbone."""
    folders = {}
    for backbone in BACKBONES:
        folders[backbone] = results.parent / backbone
        done = run_export(
            results,
            f"lgvit-{backbone}",
            "--to",
            "onnx",
            "--threshold",
            median(results, backbone),
            "--out",
            folders[backbone],
        )
        assert done.exit_code == 0, done.output
        assert "3 graphs, opset 18" in done.output
    return folders


def median(results: Path, backbone: str, policy: str = "confidence") -> float:
    """A threshold that half of the test images pass at some early exit."""
    scores = load_run_scores(Store(results), Store(results).done_record(f"lgvit-{backbone}"))["test"]
    signal = get_policy(policy).signal(scores.logits)
    return float(signal.flatten().median())


def images_of(results: Path, backbone: str) -> np.ndarray:
    images = read_inputs(Store(results).done_record(f"lgvit-{backbone}").spec.train, None).splits["test"].images
    assert isinstance(images, np.ndarray)
    return images


def assert_as_predict(results: Path, backbone: str, policy: str, threshold: float, model: runner.Model) -> None:
    """The runner gives the classes and exits of `predict`, except where a signal is close to the threshold."""
    images = images_of(results, backbone)
    predictor = load_predictor(
        Store(results), f"lgvit-{backbone}", torch.device("cpu"), threshold=threshold, policy=policy
    )
    expected = predictor.predict(images)
    labels, confidences, exits = model.predict(images)
    scores = load_run_scores(Store(results), Store(results).done_record(f"lgvit-{backbone}"))["test"]
    close = ((get_policy(policy).signal(scores.logits) - threshold).abs() < CLOSE).any(0).numpy()
    assert close.mean() < 0.2
    assert len(set(exits[~close])) == 3
    for i in np.flatnonzero(~close):
        assert (labels[i], exits[i]) == (expected[i].label, expected[i].exit), i
        assert confidences[i] == pytest.approx(expected[i].confidence, abs=1e-4)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_runner_answers_as_predict(results: Path, exported: dict[str, Path], backbone: str) -> None:
    folder = exported[backbone]
    about = Exported.model_validate_json((folder / DESCRIPTION).read_bytes())
    assert_as_predict(results, backbone, "confidence", about.threshold, loaded(folder).Model(folder))


def test_any_batch_size_gives_the_same(results: Path, exported: dict[str, Path]) -> None:
    images = images_of(results, BACKBONES[0])[:7]
    model = runner.Model(exported[BACKBONES[0]], threads=1)
    together = model.predict(images)
    for i, image in enumerate(images):
        for one, all_ in zip(model.predict(image[None]), together, strict=True):
            assert one[0] == pytest.approx(all_[i], abs=1e-5)
    assert [len(values) for values in model.predict(images[:0])] == [0, 0, 0]


def test_the_description_is_complete(results: Path, exported: dict[str, Path]) -> None:
    folder, record = exported[BACKBONES[0]], Store(results).done_record(f"lgvit-{BACKBONES[0]}")
    about = Exported.model_validate_json((folder / DESCRIPTION).read_bytes())
    files = [path.name for path in folder.iterdir() if path.name != "__pycache__"]  # of a runner that was imported
    assert sorted(files) == sorted([*about.segments, DESCRIPTION, "runner.py"])
    assert [exit_.macs for exit_ in about.exits] == list(record.costs.cumulative)
    assert len(about.classes) == 10
    sizes = 0
    for name in about.segments:
        graph = onnx.load(folder / name)
        onnx.checker.check_model(graph)
        assert {entry.domain: entry.version for entry in graph.opset_import} == {"": about.opset}
        assert graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
        sizes += (folder / name).stat().st_size
    assert sizes < 4 * record.costs.parameters + 200_000  # no weight is in two graphs


def test_the_runner_needs_onnxruntime_and_numpy_alone(exported: dict[str, Path]) -> None:
    folder = exported[BACKBONES[0]]
    script = (
        "import sys, numpy, runner; n = len(runner.Model('.').predict(numpy.zeros((2, 28, 28, 1), 'uint8'))[0]); "
        "print(n, [name for name in ('torch', 'timm', 'onnx', 'pandas', 'benchmark', 'methods') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == ["2", "[]\n"]
    assert len((folder / "runner.py").read_text().splitlines()) < 70


@pytest.mark.parametrize("policy", ["entropy", "margin"])
def test_other_policies(results: Path, exported: dict[str, Path], tmp_path: Path, policy: str) -> None:
    """They run on the same graphs, so only the description changes."""
    backbone, threshold = BACKBONES[0], median(results, BACKBONES[0], policy)
    about = json.loads((exported[backbone] / DESCRIPTION).read_text())
    model = runner.Model(exported[backbone])
    model.about = about | {"policy": {"name": policy, "normalised": False}, "threshold": threshold}
    assert_as_predict(results, backbone, policy, threshold, model)


def test_the_torch_form_gives_the_same_tensors(results: Path, tmp_path: Path) -> None:
    backbone, folder = BACKBONES[0], tmp_path / "torch"
    predictor = load_predictor(Store(results), f"lgvit-{backbone}", torch.device("cpu"), threshold=0.5)
    about = export(predictor, folder, TORCH)
    assert about.opset is None
    programs = [torch.export.load(folder / name).module() for name in about.segments]
    images = images_of(results, backbone)[:5]
    dataset = predictor.card
    with torch.no_grad():
        pixels = to_input(images, size=28, channels=1, mean=dataset.mean, std=dataset.std)
        expected = predictor.model(pixels)
        for size in (5, 1):
            values = torch.from_numpy(images[:size])
            for k, program in enumerate(programs):
                logits, *tokens = program(values)
                torch.testing.assert_close(logits, expected[k, :size], atol=1e-5, rtol=0)
                values = tokens[0] if tokens else values


@pytest.mark.parametrize(("stored", "size"), [(28, 28), (28, 32), (32, 28), (8, 24)])
@pytest.mark.parametrize(("stored_channels", "channels"), [(1, 1), (1, 3), (3, 3), (3, 1)])
def test_the_graphs_preprocess_as_the_suite(stored: int, size: int, stored_channels: int, channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, stored, stored, stored_channels), dtype=np.uint8)
    for count in {stored_channels, channels}:  # the normalisation has an entry per channel of the image or of the input
        mean, std = (0.4, 0.5, 0.6)[:count], (0.2, 0.3, 0.25)[:count]
        expected = to_input(images, size=size, channels=channels, mean=mean, std=std)
        own = Preprocess(stored, size, channels, mean, std)(torch.from_numpy(images))
        torch.testing.assert_close(own, expected, atol=2e-5, rtol=0)


def test_mistakes_are_one_sentence(results: Path, exported: dict[str, Path], tmp_path: Path) -> None:
    run = f"lgvit-{BACKBONES[0]}"
    for arguments, words in (
        ((run, "--to", "onnx", "--out", exported[BACKBONES[0]]), "--out"),
        ((run, "--to", "onnx", "--point", "nothing"), "nothing"),
        ((run, "--to", "onnx", "--point", "a", "--threshold", 0.5), "--point and --threshold"),
        ((run, "--to", "onnx", "--policy", "margin"), "--policy"),
        (("unknown", "--to", "torch"), "unknown"),
    ):
        with pytest.raises(UserError, match=words):
            CliRunner().invoke(command, [*map(str, arguments), "--results", str(results)], catch_exceptions=False)
    predictor = load_predictor(Store(results), run, torch.device("cpu"), threshold=0.5)
    predictor = type(predictor)(**{**vars(predictor), "policy": get_policy("patience", patience=1)})
    with pytest.raises(UserError, match=r"confidence, entropy, margin.*patience"):
        export(predictor, tmp_path / "out", TORCH)


def test_both_exported_models_are_timed(tmp_path: Path) -> None:

    timing = measure_exported(card("backbone", "vit_pico_patch4_28"), 4, 3, 1, 1, tmp_path)
    assert timing.backbone > 0
    assert timing.cascade > 0
    assert timing.mac_speedup > 1
    assert timing.realised == pytest.approx(timing.speedup / timing.mac_speedup)


def test_heads_that_read_the_exit_before_are_refused(tmp_path: Path) -> None:
    run_id = write_trained_run(tmp_path / "results", method="ztw").run_id
    done = run_export(tmp_path / "results", run_id, "--to", "torch", "--out", tmp_path / "out")
    assert isinstance(done.exception, UserError)
    assert run_id in str(done.exception)
    assert not (tmp_path / "out").exists()
