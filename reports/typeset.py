"""Typesets the PDF from plain data and figures, with typst and the template paper.typ."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import typst

from reports.fonts import drawable, font_folder

FOLDER = Path(__file__).parent


def typeset(folder: Path, content: dict[str, Any]) -> None:
    """Write `paper.pdf` into the folder of the report, which contains the figures. The same content gives the same bytes."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".typst-") as name:
        work = Path(name)
        for source in ("paper.typ", "references.yaml"):
            shutil.copy(FOLDER / source, work / source)
        shutil.copytree(folder / "figures", work / "figures")
        (work / "content.json").write_text(json.dumps(_drawable(content)), encoding="utf-8")
        source = str(work / "paper.typ")
        options: Any = {"root": str(work), "ignore_system_fonts": True, "font_paths": [str(font_folder())]}
        try:
            pdf = typst.compile(source, **options)
        except typst.TypstError as error:
            if "internal error" not in str(error):
                raise
            # Accessibility tags fail on some pages with many floats (typst#8487): an untagged PDF is better than none.
            pdf = typst.compile(source, **options, pdf_tags=False)
        assert isinstance(pdf, bytes)
        (folder / "paper.pdf").write_bytes(pdf)


def _drawable(content: Any) -> Any:
    """The content with letters that no font has written as code points."""
    if isinstance(content, dict):
        return {key: _drawable(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_drawable(value) for value in content]
    return drawable(content) if isinstance(content, str) else content
