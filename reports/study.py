"""What the sections of a report read: the runs, arranged by setting, and the tidy tables over them, each made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from reports.style import Look, looks
from results.judge.claims import judge
from results.judge.literature import Claims, read_claims, read_numbers
from results.judge.ranking import pooled
from results.record import DoneRecord, OperatingPoint
from results.tables.points import summary
from results.tables.run import SETTING, STATIC, Run, labels

Pictures = Callable[[DoneRecord, Sequence[int]], list[np.ndarray] | None]
LGVIT = "lgvit"
DROP = ("accuracy-drop", 0.01)
HALF = ("equal-macs", 0.5)
"""The operating points that the text speaks of: kind and target."""


@dataclass(frozen=True)
class Setting:
    """Runs that are compared with each other: one backbone, data set, exit scheme and pair of recipes.

    Attributes:
        number: among the settings of the report, from 1.
        where: the values of `results.tables.run.SETTING`.
        name: for captions.
        runs: with exits, each under the policy that it is judged by, and those without exits on the same backbone.
        named: the row of each run, by run id and policy.
        totals: `results.tables.points.summary` of these rows.
        pairs: `results.judge.ranking.pooled` of these rows.
    """

    number: int
    where: dict[str, str]
    name: str
    runs: list[Run]
    named: dict[tuple[str, str], str]
    totals: pd.DataFrame
    pairs: pd.DataFrame

    @property
    def exiting(self) -> list[Run]:
        return [run for run in self.runs if run.has_exits]

    @cached_property
    def methods(self) -> list[str]:
        """The rows with exits."""
        return list(dict.fromkeys(self.label(run, policy) for run in self.exiting for policy in policies(run)))

    @property
    def seeds(self) -> int:
        return len({run.seed for run in self.exiting})

    @property
    def over(self) -> str:
        """What intervals are over."""
        return "seeds" if (self.totals["seeds"] > 1).any() else "test images"

    def label(self, run: Run, policy: str) -> str:
        return STATIC if run.is_static else self.named[run.record.run_id, policy]

    def at(self, point: tuple[str, float]) -> pd.DataFrame:
        """Rows of `totals` that reach a point."""
        rows = self.totals
        return rows[(rows["kind"] == point[0]) & (rows["target"] == point[1]) & rows["reached"]]

    def pairs_at(self, point: tuple[str, float]) -> pd.DataFrame:
        return self.pairs[(self.pairs["kind"] == point[0]) & (self.pairs["target"] == point[1])]

    @property
    def shown(self) -> pd.DataFrame:
        """One row of `totals` a method: what loses at most a point on val, else a fixed threshold; those without exits too."""
        rows = self.totals
        at_drop = (rows["kind"] == DROP[0]) & (rows["target"] == DROP[1])
        chosen = rows[(rows["kind"] == STATIC) | at_drop | (rows["kind"] == "fixed")]
        return chosen.drop_duplicates("label")

    @property
    def leading(self) -> Run:
        """LGViT as the paper means it if it is there, else the first run with exits."""
        return next((run for run in self.exiting if run.method == LGVIT), self.exiting[0])


@dataclass
class Study:
    """Everything that a report is made of.

    Attributes:
        runs: the finished ones, under all their policies.
        table: `results.tables.points.points`.
        comparisons: `results.tables.points.comparisons`.
        metrics: the tables of `results.tables.metrics` by name.
        failures: `results.judge.failures.failures`.
        problems: a sentence for every record that was left out.
        pictures: test images of a run by their ids, where they may be shown and are here.
    """

    title: str
    runs: list[Run]
    table: pd.DataFrame
    comparisons: pd.DataFrame
    metrics: dict[str, pd.DataFrame] = field(default_factory=dict)
    failures: pd.DataFrame = field(default_factory=pd.DataFrame)
    problems: list[str] = field(default_factory=list)
    pictures: Pictures | None = None

    @cached_property
    def judged(self) -> list[Run]:
        """Each run under one policy: its method's own where it was asked for, else the first. Runs of a single method, whose
        policies are what is compared, keep them all."""
        if len({run.method for run in self.runs if run.has_exits}) < 2:
            return self.runs
        return [_under(run, own_policy(run)) for run in self.runs]

    @cached_property
    def settings(self) -> list[Setting]:
        """Those in which a run with exits was made, in the order of the runs."""
        found = dict.fromkeys(run.setting for run in self.judged if run.has_exits)
        several = len({recipes for *_, recipes in found}) > 1
        named, everything = self._named(), labels(self.runs)
        renamed = {everything[key]: name for key, name in named.items()}
        settings = []
        for number, values in enumerate(found, start=1):
            where = dict(zip(SETTING, values, strict=True))
            runs = of_setting(self.judged, values)
            totals, pairs = summary(self._rows(runs, named)), self._pairs(where, renamed)
            settings.append(Setting(number, where, setting_name(where, several), runs, named, totals, pairs))
        return settings

    @cached_property
    def main(self) -> list[Setting]:
        """Of each backbone, data set and recipe the setting with the most runs: what is told in full. The others differ in
        where their exits are, and are compared there."""
        chosen: dict[tuple[str, ...], Setting] = {}
        for setting in self.settings:
            key = tuple(value for name, value in setting.where.items() if name != "scheme")
            if key not in chosen or len(setting.exiting) > len(chosen[key].exiting):
                chosen[key] = setting
        return list(chosen.values())

    @cached_property
    def looks(self) -> dict[str, Look]:
        """One look a row, the same in every figure; a method has that of its first row."""
        found = looks(list(dict.fromkeys(name for setting in self.settings for name in setting.totals["label"])))
        for setting in self.settings:
            for run in setting.exiting:
                found.setdefault(run.method, found[setting.label(run, policies(run)[0])])
        return found

    @cached_property
    def claims(self) -> Claims:
        return read_claims()

    @cached_property
    def judgements(self) -> pd.DataFrame:
        return judge(self.judged, self.claims, read_numbers(), self._rows(self.judged, {}))

    def metric(self, name: str, setting: Setting) -> pd.DataFrame:
        """Rows of one of `metrics` that are of a setting's runs."""
        table = self.metrics.get(name, pd.DataFrame())
        return table if table.empty else table[table["run_id"].isin({run.record.run_id for run in setting.runs})]

    def _named(self) -> dict[tuple[str, str], str]:
        """What a row is called, by (run id, policy): the method alone where each has one policy."""
        rules: dict[str, set[str]] = {}
        for run in self.judged:
            rules.setdefault(run.method, set()).update(policies(run))
        if self.judged is not self.runs and all(len(found) < 2 for found in rules.values()):
            return {(run.record.run_id, policy): run.method for run in self.judged for policy in policies(run)}
        return labels(self.judged)

    def _rows(self, runs: list[Run], named: dict[tuple[str, str], str]) -> pd.DataFrame:
        """Rows of the table that are of these runs under these policies."""
        keys = {(run.record.run_id, policy) for run in runs for policy in policies(run) or [STATIC]}
        rows = self.table[[key in keys for key in zip(self.table["run_id"], self.table["policy"], strict=True)]]
        found = zip(rows["run_id"], rows["policy"], rows["label"], strict=True)
        return rows.assign(label=[named.get((run_id, policy), label) for run_id, policy, label in found])

    def _pairs(self, where: dict[str, str], renamed: dict[str, str]) -> pd.DataFrame:
        pairs = self.comparisons
        for column, value in where.items():
            pairs = pairs[pairs[column] == value]
        pairs = pairs[pairs["first"].isin(renamed) & pairs["second"].isin(renamed)]
        return pooled(pairs.assign(first=pairs["first"].map(renamed), second=pairs["second"].map(renamed)))


def policies(run: Run) -> list[str]:
    return list(dict.fromkeys(point.policy for point in run.record.points))


def own_policy(run: Run) -> str | None:
    """The policy that a run is judged by: its method's own rule where it was asked for, else the first."""
    asked = policies(run)
    own = run.record.own_policy
    return own if own in asked else asked[0] if asked else None


def point_of(run: Run, kind: str, target: float) -> OperatingPoint | None:
    """The first point of a kind and target that the run reaches."""
    return next((p for p in run.record.points if (p.kind, p.target) == (kind, target) and p.reached), None)


def of_setting(runs: list[Run], setting: tuple[str, ...]) -> list[Run]:
    """Runs of a setting, and before them the models without exits whose backbone was fine-tuned alike."""
    exiting = [run for run in runs if run.has_exits and run.setting == setting]
    finetuned = {str(_finetuning(run)) for run in exiting}
    beside = [run for run in runs if not run.has_exits and str(_finetuning(run)) in finetuned]
    return sorted(beside, key=lambda run: not run.is_static) + exiting


def setting_name(where: dict[str, str], with_recipes: bool) -> str:
    name = f"{where['backbone']}, {where['dataset']}, exits {where['scheme']}"
    return f"{name}, recipes {where['recipes']}" if with_recipes else name


def _finetuning(run: Run) -> tuple[object, ...]:
    """What a fine-tuned backbone depends on: runs that agree stand on the same one."""
    return run.backbone, run.dataset, run.seed, run.record.spec.train.recipes.finetune.model_dump()


def _under(run: Run, policy: str | None) -> Run:
    points = tuple(point for point in run.record.points if point.policy == policy)
    record = run.record.model_copy(update={"points": points})
    return run.changed(record=record, curves=run.curves[run.curves["policy"] == policy])
