"""Where a backbone's pretrained weights come from: found, fetched where allowed, and named by their hash. No torch.

A source is ``scratch``; ``timm:TAG`` with a full timm tag, such as vit_base_patch16_224.augreg_in21k_ft_in1k; or
``file:PATH``, a safetensors file. A timm tag is looked for as ``weights/TAG.safetensors`` in the data folder, then in the
cache of Hugging Face's hub, where timm keeps its downloads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from benchmark.errors import UserError
from results.spec import Weights
from results.store.folder import sha256

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


def missing(source: str, data_dir: Path | None) -> str | None:
    """The sentence about a source whose file is not on this machine: which file is wanted and where it was looked for."""
    if source == SCRATCH or locate(source, data_dir) is not None:
        return None
    kind, _, name = source.partition(":")
    if kind == "file":
        return f"weights {source}: there is no file {Path(name).expanduser().absolute()}"
    from huggingface_hub import constants

    places = [str(path) for path in _places(name, data_dir)]
    if data_dir is None:
        places.append("weights/ of a data folder (none is named: --data-dir or LGVIT_BENCH_DATA)")
    looked = ", ".join([*places, f"the hub's cache {constants.HF_HUB_CACHE}"])
    return f"weights {source}: wanted is {HUB_FILE} of timm/{name}, or {name}.safetensors; looked in {looked}"


def fetch(source: str, data_dir: Path | None) -> None:
    """Download a timm source, by which `locate` finds it.

    Raises:
        UserError: it cannot be fetched.
    """
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(f"timm/{source.partition(':')[2]}", HUB_FILE)
    except Exception as error:  # whatever the hub's client makes of a missing network, tag or permission
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{missing(source, data_dir)}; the download failed ({type(error).__name__}: {reason})"
        ) from None


def fetch_missing(sources: Sequence[str], data_dir: Path | None, offline: bool, say: Callable[[str], None]) -> bool:
    """Download the pretrained weights that are not on this machine.

    Returns:
        whether any was downloaded; specifications that were read before do not know its hash.

    Raises:
        UserError: a file is missing and may not or cannot be downloaded.
    """
    absent = {source: sentence for source in dict.fromkeys(sources) if (sentence := missing(source, data_dir))}
    refused = [source for source in absent if offline or source.startswith("file:")]
    if refused:
        why = "; --offline forbids the download"
        raise UserError(*(absent[source] + ("" if source.startswith("file:") else why) for source in refused))
    for number, source in enumerate(absent, start=1):
        say(f"weights {number}/{len(absent)}: fetching {source}")
        fetch(source, data_dir)
    return bool(absent)
