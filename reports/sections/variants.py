"""Variants of one method with changed options, on the same backbone and at the same exits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reports.blocks import Block, Drawn, Heading, Text
from reports.comparison_group import HALF, LGVIT, ComparisonGroup
from reports.figures.differences import differences
from reports.names import option_words
from reports.sources import source
from reports.study import Study
from reports.words import compared
from results.judge.contrast import Contrast
from results.tables.run import Run


@dataclass(frozen=True)
class Variant:
    """The runs of one method and set of options, one per seed.

    Attributes:
        name: of the variant.
        label: of its row in the group.
    """

    name: str
    label: str
    runs: tuple[Run, ...]


VariantName = Callable[[str, dict[str, object]], str | None]
"""From the name and options of a method to the name of the variant; None if it is not compared."""


def variants_of(setting: ComparisonGroup, variant_name: VariantName) -> list[Variant]:
    """The variants in a group, in the order of its runs."""
    runs_by_name: dict[str, list[Run]] = {}
    for run in setting.exiting:
        method = run.record.spec.train.method
        name = variant_name(method.name, method.set)
        if name is not None:
            runs_by_name.setdefault(name, []).append(run)
    return [
        Variant(name, setting.label(runs[0], runs[0].judged_policy), tuple(runs)) for name, runs in runs_by_name.items()
    ]


def against(setting: ComparisonGroup, variant: Variant) -> Contrast | None:
    """The variant minus the reference of the group at half of the MACs; None where they could not be compared."""
    result = setting.contrasts.get((variant.label, HALF[1]))
    return None if result is None else result.reversed()


def variant_blocks(study: Study, title: str, variant_name: VariantName, base_name: str) -> list[Block]:
    """A heading, and a sentence and a figure for every main group that contains the base and at least one variant."""
    blocks: list[Block] = []
    for setting, base, others in with_variants(study, variant_name, base_name):
        blocks += variant_figure(study, title, setting, base, others)
    return [Heading(title), *blocks] if blocks else []


def variant_figure(
    study: Study, title: str, setting: ComparisonGroup, base: Variant, others: list[Variant]
) -> list[Block]:
    """The sentence and the figure of one group."""
    contrasts = {
        variant.label: result for variant in others if (result := setting.contrasts.get((variant.label, HALF[1])))
    }
    where = f"{setting.place}: " if len(study.main) > 1 else ""
    blocks: list[Block] = [Text(where + sentence(setting, base, others))]
    if len(contrasts) > 1:  # one difference is in the sentence
        caption = (
            f"{title}{study.where(setting)}: {setting.metric.name} at half of the MACs minus that of {base.name}, on the same "
            f"images, with intervals that hold together with 95 % (Bonferroni). Filled: significant by the tests of Section 1."
        )
        runs = [run for variant in (base, *others) for run in variant.runs]
        names = {variant.label: variant.name for variant in others}
        figure = differences(contrasts, names, base.name, setting.metric.name)
        name = f"{setting.number}-{re.sub('[^a-z]+', '-', title.lower())}"
        blocks.append(Drawn(caption, figure, name, source(runs, "contrasts")))
    return blocks


def with_variants(
    study: Study, variant_name: VariantName, base_name: str
) -> Iterator[tuple[ComparisonGroup, Variant, list[Variant]]]:
    """Every main group that contains the base and other variants, with these."""
    for setting in study.main:
        variants = {variant.name: variant for variant in variants_of(setting, variant_name)}
        base = variants.pop(base_name, None)
        if base is not None and base.label == setting.reference and variants:
            yield setting, base, list(variants.values())


def sentence(setting: ComparisonGroup, base: Variant, others: list[Variant]) -> str:
    """The variants better and worse than the base, or not shown to differ, at half of the MACs."""
    results = {variant.name: result for variant in others if (result := against(setting, variant)) is not None}
    parts = compared(
        results,
        ahead=f"better than {base.name}:",
        behind=f"worse than {base.name}:",
        undecided=f"not shown to differ from {base.name}:",
    )
    if not parts:
        return f"None of the variants of {base.name} reaches half of the MACs."
    over = setting.corrected_over(results.values())
    return f"At half of the MACs, on the same images, {'; '.join(parts)} (p after Holm's correction over {over})."


def strides(study: Study) -> list[Block]:
    return variant_blocks(study, "Stride of the attention heads", _one_option("gah_stride", "stride"), AUTHORS)


def kernels(study: Study) -> list[Block]:
    return variant_blocks(study, "Kernel of the convolutional heads", _one_option("lph_kernel", "kernel"), AUTHORS)


def ablation(study: Study) -> list[Block]:
    """LGViT without some terms of its distillation loss, or with other weights."""

    def variant_name(name: str, options: dict[str, object]) -> str | None:
        if name != LGVIT or not set(options) <= {"kd_weight", "feature_terms"}:
            return None
        terms = []
        if "kd_weight" in options:
            weight = options["kd_weight"]
            terms.append("without distillation" if weight == 0 else f"distillation weight {weight}")
        if options.get("feature_terms") is False:
            terms.append("without feature terms")
        return " and ".join(terms) or NAME

    return variant_blocks(study, "Terms of the distillation", variant_name, NAME)


def regimes(study: Study) -> list[Block]:
    """LGViT's heads under other training regimes; the two-stage regime is the paper's."""

    def variant_name(name: str, options: dict[str, object]) -> str | None:
        if name != LGVIT or not set(options) <= {"regime", "joint_weights", "alternate_by", "heads_always"}:
            return None
        if not options:
            return TWO_STAGE
        regime = str(options.get("regime", "frozen"))
        rest = option_words({key: value for key, value in options.items() if key != "regime"})
        return f"{regime} ({rest})" if rest else regime

    return variant_blocks(study, "Training schemes", variant_name, TWO_STAGE)


NAME = "LGViT"
AUTHORS = "the authors' layout"
TWO_STAGE = "two-stage"


def _one_option(option: str, word: str) -> VariantName:
    def variant_name(name: str, options: dict[str, object]) -> str | None:
        if name != LGVIT or not set(options) <= {option}:
            return None
        return f"{word} {options[option]}" if options else AUTHORS

    return variant_name
