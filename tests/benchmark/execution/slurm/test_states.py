"""States of jobs in Slurm, and the states of stages and causes of failures that follow from them."""

from __future__ import annotations

import io
import itertools
import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.exceptions import Exit
from click.testing import CliRunner
from filelock import FileLock
from rich.console import Console

from benchmark.cli import follow as follow_module
from benchmark.cli.cancel import command as cancel
from benchmark.cli.follow import follow
from benchmark.cli.slurm_options import check_executor
from benchmark.cli.status import _is_active
from benchmark.cli.status_view import screen
from benchmark.errors import UserError
from benchmark.execution.cancelling import cancel as cancel_grid
from benchmark.execution.cancelling import cancel_jobs, name_of_grid
from benchmark.execution.slurm import scheduler
from benchmark.execution.slurm.failures import cause_of, last_failure, note_end, note_job_failures
from benchmark.execution.slurm.jobs import in_flight, scheduled_stages
from benchmark.execution.slurm.submission import Submission
from benchmark.execution.slurm.task import NOT_REQUEUED
from benchmark.execution.status import status_of
from results.store.attempts import this_process
from results.store.commands import LOCK, Command
from results.store.folder import Store
from tests.benchmark.execution.slurm.conftest import FakeSlurm, plan_of, run


def test_states_come_from_the_queue_then_from_accounting(slurm: FakeSlurm) -> None:
    slurm.says("squeue", "7|0|RUNNING|None|n1\n7|1|PENDING|Resources|\n9|N/A|COMPLETING|None|n2\n")
    slurm.says("sacct", "7_[4-5,8]|CANCELLED by 0|0:0|\n6|OUT_OF_MEMORY|0:125|n3\n6.batch|FAILED|0:9|n3\n")
    states = scheduler.states_of(["7_0", "7_1", "7_5", "7_8", "9", "6", "5"])
    assert {job: state.state for job, state in states.items()} == {
        "7_0": "RUNNING", "7_1": "PENDING", "7_5": "CANCELLED", "7_8": "CANCELLED", "9": "COMPLETING", "6": "OUT_OF_MEMORY",
        "5": scheduler.LOST,
    }  # fmt: skip
    assert [job for job, state in states.items() if state.in_flight] == ["7_0", "7_1", "9"]
    (slurm.folder / "sacct").unlink()  # a site without accounting
    assert scheduler.states_of(["6"])["6"].state == scheduler.LOST


def test_causes_that_only_slurm_knows_are_noted(slurm: FakeSlurm, store: Store) -> None:
    plan = plan_of(store)
    submission, _ = run(plan, store)
    assert submission is not None
    tasks = {name: task.job for array in submission.manifest().arrays for task in array.tasks for name in task.names}
    stage = plan.runs[0].reference
    slurm.says(
        "sacct",
        "".join(
            f"{job}|{'OUT_OF_MEMORY' if job == tasks[stage.name] else 'COMPLETED'}|0:9|n1\n" for job in tasks.values()
        ),
    )
    note_job_failures(store, plan.runs[:1])
    (end,) = store.progress(stage.name).attempts()
    assert (end.outcome, end.failure) == ("failed", "oom")
    assert f"job {tasks[stage.name]}" in end.sentence
    assert end.by.log == str(submission.log(tasks[stage.name]))
    note_job_failures(store, plan.runs[:1])  # the cause is recorded once
    assert len(store.progress(stage.name).attempts()) == 1


def test_an_out_of_memory_kill_is_in_the_accounting_of_its_step(slurm: FakeSlurm) -> None:
    slurm.says("sacct", "7_0|FAILED|1:0|n1\n7_0.batch|FAILED|1:0|n1\n7_0.0|OUT_OF_MEMORY|0:125|n1\n7_1|FAILED|1:0|n1\n")
    states = scheduler.states_of(["7_0", "7_1"])
    assert {job: state.state for job, state in states.items()} == {"7_0": "OUT_OF_MEMORY", "7_1": "FAILED"}


@pytest.mark.parametrize(("slurms", "cause"), [("OUT_OF_MEMORY", "oom"), ("FAILED", "error")])
@pytest.mark.slow
def test_slurms_cause_replaces_what_a_surviving_process_saw(
    slurms: str, cause: str, slurm: FakeSlurm, store: Store
) -> None:
    plan = plan_of(store)
    submission, _ = run(plan, store)
    assert submission is not None
    stage = plan.runs[0].reference
    job = next(task.job for task in submission.manifest().tasks if stage.name in task.names)
    note_end(store, this_process(submission.name), [stage.name], "error", "connection closed by peer")
    # The queue lists an ended job before accounting does.
    slurm.says("squeue", f"{job.replace('_', '|')}|FAILED|NonZeroExitCode|n1\n")
    slurm.says("sacct", f"{job}|FAILED|1:0|n1\n{job}.0|{slurms}|0:125|n1\n")
    note_job_failures(store, plan.runs[:1])
    assert store.progress(stage.name).attempts()[-1].failure == cause


@pytest.mark.parametrize(
    ("state", "reason", "failure"),
    [
        ("OUT_OF_MEMORY", "exit code 0:125", "oom"),
        ("TIMEOUT", "exit code 0:0", "time-limit"),
        ("NODE_FAIL", "exit code 0:0", "node-failure"),
        ("CANCELLED", "exit code 0:15", "cancelled"),
        ("FAILED", "exit code 137:0", "killed"),
        ("FAILED", "exit code 9:0", "killed"),
        ("FAILED", "exit code 0:9", "killed"),
        ("FAILED", f"exit code {NOT_REQUEUED}:0", "time-limit"),
        ("FAILED", "exit code 1:0", "error"),
        ("FAILED", "exit code 0:53", "error"),
        ("COMPLETED", "exit code 0:0", "error"),
        ("SOMETHING_NEW", "", "error"),
        (scheduler.LOST, "", "killed"),
    ],
)
def test_slurms_final_state_is_a_kind_of_cause(state: str, reason: str, failure: str, tmp_path: Path) -> None:
    cause, sentence = cause_of("7_0", scheduler.JobState(state, reason, "n1"), tmp_path)
    assert cause == failure
    assert "job 7_0" in sentence
    assert state in sentence


def test_a_lost_job_without_a_log_was_cancelled_while_it_waited(tmp_path: Path) -> None:
    cause, _ = cause_of("7_0", scheduler.JobState(scheduler.LOST), tmp_path / "7_0_0_log.out")
    assert cause == "cancelled"


def test_status_shows_waiting_and_impossible_jobs(slurm: FakeSlurm, store: Store) -> None:
    plan = plan_of(store)
    submission, _ = run(plan, store)
    assert submission is not None
    manifest = submission.manifest()
    first = next(task.job for array in manifest.arrays for task in array.tasks if task.kind == "finetune")
    waiting = [task.job for array in manifest.arrays for task in array.tasks if task.job != first]
    lines = [
        "|".join([*(job.split("_") if "_" in job else [job, "N/A"]), "PENDING", "Dependency", ""]) for job in waiting
    ]
    slurm.says("squeue", "\n".join(lines) + "\n")
    slurm.says("sacct", f"{first}|NODE_FAIL|0:0|n7\n")
    status = status_of(plan, store, scheduled_stages)
    (lost,) = [stage for stage in status.stages.values() if stage.state == "lost"]
    assert lost.stage.kind == "finetune"
    assert lost.log == str(submission.log(first))
    console = Console(file=io.StringIO(), width=120)
    console.print(screen(status, None))
    shown = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert f"its node failed, and Slurm did not requeue it (job {first}: NODE_FAIL" in shown
    assert "waits (Dependency)" in shown


def test_waiting_ends_with_the_last_job_and_reports_unfinished_runs(slurm: FakeSlurm, store: Store) -> None:
    with pytest.raises(Exit) as ended:  # this Slurm has no jobs, and no stage is finished
        run(plan_of(store), store, wait=True)
    assert ended.value.exit_code == 1


def test_waiting_goes_on_while_the_controller_does_not_respond(
    slurm: FakeSlurm, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (slurm.folder / "bin" / "squeue").write_text(
        '#!/bin/sh\necho >> "$FAKE/questions"\n[ "$(wc -l < "$FAKE/questions")" -gt 4 ] || exit 1\n'
    )
    clock = itertools.count(step=60)
    monkeypatch.setattr(
        follow_module, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda seconds: None)
    )
    with pytest.raises(Exit) as ended:
        run(plan_of(store), store, wait=True)
    assert ended.value.exit_code == 1
    assert (slurm.folder / "questions").read_text().count("\n") > 4


def test_slurm_is_asked_seldom(slurm: FakeSlurm, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(store)
    run(plan, store)
    (slurm.folder / "bin" / "squeue").write_text('#!/bin/sh\necho >> "$FAKE/questions"\n')
    clock = itertools.count()
    monkeypatch.setattr(
        follow_module, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda seconds: None)
    )
    asked = iter([True, True, False])
    follow(Console(file=io.StringIO()), plan, store, lambda status: next(asked))
    assert (slurm.folder / "questions").read_text().count("\n") == 3
    assert next(clock) > 2 * follow_module.SCHEDULER_SECONDS


def test_options_require_their_executor() -> None:
    with pytest.raises(UserError, match=r"--gpus-per-node .*--executor slurm"):
        check_executor("local", {"gpus_per_node": 0}, workers=True)
    with pytest.raises(UserError, match=r"--workers .*--executor local"):
        check_executor("slurm", {}, rehearse=False, workers=True)
    check_executor("local", {}, workers=True)


def in_queue(jobs: list[str], state: str) -> str:
    return "".join(
        "|".join([*(job.split("_") if "_" in job else [job, "N/A"]), state, "None", ""]) + "\n" for job in jobs
    )


def test_a_task_that_is_cancelled_while_it_waits_leaves_its_cause(slurm: FakeSlurm, store: Store) -> None:
    plan = plan_of(store)
    submission, _ = run(plan, store)
    assert submission is not None
    jobs = [task.job for task in submission.manifest().tasks]
    slurm.says("squeue", in_queue(jobs, "RUNNING"))
    assert f"cancelled {len(jobs)} Slurm tasks" in str(cancel_jobs(store, plan.grid.name))
    assert not list(store.root.glob("progress/*"))  # the processes of running tasks record their ends
    slurm.says("squeue", in_queue(jobs, "PENDING"))
    cancel_jobs(store, plan.grid.name)
    slurm.says("squeue", "")  # nor has this site accounting
    status = status_of(plan, store, scheduled_stages)
    assert status.totals["failed"] == len(plan.runs)
    assert {one.failure for one in status.runs} == {"cancelled"}
    assert "its job was cancelled (job" in status.runs[0].sentence


@pytest.mark.parametrize("edit", ["nonsense: 1", None])
def test_jobs_of_a_grid_file_that_is_no_longer_valid_are_cancelled(
    edit: str | None, slurm: FakeSlurm, store: Store
) -> None:
    plan = plan_of(store)
    submission, _ = run(plan, store)
    assert submission is not None
    slurm.says("squeue", in_queue([task.job for task in submission.manifest().tasks], "RUNNING"))
    path = plan.grid.source
    if edit is None:
        path.unlink()
    else:
        path.write_text(edit)
    done = CliRunner().invoke(cancel, ["--grid", str(path), "--results", str(store.root)])
    assert f"cancelled {len(submission.manifest().tasks)} Slurm tasks" in done.output
    assert name_of_grid(store, plan.grid.name, None, ()) == plan.grid.name
    with pytest.raises(UserError, match="no file"):
        name_of_grid(store, str(path.with_name("other.yaml")), None, ())


def test_jobs_are_cancelled_while_a_command_runs_another_grid(slurm: FakeSlurm, store: Store) -> None:
    plan = plan_of(store)
    submission, _ = run(plan, store)
    assert submission is not None
    slurm.says("squeue", in_queue([task.job for task in submission.manifest().tasks], "RUNNING"))
    with FileLock(store.root / LOCK, timeout=0), Command.open(store, "another", plan.grid.source):
        (sentence,) = cancel_grid(store, plan.grid.name, now=False)
    assert f"Slurm tasks of {plan.grid.name};" in sentence


def test_a_file_from_which_several_grids_were_started_names_none_of_them(slurm: FakeSlurm, store: Store) -> None:
    plan = plan_of(store)
    run(plan, store)
    plan.grid.source.write_text("name: [")
    with (
        FileLock(store.root / LOCK, timeout=0),
        Command.open(store, "another", plan.grid.source),
        pytest.raises(UserError, match=f"was started as another, {plan.grid.name}: give one of these names"),
    ):
        name_of_grid(store, str(plan.grid.source), None, ())


def test_a_command_whose_grid_file_is_no_longer_valid_is_known(tmp_path: Path) -> None:
    store, path = Store(tmp_path / "results"), tmp_path / "grid.yaml"
    path.write_text("name: [")
    with FileLock(store.root / LOCK, timeout=0), Command.open(store, "mine", path):
        assert name_of_grid(store, str(path), None, ()) == "mine"
    with pytest.raises(UserError, match=r"grid\.yaml"):
        name_of_grid(store, str(path), None, ())


def test_tasks_of_another_user_are_in_flight_and_not_cancelled(
    slurm: FakeSlurm, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(store)
    submission, _ = run(plan, store)
    assert submission is not None
    jobs = [task.job for task in submission.manifest().tasks]
    slurm.says("squeue", in_queue(jobs, "PENDING"))
    monkeypatch.setattr(Submission, "owner", 1)
    assert len(in_flight(store.root)) > len(jobs)
    sentence = cancel_jobs(store, plan.grid.name)
    assert f"{len(jobs)} Slurm tasks belong to {pwd.getpwuid(1).pw_name}" in str(sentence)
    assert not (slurm.folder / "cancelled").exists()
    squeue = slurm.folder / "squeue-arguments"
    assert f"--user={os.getuid()},1" in squeue.read_text().replace("1,0", "0,1")
    squeue.unlink()
    note_job_failures(store, plan.runs)  # the report of another user's jobs knows that they still run
    assert f"--user={os.getuid()},1" in squeue.read_text().replace("1,0", "0,1")
    assert not any(last_failure(store, name) for name in in_flight(store.root))


def test_a_failed_stage_without_a_record_is_shown_with_its_cause(store: Store) -> None:
    plan = plan_of(store)
    stage = plan.runs[0].reference
    note_end(store, this_process("ended"), [stage.name], "disk-full", "OSError: no space left")
    status = status_of(plan, store)
    failed = [one for one in status.runs if one.state == "failed"]
    assert {one.failure for one in failed} == {"disk-full"}
    console = Console(file=io.StringIO(), width=120)
    console.print(screen(status, None))
    shown = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "OSError: no space left" in shown
    assert "--results" in shown


def test_many_lost_tasks_fit_on_a_screen(slurm: FakeSlurm, store: Store) -> None:
    plan = plan_of(store, seeds=list(range(20)))
    run(plan, store)
    status = status_of(plan, store, scheduled_stages)  # neither squeue nor sacct knows the jobs
    assert status.totals["lost"] == len(plan.runs)
    assert not _is_active(status)  # so --watch ends
    console = Console(file=io.StringIO(), width=120)
    console.print(screen(status, None))
    assert len(console.file.getvalue().splitlines()) < 60  # type: ignore[attr-defined]
