"""The input of all sections of a report: the runs, grouped by what is compared, and the tidy tables."""

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
from results.record import DoneRecord, MethodInfo, OperatingPoint
from results.tables.points import summary
from results.tables.run import SETTING, STATIC, Run, labels

Pictures = Callable[[DoneRecord, Sequence[int]], list[np.ndarray] | None]
LGVIT = "lgvit"
DROP = ("accuracy-drop", 0.01)
HALF = ("equal-macs", 0.5)
"""The operating points that the text refers to: kind and target."""


@dataclass(frozen=True)
class ComparisonGroup:
    """Runs that are compared with each other: one backbone, dataset, exit scheme and set of recipes.

    Attributes:
        number: of the group in the report, from 1.
        where: the values of `results.tables.run.SETTING`.
        name: for captions.
        runs: those with exits, each under the policy that it is judged by, and those without exits on the same backbone.
        labels: of the row of each run, by run id and policy.
        totals: `results.tables.points.summary` of these rows.
        pairs: `results.judge.ranking.pooled` of these rows.
    """

    number: int
    where: dict[str, str]
    name: str
    runs: list[Run]
    labels: dict[tuple[str, str], str]
    totals: pd.DataFrame
    pairs: pd.DataFrame

    @property
    def exiting(self) -> list[Run]:
        return [run for run in self.runs if run.has_exits]

    @cached_property
    def methods(self) -> list[str]:
        """Labels of the rows with exits."""
        return list(dict.fromkeys(self.label(run, policy) for run in self.exiting for policy in policies(run)))

    @property
    def seeds(self) -> int:
        return len({run.seed for run in self.exiting})

    @property
    def over(self) -> str:
        """Over what the intervals are: ``seeds`` or ``test images``."""
        return "seeds" if (self.totals["seeds"] > 1).any() else "test images"

    def label(self, run: Run, policy: str) -> str:
        return STATIC if run.is_static else self.labels[run.record.run_id, policy]

    def at(self, point: tuple[str, float]) -> pd.DataFrame:
        """Rows of `totals` that reach a point."""
        rows = self.totals
        return rows[(rows["kind"] == point[0]) & (rows["target"] == point[1]) & rows["reached"]]

    def pairs_at(self, point: tuple[str, float]) -> pd.DataFrame:
        return self.pairs[(self.pairs["kind"] == point[0]) & (self.pairs["target"] == point[1])]

    @property
    def shown(self) -> pd.DataFrame:
        """One row of `totals` per method: at most one point lost on val, else a fixed threshold; models without exits, too."""
        rows = self.totals
        at_drop = (rows["kind"] == DROP[0]) & (rows["target"] == DROP[1])
        chosen = rows[(rows["kind"] == STATIC) | at_drop | (rows["kind"] == "fixed")]
        return chosen.drop_duplicates("label")

    @property
    def leading(self) -> Run:
        """LGViT with its default options if it was run, else the first run with exits."""
        return next((run for run in self.exiting if run.method == LGVIT), self.exiting[0])


@dataclass
class Study:
    """The data of a report.

    Attributes:
        runs: the finished runs, under all their policies.
        tidy: the tables of `reports.tidy_tables`, by name.
        problems: a sentence for every record that was left out.
        pictures: returns test images of a run by their ids; None where images may not be shown or are not on this machine.
    """

    title: str
    runs: list[Run]
    tidy: dict[str, pd.DataFrame]
    problems: list[str] = field(default_factory=list)
    pictures: Pictures | None = None

    @property
    def points(self) -> pd.DataFrame:
        """One row per run and operating point."""
        return self.tidy["points"]

    @property
    def comparisons(self) -> pd.DataFrame:
        """One row per pair of methods and operating point."""
        return self.tidy["comparisons"]

    @cached_property
    def judged(self) -> list[Run]:
        """Each run under one policy: its method's own where the grid has it, else the first. Runs of a single method keep all
        policies, since these are what is compared."""
        if len({run.method for run in self.runs if run.has_exits}) < 2:
            return self.runs
        return [_under(run, own_policy(run)) for run in self.runs]

    @cached_property
    def settings(self) -> list[ComparisonGroup]:
        """The groups that contain a run with exits, in the order of the runs."""
        keys = dict.fromkeys(run.setting for run in self.judged if run.has_exits)
        several = len({recipes for *_, recipes in keys}) > 1
        row_labels, all_labels = self._labels(), labels(self.runs)
        renamed = {all_labels[key]: label for key, label in row_labels.items()}
        settings = []
        for number, values in enumerate(keys, start=1):
            where = dict(zip(SETTING, values, strict=True))
            runs = of_setting(self.judged, values)
            totals, pairs = summary(self._rows(runs, row_labels)), self._pairs(where, renamed)
            name = setting_name(where, several)
            settings.append(ComparisonGroup(number, where, name, runs, row_labels, totals, pairs))
        return settings

    @cached_property
    def main(self) -> list[ComparisonGroup]:
        """For each backbone, dataset and recipe the group with the most runs, which is reported in full. The other groups
        differ in their exits only, and appear where exit schemes are compared."""
        chosen: dict[tuple[str, ...], ComparisonGroup] = {}
        for setting in self.settings:
            key = tuple(value for name, value in setting.where.items() if name != "scheme")
            if key not in chosen or len(setting.exiting) > len(chosen[key].exiting):
                chosen[key] = setting
        return list(chosen.values())

    @cached_property
    def looks(self) -> dict[str, Look]:
        """One look per row label, the same in every figure; a method has that of its first row."""
        methods: dict[str, MethodInfo | None] = {}
        for group in self.settings:
            for run in group.runs:
                for policy in policies(run) or [STATIC]:
                    info = run.record.method
                    methods.setdefault(group.label(run, policy), info if run.method == info.name else None)
        chosen = looks(methods)
        for group in self.settings:
            for run in group.exiting:
                chosen.setdefault(run.method, chosen[group.label(run, policies(run)[0])])
        return chosen

    @cached_property
    def claims(self) -> Claims:
        return read_claims()

    @cached_property
    def judgements(self) -> pd.DataFrame:
        return judge(self.judged, self.claims, read_numbers())

    def metric(self, name: str, setting: ComparisonGroup) -> pd.DataFrame:
        """The rows of a tidy table that belong to the runs of a group."""
        table = self.tidy.get(name, pd.DataFrame())
        return table if table.empty else table[table["run_id"].isin({run.record.run_id for run in setting.runs})]

    def _labels(self) -> dict[tuple[str, str], str]:
        """The label of each row, by (run id, policy): the method alone where each has one policy."""
        rules: dict[str, set[str]] = {}
        for run in self.judged:
            rules.setdefault(run.method, set()).update(policies(run))
        if self.judged is not self.runs and all(len(own) < 2 for own in rules.values()):
            return {(run.record.run_id, policy): run.method for run in self.judged for policy in policies(run)}
        return labels(self.judged)

    def _rows(self, runs: list[Run], row_labels: dict[tuple[str, str], str]) -> pd.DataFrame:
        """The rows of `points` of these runs under their policies, relabelled."""
        keys = {(run.record.run_id, policy) for run in runs for policy in policies(run) or [STATIC]}
        rows = self.points[[key in keys for key in zip(self.points["run_id"], self.points["policy"], strict=True)]]
        present = zip(rows["run_id"], rows["policy"], rows["label"], strict=True)
        return rows.assign(label=[row_labels.get((run_id, policy), label) for run_id, policy, label in present])

    def _pairs(self, where: dict[str, str], renamed: dict[str, str]) -> pd.DataFrame:
        pairs = self.comparisons
        for column, value in where.items():
            pairs = pairs[pairs[column] == value]
        pairs = pairs[pairs["first"].isin(renamed) & pairs["second"].isin(renamed)]
        return pooled(pairs.assign(first=pairs["first"].map(renamed), second=pairs["second"].map(renamed)))


def policies(run: Run) -> list[str]:
    return list(dict.fromkeys(point.policy for point in run.record.points))


def own_policy(run: Run) -> str | None:
    """The policy that a run is judged by: its method's own where the grid has it, else the first; None without exits."""
    evaluated = policies(run)
    own = run.record.own_policy
    return own if own in evaluated else evaluated[0] if evaluated else None


def point_of(run: Run, kind: str, target: float) -> OperatingPoint | None:
    """The first operating point of a kind and target that the run reaches."""
    return next((p for p in run.record.points if (p.kind, p.target) == (kind, target) and p.reached), None)


def of_setting(runs: list[Run], setting: tuple[str, ...]) -> list[Run]:
    """The runs of a group, after the models without exits whose backbone was fine-tuned in the same way."""
    exiting = [run for run in runs if run.has_exits and run.setting == setting]
    finetuned = {str(_finetuning(run)) for run in exiting}
    beside = [run for run in runs if not run.has_exits and str(_finetuning(run)) in finetuned]
    return sorted(beside, key=lambda run: not run.is_static) + exiting


def setting_name(where: dict[str, str], with_recipes: bool) -> str:
    name = f"{where['backbone']}, {where['dataset']}, exits {where['scheme']}"
    return f"{name}, recipes {where['recipes']}" if with_recipes else name


def _finetuning(run: Run) -> tuple[object, ...]:
    """What a fine-tuned backbone depends on; runs that agree share it."""
    return run.backbone, run.dataset, run.seed, run.record.spec.train.recipes.finetune.model_dump()


def _under(run: Run, policy: str | None) -> Run:
    points = tuple(point for point in run.record.points if point.policy == policy)
    record = run.record.model_copy(update={"points": points})
    return run.changed(record=record, curves=run.curves[run.curves["policy"] == policy])
