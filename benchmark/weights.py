"""Sources of pretrained backbone weights: parsing, lookup, download and hashing. Imports no torch.

A source is one of
- ``scratch``: random initialisation;
- ``timm:TAG`` with a full timm tag, such as vit_base_patch16_224.augreg_in21k_ft_in1k;
- ``bundled:NAME`` with the name of a file that ships with the suite, ARCHITECTURE.DATASET;
- ``file:PATH`` with a safetensors file.

The file of a timm tag is ``weights/TAG.safetensors`` in the data folder, or else a file in the Hugging Face hub's cache,
which timm also uses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmark import registry
from benchmark.checkout import ROOT
from benchmark.errors import UserError
from methods.api import Normalisation
from methods.backbones.normalisation import NORMALISATIONS
from methods.lookup import listed, nearest, shortened, unknown
from results.spec import Configured, Weights
from results.store.files import sha256

SCRATCH = "scratch"
BUNDLED = ROOT / "methods" / "backbones" / "bundled"
"""Folder of the weights that ship with the suite; its README says where each file comes from."""
HUB_FILE = "model.safetensors"
NORMALISATION_KEYS = frozenset({"mean", "std"})
"""Options of a backbone in a grid that state the normalisation of its images."""


def check_source(source: object) -> str:
    """The source as text, if it is valid.

    Raises:
        ValueError: it has none of the four forms, or no weights of this name ship with the suite.
    """
    text = str(source)
    kind, _, name = text.partition(":")
    if kind == "bundled" and isinstance(source, str):
        if name not in bundled_names():
            raise ValueError(unknown("bundled weights", name, bundled_names()))
        return text
    if text == SCRATCH or (isinstance(source, str) and re.fullmatch(r"timm:[\w-]+\.[\w.-]+|file:.+", text)):
        return text
    raise ValueError(
        f"weights are 'scratch', 'timm:' with a full tag (timm:vit_base_patch16_224.augreg_in21k_ft_in1k), 'bundled:' with a "
        f"name of weights that ship with the suite ({listed(bundled_names())}) or 'file:' with a safetensors file, not "
        f"{shortened(source)}"
    )


def bundled_names() -> list[str]:
    """The names of the weights that ship with the suite."""
    return sorted(path.stem for path in BUNDLED.glob("*.safetensors"))


def is_bundled(source: str) -> bool:
    """Whether the weights ship with the suite."""
    return source.startswith("bundled:")


def can_be_downloaded(source: str) -> bool:
    """Whether a missing file of a source can be fetched; a user's own and those of the checkout cannot."""
    return source.startswith("timm:")


def locate(source: str, data_dir: Path | None) -> Path | None:
    """The local file of a source; None for ``scratch`` and if the file is missing."""
    if source == SCRATCH:
        return None
    if not can_be_downloaded(source):
        path = _path(source)
        return path if path.is_file() else None
    name = source.partition(":")[2]
    return next((path for path in _places(name, data_dir) if path.is_file()), None)


def _path(source: str) -> Path:
    """The path that a source on this machine names."""
    kind, _, name = source.partition(":")
    return BUNDLED / f"{name}.safetensors" if kind == "bundled" else Path(name).expanduser()


def _places(tag: str, data_dir: Path | None) -> list[Path]:
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(f"timm/{tag}", HUB_FILE)
    local = [data_dir / "weights" / f"{tag}.safetensors"] if data_dir else []
    return [*local, Path(cached)] if isinstance(cached, str) else local


def named(source: str, data_dir: Path | None, normalisation: Normalisation | None = None) -> Weights:
    """The weights of a source, with the SHA-256 of their file; None as the hash for ``scratch`` or a missing file."""
    path = locate(source, data_dir)
    return Weights(
        source=source,
        sha256=path and _sha256(path, path.stat().st_size, path.stat().st_mtime_ns),
        mean=normalisation and normalisation.mean,
        std=normalisation and normalisation.std,
    )


def weights_source(backbone: Configured) -> str:
    """The source of a backbone's weights: the grid's, or else that of the backbone's card."""
    tag = registry.card("backbone", backbone.name).weights
    return str(backbone.set.get("weights", f"timm:{tag}" if tag else SCRATCH))


def weights_of(backbone: Configured, data_dir: Path | None) -> Weights:
    """The weights that a backbone starts from, with their normalisation.

    Raises:
        ValueError: the normalisation is invalid or not known; see `normalisation_of`.
    """
    return named(weights_source(backbone), data_dir, normalisation_of(backbone))


def normalisation_of(backbone: Configured) -> Normalisation | None:
    """The normalisation of a backbone's images: the grid's ``mean`` and ``std``, or else that of the timm tag, or that of the
    dataset on which bundled weights were trained.

    None, which stands for the dataset's own, for ``scratch`` and for files, which do not contain it.

    Raises:
        ValueError: the grid's values are invalid, or the normalisation of the timm tag is not known.
    """
    card, source = registry.card("backbone", backbone.name), weights_source(backbone)
    if NORMALISATION_KEYS & backbone.set.keys():
        return _stated_normalisation(backbone.set, card.channels)
    kind, _, tag = source.partition(":")
    if kind == "bundled":
        data = registry.card("dataset", tag.partition(".")[2])
        return Normalisation(mean=data.mean, std=data.std)
    if kind != "timm":
        return None
    if tag == card.weights and card.normalisation is not None:
        return card.normalisation
    if tag not in NORMALISATIONS:
        raise ValueError(
            f"weights {source}: the mean and standard deviation of the images that they were trained on are not known; "
            f"{nearest(tag, NORMALISATIONS)}state them beside the weights, as in the configuration of the weights: "
            f"set: {{weights: {shortened(source)}, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}"
        )
    return NORMALISATIONS[tag]


def _stated_normalisation(options: Mapping[str, Any], channels: int) -> Normalisation:
    values = {}
    for key in sorted(NORMALISATION_KEYS):
        value: Any = options.get(key)
        numbers = isinstance(value, list | tuple) and all(type(entry) in (int, float) for entry in value)
        if not numbers or len(value) != channels or not all(0 <= entry <= 1 for entry in value):
            raise ValueError(
                f"{key}: a number from 0 to 1 for each channel of the backbone ({channels}), not {shortened(value)}"
            )
        values[key] = tuple(map(float, value))
    if not all(values["std"]):
        raise ValueError(f"std: greater than 0 in every channel, not {shortened(options['std'])}")
    return Normalisation(**values)


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, modified: int) -> str:
    return sha256(path)


def missing(source: str, data_dir: Path | None) -> str | None:
    """An error message if the file of a source is missing: the expected file and the searched places; None otherwise."""
    if source == SCRATCH or locate(source, data_dir) is not None:
        return None
    if not can_be_downloaded(source):
        return f"weights {source}: there is no file {_path(source).absolute()}"
    from huggingface_hub import constants

    name = source.partition(":")[2]
    places = [str(path) for path in _places(name, data_dir)]
    if data_dir is None:
        places.append("weights/ of a data folder (not set: use --data-dir or LGVIT_BENCH_DATA)")
    searched = ", ".join([*places, f"the hub's cache {constants.HF_HUB_CACHE}"])
    return f"weights {source}: neither {HUB_FILE} of timm/{name} nor {name}.safetensors is in {searched}"


def fetch(source: str, data_dir: Path | None) -> None:
    """Download the file of a timm source to the hub's cache, where `locate` finds it.

    Raises:
        UserError: the download failed.
    """
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(f"timm/{source.partition(':')[2]}", HUB_FILE)
    except Exception as error:  # the hub client raises various types for a missing network, tag or permission
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{missing(source, data_dir)}; the download failed ({type(error).__name__}: {reason})"
        ) from None


def fetch_missing(sources: Sequence[str], data_dir: Path | None, offline: bool, say: Callable[[str], None]) -> bool:
    """Download the timm weights among ``sources`` that have no local file.

    Returns:
        whether a file was downloaded. Run specifications from before the download then lack its hash and must be rebuilt.

    Raises:
        UserError: a missing file cannot be downloaded, or ``offline`` forbids it.
    """
    messages = {source: message for source in dict.fromkeys(sources) if (message := missing(source, data_dir))}
    refused = [source for source in messages if offline or not can_be_downloaded(source)]
    if refused:
        suffix = "; --offline forbids the download"
        raise UserError(*(messages[source] + (suffix if can_be_downloaded(source) else "") for source in refused))
    for number, source in enumerate(messages, start=1):
        say(f"weights {number}/{len(messages)}: downloading {source}")
        fetch(source, data_dir)
    return bool(messages)
