"""Variants of one method with changed options, on the same backbone and at the same exits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reports.blocks import Block, Heading, Shown, Text
from reports.names import option_words
from reports.study import DROP, HALF, LGVIT, ComparisonGroup, Study
from reports.tables import DASH, Table, percent, plus_minus, signed, times
from reports.words import compared, p_value
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
    return [
        Variant(name, setting.label(runs[0], runs[0].judged_policy), tuple(runs)) for name, runs in runs_by_name.items()
    ]


def against(setting: ComparisonGroup, variant: Variant) -> Contrast | None:
    """The variant minus the reference of the group at half of the MACs; None where they could not be compared."""
    result = setting.contrasts.get((variant.label, HALF[1]))
    return None if result is None else result.reversed()


def variant_table(setting: ComparisonGroup, base: Variant, others: list[Variant]) -> Table:
    header = ("Variant", "Mean of exits", "½ MACs", "Difference", "Result", "layers", "MACs")
    rows = []
    for variant in (base, *others):
        half, drop = (rows_[rows_["label"] == variant.label] for rows_ in (setting.at(HALF), setting.at(DROP)))
        result = against(setting, variant)
        value = result.estimate if result else None
        interval = f"{signed(value.value)} [{signed(value.low)}, {signed(value.high)}]" if value else DASH
        rows.append(
            (
                variant.name, percent(variant.mean_exit), "not reached" if half.empty else plus_minus(half.iloc[0]), interval,
                f"{result.result}, {p_value(result.p)}" if result else DASH, *(
                    (DASH, DASH) if drop.empty else (times(drop.iloc[0]["layer_speedup"]), times(drop.iloc[0]["mac_speedup"]))
                ),
            )
        )  # fmt: skip
    return Table(header, tuple(rows))


CAPTION = (
    "Mean of exits: accuracy (%) of the early exits on all test images. ½ MACs: accuracy (%) at half of the MACs. "
    "Difference: to the first row at half of the MACs, in points on the same images, 95 % interval. Result: by the p-value "
    "after Holm's correction over the variants and budgets. layers, MACs: speed-up with at most 1 point lost on val."
)


def variant_blocks(study: Study, variant_name: VariantName, caption: str, base_name: str) -> list[Block]:
    """A sentence and a table for every main group that contains the base and at least one variant."""
    blocks: list[Block] = []
    for setting, base, others in with_variants(study, variant_name, base_name):
        if len(study.main) > 1:
            blocks.append(Heading(setting.place))
        blocks.append(Text(sentence(setting, base, others)))
        blocks.append(Shown(f"{caption}{study.where(setting)}. {CAPTION}", variant_table(setting, base, others)))
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
    """A sentence that lists the variants better and worse than the base, or not shown to differ, at half of the MACs."""
    results = {variant.name: result for variant in others if (result := against(setting, variant)) is not None}
    parts = compared(
        results,
        ahead=f"better than {base.name}:",
        behind=f"worse than {base.name}:",
        undecided=f"not shown to differ from {base.name}:",
    )
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
        return " and ".join(terms) or NAME

    return variant_blocks(study, variant_name, "Terms of the distillation", NAME)


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

    return variant_blocks(study, variant_name, "Ways to train LGViT's heads, total epochs equal", TWO_STAGE)


NAME = "LGViT"
AUTHORS = "the authors' layout"
TWO_STAGE = "two-stage"


def _one_option(option: str, word: str) -> VariantName:
    def variant_name(name: str, options: dict[str, object]) -> str | None:
        if name != LGVIT or not set(options) <= {option}:
            return None
        return f"{word} {options[option]}" if options else AUTHORS

    return variant_name
