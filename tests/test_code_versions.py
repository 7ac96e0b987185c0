"""A change of the code behind a stage must change its key; a changed comment must not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmark import registry
from benchmark.grid.load import find_grid, load_grid
from benchmark.stages import keys
from benchmark.stages.graph import measurement_name, run_stages
from benchmark.stages.keys import DOMAINS, USES, code_versions, stage_key
from tests import code_versions as versions
from tests.code_versions import COMPUTES, NO_EFFECT, ROOT, Unit, import_closure, units

UNITS = units()
GRID = load_grid(find_grid("training-schemes"))
# The modules that make each kind of stage. Everything else that a kind uses follows from their imports.
MAKERS = {
    "finetune": ("benchmark/training/finetune.py", "benchmark/training/loop.py"),
    "joint": ("benchmark/training/joint.py", "benchmark/training/loop.py"),
    "exits": ("benchmark/training/exits.py", "benchmark/training/loop.py"),
    "scores": ("benchmark/evaluation/scores.py", "benchmark/training/backbone.py", "benchmark/training/heads.py"),
    "cost": ("benchmark/measure/price.py",),
    "evaluate": ("benchmark/evaluation/evaluate.py",),
    "latency": ("benchmark/measure/timed_run.py",),
    "server": ("benchmark/measure/server.py",),
    "probes": ("benchmark/representations/probes.py",),
    "representations": ("benchmark/representations/token_measures.py",),
    "gradients": ("benchmark/representations/gradient_agreement.py",),
    "imported": ("benchmark/importing/model.py",),
    "external": ("benchmark/external/table.py",),
}
# The key of a stage contains its parents' keys, and so the versions of their code.
PARENTS = {
    "scores": ("finetune", "joint", "exits"),
    "exits": ("finetune", "joint"),
    "evaluate": ("scores", "cost"),
    "latency": ("evaluate", "imported"),
    "server": ("evaluate", "imported"),
    "probes": ("finetune", "joint"),
    "representations": ("finetune", "joint"),
    "gradients": ("joint",),
}
MODULES = sorted(
    {path.relative_to(ROOT).as_posix() for folder in COMPUTES for path in (ROOT / folder).rglob("*.py")}
    | {file for domain in DOMAINS.values() for file in domain.files}
)
MODULES = [module for module in MODULES if not module.endswith("__init__.py")]


METHOD_FILES = {card.target.split(":")[0].replace(".", "/") + ".py" for card in registry.TABLES["method"].values()}


def owners(module: str) -> list[str]:
    """The units whose version covers a module."""
    return [name for name, unit in UNITS.items() if module in unit.files]


def domains_of(kind: str) -> set[str]:
    """The domains whose versions a kind's key covers, those of its parents included."""
    return set(USES[kind]).union(*(domains_of(parent) for parent in PARENTS.get(kind, ())))


@pytest.mark.parametrize("name", UNITS)
def test_code_and_version_go_together(name: str) -> None:
    entry = versions.on_file().get(name)
    advice = f"{name}: see tests/code_versions.py"
    assert entry is not None, advice
    assert (entry["version"], entry["tree"]) == (UNITS[name].version, versions.fingerprint(UNITS[name])), advice


def test_the_file_contains_no_other_units() -> None:
    assert set(versions.on_file()) == set(UNITS)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_that_computes_has_a_version(module: str) -> None:
    covered = bool(owners(module)) or module in METHOD_FILES
    assert covered != (module in NO_EFFECT), f"{module}: name it in a domain of benchmark/stages/keys.py"


def test_no_stage_reads_the_files_of_methods() -> None:
    """The heads, losses and policies that they choose are fields of the keys."""
    for kind, makers in MAKERS.items():
        assert not METHOD_FILES & import_closure(makers), kind


@pytest.mark.parametrize("kind", USES)
def test_a_stage_kind_lists_every_domain_that_it_imports(kind: str) -> None:
    closure = import_closure(MAKERS[kind])
    imported = {name for name, domain in DOMAINS.items() if closure & set(domain.files)}
    assert imported <= domains_of(kind)


@pytest.mark.parametrize("module", MODULES)
def test_a_change_of_a_module_makes_every_stage_that_uses_it_stale(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raising the versions that cover a module changes the keys of all stage kinds that import it."""
    before = keys_by_kind()
    for name in owners(module):
        kind, _, unit = name.partition(" ")
        if kind == "domain":
            monkeypatch.setitem(keys.DOMAINS, unit, replace(DOMAINS[unit], version=DOMAINS[unit].version + 1))
        elif unit in registry.TABLES[kind]:
            card = registry.TABLES[kind][unit]
            changed = {**registry.TABLES[kind], unit: replace(card, code_version=card.code_version + 1)}
            monkeypatch.setitem(registry.TABLES, kind, changed)
    after = keys_by_kind()
    stale = {kind for kind in USES if before[kind] != after[kind]}
    if owners(module):
        assert {kind for kind in USES if module in import_closure(MAKERS[kind])} <= stale
    assert {USED_CARDS[name] for name in owners(module) if name in USED_CARDS} <= stale


# Registered things that the runs below use, and a kind of stage whose key must cover each.
USED_CARDS = {
    "backbone vit_nano_patch4_28": "finetune",
    "dataset fashion-mnist-mini": "finetune",
    "head lph": "exits",
    "head gah": "cost",
    "loss self-distillation": "exits",
    "loss joint-cross-entropy": "joint",
    "policy confidence": "evaluate",
}


def keys_by_kind() -> dict[str, list[str]]:
    """The keys of runs with every kind of stage, by kind."""
    by_kind: dict[str, list[str]] = {kind: [] for kind in USES}
    for run in map(run_stages, GRID.runs):
        for stage in (*run.chain, run.evaluate):
            by_kind[stage.kind].append(stage.key)
    for kind in ("imported", "external"):
        by_kind[kind] = [stage_key(kind, {"code": code_versions(kind)})]
    # A measurement is keyed by its run's id, which holds the key of the run's last stage.
    last = [*by_kind["evaluate"], *by_kind["imported"]]
    for kind in ("latency", "server"):
        by_kind[kind] = [measurement_name({"run": key}, kind)[0] for key in last]
    for kind in ("probes", "representations", "gradients"):
        backbones = by_kind["joint"] + (by_kind["finetune"] if kind != "gradients" else [])
        by_kind[kind] = [measurement_name({"backbone": key}, kind)[0] for key in backbones]
    return by_kind


def test_comments_and_docstrings_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "ROOT", tmp_path)
    source, unit = tmp_path / "module.py", Unit(1, ("module.py",))
    source.write_text('def f():\n    """One."""\n    return 1\n')
    first = versions.fingerprint(unit)
    source.write_text('# Why.\ndef f():\n    """Another."""\n    return 1  # one\n')
    assert versions.fingerprint(unit) == first
    source.write_text("def f():\n    return 2\n")
    assert versions.fingerprint(unit) != first
