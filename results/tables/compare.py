"""Differences of two runs, or of two sets of runs: specs, code, environment and results."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from results.record import DoneRecord
from results.stats.significance import holm
from results.stats.statistics import detectable_difference
from results.tables.pairing import paired
from results.tables.run import STATIC, Run

IGNORED = ("finished", "seconds", "peak_memory_bytes", "gpu_peak_memory_bytes")


@dataclass(frozen=True)
class Difference:
    """A field in which two records differ."""

    field: str
    first: Any
    second: Any


def record_differences(first: DoneRecord, second: DoneRecord) -> dict[str, list[Difference]]:
    """Differences in ``spec``, ``code`` (commit and versions of the stages) and ``environment`` (machine)."""
    code = [
        record.provenance.code.model_dump() | {f"stage {stage.stage}": stage.code for stage in record.stages}
        for record in (first, second)
    ]
    return {
        "spec": differences(*(record.spec.model_dump(mode="json") for record in (first, second))),
        "code": differences(*code),
        "environment": differences(*(record.provenance.machine.model_dump() for record in (first, second))),
    }


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    """The values in which two nested mappings differ, with dotted names; a missing value is None."""
    flat = flattened(first), flattened(second)
    names = dict.fromkeys([*flat[0], *flat[1]])
    return [
        Difference(name, flat[0].get(name), flat[1].get(name))
        for name in names
        if name not in IGNORED and flat[0].get(name) != flat[1].get(name)
    ]


def flattened(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one mapping with dotted names; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def point_differences(first: Run, second: Run) -> pd.DataFrame:
    """First minus second at every operating point that both reached, and for the backbone without exits.

    Columns: point, first and second (accuracies), difference; first_macs and second_macs (mean MACs). For runs with the same
    test samples also low and high (paired interval over test samples), detectable, discordant (share of samples with a
    difference), p (sign-flip test) and p_holm (adjusted over all points).
    """
    rows = []
    reached = [{p.name: p.test for p in run.record.points if p.test is not None} for run in (first, second)]
    for name in [STATIC, *(name for name in reached[0] if name in reached[1])]:
        row: dict[str, Any] = {"point": name}
        row |= {"first": first.values(name).mean(), "second": second.values(name).mean()}
        row["difference"] = row["first"] - row["second"]
        difference = paired(first, name, second, name)
        if difference is not None:
            low, high = first.metric.paired_interval(difference)
            row |= {"low": low, "high": high, "detectable": detectable_difference(difference)}
            row["discordant"] = float(np.mean(difference != 0))
            row["p"] = first.metric.sign_flip(difference)
        if name != STATIC:
            row |= {"first_macs": reached[0][name].mean_macs, "second_macs": reached[1][name].mean_macs}
        rows.append(row)
    columns = [
        *("point", "first", "second", "difference", "low", "high", "detectable", "discordant", "p"),
        *("first_macs", "second_macs"),
    ]
    table = pd.DataFrame(rows, columns=columns)
    table["p_holm"] = np.nan
    tested = table["p"].notna()
    table.loc[tested, "p_holm"] = holm(table.loc[tested, "p"].to_numpy(dtype=np.float64))
    return table


@dataclass(frozen=True)
class Matched:
    """The runs of two sets, in pairs that can be compared.

    Attributes:
        equal: pairs with the same spec.
        similar: pairs of the rest with the same values of `AXES`; their recipes or policies differ.
        only_first: ids of the runs of the first set without a partner.
        only_second: likewise of the second set.
    """

    equal: list[tuple[Run, Run]]
    similar: list[tuple[Run, Run]]
    only_first: list[str]
    only_second: list[str]


def match(first: list[Run], second: list[Run]) -> Matched:
    """Pair the runs of two sets."""
    equal, first, second = _matched(first, second, spec_text)
    similar, first, second = _matched(first, second, axes)
    return Matched(equal, similar, [run.record.run_id for run in first], [run.record.run_id for run in second])


def _matched(
    first: list[Run], second: list[Run], key: Callable[[Run], Any]
) -> tuple[list[tuple[Run, Run]], list[Run], list[Run]]:
    """Pairs of runs with equal keys, and the runs of both sets without a partner."""
    by_key = {key(run): run for run in second}
    pairs = {key(run): (run, by_key[key(run)]) for run in first if key(run) in by_key}
    partners = {id(run) for pair in pairs.values() for run in pair}
    left, right = ([run for run in runs if id(run) not in partners] for runs in (first, second))
    return list(pairs.values()), left, right


AXES = ("method", "backbone", "data", "exits", "seed")


def axes(run: Run) -> tuple[str, ...]:
    """The values of `AXES` of a run."""
    train = run.record.spec.train
    return train.method.label, train.backbone, train.dataset.label, run.record.spec.scheme, str(train.seed)


def disjoint_axes(first: list[Run], second: list[Run]) -> dict[str, tuple[list[str], list[str]]]:
    """The axes in which two sets of runs have no value in common, each with the values of both sets."""
    values = [[sorted(set(column)) for column in zip(*map(axes, runs), strict=True)] for runs in (first, second)]
    return {name: (a, b) for name, a, b in zip(AXES, *values, strict=True) if not set(a) & set(b)}


def spec_text(run: Run) -> str:
    """A run's spec as canonical JSON."""
    return json.dumps(run.record.spec.model_dump(mode="json"), sort_keys=True)
