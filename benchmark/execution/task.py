"""A task makes stages and records runs. Every way to execute a plan calls `run_task`."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from benchmark.errors import HeldElsewhereError, Interrupted, RankError
from benchmark.execution.causes import failure_of, sentence_of
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.device import set_up_device
from benchmark.execution.maker import StageMaker
from benchmark.execution.process_group import process_group
from benchmark.execution.rank_worker import follow
from benchmark.execution.recorder import FATAL
from benchmark.progress import Reporter
from benchmark.run_reference import short_id
from benchmark.stages.plan import Plan
from benchmark.stages.stage import RunStages, Stage
from results.record import DoneRecord, FailedRecord, FailureCause

POLL_SECONDS = 0.5
WAIT_SECONDS = 60.0
"""After this time without progress, the process that others wait for is named."""


@dataclass(frozen=True)
class StageFailure:
    """A stage that could not be made: its name, the kind of cause, and a sentence."""

    name: str
    cause: FailureCause
    sentence: str


def run_task(
    plan: Plan,
    config: ExecutionConfig,
    reporter: Reporter,
    *,
    stages: Collection[str],
    runs: Collection[str] = (),
) -> list[StageFailure]:
    """Make stages and record runs in this process. Idempotent: finished ones are skipped.

    Several processes may call this for the same names in one results folder: each stage is made by one of them, under its
    lock. If torch's launcher started this process as one of several ranks (`benchmark.execution.launch`), every rank
    calls this with the same arguments: rank 0 does the work, and the other ranks take part in its trainings and scorings.

    Args:
        plan: that holds the stages and runs.
        config: of this process.
        reporter: shows progress; says when to stop.
        stages: names of the stages to make. A missing parent that is not among them blocks a stage.
        runs: ids of the runs to record, each as done if all its stages exist, else as failed. A run with a record, done or
            failed, is skipped.

    Returns:
        the stages that could not be made. Runs that failed have a record with the cause.

    Raises:
        Interrupted: the reporter asked to stop; the checkpoint is written.
        HeldElsewhereError: see `ExecutionConfig.lock_seconds`.
        UserError, UnwritableError: an error that affects every run.
        RankError: another rank failed or died.
        Exception: any error of rank 0 for which other ranks are still waiting.
    """
    device = set_up_device(config)
    with process_group(device) as context:
        maker = StageMaker(plan, config, reporter, device, context)
        if not context.ranks.leads:
            follow(context, maker.builder, plan)
            return []
        task = _Task(maker, plan, frozenset(stages), frozenset(runs))
        try:
            task.carry_out()
        except Interrupted:
            context.dismiss()
            raise
        context.dismiss()
        return task.failures


def run_plan(plan: Plan, config: ExecutionConfig, reporter: Reporter) -> None:
    """`run_task` for all missing stages and runs of a plan."""
    runs = plan.missing_runs
    stages = {stage.name for run in runs for stage in run.chain}
    run_task(plan, config, reporter, stages=stages, runs=[run.run_id for run in runs])


class _Task:
    """Goes through the work repeatedly, and does what no other process is doing, until everything is done."""

    def __init__(self, maker: StageMaker, plan: Plan, stages: frozenset[str], runs: frozenset[str]) -> None:
        self.maker, self.store, self.attempts = maker, maker.store, maker.attempts
        self.names = stages
        self.work = list(_work(plan, stages, runs))
        self.failures: list[StageFailure] = []
        self.seconds: dict[str, float] = defaultdict(float)
        self.named: set[str] = set()

    def carry_out(self) -> None:
        left = [*enumerate(self.work, start=1)]
        progress_at = time.monotonic()
        while left:
            progressed = False
            remaining = []
            for number, (stages, run) in left:
                self.maker.place = f"run {number}/{len(self.work)}: " if run else ""
                done, moved = self._advance(stages, run)
                progressed |= moved
                if not done:
                    remaining.append((number, (stages, run)))
            left = remaining
            if progressed:
                progress_at = time.monotonic()
            elif left:
                if self.maker.reporter.stop_requested():
                    raise Interrupted
                self._check_wait(time.monotonic() - progress_at)
                self.maker.reporter.waiting()
                time.sleep(POLL_SECONDS)

    def _check_wait(self, seconds: float) -> None:
        """Name the process of another session that has been making the missing stages, or of an earlier start of this job.

        Raises:
            HeldElsewhereError: it has been making them for longer than is allowed.
        """
        limit = self.maker.config.lock_seconds
        if seconds < (WAIT_SECONDS if limit is None else limit):
            return
        missing = [stage.name for stages, _ in self.work for stage in stages if not self.store.has_stage(stage.name)]
        makers = {name: beat.by for name in missing if (beat := self.store.progress(name).heartbeat())}
        others = {name: worker for name, worker in makers.items() if not worker.counts_for(self.attempts.worker)}
        if not others or len(others) != len(makers):
            return
        name, worker = next(iter(others.items()))
        start = f", start {worker.restarts + 1} of job {worker.job}" if worker.job else ""
        by = f"process {worker.pid} on {worker.host}{start}"
        if limit is not None:
            raise HeldElsewhereError(f"{name} has been made by {by} for {seconds:.0f} s")
        if by not in self.named:
            self.named.add(by)
            self.maker.reporter.say(f"{name}: waiting for {by}, which makes it")

    def _advance(self, stages: Sequence[Stage], run: RunStages | None) -> tuple[bool, bool]:
        """Make the stages that can be made now, then record the run.

        Returns:
            whether this part of the work is done, and whether anything was done now.
        """
        if run is not None and self._is_recorded(run):
            return True, False
        moved = waiting = failed = False
        for stage in stages:
            if self.store.has_stage(stage.name):
                continue
            if attempt := self.attempts.failed(stage.name):
                failed = True
                self.failures.append(StageFailure(stage.name, attempt.failure or "error", attempt.sentence))
                break
            if any(self._is_expected(parent) for parent in stage.parents):
                waiting = True
                continue
            start = time.monotonic()
            try:
                made = self.maker.make(stage)
            except (Interrupted, RankError):
                raise
            except Exception as error:  # also recorded in the attempts of the stage, for other processes
                if self.maker.reporter.stop_requested():
                    raise Interrupted from error
                if self.maker.context.out_of_step or (run is not None and isinstance(error, FATAL)):
                    raise
                if run is None:  # else the run's record says it
                    self.maker.reporter.say(f"{stage.name} failed: {sentence_of(error)}")
                self.failures.append(StageFailure(stage.name, failure_of(error), sentence_of(error)))
                moved = failed = True
                break
            if run is not None:
                self.seconds[run.run_id] += time.monotonic() - start
            moved |= made
            waiting |= not made
        if waiting and not failed:
            return False, moved
        return (True, moved) if run is None else self._record(run, moved)

    def _is_expected(self, stage: Stage) -> bool:
        """Whether a missing stage belongs to this task and may still be made by another process."""
        return (
            stage.name in self.names
            and not self.store.has_stage(stage.name)
            and self.attempts.failed(stage.name) is None
        )

    def _record(self, run: RunStages, moved: bool) -> tuple[bool, bool]:
        with self.attempts.locked([run.run_id]) as locked:
            if not locked:
                return False, moved
            if self._is_recorded(run):
                return True, moved
            record = self.maker.recorder.conclude(run, self.seconds[run.run_id])
            self.store.progress(run.run_id).remove_lock()
        self.maker.reporter.say(f"{self.maker.place}{self._sentence(record)}")
        return True, True

    def _sentence(self, record: DoneRecord | FailedRecord) -> str:
        if record.status == "done":
            return f"{short_id(record.run_id)} ({record.label}) is recorded"
        details = self.store.run(record.run_id) / "traceback.txt"
        see = f" (see {details})" if details.is_file() else ""
        return f"{record.run_id} failed: {record.cause}{see}"

    def _is_recorded(self, run: RunStages) -> bool:
        return (self.store.run(run.run_id) / "record.json").is_file()


def _work(plan: Plan, stages: frozenset[str], runs: frozenset[str]) -> Iterator[tuple[list[Stage], RunStages | None]]:
    """The parts of a task: each stage that no run of the task needs; then each run with its stages."""
    named = [run for run in plan.runs if run.run_id in runs]
    needed = {stage.name for run in named for stage in run.chain}
    for stage in plan.stages:
        if stage.name in stages and stage.name not in needed:
            yield [stage], None
    for run in named:
        yield [stage for stage in run.chain if stage.name in stages], run
