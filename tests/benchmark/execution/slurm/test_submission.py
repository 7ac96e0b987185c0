"""Submissions: their contents, and when nothing is submitted. tests/cluster uses a real Slurm."""

from __future__ import annotations

import errno
import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.execution.slurm.freeze import FrozenCode, frozen_code
from benchmark.execution.slurm.jobs import in_flight
from benchmark.execution.slurm.submission import Manifest, Submission, new_submission, submissions
from benchmark.grid.load import find_grid, load_grid
from benchmark.stages.plan import make_plan
from results.store.folder import Store
from tests.benchmark.execution.slurm.conftest import GRID, FakeSlurm, plan_of, run
from tests.conftest import torch_free
from tests.grids import write_grid
from tests.results.builders import done_record, failed_record


def test_contents_of_a_submission(slurm: FakeSlurm, store: Store) -> None:
    plan = plan_of(store)
    submission, output = run(
        plan, store, partition="gpu", gpus_per_node=1, sbatch=("mail-type=END",), setup=("module load x",)
    )
    assert submission is not None
    manifest = submission.manifest()
    assert len(slurm.scripts) == len(manifest.arrays)
    for script, array in zip(slurm.scripts, manifest.arrays, strict=True):
        assert f"--array=0-{len(array.tasks) - 1}%" in script or len(array.tasks) == 1
        assert ("--gpus-per-node=1" in script) == any(task.gpus for task in array.tasks)
        assert (f"--dependency=afterany:{':'.join(array.after)}" in script) == bool(array.after)
        assert "#SBATCH --mail-type=END" in script
        assert script.index("module load x") < script.index("export PYTHONPATH") < script.index("srun")
        assert array.job in output
    # Every missing stage and run, each once.
    tasks = [task for array in manifest.arrays for task in array.tasks]
    names = [name for task in tasks for name in task.names]
    assert sorted(names) == sorted([stage.name for stage in plan.missing_stages] + [run.run_id for run in plan.runs])
    # The code is frozen, and only its owner can read it.
    assert stat.S_IMODE(submission.folder.stat().st_mode) == 0o700
    assert frozen_code().hash == manifest.code
    copied = {path.relative_to(submission.code).as_posix() for path in submission.code.rglob("*") if path.is_file()}
    files = frozen_code({"fashion-mnist-mini"})
    assert copied == {*files.code, *files.data, "frozen.json"}
    assert json.loads((submission.code / "frozen.json").read_text())["frozen"] == manifest.code
    assert [run.spec for run in submission.settings().plan(store).runs] == [run.spec for run in plan.runs]


def test_cpus_of_each_gpu_are_left_to_the_user_or_the_site(slurm: FakeSlurm, store: Store) -> None:
    """sbatch refuses --cpus-per-gpu together with --cpus-per-task, which would also replace the site's own number per GPU."""
    run(plan_of(store), store, gpus_per_node=2, sbatch=("cpus-per-gpu=8",))
    assert any("--cpus-per-gpu=8" in script for script in slurm.scripts)
    assert not any("--cpus-per-task" in script for script in slurm.scripts)


def test_stages_in_flight_are_not_submitted_again(slurm: FakeSlurm, store: Store) -> None:
    plan = plan_of(store)
    submission, _ = run(plan, store)
    assert submission is not None
    jobs = [task.job for array in submission.manifest().arrays for task in array.tasks]
    waiting = ["|".join([*(job.split("_") if "_" in job else [job, "N/A"]), "PENDING", "Priority", ""]) for job in jobs]
    slurm.says("squeue", "\n".join(waiting) + "\n")
    again, output = run(plan, store)
    assert again is None
    assert "12 in flight" in output
    # A larger grid: its jobs depend on the jobs in flight that make shared stages.
    larger = plan_of(store, methods=[*GRID["methods"], "homogeneous-global"])
    more, _ = run(larger, store)
    assert more is not None
    arrays = more.manifest().arrays
    assert not any(task.kind == "finetune" for array in arrays for task in array.tasks)
    exits = next(array for array in arrays if any(task.kind == "exits" for task in array.tasks))
    makers = {task.job for a in submission.manifest().arrays for task in a.tasks if task.kind == "finetune"}
    assert makers <= set(exits.after)
    # After jobs that ended without a result, everything is tried again.
    slurm.says("squeue", "\n".join(waiting).replace("PENDING", "CANCELLED") + "\n")
    assert in_flight(store.root) == {}


def test_submissions_of_the_same_second_have_folders_of_their_own(tmp_path: Path) -> None:
    made = [new_submission(tmp_path, "many", "0123456789abcdef") for _ in range(3)]
    assert len({submission.folder for submission in made}) == 3
    assert all(submission.jobs.is_dir() and "-many-01234567" in submission.name for submission in made)


@pytest.mark.parametrize(("mode", "expected"), [(0o755, 0o700), (0o2775, 0o750)])
def test_a_team_may_read_the_submissions_of_its_folder(mode: int, expected: int, tmp_path: Path) -> None:
    tmp_path.chmod(mode)
    folder = new_submission(tmp_path, "many", "0123456789abcdef").folder
    assert stat.S_IMODE(folder.stat().st_mode) & 0o777 == expected
    assert folder.parent.stat().st_mode & 0o050 == 0o050  # a second user can submit, too


def test_a_refused_array_cancels_the_others(slurm: FakeSlurm, store: Store) -> None:
    slurm.says("refuse", "")
    with pytest.raises(UserError, match=r"Job violates accounting/QOS policy; 2 submitted arrays were cancelled"):
        run(plan_of(store), store)
    assert (slurm.folder / "cancelled").read_text().split() == ["100", "101"]
    assert in_flight(store.root) == {}


@pytest.mark.parametrize(
    ("error", "scancel"),
    [(OSError(errno.ENOSPC, "No space left on device"), "exit 0"), (KeyboardInterrupt(), "exit 1")],
)
def test_a_submission_that_ends_early_cancels_its_jobs_and_keeps_their_folder(
    error: BaseException, scancel: str, slurm: FakeSlurm, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(submission: Submission, manifest: Manifest) -> None:
        raise error

    monkeypatch.setattr(Submission, "write_manifest", fails)
    (slurm.folder / "bin" / "scancel").write_text(f'#!/bin/sh\necho "$@" >> "$FAKE/cancelled"\n{scancel}\n')
    with pytest.raises(UserError) as ended:
        run(plan_of(store), store)
    assert (slurm.folder / "cancelled").read_text().split() == ["100"]
    assert ("scancel 100" in str(ended.value)) == (scancel == "exit 1")
    (folder,) = (store.root / "submissions").iterdir()
    assert (folder / "code").is_dir()  # a job that could not be cancelled runs from it


def test_two_commands_do_not_submit_the_same_stages(
    slurm: FakeSlurm, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(store, methods=["static"], seeds=[0])
    first, _ = run(plan, store)
    assert first is not None
    before = len(slurm.scripts)
    # The first question to Slurm is answered before the other command has submitted.
    queued = {name: task.job for task in first.manifest().tasks for name in task.names}
    answers = iter([{}, queued])
    monkeypatch.setattr("benchmark.cli.slurm.in_flight", lambda root: next(answers))
    with pytest.raises(UserError, match="just submitted"):
        run(plan, store)
    assert len(slurm.scripts) == before


def test_a_refused_submission_keeps_failed_records(slurm: FakeSlurm, store: Store) -> None:
    plan = plan_of(store)
    record = store.run(plan.runs[0].run_id) / "record.json"
    with store.write_run(failed_record(plan.runs[0].run_id, spec=plan.runs[0].spec)):
        pass
    slurm.says("refuse", "")
    with pytest.raises(UserError, match="QOS policy"):
        run(plan, store)
    assert record.is_file()
    (slurm.folder / "refuse").unlink()
    run(plan, store)
    assert not record.exists()  # the run is tried again


def test_a_second_command_waits_until_the_first_has_submitted(slurm: FakeSlurm, store: Store) -> None:
    path = store.root / "submissions" / ".lock"
    path.parent.mkdir(parents=True)
    code = f"import fcntl; f = open({str(path)!r}, 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(UserError, match="another command is submitting"):
            run(plan_of(store, methods=["static"], seeds=[0]), store)
        other.communicate(b"\n")
    assert not slurm.scripts


def test_a_manifest_of_another_version_is_read_or_named(slurm: FakeSlurm, store: Store) -> None:
    submission, _ = run(plan_of(store, methods=["static"], seeds=[0]), store)
    assert submission is not None
    path = submission.folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": "red"}))
    assert len(submissions(store.root)) == 1
    path.write_text("{}")
    assert submissions(store.root) == []
    _, output = run(plan_of(store, methods=["static"], seeds=[0]), store, dry_run=True)
    assert f"submission {submission.name} cannot be read" in output


def test_images_that_are_not_on_the_login_node_are_named(slurm: FakeSlurm, store: Store) -> None:
    plan = make_plan(load_grid(find_grid("paper-cifar100")), store)
    _, output = run(plan, store, dry_run=True)
    assert "Warning: dataset cifar-100 was not found" in output


def test_a_full_disk_is_one_sentence_and_leaves_no_files(
    slurm: FakeSlurm, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(files: FrozenCode, target: Path, plug_ins: Path) -> str:
        target.mkdir()
        raise OSError(errno.EDQUOT, "Disk quota exceeded", str(target))

    monkeypatch.setattr("benchmark.execution.slurm.submit.freeze", full)
    with pytest.raises(UserError, match="Disk quota exceeded"):
        run(plan_of(store), store)
    assert not slurm.scripts
    assert not list((store.root / "submissions").iterdir())


def test_a_plan_above_the_limit_of_gpu_hours_is_refused(slurm: FakeSlurm, store: Store) -> None:
    plan = make_plan(load_grid(find_grid("paper-cifar100")), store)
    with pytest.raises(UserError, match=r"\d+\.\d GPU-hours at 10 TFLOP/s a GPU .*--tflops.* 100$"):
        run(plan, store, gpus_per_node=1, max_gpu_hours=100.0)
    assert not slurm.scripts
    assert not store.root.exists()


def test_without_squeue_nothing_is_submitted_over_something(slurm: FakeSlurm, store: Store) -> None:
    run(plan_of(store), store)
    (slurm.folder / "squeue").unlink()
    with pytest.raises(UserError, match="squeue"):
        run(plan_of(store), store)


def test_a_dry_run_needs_neither_slurm_nor_torch(without_torch: dict[str, str], tmp_path: Path) -> None:
    done = torch_free(
        without_torch, "run", "--grid", "paper-cifar100", "--executor", "slurm", "--results", tmp_path / "r",
        "--gpus-per-node", 1, "--dry-run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "GPU-hours" in done.stdout
    assert "#SBATCH --gpus-per-node=1" in done.stdout
    assert re.search(r"\d+ files of code, \d MB", done.stdout)
    assert not (tmp_path / "r").exists()


def test_a_finished_grid_computes_nothing_on_the_login_node(without_torch: dict[str, str], tmp_path: Path) -> None:
    grid, store = write_grid(tmp_path / "grid.yaml", latency=[1]), Store(tmp_path / "r")
    for one in make_plan(load_grid(grid), store).runs:
        with store.write_run(done_record(one.run_id, spec=one.spec)):
            pass
    done = torch_free(
        without_torch, "run", "--grid", grid, "--executor", "slurm", "--results", store.root, "--out", tmp_path / "report",
        "--dry-run",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "latencies of the grid are not measured" in " ".join(done.stdout.split())
    assert not (tmp_path / "report").exists()


def test_a_dry_run_asks_slurm_when_tasks_would_start(slurm: FakeSlurm, store: Store) -> None:
    plan = plan_of(store)
    for expected in ("start at 2026-11-29T20:00:00", "node configuration is not available"):
        submission, output = run(plan, store, gpus_per_node=1, dry_run=True)
        assert submission is None
        tested = [line for line in output.splitlines() if line.startswith("sbatch --test-only")]
        assert len(tested) == 2  # with a GPU, and without
        assert output.count(expected) == len(tested)
        slurm.says("refuse", "")
    assert not slurm.scripts
