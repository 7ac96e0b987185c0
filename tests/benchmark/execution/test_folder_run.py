"""`run --grid` on a folder of 40 images of every kind, and on one with a damaged image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from benchmark.grid.load import load_grid
from benchmark.stages.graph import run_stages
from results.store.folder import Store
from results.store.latency import read_latencies
from tests.conftest import Command
from tests.datasets.photos import write_photos
from tests.grids import write_grid

RECIPE = {"batch_size": 8, "lr": 1e-3, "augment": "crop-flip"}
STRONGER = {"rand_augment": "rand-m9-inc1", "erasing": 0.25, "mixup": 0.8}


def folder_grid(path: Path, dataset: Any = "folder:photos", latency: tuple[int, ...] = ()) -> Path:
    return write_grid(
        path,
        name="mine",
        datasets=[dataset],
        methods=["static", "lgvit"],
        exits=None,
        recipes={"finetune": {"epochs": 2, **RECIPE}, "exits": {"epochs": 1, **RECIPE, **STRONGER}},
        latency=latency,
    )


@pytest.mark.slow
def test_a_folder_of_images_is_trained_on(tmp_path: Path, benchmark_command: Command) -> None:
    write_photos(tmp_path / "photos")
    grid, results = tmp_path / "grid.yaml", tmp_path / "results"
    folder_grid(grid, latency=(1, 8))
    command = (
        "run",
        "--grid",
        grid,
        "--results",
        results,
        "--out",
        tmp_path / "out",
        "--threads",
        1,
        "--format",
        "csv",
    )
    done = benchmark_command(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    run = run_stages(load_grid(grid).runs[1])
    assert run.run_id.startswith("lgvit-vit_nano_patch4_28-folder_photos-paper-s0-")
    data = Store(results).record(run.run_id).data
    assert data is not None
    assert data.name == "folder:photos"
    assert data.classes == 3
    assert data.sizes == {"train": 24, "val": 8, "test": 8}
    for part in ("random resized crop", "RandAugment rand-m9-inc1", "erasing (0.25", "Mixup (alpha 0.8)"):
        assert part in data.transforms["exits"]
        assert (part in data.transforms["finetune"]) is (part == "random resized crop")
    assert data.content["train"].startswith("pixels:")
    assert "folder:photos" in (tmp_path / "out" / "points.csv").read_text()
    ((latency,),) = read_latencies(Store(results)).values()
    assert (latency.run_id, [t.batch_size for t in latency.timings]) == (run.run_id, [1, 8])
    assert "timing lgvit (1 of 1)" in done.stdout
    again = benchmark_command(*command).stdout
    assert "all 2 runs" in again
    assert "timing" not in again


@pytest.mark.slow
def test_as_published_is_labelled_everywhere(tmp_path: Path, benchmark_command: Command) -> None:
    write_photos(tmp_path / "photos" / "train", {"x": 12, "y": 9, "z": 7})
    write_photos(tmp_path / "photos" / "test", {"x": 4, "y": 4, "z": 4}, seed=1)
    grid, results = tmp_path / "grid.yaml", tmp_path / "results"
    folder_grid(grid, {"name": "folder:photos", "set": {"split": "as-published"}})
    done = benchmark_command(
        "run", "--grid", grid, "--results", results, "--out", tmp_path / "out", "--threads", 1, "--loader-workers", 2
    )
    assert done.returncode == 0, done.stdout + done.stderr
    store = Store(results)
    for run_id in store.run_ids():
        assert "-folder_photos_as-published-" in run_id
        data = store.record(run_id).data
        assert data is not None
        assert data.sizes == {"train": 28, "val": 12, "test": 12}
        assert data.split_identity["val"] == data.split_identity["test"]
        assert data.split_rule.startswith("as-published: ")
    assert "folder:photos (split=as-published)" in (tmp_path / "out" / "points.csv").read_text()
    text = "".join(page.extract_text() for page in PdfReader(tmp_path / "out" / "paper.pdf").pages)
    assert "split=as-published" in " ".join(text.replace("\u200b", "").split())


def test_a_damaged_image_is_named_before_training(tmp_path: Path, benchmark_command: Command) -> None:
    write_photos(tmp_path / "photos")
    victim = next((tmp_path / "photos" / "dogs").glob("*.jpg"))
    victim.write_bytes(victim.read_bytes()[:300])
    grid = tmp_path / "grid.yaml"
    folder_grid(grid)
    done = benchmark_command("run", "--grid", grid, "--results", tmp_path / "results", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {victim} ")
    assert "Traceback" not in done.stderr
    assert "epoch" not in done.stdout


def test_a_missing_folder_is_a_mistake_in_the_grid(tmp_path: Path, benchmark_command: Command) -> None:
    grid = tmp_path / "grid.yaml"
    folder_grid(grid)
    done = benchmark_command("plan", "--grid", grid)
    assert done.returncode == 2
    assert f"{grid}: datasets[0]: there is no folder {tmp_path / 'photos'}" in done.stderr
