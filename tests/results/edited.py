"""Edits of files in a results folder, with checksums that match the edited content."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from results.sealed import KEY, sealed
from results.store.files import sha256
from results.store.folder import Store
from results.store.sharing import share
from results.tables.loading import load_runs


def edit_json(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change the content of a sealed JSON file in place."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content.pop(KEY)
    edit(content)
    path.write_text(sealed(json.dumps(content), indent=1), encoding="utf-8")


def edit_record(folder: Path, edit: Callable[[dict[str, Any]], object] = lambda record: None) -> None:
    """Change a record in place, with updated hashes of the files beside it."""

    def change(record: dict[str, Any]) -> None:
        files = [path for path in sorted(folder.iterdir()) if path.name != "record.json"]
        record["files"] = [{"path": p.name, "sha256": sha256(p), "bytes": p.stat().st_size} for p in files]
        edit(record)

    edit_json(folder / "record.json", change)


def problem_of_edited(store: Store, target: Path, edit: Callable[[Path], None]) -> str:
    """The problem with an edited copy of the run of LGViT; its file hashes fit the edited files."""
    share(store, [run_id for run_id in store.run_ids() if run_id.startswith("lgvit")], target)
    copy = Store(target)
    (run_id,) = copy.run_ids()
    edit(copy.run(run_id))
    loaded, (problem,) = load_runs(copy, [run_id])
    assert loaded == []
    assert run_id in problem
    return problem
