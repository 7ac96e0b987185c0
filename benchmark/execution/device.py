"""The device that a command runs on."""

from __future__ import annotations

import os

import torch

from benchmark.errors import UserError


def set_up(threads: int | None) -> None:
    """Deterministic torch with this number of threads, None for its own choice."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic cuBLAS; read when CUDA starts
    torch.use_deterministic_algorithms(True)
    if threads is not None:
        torch.set_num_threads(threads)


def set_up_torch(device: str, threads: int | None) -> torch.device:
    """`set_up`, and the device, checked.

    Raises:
        UserError: there is no such device here.
    """
    set_up(threads)
    return usable_device(device)


def usable_device(name: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``; ``auto`` takes CUDA where it is there.

    Raises:
        UserError: there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {name}: not usable here ({reason}); allowed: auto, cpu, cuda, cuda:N") from None
    # Records say float32; unasked, cuDNN would round what it convolves to TF32's 10 bits of mantissa.
    torch.backends.cudnn.allow_tf32 = False
    return device
