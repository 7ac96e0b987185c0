"""The code behind stage keys.

A key contains version numbers that are raised by hand: one per domain (`benchmark.stages.keys.DOMAINS`) and one per registered
head, loss, policy, backbone and dataset (their cards). code_versions.json holds a fingerprint of the code behind each version.
After a change, either raise the version and run

    .tox/py/bin/python -m tests.code_versions

or, where the changed code computes the same, say why:

    .tox/py/bin/python -m tests.code_versions --no-effect "renamed a variable"
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmark.registry import TABLES
from benchmark.stages.keys import DOMAINS
from datasets import folder

ROOT = Path(__file__).resolve().parent.parent
FILE = Path(__file__).with_suffix(".json")
COMPUTES = (
    "methods/", "datasets/", "benchmark/training/", "benchmark/evaluation/", "benchmark/external/", "benchmark/importing/",
)  # fmt: skip
"""Folders whose modules can change results; of benchmark/measure/ the domains name the files that can."""
NO_EFFECT = {
    "methods/api.py": "the heads, losses and stages that methods choose are fields of the keys",
    "methods/borrowed_heads.py": "the heads that it names are fields of the keys, with their versions",
    "methods/exit_method.py": "likewise",
    "methods/lookup.py": "looks names up",
    "methods/policies/option_types.py": "reads the options of policies for the check of a grid",
    "methods/policies/ranges.py": "refuses values of options",
    "methods/backbones/card_check.py": "compares a card with the model",
    "methods/backbones/timm_cards.py": "stores cards, which `methods.backbones.timm_models` makes",
    "methods/backbones/normalisation.py": "the normalisation of a run's weights is a field of the keys",
    "methods/placement.py": "the block numbers are fields of the keys",
    "datasets/shift.py": "the corruption and its CODE_VERSION are fields of the keys",
    "datasets/corrupt.py": "its version is CODE_VERSION in datasets/shift.py, a field of the keys",
    "datasets/check.py": "reads what the reader reads, and reports",
    "datasets/errors.py": "messages",
    "datasets/fetch.py": "brings files, whose content the fingerprint covers",
    "datasets/integrity.py": "likewise",
    "datasets/skipped.py": "names files that are not read",
    "datasets/synthetic.py": "noise for rehearsals, whose results are not kept",
    "datasets/bundled/make_fashion_mnist_mini.py": "made the bundled file, whose content the fingerprint covers",
    "benchmark/evaluation/stored_sweeps.py": "for the command sweep, whose tables no record holds",
    "benchmark/importing/checkpoint.py": "writes the stages that the domain 'importing' computes",
    "benchmark/external/run.py": "writes the stages and records that the domains 'external' and 'evaluation' compute",
}
"""Modules in these folders that no key covers, each with the reason."""
DESCRIPTION = {
    "summary", "citation", "licence", "how_to_get", "code_version", "redistributable", "target", "family",
    "idle_token_variant_of", "normalisation", "fixed_threshold_ignores_val", "reads_gates", "reads_patches",
    "reads_backbone", "options_across_exits", "tasks", "options_on_class_tokens", "own_policy", "labels_patches",
}  # fmt: skip
"""Fields of cards that change no result."""


@dataclass(frozen=True)
class Unit:
    """Code with one version: a domain, or a registered head, loss, policy, backbone or dataset.

    Attributes:
        files: relative to the checkout.
        card: the fields of the card that can change results.
    """

    version: int
    files: tuple[str, ...]
    card: str = ""


def units() -> dict[str, Unit]:
    """All units of code with a version, by name."""
    by_name = {f"domain {name}": Unit(domain.version, domain.files) for name, domain in DOMAINS.items()}
    for kind, cards in TABLES.items():
        if kind == "method":
            continue  # a method's heads, losses and policy are fields of the keys
        for name, card in cards.items():
            files = own_files(card.target)
            by_name[f"{kind} {name}"] = Unit(card.code_version, files, _card_text(card))
    by_name["dataset folder:"] = Unit(folder.CODE_VERSION, ("datasets/folder.py",))
    return by_name


def own_files(target: str) -> tuple[str, ...]:
    """The files behind a card: its module, and the modules that it imports and that belong to no domain."""
    start = target.split(":")[0].replace(".", "/") + ".py"
    shared = {file for domain in DOMAINS.values() for file in domain.files} | set(NO_EFFECT)
    imported = {file for file in import_closure([start]) if file.startswith(("methods/", "datasets/"))}
    return tuple(sorted(file for file in imported - shared if not file.endswith("__init__.py")))


def import_closure(files: Iterable[str]) -> set[str]:
    """Our modules that these import, directly or through others, and these themselves.

    Imports for annotations only do not count. Registered code is not followed, because it is looked up by name.
    """
    closure: set[str] = set()
    open_files = list(files)
    while open_files:
        file = open_files.pop()
        if file not in closure:
            closure.add(file)
            if file != "benchmark/registry.py" and not file.startswith("benchmark/stages/"):
                open_files += imported_files(file)
    return closure


@cache
def imported_files(file: str) -> tuple[str, ...]:
    """Our modules that one module imports, anywhere in it."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    for_annotations = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names: list[str] = []
    for node in ast.walk(tree):
        if node in for_annotations:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(dict.fromkeys(path for name in names if (path := _file_of(name)) is not None))


def _file_of(name: str) -> str | None:
    """The file of a dotted name: of the module, or of the module whose attribute it is."""
    path = name.replace(".", "/")
    for candidate in (path, path.rpartition("/")[0]):
        for file in (f"{candidate}.py", f"{candidate}/__init__.py"):
            if (ROOT / file).is_file():
                return file
    return None


def fingerprint(unit: Unit) -> str:
    """SHA-256 of the syntax trees, without docstrings and comments, and of the card."""
    digest = hashlib.sha256(unit.card.encode())
    for file in unit.files:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _card_text(card: Any) -> str:
    """The fields of a card that can change results, as text that is the same on every machine."""
    fields = {name: value for name, value in asdict(card).items() if name not in DESCRIPTION}
    return json.dumps(fields, sort_keys=True, default=lambda value: type(value).__name__)


def on_file() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-effect", metavar="REASON", help="why the changed code computes the same")
    reason = parser.parse_args().no_effect
    before, after = on_file(), {}
    for name, unit in units().items():
        tree = fingerprint(unit)
        old = before.get(name, {"version": None, "tree": None, "no_effect": []})
        reasons = list(old["no_effect"]) if old["version"] == unit.version else []
        if old["version"] == unit.version and old["tree"] != tree:
            if reason is None:
                raise SystemExit(
                    f"{name}: the code changed and its version is still {unit.version}; raise it, or give --no-effect"
                )
            reasons.append(reason)
        after[name] = {"version": unit.version, "tree": tree, "no_effect": reasons}
    FILE.write_text(json.dumps(after, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
