"""The input of all sections of a report: the runs, grouped by what is compared, and the tidy tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from reports.comparison_group import ComparisonGroup, of_setting
from reports.names import WITHOUT_EXITS, backbone_names, method_name, recipe_words, scheme_words
from reports.style import Look, looks
from results.judge.claims import judge
from results.judge.literature import Claims, read_claims, read_numbers
from results.judge.one_policy import under_one_policy
from results.metric import Metric, one_metric
from results.record import DoneRecord, MethodInfo
from results.tables.points import summary
from results.tables.row_labels import labels
from results.tables.run import SETTING, STATIC, Run

Pictures = Callable[[DoneRecord, Sequence[int]], list[np.ndarray] | None]


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
    def contrasts(self) -> pd.DataFrame:
        """The differences that the report calls significant or not: one row per group, other method and budget.

        Columns: the setting's, target, first, second (labels), difference (accuracy of first minus second, mean over seeds)
        with its 95 % interval (low, high) over `interval` (seeds or test samples), seeds, p (unadjusted), p_holm (adjusted over
        `tests` comparisons, its `family`), primary (whether the grid declared the comparison as its primary endpoint) and
        result.
        """
        rows = [
            group.where
            | {"target": budget, "first": group.reference, "second": label, "difference": contrast.estimate.value}
            | {"low": contrast.estimate.low, "high": contrast.estimate.high, "interval": contrast.estimate.kind}
            | {"seeds": contrast.seeds, "p": contrast.estimate.p, "p_holm": contrast.p, "tests": contrast.tests}
            | {"family": contrast.family, "primary": contrast.is_primary, "result": contrast.result}
            for group in self.settings
            for (label, budget), contrast in group.contrasts.items()
        ]
        columns = [
            "target",
            "first",
            "second",
            "difference",
            "low",
            "high",
            "interval",
            "seeds",
            "p",
            "p_holm",
            "tests",
            "family",
            "primary",
        ]
        return pd.DataFrame(rows, columns=[*SETTING, *columns, "result"])

    @cached_property
    def judged(self) -> list[Run]:
        """Each method of a setting under one policy; see `results.judge.one_policy`. Runs of a single method keep all policies,
        since these are what is compared."""
        if len({run.method for run in self.runs if run.has_exits}) < 2:
            return self.runs
        return under_one_policy(self.runs)

    @cached_property
    def settings(self) -> list[ComparisonGroup]:
        """The groups that contain a run with exits, in the order of the runs."""
        first: dict[tuple[str, ...], Run] = {}
        for run in self.judged:
            if run.has_exits:
                first.setdefault(run.setting, run)
        names, places = self._setting_names(first)
        row_labels = self._labels()
        settings = []
        for number, values in enumerate(first, start=1):
            runs = of_setting(self.judged, values)
            totals = summary(self._rows(runs, row_labels))
            where = dict(zip(SETTING, values, strict=True))
            settings.append(ComparisonGroup(number, where, names[values], places[values], runs, row_labels, totals))
        return settings

    def _setting_names(
        self, first: dict[tuple[str, ...], Run]
    ) -> tuple[dict[tuple[str, ...], str], dict[tuple[str, ...], str]]:
        """`ComparisonGroup.name` and `ComparisonGroup.place` of settings, each given by one of its runs."""
        names, places = {}, {}
        for values, run in first.items():
            beside = {other: run_ for other, run_ in first.items() if other[:2] == values[:2]}
            by_recipe = {other[3]: run_ for other, run_ in beside.items()}
            words = dict(zip(by_recipe, recipe_words(list(by_recipe.values())), strict=True))[values[3]]
            place = f"{self.backbones[run.backbone]} on {run.dataset}"
            exits = scheme_words(values[2]) if len({other[2] for other in beside}) > 1 else ""
            places[values] = ", ".join(filter(None, (place, words)))
            names[values] = ", ".join(filter(None, (place, exits, words)))
        return names, places

    @cached_property
    def backbones(self) -> dict[str, str]:
        """The names of backbones by id; see `reports.names`."""
        return backbone_names(dict.fromkeys(run.backbone for run in self.runs))

    def where(self, setting: ComparisonGroup, before: str = ", ") -> str:
        """What distinguishes a group from the others of the report, after some text; empty if there is only one."""
        if len(self.settings) < 2:
            return ""
        parts = [(s.where["backbone"], s.where["dataset"]) for s in self.settings]
        name, data = self.backbones[setting.where["backbone"]], setting.where["dataset"]
        rest = setting.name.removeprefix(f"{name} on {data}").removeprefix(", ")
        several = [len({part[i] for part in parts}) > 1 for i in (0, 1)]
        words = [word for word, is_shown in zip((name, data), several, strict=True) if is_shown]
        return before + ", ".join([*words, *([rest] if rest else [])])

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

    @property
    def has_one_method(self) -> bool:
        """Whether nothing is compared with anything but the backbone without exits; the paper is then shorter."""
        return len(self.settings) == 1 and len(self.main[0].methods) < 2

    @cached_property
    def looks(self) -> dict[str, Look]:
        """One look per row label, the same in every figure; a method has that of its first row."""
        methods: dict[str, MethodInfo | None] = {}
        for group in self.settings:
            for run in group.runs:
                for policy in run.policies or [STATIC]:
                    info = run.record.method
                    methods.setdefault(group.label(run, policy), info if run.method == info.name else None)
        chosen = looks(methods)
        for group in self.settings:
            for run in group.exiting:
                chosen.setdefault(run.method, chosen[group.label(run, run.policies[0])])
        return chosen

    @cached_property
    def display(self) -> dict[str, str]:
        """For every row label and method the name that figures, tables and sentences use: that of `reports.names`, or the label
        where two labels would have the same name."""
        names = {STATIC: WITHOUT_EXITS}
        all_labels = labels(self.runs)
        for run in self.runs:
            name = _method_name(run)
            names.setdefault(run.method, name)
            for policy in run.policies:
                for label in (
                    all_labels[run.record.run_id, policy],
                    self._labels().get((run.record.run_id, policy), ""),
                ):
                    names.setdefault(
                        label, label.replace(run.method, name, 1) if label.startswith(run.method) else label
                    )
        counts = Counter(names.values())
        return {label: name if counts[name] == 1 else label for label, name in names.items()}

    @cached_property
    def claims(self) -> Claims:
        return read_claims()

    @cached_property
    def judgements(self) -> pd.DataFrame:
        return judge(self.judged, self.claims, read_numbers())

    @cached_property
    def metric(self) -> Metric:
        """The metric of all runs."""
        return one_metric(run.metric for run in self.runs)

    def rows_of(self, name: str, setting: ComparisonGroup) -> pd.DataFrame:
        """The rows of a tidy table that belong to the runs of a group."""
        table = self.tidy.get(name, pd.DataFrame())
        return table if table.empty else table[table["run_id"].isin({run.record.run_id for run in setting.runs})]

    def _labels(self) -> dict[tuple[str, str], str]:
        """The label of each row, by (run id, policy): the method alone where each has one policy."""
        rules: dict[str, set[str]] = {}
        for run in self.judged:
            rules.setdefault(run.method, set()).update(run.policies)
        if self.judged is not self.runs and all(len(own) < 2 for own in rules.values()):
            return {(run.record.run_id, policy): run.method for run in self.judged for policy in run.policies}
        return labels(self.judged)

    def _rows(self, runs: list[Run], row_labels: dict[tuple[str, str], str]) -> pd.DataFrame:
        """The rows of `points` of these runs under their policies, relabelled."""
        keys = {(run.record.run_id, policy) for run in runs for policy in run.policies or [STATIC]}
        rows = self.points[[key in keys for key in zip(self.points["run_id"], self.points["policy"], strict=True)]]
        present = zip(rows["run_id"], rows["policy"], rows["label"], strict=True)
        return rows.assign(label=[row_labels.get((run_id, policy), label) for run_id, policy, label in present])


def _method_name(run: Run) -> str:
    """The name of a run's method; its label where the record describes another method."""
    method = run.record.spec.train.method
    return method_name(run.record.method, method.set) if run.record.method.name == method.name else run.method
