"""What is missing is named before anything is downloaded or trained; the estimate of time rests on finished stages."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.cli.plan_view import show_requirements
from benchmark.errors import UserError
from benchmark.execution.requirements import Requirements, fetch_weights, requirements
from benchmark.grid.load import Grid, load_grid
from benchmark.stages.plan import make_plan
from results.store.folder import Store
from tests.grids import write_grid
from tests.results.builders import stage_provenance

TAG = "vit_base_patch16_224.augreg_in21k_ft_in1k"


def pretrained(folder: Path) -> Grid:
    return load_grid(
        write_grid(
            folder / "grid.yaml", exits=["paper"], datasets=["cifar-100"],
            backbones=[{"name": "vit_base_patch16_224", "set": {"weights": f"timm:{TAG}"}}],
        )
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("offline", [False, True])
def test_missing_data_are_named_before_weights_are_downloaded(tmp_path: Path, offline: bool) -> None:
    lines: list[str] = []
    with pytest.raises(UserError) as refusal:
        fetch_weights(pretrained(tmp_path).runs, None, offline, lines.append)
    data, weights = refusal.value.messages
    assert "cifar-100" in data
    assert TAG in weights
    assert ("--offline" in weights) == offline
    assert not lines


def test_a_plan_names_data_weights_disk_and_time(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    needs = requirements(make_plan(pretrained(tmp_path), store), store, None)
    assert list(needs.data) == ["cifar-100"]
    assert needs.weights == [f"timm:{TAG}"]
    assert needs.artifact_bytes > 4 * 85_000_000  # ViT-B's weights
    assert needs.checkpoint_bytes > needs.artifact_bytes / 2
    assert needs.hours > 1
    assert "assumed" in needs.basis


def test_the_time_rests_on_finished_stages(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    grid = load_grid(write_grid(tmp_path / "grid.yaml", seeds=[0, 1]))
    assumed = requirements(make_plan(grid, store), store, None)
    finetune = make_plan(grid, store).runs[0].reference
    with store.write_stage(finetune.name, finetune.fields, stage_provenance(seconds=3600.0)):
        pass
    needs = requirements(make_plan(grid, store), store, None)
    assert "1 finished stage" in needs.basis
    assert needs.hours > 1 > assumed.hours


def test_requirements_fit_80_columns_and_commands_stay_whole() -> None:
    how = "python -m benchmark data fetch cifar-100 --data-dir DIR, or unpack it there"
    needs = Requirements({"cifar-100": how}, [f"timm:{TAG}"], 10**9, 10**8, 10**6, 250.0, "assumed: 0.03 TFLOP/s")
    file = io.StringIO()
    show_requirements(Console(file=file, width=80), needs)
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    for part in ("python -m benchmark data fetch cifar-100 --data-dir DIR", TAG, "1.0 GB", "1 MB free", "250 hours"):
        assert part in text
    assert not needs.fits
