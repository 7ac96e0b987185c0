"""The syntax trees that stage keys vouch for.

A stage's key holds a code version that is raised by hand when the code changes what it computes. This file keeps the
hand honest: the trees of the modules behind each version are on file in code_versions.json. After a change, either raise
the version and run

    python -m tests.code_versions

or, where the change computes the same, say why:

    python -m tests.code_versions --no-effect "renamed a variable"
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
from pathlib import Path
from typing import Any

from benchmark.registry import TABLES
from benchmark.stages.graph import STAGES
from datasets import folder

ROOT = Path(__file__).resolve().parent.parent
FILE = Path(__file__).with_suffix(".json")


def units() -> dict[str, tuple[int, tuple[str, ...]]]:
    """Everything with a code version: name to (version, modules)."""
    found = {f"stage {name}": (stage.version, stage.modules) for name, stage in STAGES.items()}
    for kind, cards in TABLES.items():
        if kind == "method":
            continue  # a method's heads and losses are in the key themselves
        for name, card in cards.items():
            found[f"{kind} {name}"] = (card.code_version, (card.target.split(":")[0].replace(".", "/") + ".py",))
    found["dataset folder:"] = (folder.CODE_VERSION, ("datasets/folder.py",))
    return found


def fingerprint(modules: tuple[str, ...]) -> str:
    """Of the modules' syntax trees, docstrings and comments aside."""
    digest = hashlib.sha256()
    for module in modules:
        tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def on_file() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-effect", metavar="REASON", help="why the changed code computes the same")
    reason = parser.parse_args().no_effect
    before, after = on_file(), {}
    for name, (version, modules) in units().items():
        tree = fingerprint(modules)
        old = before.get(name, {"version": None, "tree": None, "no_effect": []})
        reasons = list(old["no_effect"]) if old["version"] == version else []
        if old["version"] == version and old["tree"] != tree:
            if reason is None:
                raise SystemExit(
                    f"{name}: the code changed and its version is still {version}; raise it, or give --no-effect"
                )
            reasons.append(reason)
        after[name] = {"version": version, "tree": tree, "no_effect": reasons}
    FILE.write_text(json.dumps(after, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
