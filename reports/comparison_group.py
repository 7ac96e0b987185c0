"""Runs that a report compares with each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from reports.words import counted, join
from results import operating_point
from results.judge.contrast import Contrast, Family, Seeds
from results.judge.family import Contender, against_others, at_point, contenders
from results.metric import Metric
from results.tables.run import STATIC, Run

LGVIT = "lgvit"
DROP = ("accuracy-drop", operating_point.DROP)
HALF = ("equal-macs", 0.5)
"""The operating points that the text refers to: kind and target."""


@dataclass(frozen=True)
class ComparisonGroup:
    """Runs that are compared with each other: one backbone, dataset, exit scheme and set of recipes.

    Attributes:
        number: of the group in the report, from 1.
        where: the values of `results.tables.run.SETTING`.
        name: backbone and data, with exits or recipes where other groups of the report differ in them.
        place: the same without the exits.
        runs: those with exits, each under the policy that it is judged by, and those without exits on the same backbone.
        labels: of the row of each run, by run id and policy.
        totals: `results.tables.points.summary` of these rows.
    """

    number: int
    where: dict[str, str]
    name: str
    place: str
    runs: list[Run]
    labels: dict[tuple[str, str], str]
    totals: pd.DataFrame

    @property
    def metric(self) -> Metric:
        return self.leading.metric

    @property
    def exiting(self) -> list[Run]:
        return [run for run in self.runs if run.has_exits]

    @cached_property
    def methods(self) -> list[str]:
        """Labels of the rows with exits."""
        return list(dict.fromkeys(self.label(run, policy) for run in self.exiting for policy in run.policies))

    @cached_property
    def repeating(self) -> frozenset[str]:
        """Labels of rows whose models run the backbone more than once: they have exits after more blocks than it has."""
        runs = [run for run in self.exiting if len(run.record.costs.blocks) > run.record.depth]
        return frozenset(self.label(run, policy) for run in runs for policy in run.policies)

    @property
    def seeds(self) -> int:
        return len({run.seed for run in self.exiting})

    @property
    def over(self) -> str:
        """Over what the intervals are, in words."""
        several = self.totals["seeds"] > 1
        if several.all():
            return "training seeds"
        return "training seeds where there are several, else test images" if several.any() else "test images"

    def label(self, run: Run, policy: str) -> str:
        return STATIC if run.is_static else self.labels.get((run.record.run_id, policy), run.method)

    def at(self, point: tuple[str, float]) -> pd.DataFrame:
        """Rows of `totals` that reach a point."""
        rows = self.totals
        return rows[(rows["kind"] == point[0]) & (rows["target"] == point[1]) & rows["reached"]]

    @property
    def shown(self) -> pd.DataFrame:
        """One row of `totals` per method: at most one point lost on val, else a fixed threshold; models without exits, too."""
        rows = self.totals
        at_drop = (rows["kind"] == DROP[0]) & (rows["target"] == DROP[1])
        chosen = rows[(rows["kind"] == STATIC) | at_drop | (rows["kind"] == "fixed")]
        return chosen.drop_duplicates("label")

    @property
    def leading(self) -> Run:
        """A run of the method of the declared primary endpoint; without one, of LGViT with its default options, of LGViT with
        others, or the first run with exits."""
        declared = [
            run for run in self.exiting if (primary := run.record.spec.primary) and primary.method == run.method
        ]
        if declared:
            return declared[0]
        lgvit = [run for run in self.exiting if run.record.spec.train.method.name == LGVIT]
        return next((run for run in lgvit if run.method == LGVIT), next(iter(lgvit), self.exiting[0]))

    @property
    def reference(self) -> str:
        """The label that all others are compared with: that of `leading`."""
        return self.label(self.leading, self.leading.policies[0]) if self.leading.policies else self.leading.method

    @cached_property
    def contrasts(self) -> dict[tuple[str, float], Contrast]:
        """The reference against every other label at every budget; see `results.judge.family`."""
        return against_others(self.reference, self.contenders) if self.leading.policies else {}

    @cached_property
    def contenders(self) -> dict[str, Contender]:
        """The runs with exits, by label and seed."""
        return contenders((self.label(run, policy), run, policy) for run in self.exiting for policy in run.policies)

    def seeds_at(self, label: str, point: tuple[str, float]) -> Seeds:
        """The runs of a label by seed, each with the name of its operating point."""
        return at_point(self.contenders.get(label, {}), *point)

    @property
    def tested_over(self) -> str:
        """Over what the comparisons with the reference are tested, in words: over seeds only where there are enough of them."""
        kinds = {contrast.estimate.kind for contrast in self.contrasts.values()}
        if kinds == {"seeds"}:
            return "training seeds"
        if "seeds" in kinds:
            return "training seeds, or test images where seeds are too few or equal"
        return f"test images, for the models of {counted(self.seeds, 'training seed')} alone"

    @property
    def tests(self) -> str:
        """What Holm's correction covers in this group, in words."""
        return self.corrected_over(self.contrasts.values())

    def corrected_over(self, contrasts: Iterable[Contrast]) -> str:
        """What Holm's correction of some contrasts of this group covers, in words: each family by itself."""
        sizes = Counter(contrast.family for contrast in self.contrasts.values())
        kind = "exploratory comparison" if sizes["primary"] else "comparison"
        methods, variants = counted(sizes["other methods"], kind), counted(sizes["variants"], kind)
        if sizes["other methods"] and sizes["variants"]:
            methods += " with other methods"
            variants += f" with variants of {self.leading.record.method.display_name}"
        words: dict[Family, str] = {
            "primary": counted(sizes["primary"], "primary comparison"), "other methods": methods, "variants": variants,
        }  # fmt: skip
        corrected = {contrast.family for contrast in contrasts}
        parts = [text for family, text in words.items() if family in corrected]
        if len(parts) < 2:
            return next(iter(parts), "no comparison")
        return f"{join(parts)}, each family by itself"


def of_setting(runs: list[Run], setting: tuple[str, ...]) -> list[Run]:
    """The runs of a group, after the models without exits whose backbone was fine-tuned in the same way."""
    exiting = [run for run in runs if run.has_exits and run.setting == setting]
    finetuned = {str(_finetuning(run)) for run in exiting}
    beside = [run for run in runs if not run.has_exits and str(_finetuning(run)) in finetuned]
    return sorted(beside, key=lambda run: not run.is_static) + exiting


def _finetuning(run: Run) -> tuple[object, ...]:
    """What a fine-tuned backbone depends on; runs that agree share it."""
    train = run.record.spec.train
    return run.backbone, run.dataset, run.seed, train.weights.identity, train.recipes.finetune.model_dump()
