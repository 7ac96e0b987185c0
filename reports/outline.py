"""The order of the sections, and the content of the first page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from reports.abstract import abstract
from reports.blocks import Block, Drawn, Section, Shown, as_data, block_data
from reports.figures.teaser import chosen, teaser
from reports.numbering import number_floats
from reports.sections import closing, costs, discrepancies, opening, placement, policies, variants
from reports.sections.atlas import exit_atlas
from reports.sections.calibration import calibration
from reports.sections.claims import claims_table, is_own, unjudged
from reports.sections.convergence import convergence
from reports.sections.detection import objects
from reports.sections.learning_curves import learning_curves
from reports.sections.mechanisms import mechanisms_with_reference
from reports.sections.realised import counted_three_ways
from reports.sections.representations import representations
from reports.sections.results import figures_of_others, results, routing
from reports.sections.segmentation import classes_and_boundaries
from reports.sections.shift import shifted
from reports.sections.static_models import static_models
from reports.sections.summary import summary
from reports.setup import cited
from reports.sources import source
from reports.study import Study
from reports.tables import timing
from reports.weakness import weak_backbone
from reports.words import counted, join

Part = tuple[str, Callable[[Study], Sequence[Block]]]
SECTIONS: tuple[tuple[Part, ...], ...] = (
    (("Question and setup", opening.question_and_setup),),
    (("Results", results), ("Results", calibration), ("Results", convergence), ("Results", summary)),
    (("Classes and boundaries", classes_and_boundaries),),
    (("Objects and boxes", objects),),
    (
        ("Exits", placement.schemes),
        ("Exits", placement.counts),
        ("heads", variants.strides),
        ("heads", variants.kernels),
        ("training", variants.regimes),
        ("training", variants.ablation),
        ("official code", discrepancies.discrepancies),
    ),
    (("What the blocks represent", representations), ("What the blocks represent", mechanisms_with_reference)),
    (("Policies", policies.other_policies), ("shifted test images", shifted)),
    (("Published numbers", closing.published), ("static models", static_models)),
    (("Costs", costs.costs),),
    (("Limits and failures", closing.limits_and_failures), ("Limits and failures", learning_curves)),
)
"""Sections in their order, each with its parts; the title of a section names those that have content."""
APPENDIX: tuple[tuple[Part, ...], ...] = (
    (("Figures of the other settings", figures_of_others),),
    (
        ("Operating points", closing.operating_points),
        ("learning rates", costs.rates),
        ("routing", routing),
        ("exit atlas", exit_atlas),
    ),
    (("Provenance", closing.provenance),),
)
"""After the references."""
CLAIMS_SOURCE = "python -m benchmark claims --full"
CLAIMS = (
    "The paper's claims. Only runs on the paper's data and models with at least five training seeds judge a claim; "
    "the last column shows what smaller runs find, which judges nothing. Found: the drop at the claimed speed-up, or the "
    "smallest lead at equal MACs, with its 95 % interval."
)


def content(study: Study, figures: Path) -> dict[str, Any]:
    """Everything that the template shows, as plain data. Figures are written into a folder; empty sections are left out."""
    sections, appendix = (
        [section for parts in named if (section := _section(study, parts)) is not None]
        for named in (SECTIONS, APPENDIX)
    )
    claims = Shown(CLAIMS, claims_table(study), name="claims", source=CLAIMS_SOURCE)
    return number_floats(
        {
            "title": study.title,
            "date": f"{max(run.record.provenance.finished for run in study.runs):%Y-%m-%d}",
            "runs": counted(len(study.runs), "run"),
            "abstract": abstract(study),
            "claims": [] if unjudged(study) else block_data(claims, figures),
            "note": unjudged(study) if is_own(study) else "",
            "teaser": block_data(_teaser(study), figures)[0],
            "cited": list(cited(study.runs)),
            "sections": as_data(sections, figures),
            "appendix": as_data(appendix, figures),
        }
    )


def _section(study: Study, parts: tuple[Part, ...]) -> Section | None:
    """A section with the parts that have content; None if none has."""
    blocks = {number: made for number, (_, make) in enumerate(parts) if (made := make(study))}
    if not blocks:
        return None
    title = join(list(dict.fromkeys(parts[number][0] for number in blocks)))
    return Section(title[0].upper() + title[1:], tuple(block for made in blocks.values() for block in made))


def _teaser(study: Study) -> Drawn:
    """The figure of page one."""
    setting = study.main[0]
    speeds = counted_three_ways(setting, study.points)
    if weak_backbone(study, setting):
        speeds = speeds.iloc[:0]  # they say nothing there
    beside = ""
    if not speeds.empty:
        time = timing(speeds) or "No time was measured. "
        beside = (
            f" Right: one operating point counted in layers (heads free) and in MACs (every evaluated head). {time}"
        )
    shown, some = chosen(setting), ""
    if len(shown) < len(setting.methods):
        some = (
            f" ({len(shown)} of {len(setting.methods)} methods: {study.display[shown[0]]}, the best others at half of the "
            "MACs, and the last)"
        )
    caption = f"{'Left: t' if beside else 'T'}est {setting.metric.name} over mean MACs, {setting.name}{some}.{beside}"
    origin = source(setting.runs, "curves.csv, points" if beside else "curves")
    return Drawn(caption.strip(), teaser(study, setting, speeds), "teaser", origin)
