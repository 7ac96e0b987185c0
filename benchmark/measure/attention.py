"""The attention kernels that a model runs. Times of different kernels cannot be compared."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from methods.model import MultiExitModel

FUSED = "_scaled_dot_product_"
MATH, UNFUSED = "attention_math", "matmul_softmax"


@torch.no_grad()
def attention_kernels(model: MultiExitModel, images: Tensor) -> tuple[str, ...]:
    """The kernels behind `scaled_dot_product_attention` as torch names them, such as ``flash_attention_for_cpu``, sorted.

    `MATH` where torch runs its unfused fallback, and `UNFUSED` alone if the model multiplies matrices itself.

    Args:
        model: the model in evaluation mode, on the device and in the precision of the images.
        images: (N, channels, H, W); the first one passes through all blocks and heads.
    """
    with _Calls() as calls, _Kernels() as kernels:
        model(images[:1])
    names = {name.removeprefix(FUSED) for name in kernels.names}
    if calls.count > len(kernels.names):
        names.add(MATH)
    return tuple(sorted(names)) or (UNFUSED,)


class _Calls(TorchFunctionMode):
    """Counts calls of `scaled_dot_product_attention`."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += getattr(function, "__name__", "") == "scaled_dot_product_attention"
        return function(*args, **(kwargs or {}))


class _Kernels(TorchDispatchMode):
    """Collects the fused attention operators that run, one name per call."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        if name.startswith(FUSED):
            self.names.append(name)
        return function(*args, **(kwargs or {}))
