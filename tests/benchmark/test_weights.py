"""Pretrained weights: located, identified by hash, loaded into the backbone, or refused in one sentence before training."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from benchmark import registry
from benchmark.errors import UserError
from benchmark.grid.load import load_grid
from benchmark.stages.graph import run_stages
from benchmark.training.backbone import build_backbone, initial_backbone
from benchmark.training.inputs import read_inputs
from benchmark.weights import BUNDLED, bundled_names, check_source, fetch_missing, locate, missing, named
from datasets.split_rules import SplitRule, refusal
from results.spec import TrainSpec
from results.store.files import sha256
from tests.conftest import Command, environment
from tests.grids import bundled, write_grid

TAG = "vit_nano.test"


NORMALISATION = {"mean": [0.5], "std": [0.25]}


def weights_grid(
    folder: Path, source: str, method: str = "static", epochs: int = 1, name: str = "vit_nano_patch4_28", **options: Any
) -> Path:
    backbone = {"name": name, "set": {"weights": source, **options}}
    recipes = {"finetune": {"epochs": epochs, "batch_size": 10}}
    return write_grid(
        folder / "grid.yaml",
        backbones=[backbone],
        datasets=[bundled(20)],
        methods=[method],
        exits=None,
        recipes=recipes,
    )


def train_of(path: Path, data_dir: Path | None = None) -> TrainSpec:
    (run,) = load_grid(path, data_dir).runs
    return run.train


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A timm file of the backbone with other random weights, as for 10 classes."""
    torch.manual_seed(7)
    scratch = train_of(weights_grid(tmp_path, "scratch"))
    tensors = {name: torch.randn_like(t) for name, t in build_backbone(scratch).model.state_dict().items()}
    path = tmp_path / "data" / "weights" / f"{TAG}.safetensors"
    path.parent.mkdir(parents=True)
    save_file(tensors, path)
    return path


def test_a_key_contains_the_hash_of_weights_and_not_their_path(tmp_path: Path, weights: Path) -> None:
    by_path = train_of(weights_grid(tmp_path, f"file:{weights}", **NORMALISATION))
    assert by_path.weights.sha256 == sha256(weights)
    data = tmp_path / "data"
    grid = load_grid(weights_grid(tmp_path, f"timm:{TAG}", **NORMALISATION), data)
    by_tag = run_stages(grid.runs[0]).reference
    same = load_grid(weights_grid(tmp_path, f"file:{weights}", **NORMALISATION))
    assert by_tag.key == run_stages(same.runs[0]).reference.key
    assert by_tag.fields["weights"] == sha256(weights)
    scratch = run_stages(load_grid(weights_grid(tmp_path, "scratch")).runs[0]).reference
    assert by_tag.key != scratch.key


def test_weights_in_the_cache_of_the_hub_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: Path
) -> None:
    cache = tmp_path / "hub" / f"models--timm--{TAG}"
    snapshot = cache / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("abc")
    (snapshot / "model.safetensors").write_bytes(weights.read_bytes())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert locate(f"timm:{TAG}", None) == snapshot / "model.safetensors"
    assert named(f"timm:{TAG}", None).sha256 == sha256(weights)


def test_weights_go_into_the_backbone(tmp_path: Path, weights: Path) -> None:
    train = train_of(weights_grid(tmp_path, f"file:{weights}"))
    backbone = initial_backbone(train, 12, weights, keep_classifier=True)
    assert not torch.equal(backbone.model.pos_embed, build_backbone(train).model.pos_embed)
    first = initial_backbone(train, 3, weights, keep_classifier=False)  # truncated: later blocks are left out
    assert torch.equal(first.model.blocks[2].mlp.fc1.weight, backbone.model.blocks[2].mlp.fc1.weight)
    assert torch.equal(first.model.pos_embed, backbone.model.pos_embed)


def test_a_classifier_for_other_classes_is_reinitialised_unless_it_is_required(tmp_path: Path, weights: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(weights)
    tensors |= {"head.weight": torch.randn(5, 32), "head.bias": torch.randn(5)}
    other = tmp_path / "five.safetensors"
    save_file(tensors, other)
    train = train_of(weights_grid(tmp_path, f"file:{other}"))
    fresh = build_backbone(train).model.head.weight
    assert torch.equal(initial_backbone(train, 12, other, keep_classifier=False).model.head.weight, fresh)
    with pytest.raises(UserError, match=r"head\.weight has shape \[5, 32\] and the backbone requires \[10, 32\]"):
        initial_backbone(train, 12, other, keep_classifier=True)


def test_a_file_that_vanished_or_holds_nan_is_named(tmp_path: Path, weights: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(weights)
    tensors["pos_embed"][0, 0, 0] = float("nan")
    path = tmp_path / "nan.safetensors"
    save_file(tensors, path)
    train = train_of(weights_grid(tmp_path, f"file:{path}"))
    with pytest.raises(UserError, match="pos_embed"):
        initial_backbone(train, 12, path, keep_classifier=False)
    path.unlink()
    with pytest.raises(UserError, match=r"nan\.safetensors"):
        initial_backbone(train, 12, path, keep_classifier=False)


def test_weights_that_do_not_fit_are_named(tmp_path: Path, weights: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(weights)
    tensors["blocks.0.surplus"] = torch.zeros(1)
    del tensors["blocks.1.norm1.weight"]
    tensors["pos_embed"] = torch.zeros(1, 10, 32)
    path = tmp_path / "wrong.safetensors"
    save_file(tensors, path)
    train = train_of(weights_grid(tmp_path, f"file:{path}"))
    with pytest.raises(UserError) as error:
        initial_backbone(train, 12, path, keep_classifier=False)
    for part in ("pos_embed has shape [1, 10, 32]", "blocks.1.norm1.weight is missing", "blocks.0.surplus is unknown"):
        assert part in str(error.value)


def test_missing_weights_are_an_error_and_never_random_weights(tmp_path: Path, weights: Path) -> None:
    """A node without access to the file must not train another model under the same key."""
    train = train_of(weights_grid(tmp_path, f"file:{weights}"))
    with pytest.raises(UserError, match=re.escape(str(weights))):
        initial_backbone(train, 12, None, keep_classifier=False)
    provisional = train_of(weights_grid(tmp_path, "timm:vit_nowhere.at_all", **NORMALISATION))
    with pytest.raises(UserError, match="vit_nowhere"):
        initial_backbone(provisional, 12, None, keep_classifier=False)


def test_a_replaced_file_is_refused(tmp_path: Path, weights: Path) -> None:
    train = train_of(weights_grid(tmp_path, f"file:{weights}"))
    planned = sha256(weights)
    save_file({"another": torch.zeros(1)}, weights)
    with pytest.raises(UserError) as refusal:
        initial_backbone(train, 12, weights, keep_classifier=False)
    assert planned in str(refusal.value)
    assert sha256(weights) in str(refusal.value)


def test_a_path_is_relative_to_the_grid_file(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    grid = weights_grid(tmp_path, f"file:{weights.relative_to(tmp_path)}")
    train = train_of(grid)
    assert train.weights.source == f"file:{weights.resolve()}"
    assert train.weights.sha256 == sha256(weights)


HALF, IMAGENET = (0.5, 0.5, 0.5), (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ("name", "source", "mean"),
    [
        ("vit_base_patch16_224", "timm:vit_base_patch16_224.augreg_in21k_ft_in1k", HALF),
        ("vit_base_patch16_224", "timm:vit_base_patch16_224.mae", IMAGENET),
        ("deit_base_distilled_patch16_224", "timm:deit_base_distilled_patch16_224.fb_in1k", IMAGENET),
        ("vit_base_patch16_224", "scratch", None),
    ],
)
def test_images_are_normalised_as_the_weights_were_trained(
    tmp_path: Path, name: str, source: str, mean: tuple[float, ...] | None
) -> None:
    train = train_of(weights_grid(tmp_path, source, name=name))
    assert train.weights.mean == mean
    inputs = read_inputs(train, None, workers=0)
    assert inputs.card.mean == (mean or (0.2860,))
    (batch, *_) = inputs.scoring("val")
    pixels = inputs.splits["val"].images[:1].astype(np.float32) / 255
    expected = (torch.from_numpy(pixels).mean() - inputs.card.mean[0]) / inputs.card.std[0]
    torch.testing.assert_close(batch.images[0, 0].mean(), expected, atol=0.02, rtol=0)
    assert " ".join(map("{:g}".format, inputs.card.mean)) in inputs.data_card().transforms["scores"]


def test_the_normalisation_is_part_of_the_key(tmp_path: Path, weights: Path) -> None:
    source = f"file:{weights}"
    keys = [
        run_stages(load_grid(weights_grid(tmp_path, source, **options)).runs[0]).reference.key
        for options in ({}, NORMALISATION, {"mean": [0.4], "std": [0.25]})
    ]
    assert len(set(keys)) == 3


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("timm:vit_base_patch16_224.maee", {}, ["'vit_base_patch16_224.mae'", "mean", "std"]),
        ("scratch", {"mean": [0.5]}, ["std", "(1)"]),
        ("scratch", {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}, ["mean", "(1)"]),
        ("scratch", {"mean": [0.5], "std": [0]}, ["std", "greater than 0"]),
        ("scratch", {"mean": ["a"], "std": [0.5]}, ["mean", "'a'"]),
    ],
)
def test_an_unknown_normalisation_is_refused(
    tmp_path: Path, source: str, options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(UserError) as refusal:
        load_grid(weights_grid(tmp_path, source, **options))
    assert all(word in str(refusal.value) for word in words)


@pytest.mark.parametrize("source", ["timm:vit_base_patch16_224", "hub:x.y", "", "file:", 3])
def test_a_weights_source_has_one_of_four_forms(source: object) -> None:
    with pytest.raises(ValueError, match="weights are 'scratch', 'timm:' with a full tag"):
        check_source(source)


def test_offline_names_the_missing_file_and_the_searched_folders(tmp_path: Path, benchmark_command: Command) -> None:
    grid = weights_grid(tmp_path, "timm:vit_nowhere.at_all", **NORMALISATION)
    env = environment(HF_HUB_CACHE=str(tmp_path / "hub"))
    arguments = ("--grid", grid, "--results", tmp_path / "results")
    done = benchmark_command("run", *arguments, "--data-dir", tmp_path / "data", "--offline", env=env)
    assert done.returncode == 2
    for part in (
        "model.safetensors of timm/vit_nowhere.at_all", "--offline forbids the download", str(tmp_path / "hub"),
        str(tmp_path / "data" / "weights" / "vit_nowhere.at_all.safetensors"),
    ):  # fmt: skip
        assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()
    planned = benchmark_command("plan", *arguments, env=env)
    assert "vit_nowhere.at_all" in planned.stdout
    assert (
        missing("file:/nowhere/w.safetensors", None)
        == "weights file:/nowhere/w.safetensors: there is no file /nowhere/w.safetensors"
    )


SCENES = "vit_nano_patch4_64.fashion-scenes"


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of that of the bundled weights, with one file: random weights of the small backbone."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr("benchmark.weights.BUNDLED", folder)
    torch.manual_seed(7)
    scratch = train_of(weights_grid(tmp_path, "scratch", name="vit_nano_patch4_64"))
    tensors = {name: torch.randn_like(t) for name, t in build_backbone(scratch).model.state_dict().items()}
    save_file(tensors, folder / f"{SCENES}.safetensors")
    return folder


def test_bundled_weights_are_hashed_and_loaded_as_files_are(tmp_path: Path, shipped: Path) -> None:
    path = shipped / f"{SCENES}.safetensors"
    train = train_of(weights_grid(tmp_path, f"bundled:{SCENES}", name="vit_nano_patch4_64"))
    assert train.weights.source == f"bundled:{SCENES}"
    assert train.weights.sha256 == sha256(path)
    assert locate(train.weights.source, None) == path
    backbone = initial_backbone(train, 12, path, keep_classifier=False)
    assert not torch.equal(backbone.model.pos_embed, build_backbone(train).model.pos_embed)
    by_path = weights_grid(tmp_path, f"file:{path}", name="vit_nano_patch4_64", mean=[0.5233], std=[0.2058])
    keys = {run_stages(load_grid(by_path).runs[0]).reference.key, _key(tmp_path)}
    assert len(keys) == 1
    before = _key(tmp_path)
    save_file({"another": torch.zeros(1)}, path)
    assert _key(tmp_path) != before


def _key(folder: Path) -> str:
    grid = load_grid(weights_grid(folder, f"bundled:{SCENES}", name="vit_nano_patch4_64"))
    return run_stages(grid.runs[0]).reference.key


@pytest.mark.parametrize("name", [SCENES.replace("64", "46"), "", "../shipped/" + SCENES, "/etc/passwd"])
def test_unknown_bundled_weights_are_refused_with_those_that_there_are(
    tmp_path: Path, shipped: Path, name: str
) -> None:
    with pytest.raises(UserError) as refusal:
        load_grid(weights_grid(tmp_path, f"bundled:{name}", name="vit_nano_patch4_64"))
    assert "unknown bundled weights" in str(refusal.value)
    assert f"there are: {SCENES}" in str(refusal.value)


def test_bundled_weights_that_vanished_are_named_and_not_downloaded(shipped: Path) -> None:
    path = shipped / f"{SCENES}.safetensors"
    path.unlink()
    message = f"weights bundled:{SCENES}: there is no file {path}"
    assert missing(f"bundled:{SCENES}", None) == message
    with pytest.raises(UserError, match=re.escape(message)) as raised:
        fetch_missing([f"bundled:{SCENES}"], None, False, print)
    assert "--offline" not in str(raised.value)


def test_images_are_normalised_as_those_of_the_bundled_weights(tmp_path: Path, shipped: Path) -> None:
    train = train_of(weights_grid(tmp_path, f"bundled:{SCENES}", name="vit_nano_patch4_64"))
    assert (train.weights.mean, train.weights.std) == ((0.5233,), (0.2058,))


def test_thresholds_are_not_chosen_on_photos_that_bundled_weights_were_trained_on() -> None:
    """The scenes' photos are from the official train set, from which fashion-mnist cuts its val."""
    cards = registry.table("dataset")
    assert "halves" in str(refusal(cards["fashion-mnist"], SplitRule(), SCENES))
    for name, rule in (
        ("fashion-mnist", SplitRule("halves")), ("fashion-mnist-mini", SplitRule()), ("fashion-scenes", SplitRule()),
    ):  # fmt: skip
        assert refusal(cards[name], rule, SCENES) is None


@pytest.mark.parametrize("name", bundled_names())
def test_weights_that_ship_fit_the_backbone_and_the_dataset_of_their_name(tmp_path: Path, name: str) -> None:
    backbone, _, dataset = name.partition(".")
    content = {"backbones": [{"name": backbone, "set": {"weights": f"bundled:{name}"}}], "datasets": [dataset]}
    content |= {"methods": ["static"], "exits": None, "policies": None}
    train = train_of(write_grid(tmp_path / "grid.yaml", **content))
    initial_backbone(train, 12, locate(f"bundled:{name}", None), keep_classifier=True)
    readme = (BUNDLED / "README.md").read_text(encoding="utf-8")
    assert f"{name}.safetensors" in readme
    assert sha256(BUNDLED / f"{name}.safetensors") in readme


def test_zero_epochs_keep_the_weights(tmp_path: Path, weights: Path, benchmark_command: Command) -> None:
    grid = weights_grid(tmp_path, f"file:{weights}", epochs=0)
    done = benchmark_command(
        "run", "--grid", grid, "--results", tmp_path / "results", "--format", "none", "--threads", 1
    )
    assert done.returncode == 0, done.stderr
    from safetensors.torch import load_file

    (artifact,) = tmp_path.glob("results/stages/finetune-*/backbone.safetensors")
    assert torch.equal(load_file(artifact)["model.pos_embed"], load_file(weights)["pos_embed"])
