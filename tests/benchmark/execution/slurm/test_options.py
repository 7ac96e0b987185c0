"""Options of Slurm, profiles, and the profiles in the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.errors import UserError
from benchmark.execution.slurm.layout import arrays_of
from benchmark.execution.slurm.options import minutes, read_options
from benchmark.grid.load import find_grid, load_grid
from benchmark.stages.plan import make_plan
from results.store.folder import Store
from tests.benchmark.execution.slurm.conftest import FakeSlurm, plan_of, run
from tests.conftest import ROOT
from tests.grids import write_grid


def test_the_command_line_overrides_the_profile_and_its_sections(tmp_path: Path) -> None:
    profile = tmp_path / "p.yaml"
    profile.write_text(
        "partition: gpu\ngpus-per-node: 1\ntime: 12:00:00\nsetup: module load cuda\n"
        "finetune: {time: 1-00:00:00, partition: long}\nscores: {time: 10}\nrecords: {partition: cpu}\n"
    )
    choice = read_options({"account": "lab", "partition": "mine"}, profile)
    assert {choice.resources(kind).partition for kind in ("finetune", "exits", "records")} == {"mine"}
    assert [choice.resources(kind).time for kind in ("finetune", "exits", "scores")] == [1440, 720, 10]
    assert [choice.resources(kind).gpus for kind in ("finetune", "scores", "cost", "records")] == [1, 1, 0, 0]
    assert choice.resources("cost").setup == ("module load cuda",)
    assert read_options({}, profile).resources("records").partition == "cpu"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("partiton: gpu", ["'partiton'", "did you mean 'partition'"]),
        ("finetun: {time: 3}", ["'finetun'", "did you mean 'finetune'"]),
        ("finetune: {tim: 3}", ["finetune: ", "'tim'", "did you mean 'time'"]),
        ("finetune: {array-parallelism: 3}", ["finetune: ", "'array-parallelism'", "allowed: partition,"]),
        ("finetune: 3", ["finetune: ", "'3'"]),
        ("time: 2h", ["time: ", "hours:minutes:seconds", "'2h'"]),
        ("time: 0", ["time: ", "hours:minutes:seconds", "'0'"]),
        ("gpus-per-node: -1", ["gpus-per-node: ", "0", "'-1'"]),
        ("sbatch: {dependency: afterok:1}", ["sbatch: 'dependency'"]),
        ("sbatch: {job-name: mine}", ["sbatch: 'job-name'"]),
        ("sbatch: {partition: x}", ["sbatch: 'partition'", "--partition"]),
        ("sbatch: {'x y': 1}", ["sbatch: 'x y'", "mail-type"]),
        ("[1]", ["partition, time and finetune"]),
        ("time: 3\ntime: 4", ["'time'"]),
    ],
)
def test_a_wrong_profile_is_explained(text: str, names: list[str], tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        read_options({}, tmp_path / "p.yaml")
    (message,) = error.value.messages
    assert all(name in message for name in ["p.yaml", *names]), message


def test_a_grid_cannot_contain_slurm_options(tmp_path: Path) -> None:
    for key, value in {"setup": ["rm -rf"], "sbatch": {"comment": "x"}, "partition": "x"}.items():
        grid = write_grid(tmp_path / "g.yaml", **{key: value})
        with pytest.raises(UserError, match=f"unknown key '{key}'"):
            load_grid(grid)


@given(st.integers(0, 30), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_times_are_read_as_sbatch_reads_them(days: int, hours: int, mins: int, secs: int) -> None:
    whole = days * 1440 + hours * 60 + mins + (secs > 0)
    if whole:
        assert minutes(f"{days}-{hours:02d}:{mins:02d}:{secs:02d}") == whole
        assert minutes(f"{days * 24 + hours}:{mins:02d}:{secs:02d}") == whole
        assert minutes(f"{(days * 24 + hours) * 60 + mins}:{secs:02d}") == whole


@pytest.mark.parametrize("profile", sorted((ROOT / "docs" / "profiles").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_profiles_in_the_documentation_are_valid(profile: Path, tmp_path: Path) -> None:
    choice = read_options({}, profile)
    assert [choice.resources(kind).gpus for kind in ("finetune", "exits", "scores", "cost", "records")] == [
        1,
        1,
        1,
        0,
        0,
    ]
    plan = make_plan(load_grid(find_grid("paper-cifar100")), Store(tmp_path))
    assert arrays_of(plan, choice, {}, 1001)
    assert profile.name in (ROOT / "docs" / "slurm.md").read_text()


def test_gpus_are_counted_in_every_form_of_the_option() -> None:
    for gres, count in (
        ("gpu", 1),
        ("gpu:2", 2),
        ("gpu:a100:3", 3),
        ("gpu:a100", 1),
        ("lustre:1", 0),
        ("gpu:h100:2,tmp:9", 2),
    ):
        assert read_options({"sbatch": (f"gres={gres}",)}, None).resources("exits").gpus == count


@pytest.mark.parametrize("sign", ["%", ":"])
def test_a_results_folder_that_slurm_or_python_would_misread_is_refused(
    sign: str, tmp_path: Path, slurm: FakeSlurm
) -> None:
    store = Store(tmp_path / f"run-10{sign}30")
    with pytest.raises(UserError, match=f"must not contain '{sign}'"):
        run(plan_of(store), store)
    assert not slurm.scripts
