"""The last job of a submission: the report, from whatever records there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmark.execution.slurm.submission import Settings
from benchmark.pictures import Pictures
from reports.paper import build_report
from results.store.folder import Store


def write_report(store: Store, run_ids: Sequence[str], settings: Settings, say: Callable[[str], None]) -> None:
    """As ``run`` writes it at its end; a grid without any finished run gets none."""
    done = [run_id for run_id in run_ids if store.is_done(run_id)]
    if not done:
        say(
            f"none of the {len(run_ids)} runs is finished, so there is nothing to report; see python -m benchmark status"
        )
        return
    pictures = Pictures(settings.data_dir)
    for problem in build_report(store, list(run_ids), title=settings.grid, out=settings.out, pictures=pictures):
        say(problem)
    say(f"{len(done)} of {len(run_ids)} runs are finished; the report is {settings.out / 'paper.pdf'}")
