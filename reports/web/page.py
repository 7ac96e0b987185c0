"""Writes `report.html`: one file from a template, which loads nothing from the network."""

from __future__ import annotations

import base64
import hashlib
import shlex
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reports.abstract import abstract
from reports.findings import is_paper_scale
from reports.sections.claims import claims_table, unjudged
from reports.sections.convergence import backbone_sentence
from reports.sections.convergence import heads as shown_convergence
from reports.sections.mechanisms import mechanisms
from reports.sections.representations import block_tables, sentences
from reports.sections.static_models import shown as shown_static_models
from reports.setup import facts
from reports.study import Study
from reports.web.drawing import drawing, header, metric_column, rows

FOLDER = Path(__file__).parent


def write_page(path: Path, study: Study) -> None:
    """Write the page of a study. The same study gives the same bytes."""
    path.write_text(page(study), encoding="utf-8")


def page(study: Study) -> str:
    """The page as HTML.

    Text of records is escaped by Jinja2 or by its JSON filter. The content security policy permits only the page's own script
    and style, by their hashes.
    """
    script, style = ((FOLDER / name).read_text(encoding="utf-8") for name in ("page.js", "page.css"))
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":"), "ensure_ascii": False}
    return environment.get_template("page.html").render(
        script=script, style=style, script_hash=_hash(script), style_hash=_hash(style), **_content(study)
    )


def _content(study: Study) -> dict[str, Any]:
    claims = claims_table(study)
    published = study.tidy.get("static-models")
    return {
        "title": study.title,
        "date": max((run.record.provenance.finished.isoformat() for run in study.runs), default="")[:10],
        "runs": [
            {
                "id": run.record.run_id,
                "commit": (run.record.provenance.code.commit or "no git")[:10],
                "finished": f"{run.record.provenance.finished:%Y-%m-%d}",
                "command": f"python -m benchmark reproduce {shlex.quote(run.record.run_id)}",
            }
            for run in study.runs
        ],
        "demonstration": not any(is_paper_scale(study, run) for run in study.runs),
        "abstract": abstract(study) if study.settings else [],
        "claims": {"header": claims.header, "rows": claims.rows},
        "unjudged": unjudged(study),
        "facts": facts(study.runs),
        "static_models": None if published is None else shown_static_models(published),
        "convergence": next(iter(shown_convergence(study)), None),
        "backbone_convergence": backbone_sentence(study.tidy["convergence"]) if "convergence" in study.tidy else "",
        "representations": [*block_tables(study), *mechanisms(study)],
        "represented": " ".join(sentences(study)) if block_tables(study) else "",
        "problems": study.problems,
        "header": header(study),
        "metric": study.metric,
        "sorted_by": metric_column(study),
        "tests": " or ".join(dict.fromkeys(setting.tests for setting in study.settings)),
        "rows": rows(study),
        "drawing": drawing(study),
    }


def _hash(text: str) -> str:
    """The hash of an inline script or style, as written in a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
