"""What a grid asks for beside its runs, measured after them: latencies and probes. Imports torch if some are missing."""

from __future__ import annotations

from collections.abc import Callable

from benchmark.environment import require_torch
from benchmark.execution.config import ExecutionConfig
from benchmark.stages.graph import STATIC
from benchmark.stages.plan import Plan
from results.record import DoneRecord
from results.store.folder import Store
from results.store.latency import read_latencies
from results.store.probes import without_probes


def measure_after_runs(plan: Plan, config: ExecutionConfig, say: Callable[[str], None]) -> None:
    """Measure the latencies and make the probes that the grid asks for and that its finished runs lack."""
    store = Store(config.results)
    if run_ids := without_latency(plan, store):
        require_torch()
        from benchmark.measure.grid_latency import measure_grid

        measure_grid(plan, config, run_ids, say)
    if records := unprobed(plan, store):
        require_torch()
        from benchmark.representations.grid_probes import probe_grid

        probe_grid(records, config, say)


def without_latency(plan: Plan, store: Store) -> list[str]:
    """Ids of the finished runs for which the grid asks for latencies and that have none yet, on any device."""
    if not plan.grid.latency:
        return []
    measured = read_latencies(store, damaged=[])
    others = [run.run_id for run in plan.runs if run.spec.train.method.name != STATIC.name]
    return [run_id for run_id in others if store.is_done(run_id) and run_id not in measured]


def unprobed(plan: Plan, store: Store) -> list[DoneRecord]:
    """The finished runs whose backbones the grid asks to probe and that are not probed yet."""
    if not plan.grid.probes:
        return []
    run_ids = [run.run_id for run in plan.runs if run.spec.train.exits and store.is_done(run.run_id)]
    return without_probes(store, run_ids)
