"""The runs of a results folder, for tests."""

from __future__ import annotations

from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.run import Run


def runs_by_method(store: Store) -> dict[str, Run]:
    """All runs, each with a method of its own; none may be damaged."""
    runs, problems = load_runs(store, store.run_ids())
    assert problems == []
    by_method = {run.method: run for run in runs}
    assert len(by_method) == len(runs)
    return by_method
