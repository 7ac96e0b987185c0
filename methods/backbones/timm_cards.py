"""Backbones ``timm:NAME``: the card of a model of timm, made once from the model and then read from a file. No torch here.

The file is in the Hugging Face hub's cache, where timm also keeps weights. It depends on timm's version.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import asdict
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from methods.api import BackboneCard, Normalisation
from methods.lookup import shortened

PREFIX = "timm:"
SUMMARY = "any ViT, distilled DeiT, EVA, Swin or SwinV2 of timm by its name, such as timm:vit_small_patch14_reg4_dinov2"
CODE_VERSION = 2
"""Of `methods.backbones.timm_models`; part of the cards and of their file names."""
TARGET = "methods.backbones.timm_models:build"
FOLDER = "lgvit-bench-cards"
MAX_NAME = 150


def is_timm(name: str) -> bool:
    return name.startswith(PREFIX)


@lru_cache(maxsize=256)
def timm_card(name: str) -> BackboneCard:
    """The card of ``timm:NAME`` or ``timm:NAME.TAG``, where NAME is a model and TAG a set of weights of timm.

    Raises:
        KeyError: timm has no such model, or it cannot be run block by block; the message is meant for the user.
    """
    model = name.removeprefix(PREFIX)
    if len(model) > MAX_NAME or not re.fullmatch(r"\w+(\.[\w-]+)?", model, re.ASCII):
        raise KeyError(
            f"backbone {shortened(name)}: write timm:NAME or timm:NAME.TAG, as in timm:vit_small_patch16_224"
        )
    path = _folder() / f"{model}-timm{version('timm')}-v{CODE_VERSION}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        return _from_json(path.read_text(encoding="utf-8"))
    # This imports torch and timm, which takes seconds: a card that was made before is read without them.
    card: BackboneCard = import_module("methods.backbones.timm_models").describe(model)
    with suppress(OSError):  # without a cache the card is made anew in each process
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        unfinished.write_text(json.dumps(asdict(card), indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)
    return card


def _folder() -> Path:
    from huggingface_hub import constants  # of the commands, only those that use pretrained weights need it

    return Path(constants.HF_HUB_CACHE) / FOLDER


def _from_json(text: str) -> BackboneCard:
    content: dict[str, Any] = _with_tuples(json.loads(text))
    if content["normalisation"] is not None:
        content["normalisation"] = Normalisation(**content["normalisation"])
    if content["target"] != TARGET:  # the cache must not choose the code to import
        raise ValueError(f"unexpected target {content['target']!r}")
    return BackboneCard(**content)


def _with_tuples(value: Any) -> Any:
    """Nested data with every list as a tuple, as cards hold them."""
    if isinstance(value, dict):
        return {key: _with_tuples(entry) for key, entry in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value
