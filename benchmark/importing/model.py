"""Reading and writing of models that were imported from checkpoints of the authors' code."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from benchmark import registry
from benchmark.training.heads import make_head
from methods.api import BackboneCard, Component
from methods.model import ExitHeads, MultiExitModel
from methods.official_config import OfficialModel
from results.store.folder import StoreError

KIND = "imported"
WEIGHTS = "model.safetensors"
ANATOMY = "model.json"


def registered_name(card: BackboneCard) -> str | None:
    """The registered backbone with the same architecture, if any; the epsilon of the norm layers is not compared."""
    anatomy = ("stages", "dims", "grids", "attention_heads", "prefix_tokens", "registers", "image_size", "channels")
    for name, known in registry.table("backbone").items():
        if all(getattr(known, field) == getattr(card, field) for field in anatomy) and known.target == card.target:
            return name
    return None


def write_model(model: MultiExitModel, described: OfficialModel, folder: Path) -> None:
    """Write the model's weights and the description from which `read_model` builds it."""
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    (folder / WEIGHTS).write_bytes(save(state))
    anatomy = {
        "card": asdict(described.card),
        "exits": described.exits,
        "heads": [{"name": choice.name, "options": dict(choice.options)} for choice in described.heads],
        "classes": described.classes,
    }
    (folder / ANATOMY).write_text(json.dumps(anatomy, indent=1) + "\n", encoding="utf-8")


def read_model(weights: Path, anatomy: Path, device: torch.device) -> MultiExitModel:
    """The model that `write_model` wrote, in evaluation mode.

    Raises:
        StoreError: the backbone in the file is not part of this suite.
    """
    description: dict[str, Any] = json.loads(anatomy.read_text(encoding="utf-8"))
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in description["card"].items()}
    if not fields["target"].startswith("methods.backbones."):  # an untrusted file must not determine the imported code
        raise StoreError(f"{anatomy}: the backbone {fields['target']!r} is not part of this suite")
    card = BackboneCard(**fields)
    choices = [Component(entry["name"], entry["options"]) for entry in description["heads"]]
    heads = [
        make_head(c, block, card, description["classes"])
        for c, block in zip(choices, description["exits"], strict=True)
    ]
    model = MultiExitModel(
        card.load()(card.architecture, description["classes"]), ExitHeads(description["exits"], heads)
    )
    model.load_state_dict(load_file(weights))
    return model.to(device).eval()
