"""A rehearsal: one model per family at a small image size, killed in every training, up to its record and PDF."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from benchmark.execution.rehearse import BATCH, rehearsal_of
from benchmark.grid.load import find_grid, load_grid
from benchmark.stages.graph import run_stages
from results.store.folder import Store
from tests.conftest import Command
from tests.grids import write_grid

# CIFAR-100 and the pretrained weights are not on this machine: a rehearsal needs neither.
GRID = {
    "backbones": ["swin_nano_patch2_window4_32"],
    "datasets": ["cifar-100"],
    "methods": ["lgvit"],
    "exits": ["paper"],
    "seeds": [0, 1, 2],
    "recipes": {
        "finetune": {"batch_size": 100, "augment": "crop-flip"},
        "joint": {"augment": "crop-flip"},
        "exits": {"batch_size": 100, "augment": "crop-flip", "accumulate": 2},
    },
    "include": [
        {"backbone": "vit_nano_patch4_32", "method": "lgvit-official"},
        {
            "backbone": {
                "name": "deit_nano_distilled_patch4_32",
                "set": {"weights": "timm:not.there", "mean": [0.5] * 3, "std": [0.5] * 3},
            },
            "method": "vanilla",
        },
    ],
}


@pytest.mark.slow
def test_a_rehearsal_kills_each_training_once_and_finishes_every_model(
    tmp_path: Path, benchmark_command: Command
) -> None:
    grid = tmp_path / "grid.yaml"
    write_grid(grid, **GRID)
    done = benchmark_command(
        "run",
        "--grid",
        grid,
        "--rehearse",
        "--results",
        tmp_path / "results",
        "--out",
        tmp_path / "report",
        "--threads",
        1,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # A fine-tuning and a training of heads on each backbone, and the joint stage of lgvit-official.
    assert "3 of 3 models finished, 7 trainings were killed and resumed" in re.sub(r"\s+", " ", done.stdout)
    assert done.stdout.count("resuming from the checkpoint in epoch 2, step 1 of") == 7
    store = Store(tmp_path / "results" / "rehearsals" / "tiny")
    records = [store.record(run_id) for run_id in store.run_ids()]
    assert {record.label for record in records} == {"lgvit", "lgvit-official", "vanilla"}
    for record in records:
        assert record.status == "done"
        assert record.data is not None
        assert record.data.name == "synthetic:cifar-100"
        assert record.data.classes == 100
        assert record.costs is not None
        assert len(record.exits) == 9
    assert (tmp_path / "report" / "paper.pdf").is_file()
    assert not list(store.root.glob("stages"))  # no weights are kept
    assert not list(tmp_path.glob("results/runs"))  # a rehearsal writes no results


@pytest.mark.slow
def test_a_grid_of_detection_is_rehearsed(tmp_path: Path, benchmark_command: Command) -> None:
    """What `detection-voc` and `detection-coco` consist of, on small backbones."""
    content = yaml.safe_load(find_grid("detection-voc").read_text(encoding="utf-8"))
    assert content["policies"] == yaml.safe_load(find_grid("detection-coco").read_text(encoding="utf-8"))["policies"]
    content |= {
        "name": "tiny",
        "backbones": ["deit_nano_distilled_patch4_32"],
        "methods": ["lgvit", {"name": "lower-resolution", "set": {"share": 0.75}}],
        "include": [{"backbone": "vit_nano_patch8_64", "dataset": "coco-detection", "method": "homogeneous-mlp"}],
    }
    del content["primary"]
    grid, results = tmp_path / "grid.yaml", tmp_path / "results"
    grid.write_text(yaml.safe_dump(content), encoding="utf-8")
    done = benchmark_command(
        "run", "--grid", grid, "--rehearse", "--results", results, "--threads", 1, "--format", "none"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # A fine-tuning and a training of heads on each backbone.
    assert "3 of 3 models finished, 4 trainings were killed and resumed" in re.sub(r"\s+", " ", done.stdout)
    store = Store(results / "rehearsals" / "tiny")
    records = {record.label: record for record in map(store.done_record, store.run_ids())}
    assert {label: (record.data.name, record.data.classes) for label, record in records.items()} == {
        "lgvit": ("synthetic:voc-detection", 20),
        "lower-resolution(share=0.75)": ("synthetic:voc-detection", 20),
        "homogeneous-mlp": ("synthetic:coco-detection", 80),
    }
    for name in ("lgvit", "homogeneous-mlp"):
        assert len(records[name].exits) == 9
        assert len({point.policy for point in records[name].points}) == len(content["policies"])


@pytest.mark.slow
def test_maps_are_rehearsed_in_bf16_and_with_tokens_that_leave_in_training(
    tmp_path: Path, benchmark_command: Command
) -> None:
    """At a small size: 16 bits, a DeiT, and heads that train while tokens leave, which no grid for the CPU has together."""
    recipe = {"batch_size": 32, "precision": "bf16"}
    trained = {"regime": "mixed", "trained": True, "threshold": 0.05, "keep": 1}  # 1 of 21 classes has a larger one
    write_grid(
        tmp_path / "grid.yaml",
        backbones=["vit_nano_patch4_64"],
        datasets=["voc-segmentation"],
        methods=[{"name": "token-exit", "set": trained}],
        exits=[[6, 8]],
        include=[{"backbone": "deit_nano_distilled_patch4_64", "method": "lgvit"}],
        policies=["map-confidence"],
        recipes={
            "finetune": recipe | {"augment": "scale-crop-flip"},
            "joint": recipe | {"augment": "scale-crop-flip"},
            "exits": recipe | {"augment": "none"},
        },
    )
    command = ("run", "--grid", tmp_path / "grid.yaml", "--rehearse", "--results", tmp_path / "results", "--threads", 1)
    done = benchmark_command(*command, "--format", "none")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 models finished" in re.sub(r"\s+", " ", done.stdout)
    store = Store(tmp_path / "results" / "rehearsals" / "tiny")
    records = {record.label: record for record in map(store.done_record, store.run_ids())}
    (tokens,) = (record for label, record in records.items() if label.startswith("token-exit"))
    assert tokens.data.task == "segmentation"
    assert tokens.costs.cumulative[0] < tokens.costs.baseline
    assert len(records["lgvit"].exits) == 3


@pytest.mark.parametrize("name", ["paper-cifar100", "paper-food101", "paper-imagenet"])
def test_the_papers_grids_are_complete_and_rehearse_each_model_once(name: str) -> None:
    grid = load_grid(find_grid(name))
    methods = {(run.train.backbone, run.train.method.label) for run in grid.runs}
    for backbone in ("vit_base_patch16_224", "deit_base_distilled_patch16_224", "swin_base_patch4_window7_224"):
        on_backbone = {method for on, method in methods if on == backbone}
        assert {"static", "lgvit", "lgvit-official", "vanilla", "homogeneous-local",
                "homogeneous-global", "vit-ee"} <= on_backbone  # fmt: skip
        assert sum(method.startswith("truncated") for method in on_backbone) == 3
    assert {run.train.seed for run in grid.runs} == {0, 1, 2}
    assert {run.train.weights.source for run in grid.runs} == {
        "timm:vit_base_patch16_224.augreg_in21k_ft_in1k", "timm:deit_base_distilled_patch16_224.fb_in1k",
        "timm:swin_base_patch4_window7_224.ms_in1k",
    }  # fmt: skip
    assert {run.train.recipes.finetune.epochs for run in grid.runs} == {50}  # equal totals for every method with exits
    for run in grid.runs:  # as in the authors' scripts, without our defaults
        for recipe in (run.train.recipes.finetune, run.train.recipes.joint, run.train.recipes.exits):
            assert (recipe.lr, recipe.batch_size, recipe.weight_decay, recipe.warmup) == (5e-5, 192, 0.0, 0.0)
            assert (recipe.schedule, recipe.clip_grad, recipe.augment) == ("linear", 1.0, "crop-flip")
    small = rehearsal_of(grid)
    assert len(small.runs) == len(grid.runs) / 3
    for run in small.runs:
        stages = run_stages(run)
        assert all(s.recipe is None or s.recipe.batch_size == BATCH for s in stages.training)
        assert stages.training[-1].fields.get("weights") is None


def test_a_model_is_rehearsed_once_however_many_learning_rates_it_has() -> None:
    grid = load_grid(find_grid("heads-cpu"))
    assert len(grid.runs) == 1 + 3 * 10
    assert len(rehearsal_of(grid).runs) == 1 + 10


def test_each_discrepancy_is_one_option_of_the_default() -> None:
    grid = load_grid(find_grid("discrepancies"))
    plain = "vit_nano_patch4_28"
    for run in grid.runs:
        method, train = run.train.method, run.train
        if method.name == "lgvit" and train.backbone == plain and not train.dataset.set:
            assert len(method.set.keys() - {"regime"}) <= 1, method.label
    assert any(run.train.dataset.set == {"split": "as-published"} for run in grid.runs)
    assert any(run.train.backbone == "vit_nano_patch4_28_idle_token" for run in grid.runs)
