"""The order of the sections, and the content of the first page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from reports.abstract import abstract
from reports.blocks import Block, Drawn, Section, as_data, block_data, parts
from reports.figures.teaser import teaser
from reports.sections import closing, costs, discrepancies, opening, placement, policies, variants
from reports.sections.atlas import exit_atlas
from reports.sections.calibration import calibration
from reports.sections.claims import claims_table, is_own, unjudged
from reports.sections.data import data
from reports.sections.realised import counted_three_ways
from reports.sections.results import results
from reports.sections.static_models import static_models
from reports.setup import cited
from reports.study import Study
from reports.tables import timing
from reports.weakness import weakness
from reports.words import counted

SECTIONS: tuple[tuple[str, Callable[[Study], list[Block]]], ...] = (
    ("Question", opening.question),
    ("Setup", lambda study: opening.setup(study) + data(study)),
    ("Results", results),
    ("Exit schemes", placement.schemes),
    ("Number of exits", placement.counts),
    ("Stride of the attention heads", variants.strides),
    ("Kernel of the convolutional heads", variants.kernels),
    ("Training schemes", variants.regimes),
    ("Terms of the distillation", variants.ablation),
    ("Paper and official code", discrepancies.discrepancies),
    ("Other policies", policies.other_policies),
    ("Calibration", calibration),
    ("Published numbers", closing.published),
    ("Static models", static_models),
    ("Costs", costs.costs),
    ("Training", costs.training),
    ("Failures found", closing.failures),
    ("Exit atlas", exit_atlas),
    ("Limits", closing.shortcomings),
    ("Left out", closing.left_out),
    ("Provenance", closing.provenance),
)
APPENDIX: tuple[tuple[str, Callable[[Study], list[Block]]], ...] = (
    ("All operating points", closing.operating_points),
    ("Learning rates", costs.rates),
)
"""After the references."""
CLAIMS = (
    "The paper's claims. Only runs on the paper's data and models with at least five training seeds judge a claim; "
    "the last column shows what smaller runs find, which judges nothing. Found: the drop at the claimed speed-up, or the "
    "smallest lead at equal MACs, with its 95 % interval."
)


def content(study: Study, figures: Path) -> dict[str, Any]:
    """Everything that the template shows, as plain data. Figures are written into a folder; empty sections are left out."""
    sections, appendix = (
        [Section(title, tuple(blocks)) for title, make in named if (blocks := make(study))]
        for named in (SECTIONS, APPENDIX)
    )
    return {
        "title": study.title,
        "date": f"{max(run.record.provenance.finished for run in study.runs):%Y-%m-%d}",
        "runs": counted(len(study.runs), "run"),
        "abstract": abstract(study),
        "claims": [] if unjudged(study) else parts(CLAIMS, claims_table(study)),
        "note": unjudged(study) if is_own(study) else "",
        "teaser": block_data(_teaser(study), figures)[0],
        "cited": cited(study.runs),
        "sections": as_data(sections, figures),
        "appendix": as_data(appendix, figures),
    }


def _teaser(study: Study) -> Drawn:
    """The figure of page one."""
    setting = study.main[0]
    speeds = counted_three_ways(setting, study.points)
    if weakness(study, setting):
        speeds = speeds.iloc[:0]  # they say nothing there
    beside = ""
    if not speeds.empty:
        time = timing(speeds) or "No time was measured. "
        beside = (
            f" Right: one operating point counted in layers (heads free) and in MACs (every evaluated head). {time}"
        )
    caption = f"{'Left: t' if beside else 'T'}est accuracy over mean MACs, {setting.place}.{beside}"
    return Drawn(caption.strip(), teaser(study, setting, speeds), "teaser")
