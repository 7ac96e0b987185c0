"""The differences between the paper and its official code (docs/discrepancies.md), and the effect of each."""

from __future__ import annotations

from reports.blocks import Block, Text
from reports.comparison_group import DROP, HALF, LGVIT, ComparisonGroup
from reports.names import option_words
from reports.sections.variants import NAME, variant_figure, with_variants
from reports.study import Study
from reports.tables import times
from reports.words import difference
from results.judge.contrast import Contrast, contrast, corrected
from results.tables.run import Run

OPTIONS = {
    "teacher_norm": ("D5", "the teacher classifies without the final norm"),
    "lph_kernel": ("D18", "every LPH with a depthwise convolution"),
    "pool": ("D19", "a true average pool before each GAH"),
    "gah_residual": ("D20", "GAHs with a residual"),
    "kd_divisor": ("D21", "distillation divided by batch times classes"),
    "reduction": ("D21", "sums over exits in place of means"),
    "feature_divisor": ("D22", "feature terms as sums over tokens"),
    "detach_group_teacher": ("D23", "the deepest head of a group is also trained towards the weaker ones"),
    "heterogeneous_exits": ("D24", "every head of a group reads the backbone's tokens"),
    "frozen_mode": ("D31", "the frozen backbone in training mode"),
}
OFFICIAL = "lgvit-official"


def discrepancies(study: Study) -> list[Block]:
    blocks: list[Block] = []
    for setting, base, others in with_variants(study, _variant_name, NAME):
        blocks += variant_figure(study, "One difference of the official code at a time", setting, base, others)
    return blocks + [Text(text) for text in (*_elsewhere(study), *_alternation(study), *_entropy(study), *_swin(study))]


def _variant_name(name: str, options: dict[str, object]) -> str | None:
    if name == OFFICIAL and not options:
        return "the official code's reading"
    if name != LGVIT or len(options) > 1:
        return None
    if not options:
        return NAME
    (option,) = options
    if option not in OPTIONS:
        return None
    number, what = OPTIONS[option]
    return f"{number}: {what} ({option_words(options)})"


def _elsewhere(study: Study) -> list[str]:
    """The effect of D1 and D30, which change the backbone or the split and therefore are in other groups."""
    contrasts: dict[str, Contrast] = {}
    for setting in study.main:
        plain = next((s for s in study.main if s is not setting and _same_but(s, setting)), None)
        if plain is None:
            continue
        result = contrast(setting.seeds_at(LGVIT, HALF), plain.seeds_at(LGVIT, HALF))
        if result is not None:
            token, selection = ("D1", "an idle second token"), ("D30", "selection on the test images themselves")
            number, what = token if _plain_backbone(setting) else selection
            contrasts[f"{number}, {what}, on {setting.place}"] = result
    return _sentences(contrasts)


def _sentences(contrasts: dict[str, Contrast]) -> list[str]:
    """One sentence for each change of LGViT, after Holm's correction over them."""
    return [
        f"{what}: at half of the MACs the {result.metric.name} of LGViT changes by {difference(result)} ({result.result})."
        for what, result in corrected(contrasts).items()
    ]


def _plain_backbone(setting: ComparisonGroup) -> str | None:
    """The backbone of which this one is a variant with an idle token; None if it is not such a variant."""
    return setting.leading.record.backbone.idle_token_variant_of


def _same_but(plain: ComparisonGroup, other: ComparisonGroup) -> bool:
    """Whether the second group is the first with an idle token, or with the published split."""
    if plain.where["scheme"] != other.where["scheme"] or plain.where["recipes"] != other.where["recipes"]:
        return False
    backbones, data = ((s.where["backbone"], s.where["dataset"]) for s in (plain, other))
    without_token = _plain_backbone(other)
    if without_token is not None:
        return backbones == (without_token, data[1])
    return backbones[0] == data[0] and data[1] == f"{backbones[1]} (split=as-published)"


def _alternation(study: Study) -> list[str]:
    """The effect of D31 and D32, which change the alternating training."""
    base = {"regime": "alternating-frozen"}
    options = {
        "heads_always": ("D31", "heads that run in every step"),
        "alternate_by": ("D32", "alternation by forward pass"),
    }
    contrasts: dict[str, Contrast] = {}
    for setting in study.main:
        runs = [run for run in setting.exiting if run.record.spec.train.method.name == LGVIT]
        labels = {run.method: _set(run) for run in runs}
        plain = next((label for label, set_ in labels.items() if set_ == base), "")
        for option, (number, what) in options.items():
            for label, set_ in labels.items():
                if set(set_) == {*base, option} and base.items() <= set_.items():
                    result = contrast(setting.seeds_at(label, HALF), setting.seeds_at(plain, HALF))
                    if result is not None:
                        contrasts[f"{number}, {what}, in alternating training of {setting.place}"] = result
    return _sentences(contrasts)


def _entropy(study: Study) -> list[str]:
    """The effect of D14, for runs with both definitions of the entropy."""
    contrasts: dict[str, Contrast] = {}
    for run in study.runs:
        if run.method == LGVIT:
            guarded, plain = (run.point(f"entropy{option}", *HALF) for option in ("", "(guarded=False)"))
            if guarded and plain and (result := contrast({0: (run, plain.name)}, {0: (run, guarded.name)})) is not None:
                where = f"on {study.backbones[run.backbone]}, {run.dataset}, seed {run.seed}"
                contrasts[f"D14, an entropy that is NaN for saturated samples, {where}"] = result
    return _sentences(contrasts)


def _swin(study: Study) -> list[str]:
    """The effect of D3, the official code's count of layers on Swin."""
    table = study.points[study.points["official_swin_speedup"].notna() & (study.points["label"] == LGVIT)]
    rows = table[(table["kind"] == DROP[0]) & (table["target"] == DROP[1])]
    return [
        "D3 of docs/discrepancies.md, exits of Swin counted one block too low: the official code would report "
        f"{times(row['official_swin_speedup'])} in layers where it is {times(row['layer_speedup'])} "
        f"({study.backbones[row['backbone']]} on {row['dataset']}, seed {row['seed']})."
        for _, row in rows.iterrows()
    ]


def _set(run: Run) -> dict[str, object]:
    return dict(run.record.spec.train.method.set)
