"""The attention kernel that a record of times names is the one that ran."""

from __future__ import annotations

from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmark.measure.attention import MATH, UNFUSED, attention_kernels
from methods.model import ExitHeads, MultiExitModel
from tests.benchmark.measure.test_dynamic import images_for, small_model

BACKBONE = "vit_nano_patch4_28"


def test_fused_kernels_and_the_fallback_are_told_apart() -> None:
    model, images = small_model(BACKBONE, "vanilla"), images_for(BACKBONE, 1)
    assert attention_kernels(model, images) == ("flash_attention_for_cpu",)
    with sdpa_kernel(SDPBackend.MATH):
        assert attention_kernels(model, images) == (MATH,)


def test_a_model_without_fused_attention_is_named_so() -> None:
    model, images = small_model(BACKBONE, "vanilla"), images_for(BACKBONE, 1)
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    plain = MultiExitModel(model.backbone, ExitHeads((), ()))
    assert attention_kernels(plain, images) == (UNFUSED,)
