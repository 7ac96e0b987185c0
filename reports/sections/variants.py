"""One method with one option changed, on the same backbone and at the same exits: what each change does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reports.blocks import Block, Heading, Shown, Text
from reports.study import DROP, HALF, LGVIT, Setting, Study, point_of, policies
from reports.tables import DASH, Table, percent, plus_minus, signed, times
from reports.words import by_size, difference, few, ranked
from results.judge.contrast import Contrast, contrast
from results.tables.run import Run


@dataclass(frozen=True)
class Variant:
    """Runs of one method and set of options under one policy, one a seed."""

    name: str
    runs: tuple[Run, ...]

    @property
    def asked(self) -> list[tuple[Run, str]]:
        """With the name of their point at half of the MACs."""
        return [(run, point.name) for run in self.runs if (point := point_of(run, *HALF)) is not None]

    @property
    def mean_exit(self) -> float:
        """Mean accuracy of all early exits, each asked about every test image."""
        early = [exit_.test_accuracy for run in self.runs for exit_ in run.record.exits[:-1]]
        return sum(early) / len(early)


Wanted = Callable[[str, dict[str, object]], str | None]
"""From a method's name and options to what the variant is called; None: it plays no part."""


def variants_of(setting: Setting, wanted: Wanted) -> list[Variant]:
    found: dict[str, list[Run]] = {}
    for run in setting.exiting:
        method = run.record.spec.train.method
        name = wanted(method.name, method.set)
        if name is not None:
            found.setdefault(name, []).append(run)
    return [Variant(name, tuple(runs)) for name, runs in found.items()]


def compared(variant: Variant, base: Variant) -> Contrast | None:
    return contrast(variant.asked, base.asked)


def variant_table(setting: Setting, base: Variant, others: list[Variant]) -> Table:
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
    "Mean of exits: accuracy (%) of the early exits, each asked about every test image. ½ MACs: accuracy (%) at "
    "half of the MACs. "
    "Difference: to the first row there, in points on the same images, 95 % interval. Ranked: only beyond the detectable "
    "difference. layers, MACs: speed-up where at most 1 point is lost on val."
)


def variant_blocks(study: Study, wanted: Wanted, caption: str, base_name: str) -> list[Block]:
    """For every main setting that holds the base and a variant: a paragraph and a table."""
    blocks: list[Block] = []
    for setting, base, others in with_variants(study, wanted, base_name):
        if len(study.main) > 1:
            blocks.append(Heading(setting.name))
        blocks.append(Text(sentence(base, others)))
        blocks.append(Shown(f"{caption}, {setting.name}. {CAPTION}", variant_table(setting, base, others)))
    return blocks


def with_variants(study: Study, wanted: Wanted, base_name: str) -> Iterator[tuple[Setting, Variant, list[Variant]]]:
    for setting in study.main:
        found = {variant.name: variant for variant in variants_of(setting, wanted)}
        base = found.pop(base_name, None)
        if base is not None and found:
            yield setting, base, list(found.values())


def sentence(base: Variant, others: list[Variant]) -> str:
    """Which changes help, which harm, and which cannot be told from nothing, at half of the MACs."""
    groups: dict[str, list[tuple[float, str]]] = {"ahead": [], "behind": [], "not told apart": []}
    for variant in others:
        found = compared(variant, base)
        if found is not None:
            groups[ranked(found)].append((found.estimate.value, f"{variant.name} ({difference(found)})"))
    parts = [
        *([f"better than {base.name} is {few(by_size(groups['ahead']))}"] if groups["ahead"] else []),
        *([f"worse is {few(by_size(groups['behind']))}"] if groups["behind"] else []),
        *(
            [f"not to be told apart from it: {few(by_size(groups['not told apart']))}"]
            if groups["not told apart"]
            else []
        ),
    ]
    if not parts:
        return f"None of the variants of {base.name} reaches half of the MACs."
    least, most = (pick((base, *others), key=lambda variant: variant.mean_exit) for pick in (min, max))
    return (
        f"At half of the MACs, on the same images, {'; '.join(parts)}. On average over all early exits, which is not ranked, "
        f"{base.name} answers {percent(base.mean_exit)} % right; the range is from {percent(least.mean_exit)} % "
        f"({least.name}) to {percent(most.mean_exit)} % ({most.name})."
    )


def strides(study: Study) -> list[Block]:
    return variant_blocks(study, _one_option("gah_stride", "stride"), "The stride of every GAH", AUTHORS)


def kernels(study: Study) -> list[Block]:
    return variant_blocks(study, _one_option("lph_kernel", "kernel"), "The kernel of every LPH (0: none)", AUTHORS)


def ablation(study: Study) -> list[Block]:
    """LGViT without one term of its distillation, or with another weight."""

    def wanted(name: str, options: dict[str, object]) -> str | None:
        if name != LGVIT or not set(options) <= {"kd_weight", "feature_terms"}:
            return None
        terms = []
        if "kd_weight" in options:
            weight = options["kd_weight"]
            terms.append("without distilled answers" if weight == 0 else f"weight {weight} on distilled answers")
        if options.get("feature_terms") is False:
            terms.append("without feature terms")
        return " and ".join(terms) or LGVIT

    return variant_blocks(study, wanted, "Terms of the distillation", LGVIT)


def regimes(study: Study) -> list[Block]:
    """LGViT's heads trained in other ways; two-stage is the paper's."""

    def wanted(name: str, options: dict[str, object]) -> str | None:
        if name != LGVIT or not set(options) <= {"regime", "joint_weights", "alternate_by", "heads_always"}:
            return None
        if not options:
            return TWO_STAGE
        regime = str(options.get("regime", "frozen"))
        rest = [f"{key} {value}" for key, value in sorted(options.items()) if key != "regime"]
        return f"{regime} ({', '.join(rest)})" if rest else regime

    return variant_blocks(study, wanted, "Ways to train LGViT's heads, total epochs equal", TWO_STAGE)


AUTHORS = "the authors' layout"
TWO_STAGE = "two-stage"


def _one_option(option: str, word: str) -> Wanted:
    def wanted(name: str, options: dict[str, object]) -> str | None:
        if name != LGVIT or not set(options) <= {option}:
            return None
        return f"{word} {options[option]}" if options else AUTHORS

    return wanted
