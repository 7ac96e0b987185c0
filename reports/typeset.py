"""From plain data and figures to the PDF, by typst and a template of our own."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def typeset(folder: Path, content: dict[str, Any]) -> None:
    """Write `paper.pdf` into the report's folder, which has the figures. The same content gives the same bytes."""
    import typst

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
            # Typst's accessibility tags fail on some pages with many floats (typst#8487): better untagged than none.
            pdf = typst.compile(source, root=str(work), ignore_system_fonts=True, pdf_tags=False)
        assert isinstance(pdf, bytes)
        (folder / "paper.pdf").write_bytes(pdf)
