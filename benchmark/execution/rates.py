"""The speed of devices in finished stages, for estimates. Imports no torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable
from dataclasses import dataclass
from itertools import islice

from benchmark.errors import UserError
from benchmark.execution.estimate import Estimator
from benchmark.execution.units import Unit
from benchmark.grid.load import Grid
from benchmark.stages.graph import run_stages
from benchmark.stages.plan import Plan, make_plan
from benchmark.stages.stage import Stage
from results.provenance import Machine
from results.spec import RunSpec
from results.store.folder import Store, StoreError

LEAST_SECONDS = 1.0
"""Finished stages that took less say little about a machine's speed."""
SAMPLED_STAGES = 200
"""Finished stages whose speed is looked up."""
SAMPLED_RUNS = 100
"""Records whose stages are looked up."""


@dataclass(frozen=True)
class Rate:
    """The mean speed of one device.

    Attributes:
        machine: of one of the stages.
        tflops: 10^12 operations a second (a multiply-accumulate is two).
        stages: number of finished stages that were measured.
    """

    machine: Machine
    tflops: float
    stages: int

    @property
    def basis(self) -> str:
        return f"{self.stages} finished stage{'' if self.stages == 1 else 's'}"


def measured_rates(plan: Plan, store: Store, backbones: Collection[str] = ()) -> list[Rate]:
    """The speed of every kind of device (`Machine.name`) in the finished stages of a plan, the most measured one first.

    Args:
        plan: whose finished stages are measured.
        store: the results folder.
        backbones: names of the only backbones to consider; empty for all.
    """
    estimator = Estimator(plan, store)
    passes: dict[Hashable, list[Stage]] = defaultdict(list)
    done = (stage for stage in plan.stages if plan.is_done(stage) and stage.kind != "cost")
    chosen = (stage for stage in done if not backbones or stage.run.train.backbone in backbones)
    for stage in islice(chosen, SAMPLED_STAGES):
        passes[stage.shared_pass or stage.name].append(stage)
    macs: dict[str, float] = defaultdict(float)
    seconds: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    machines: dict[str, Machine] = {}
    for stages in passes.values():
        try:
            provenance = store.provenance(stages[0].name)
        except StoreError:  # it is damaged, or was removed by another command
            continue
        if provenance.shared_pass != len(stages) or provenance.seconds < LEAST_SECONDS:
            continue
        unit = Unit(stages[0].kind, tuple(stage.name for stage in stages), frozenset(), tuple(stages))
        device = provenance.machine.name
        machines[device] = provenance.machine
        macs[device] += estimator.unit(unit).macs
        seconds[device] += provenance.seconds * provenance.machine.ranks
        counts[device] += len(stages)
    rates = [
        Rate(machines[name], 2 * macs[name] / seconds[name] / 1e12, counts[name]) for name in machines if macs[name]
    ]
    return sorted(rates, key=lambda rate: -rate.stages)


def recorded_plan(plan: Plan, store: Store) -> Plan:
    """A plan, with the runs of any grid that have records in the results folder, for `measured_rates`."""
    recorded = [spec for run_id in islice(store.run_ids(), SAMPLED_RUNS) if (spec := _trained(store, run_id))]
    specs = (*(run.spec for run in plan.runs), *recorded)
    return make_plan(Grid(plan.grid.name, plan.grid.source, specs), store)


def _trained(store: Store, run_id: str) -> RunSpec | None:
    """The specification of a finished run that can be planned here."""
    try:
        record = store.record(run_id)
        run_stages(record.spec)
    except (StoreError, KeyError, ValueError, UserError):  # damaged, or of a plug-in that is not installed
        return None
    return record.spec if record.status == "done" and not record.is_external else None
