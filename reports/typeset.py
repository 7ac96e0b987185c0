"""Typesets the PDF from plain data and figures, with typst and the template paper.typ."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import typst

FOLDER = Path(__file__).parent


def typeset(folder: Path, content: dict[str, Any]) -> None:
    """Write `paper.pdf` into the folder of the report, which contains the figures. The same content gives the same bytes."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".typst-") as name:
        work = Path(name)
        for source in ("paper.typ", "references.yaml"):
            shutil.copy(FOLDER / source, work / source)
        shutil.copytree(folder / "figures", work / "figures")
        (work / "content.json").write_text(json.dumps(content), encoding="utf-8")
        source = str(work / "paper.typ")
        try:
            pdf = typst.compile(source, root=str(work), ignore_system_fonts=True)
        except typst.TypstError as error:
            if "internal error" not in str(error):
                raise
            # Accessibility tags fail on some pages with many floats (typst#8487): an untagged PDF is better than none.
            pdf = typst.compile(source, root=str(work), ignore_system_fonts=True, pdf_tags=False)
        assert isinstance(pdf, bytes)
        (folder / "paper.pdf").write_bytes(pdf)
