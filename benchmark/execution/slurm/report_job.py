"""``python -m benchmark.execution.slurm.report_job``: the last job of a submission; writes missing records, and the report."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from benchmark.execution.causes import sentence_of
from benchmark.execution.slurm.node import FAILED, NodeTask
from benchmark.pictures import Pictures
from reports.paper import build_report

NOTIFY_SECONDS = 60.0


def main(folder: str, kind: str, processes: str) -> int:
    """The exit code: 1 if runs of the grid are not finished. An error is part of the summary for --notify."""
    task = NodeTask(folder, kind, processes)
    unrecorded = [run.run_id for run in task.plan.runs if not (task.store.run(run.run_id) / "record.json").is_file()]
    sentences = [f"grid {task.settings.grid} in {task.store.root}"]
    try:
        if unrecorded:
            task.record_runs(unrecorded)
        sentences += report(task)
    except BaseException as error:
        sentences.append(f"the report failed: {sentence_of(error)}")
        raise
    finally:
        if task.settings.notify:
            notify(task.settings.notify, "\n".join(sentences))
    return 0 if all(task.store.is_done(run_id) for run_id in task.settings.report_runs) else FAILED


def report(task: NodeTask) -> Iterator[str]:
    """Write the report. Yields, and prints, what it contains and what it leaves out."""
    settings, run_ids = task.settings, task.settings.report_runs
    done = sum(task.store.is_done(run_id) for run_id in run_ids)
    yield from _printed(f"{done} of {len(run_ids)} runs are finished")
    if not done:
        yield from _printed("so there is nothing to report")
    elif settings.formats:
        problems = build_report(
            task.store, list(run_ids), title=settings.grid, out=settings.out, formats=settings.formats,
            pictures=Pictures(settings.execution.data_dir),
        )  # fmt: skip
        yield from _printed(*problems, f"the report is in {settings.out}")


def notify(command: str, summary: str) -> None:
    """Run the user's command; its failure is printed and changes nothing else."""
    try:
        code = subprocess.run(
            command, shell=True, input=summary + "\n", text=True, timeout=NOTIFY_SECONDS, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        code = -1
    if code:
        print(f"--notify {command!r} failed with exit code {code}", flush=True)


def _printed(*sentences: str) -> Iterator[str]:
    for sentence in sentences:
        print(sentence, flush=True)
        yield sentence


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
