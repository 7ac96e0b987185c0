"""Variants of one method with changed options, on the same backbone and at the same exits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reports.blocks import Block, Heading, Shown, Text
from reports.study import DROP, HALF, LGVIT, ComparisonGroup, Study, point_of, policies
from reports.tables import DASH, Table, percent, plus_minus, signed, times
from reports.words import by_size, difference, few, ranked
from results.judge.contrast import Contrast, contrast
from results.tables.run import Run


@dataclass(frozen=True)
class Variant:
    """The runs of one method and set of options under one policy, one per seed."""

    name: str
    runs: tuple[Run, ...]

    @property
    def at_half(self) -> list[tuple[Run, str]]:
        """The runs, each with the name of its operating point at half of the MACs."""
        return [(run, point.name) for run in self.runs if (point := point_of(run, *HALF)) is not None]

    @property
    def mean_exit(self) -> float:
        """Mean accuracy of all early exits, each on all test images."""
        early = [exit_.test_accuracy for run in self.runs for exit_ in run.record.exits[:-1]]
        return sum(early) / len(early)


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
    return [Variant(name, tuple(runs)) for name, runs in runs_by_name.items()]


def compared(variant: Variant, base: Variant) -> Contrast | None:
    """The difference at half of the MACs on the same images; None if one of the two does not reach this point."""
    return contrast(variant.at_half, base.at_half)


def variant_table(setting: ComparisonGroup, base: Variant, others: list[Variant]) -> Table:
    header = ("Variant", "Mean of exits", "½ MACs", "Difference", "Ranked", "layers", "MACs")
    rows = []
    for variant in (base, *others):
        label = setting.label(variant.runs[0], policies(variant.runs[0])[0])
        half, drop = (rows_[rows_["label"] == label] for rows_ in (setting.at(HALF), setting.at(DROP)))
        against = compared(variant, base) if variant is not base else None
        value = against.estimate if against else None
        interval = f"{signed(value.value)} [{signed(value.low)}, {signed(value.high)}]" if value else DASH
        rows.append(
            (
                variant.name, percent(variant.mean_exit), "not reached" if half.empty else plus_minus(half.iloc[0]), interval,
                ranked(against) if against else DASH, *(
                    (DASH, DASH) if drop.empty else (times(drop.iloc[0]["layer_speedup"]), times(drop.iloc[0]["mac_speedup"]))
                ),
            )
        )  # fmt: skip
    return Table(header, tuple(rows))


CAPTION = (
    "Mean of exits: accuracy (%) of the early exits on all test images. ½ MACs: accuracy (%) at half of the MACs. "
    "Difference: to the first row at half of the MACs, in points on the same images, 95 % interval. Ranked: only "
    "beyond the detectable difference. layers, MACs: speed-up with at most 1 point lost on val."
)


def variant_blocks(study: Study, variant_name: VariantName, caption: str, base_name: str) -> list[Block]:
    """A sentence and a table for every main group that contains the base and at least one variant."""
    blocks: list[Block] = []
    for setting, base, others in with_variants(study, variant_name, base_name):
        if len(study.main) > 1:
            blocks.append(Heading(setting.name))
        blocks.append(Text(sentence(base, others)))
        blocks.append(Shown(f"{caption}, {setting.name}. {CAPTION}", variant_table(setting, base, others)))
    return blocks


def with_variants(
    study: Study, variant_name: VariantName, base_name: str
) -> Iterator[tuple[ComparisonGroup, Variant, list[Variant]]]:
    """Every main group that contains the base and other variants, with these."""
    for setting in study.main:
        variants = {variant.name: variant for variant in variants_of(setting, variant_name)}
        base = variants.pop(base_name, None)
        if base is not None and variants:
            yield setting, base, list(variants.values())


def sentence(base: Variant, others: list[Variant]) -> str:
    """A sentence that lists the variants better and worse than the base, or not shown to differ, at half of the MACs."""
    groups: dict[str, list[tuple[float, str]]] = {"ahead": [], "behind": [], "not shown to differ": []}
    for variant in others:
        against = compared(variant, base)
        if against is not None:
            groups[ranked(against)].append((against.estimate.value, f"{variant.name} ({difference(against)})"))
    parts = [
        *([f"better than {base.name} is {few(by_size(groups['ahead']))}"] if groups["ahead"] else []),
        *([f"worse is {few(by_size(groups['behind']))}"] if groups["behind"] else []),
        *(
            [f"not shown to differ from it: {few(by_size(groups['not shown to differ']))}"]
            if groups["not shown to differ"]
            else []
        ),
    ]
    if not parts:
        return f"None of the variants of {base.name} reaches half of the MACs."
    least, most = (pick((base, *others), key=lambda variant: variant.mean_exit) for pick in (min, max))
    return (
        f"At half of the MACs, on the same images, {'; '.join(parts)}. On average over all early exits, which is not "
        f"ranked, {base.name} classifies {percent(base.mean_exit)} % correctly; the range is from "
        f"{percent(least.mean_exit)} % ({least.name}) to {percent(most.mean_exit)} % ({most.name})."
    )


def strides(study: Study) -> list[Block]:
    return variant_blocks(study, _one_option("gah_stride", "stride"), "The stride of every GAH", AUTHORS)


def kernels(study: Study) -> list[Block]:
    return variant_blocks(study, _one_option("lph_kernel", "kernel"), "The kernel of every LPH (0: none)", AUTHORS)


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
        return " and ".join(terms) or LGVIT

    return variant_blocks(study, variant_name, "Terms of the distillation", LGVIT)


def regimes(study: Study) -> list[Block]:
    """LGViT's heads under other training regimes; the two-stage regime is the paper's."""

    def variant_name(name: str, options: dict[str, object]) -> str | None:
        if name != LGVIT or not set(options) <= {"regime", "joint_weights", "alternate_by", "heads_always"}:
            return None
        if not options:
            return TWO_STAGE
        regime = str(options.get("regime", "frozen"))
        rest = [f"{key} {value}" for key, value in sorted(options.items()) if key != "regime"]
        return f"{regime} ({', '.join(rest)})" if rest else regime

    return variant_blocks(study, variant_name, "Ways to train LGViT's heads, total epochs equal", TWO_STAGE)


AUTHORS = "the authors' layout"
TWO_STAGE = "two-stage"


def _one_option(option: str, word: str) -> VariantName:
    def variant_name(name: str, options: dict[str, object]) -> str | None:
        if name != LGVIT or not set(options) <= {option}:
            return None
        return f"{word} {options[option]}" if options else AUTHORS

    return variant_name
