"""Everything registered, by kind and name. The message about an unknown name contains the nearest match.

The tables are in `methods`, `datasets` and their folders: name to card. An installed package adds a card by an entry point in
the group ``lgvit_bench.<kind>``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.plug_ins import package_hash
from datasets import DATASETS
from datasets.folder import folder_card, is_folder
from datasets.synthetic import PREFIX, is_synthetic, synthetic_card
from methods import METHODS, lookup
from methods.api import Method
from methods.backbones import BACKBONES
from methods.backbones.timm_cards import is_timm, timm_card
from methods.heads import HEADS
from methods.losses import LOSSES
from methods.policies import POLICIES
from methods.reductions import REDUCTIONS
from methods.tasks import TASKS
from results.record import BackboneInfo, MethodInfo

GRIDS_FOLDER = Path(__file__).with_name("grids")

TABLES: dict[str, Mapping[str, Any]] = {
    "method": METHODS,
    "head": HEADS,
    "loss": LOSSES,
    "policy": POLICIES,
    "backbone": BACKBONES,
    "reduction": REDUCTIONS,
    "dataset": DATASETS,
    "task": TASKS,
}


def table(kind: str) -> dict[str, Any]:
    """The cards of a kind by name, including those of installed packages.

    Raises:
        UserError: an installed package registers a card that cannot be loaded.
    """
    try:
        return {**lookup.registered_outside(kind), **TABLES[kind]}
    except lookup.EntryPointError as error:
        raise UserError(str(error)) from error


def grids() -> dict[str, Path]:
    """The files of the shipped grids by name."""
    return {path.stem: path for path in sorted(GRIDS_FOLDER.glob("*.yaml"))}


def card(kind: str, name: str) -> Any:
    """The card of a registered name.

    Raises:
        KeyError: unknown name; the message is meant for the user.
        DataError: a folder of images that is used as the dataset is invalid; the message is meant for the user.
        UserError: an installed package registers a card that cannot be loaded.
    """
    if kind == "dataset" and isinstance(name, str) and is_folder(name):
        return folder_card(name)
    if kind == "backbone" and isinstance(name, str) and is_timm(name):
        return timm_card(name)
    if kind == "dataset" and isinstance(name, str) and is_synthetic(name):
        of_name = name.removeprefix(PREFIX)
        if is_synthetic(of_name):
            raise KeyError(f"{lookup.shortened(name)}: {PREFIX!r} precedes the name of a dataset, and only once")
        return synthetic_card(card("dataset", of_name))
    if isinstance(name, str) and name in TABLES[kind]:  # works although an installed package is broken
        return TABLES[kind][name]
    known = table(kind)
    if name not in known:
        raise KeyError(lookup.unknown(kind, name, known))
    return known[name]


def is_outside(kind: str, name: str) -> bool:
    """Whether an installed package registers the name, by an entry point."""
    return name not in TABLES[kind] and name in table(kind)


def code_version(kind: str, name: str) -> int | str:
    """The version of the code behind a registered thing, as in stage keys.

    For one of an installed package, the version on its card and a hash of the package's files.
    """
    registered = card(kind, name)
    if not is_outside(kind, name):
        return registered.code_version
    return f"{registered.code_version}+{package_hash(registered.target)}"


def configured(kind: str, name: str, options: Mapping[str, Any]) -> Any:
    """An instance of a registered dataclass, whose options are checked against its fields.

    Raises:
        KeyError: no such name.
        ValueError: an option is unknown or of the wrong type; the message names it and the valid ones.
    """
    return lookup.configured(kind, name, card(kind, name).load(), options)


def method_info(name: str, method: Method) -> MethodInfo:
    """The description of a method in a record: its options, and its name, citation and style in reports."""
    registered = card("method", name)
    shown = ("citation", "reference", "color", "marker", "dashes", "table_order")
    fields = {field: getattr(registered, field) for field in shown}
    return MethodInfo(name=name, options=asdict(method), display_name=registered.display_name or name, **fields)


def backbone_info(name: str) -> BackboneInfo:
    """The description of a backbone in a record."""
    registered = card("backbone", name)
    return BackboneInfo(
        name=name, family=registered.family, idle_token_variant_of=registered.idle_token_variant_of,
        image_size=registered.image_size,
    )  # fmt: skip
