"""Where a backbone's pretrained weights come from: found, fetched where allowed, and named by their hash. No torch.

A source is ``scratch``; ``timm:TAG`` with a full timm tag, such as vit_base_patch16_224.augreg_in21k_ft_in1k; or
``file:PATH``, a safetensors file. A timm tag is looked for as ``weights/TAG.safetensors`` in the data folder, then in the
cache of Hugging Face's hub, where timm keeps its downloads.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from benchmark.errors import UserError
from benchmark.spec import Weights
from results.store import sha256

SCRATCH = "scratch"
HUB_FILE = "model.safetensors"


def check_source(source: object) -> str:
    """
    Raises:
        ValueError: it is none of the three forms.
    """
    text = str(source)
    if text == SCRATCH or (isinstance(source, str) and re.fullmatch(r"timm:[\w-]+\.[\w.-]+|file:.+", text)):
        return text
    raise ValueError(
        f"weights are 'scratch', 'timm:' with a full tag (timm:vit_base_patch16_224.augreg_in21k_ft_in1k) or 'file:' with a "
        f"safetensors file, not {source!r}"
    )


def locate(source: str, data_dir: Path | None) -> Path | None:
    """The file of a source; None for ``scratch``, and where it is not on this machine."""
    if source == SCRATCH:
        return None
    kind, _, name = source.partition(":")
    if kind == "file":
        path = Path(name).expanduser()
        return path if path.is_file() else None
    return next((path for path in _places(name, data_dir) if path.is_file()), None)


def _places(tag: str, data_dir: Path | None) -> list[Path]:
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(f"timm/{tag}", HUB_FILE)
    local = [data_dir / "weights" / f"{tag}.safetensors"] if data_dir else []
    return [*local, Path(cached)] if isinstance(cached, str) else local


def named(source: str, data_dir: Path | None) -> Weights:
    """The weights with their hash, where the file is there."""
    path = locate(source, data_dir)
    return Weights(source=source, sha256=path and _sha256(path, path.stat().st_size, path.stat().st_mtime_ns))


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, modified: int) -> str:
    return sha256(path)


def obtain(source: str, data_dir: Path | None, *, offline: bool) -> Path:
    """The file of a source that is no ``scratch``, downloaded where it must and may be.

    Raises:
        UserError: it is not there and cannot be fetched; the sentence says which file is wanted and where it was looked for.
    """
    found = locate(source, data_dir)
    if found is not None:
        return found
    kind, _, name = source.partition(":")
    if kind == "file":
        raise UserError(f"weights {source}: there is no file {Path(name).expanduser().absolute()}")
    from huggingface_hub import constants, hf_hub_download

    places = [str(path) for path in _places(name, data_dir)]
    if data_dir is None:
        places.append("weights/ of a data folder (none is named: --data-dir or LGVIT_BENCH_DATA)")
    places.append(f"the hub's cache {constants.HF_HUB_CACHE}")
    looked = (
        f"weights {source}: wanted is {HUB_FILE} of timm/{name}, as {name}.safetensors; looked in {', '.join(places)}"
    )
    if offline:
        raise UserError(f"{looked}; --offline forbids the download")
    try:
        return Path(hf_hub_download(f"timm/{name}", HUB_FILE))
    except Exception as error:  # whatever the hub's client makes of a missing network, tag or permission
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{looked}; the download failed ({type(error).__name__}: {reason})") from None
