"""Sets up torch for a process: the device, the number of threads, deterministic algorithms."""

from __future__ import annotations

import os

import torch

from benchmark.errors import UserError
from benchmark.execution.config import ExecutionConfig


def set_up_device(config: ExecutionConfig) -> torch.device:
    """Make torch deterministic, set its threads, and choose the device of this process.

    Workers take the visible GPUs in turn. A rank takes the GPU of its local number, or the CPU.

    Raises:
        UserError: the device is not usable here.
    """
    threads = config.threads
    if threads is None and config.workers * config.processes > 1:
        threads = max(1, torch.get_num_threads() // (config.workers * config.processes))
    name = config.device
    if config.processes > 1:
        check_devices(config)
        if not uses_cpu(config):
            name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    elif config.workers > 1 and name in ("auto", "cuda") and torch.cuda.device_count() > 1:
        name = f"cuda:{config.worker % torch.cuda.device_count()}"
    device = set_up_torch(name, threads)
    if device.index is not None:
        torch.cuda.set_device(device)
    return device


def uses_cpu(config: ExecutionConfig) -> bool:
    return config.device == "cpu" or (config.device == "auto" and not torch.cuda.is_available())


def check_devices(config: ExecutionConfig) -> None:
    """Check, without creating a CUDA context, that there is a GPU for each rank.

    Raises:
        UserError: there are fewer GPUs than ranks, or one GPU is named.
    """
    if ":" in config.device:
        raise UserError(f"--device {config.device}: several ranks need one GPU each; use cuda or cpu")
    if config.device == "auto" and not torch.cuda.is_available():
        raise UserError(
            f"--gpus {config.processes}: there is no GPU; --device cpu shares trainings among processes on the CPU"
        )
    if config.device != "cpu" and config.processes > torch.cuda.device_count():
        raise UserError(f"--gpus {config.processes}: this machine has {torch.cuda.device_count()}")


def set_up_torch(device: str, threads: int | None) -> torch.device:
    """Make torch deterministic with a number of threads, None for its default.

    Raises:
        UserError: the device is not usable here.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic cuBLAS; read when CUDA starts
    torch.use_deterministic_algorithms(True)
    if threads is not None:
        torch.set_num_threads(threads)
    return usable_device(device)


def usable_device(name: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``; ``auto`` takes CUDA where it is available.

    Raises:
        UserError: the device is not usable here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {name}: not usable here ({reason}); allowed: auto, cpu, cuda, cuda:N") from None
    # Records say float32. TF32 has 10 bits of mantissa; cuDNN uses it by default, matrix products do in some containers.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    return device
