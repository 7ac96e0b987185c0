"""The registry of backbones. Each card holds the data needed to plan runs; a test compares it with the built model.

Full-size backbones have timm's names. The nano and pico backbones have the same architectures, small enough to train on a CPU.
"""

from __future__ import annotations

from typing import Any

from methods.api import BackboneCard
from methods.backbones.cards import swin, vit

FULL: dict[str, Any] = {"image_size": 224, "channels": 3}
SWIN_FULL: dict[str, Any] = {**FULL, "patch_size": 4, "window": 7, "drop_path": 0.1}
GREY_28: dict[str, Any] = {"image_size": 28, "channels": 1}
GREY_64: dict[str, Any] = {"image_size": 64, "channels": 1}
COLOUR_32: dict[str, Any] = {"image_size": 32, "channels": 3}
COLOUR_64: dict[str, Any] = {"image_size": 64, "channels": 3}
NANO: dict[str, Any] = {"patch_size": 4, "width": 32, "attention_heads": 2}
PICO: dict[str, Any] = {**NANO, "width": 24}
SWIN_NANO: dict[str, Any] = {
    "patch_size": 2,
    "width": 24,
    "stages": (4, 8),
    "attention_heads": (2, 4),
    "drop_path": 0.0,
}

BACKBONES: dict[str, BackboneCard] = {
    # The three backbones of the paper.
    "vit_base_patch16_224": vit(
        **FULL, patch_size=16, width=768, attention_heads=12,
        weights="vit_base_patch16_224.augreg_in21k_ft_in1k", smaller="vit_small_patch16_224",
        summary="ViT-B/16, 12 blocks of width 768, 14x14 patches",
    ),
    "deit_base_distilled_patch16_224": vit(
        **FULL, patch_size=16, width=768, attention_heads=12, kind="distilled",
        weights="deit_base_distilled_patch16_224.fb_in1k",
        smaller="deit_small_distilled_patch16_224",
        summary="DeiT-B/16 distilled: ViT-B with a distillation token and a second classifier",
    ),
    "swin_base_patch4_window7_224": swin(
        **SWIN_FULL, width=128, stages=(2, 2, 18, 2), attention_heads=(4, 8, 16, 32),
        weights="swin_base_patch4_window7_224.ms_in1k",
        smaller="swin_small_patch4_window7_224",
        summary="Swin-B, 24 blocks of widths 128 to 1024, grids 56x56 to 7x7",
    ),
    "vit_base_patch16_224_198_tokens": vit(
        **FULL, patch_size=16, width=768, attention_heads=12, kind="idle-distillation",
        weights="deit_base_distilled_patch16_224.fb_in1k",
        smaller="vit_small_patch16_224", idle_token_variant_of="vit_base_patch16_224",
        summary="ViT-B/16 with DeiT's distillation token that nothing reads: the official code's ViT of July 2023",
    ),
    # Smaller versions of them.
    "vit_small_patch16_224": vit(
        **FULL, patch_size=16, width=384, attention_heads=6,
        weights="vit_small_patch16_224.augreg_in21k_ft_in1k", smaller="vit_tiny_patch16_224",
        summary="ViT-S/16, width 384",
    ),
    "vit_tiny_patch16_224": vit(
        **FULL, patch_size=16, width=192, attention_heads=3,
        weights="vit_tiny_patch16_224.augreg_in21k_ft_in1k", summary="ViT-Ti/16, width 192",
    ),
    "deit_small_distilled_patch16_224": vit(
        **FULL, patch_size=16, width=384, attention_heads=6, kind="distilled",
        weights="deit_small_distilled_patch16_224.fb_in1k", smaller="deit_tiny_distilled_patch16_224",
        summary="DeiT-S/16 distilled, width 384",
    ),
    "deit_tiny_distilled_patch16_224": vit(
        **FULL, patch_size=16, width=192, attention_heads=3, kind="distilled",
        weights="deit_tiny_distilled_patch16_224.fb_in1k", summary="DeiT-Ti/16 distilled, width 192",
    ),
    "swin_small_patch4_window7_224": swin(
        **SWIN_FULL, width=96, stages=(2, 2, 18, 2), attention_heads=(3, 6, 12, 24),
        weights="swin_small_patch4_window7_224.ms_in1k", smaller="swin_tiny_patch4_window7_224",
        summary="Swin-S, 24 blocks of widths 96 to 768",
    ),
    "swin_tiny_patch4_window7_224": swin(
        **SWIN_FULL, width=96, stages=(2, 2, 6, 2), attention_heads=(3, 6, 12, 24),
        weights="swin_tiny_patch4_window7_224.ms_in1k", summary="Swin-T, 12 blocks of widths 96 to 768",
    ),
    # Small enough to train on a CPU.
    "vit_nano_patch4_28": vit(
        **GREY_28, **NANO, smaller="vit_pico_patch4_28",
        summary="ViT, 12 blocks of width 32, 7x7 patches of a 28x28 grey image: CPU-sized",
    ),
    "vit_nano_patch4_28_idle_token": vit(
        **GREY_28, **NANO, kind="idle-distillation", smaller="vit_pico_patch4_28",
        idle_token_variant_of="vit_nano_patch4_28", summary="the same with a distillation token that nothing reads",
    ),
    "deit_nano_distilled_patch4_28": vit(
        **GREY_28, **NANO, kind="distilled", smaller="deit_pico_distilled_patch4_28",
        summary="distilled DeiT of that size, two classifiers",
    ),
    "swin_nano_patch2_window7_28": swin(
        **GREY_28, **SWIN_NANO, window=7,
        smaller="swin_pico_patch2_window7_28",
        summary="Swin, 4 blocks of width 24 on 14x14 and 8 of width 48 on 7x7 patches: CPU-sized",
    ),
    "vit_pico_patch4_28": vit(**GREY_28, **PICO, summary="ViT of width 24: what a user could take instead of the nano"),
    "deit_pico_distilled_patch4_28": vit(**GREY_28, **PICO, kind="distilled", summary="distilled DeiT of that size"),
    "swin_pico_patch2_window7_28": swin(
        **GREY_28, **SWIN_NANO | {"width": 16}, window=7, summary="Swin, 4 blocks of width 16 and 8 of width 32"
    ),
    "vit_nano_patch4_32": vit(
        **COLOUR_32, **NANO, summary="ViT, 12 blocks of width 32, 8x8 patches of a 32x32 colour image: CPU-sized"
    ),
    "vit_nano_patch8_64": vit(
        **COLOUR_64, **(NANO | {"patch_size": 8}), summary="the same on a 64x64 colour image, such as Tiny-ImageNet's"
    ),
    "vit_nano_patch4_64": vit(
        **GREY_64, **NANO, smaller="vit_pico_patch4_64",
        summary="ViT, 12 blocks of width 32, 16x16 patches of a 64x64 grey image: for segmentation on a CPU",
    ),
    "deit_nano_distilled_patch4_64": vit(
        **GREY_64, **NANO, kind="distilled", smaller="deit_pico_distilled_patch4_64",
        summary="distilled DeiT of that size",
    ),
    "vit_pico_patch4_64": vit(**GREY_64, **PICO, summary="ViT of width 24: what a user could take instead of the nano"),
    "deit_pico_distilled_patch4_64": vit(**GREY_64, **PICO, kind="distilled", summary="distilled DeiT of that size"),
    "deit_nano_distilled_patch4_32": vit(
        **COLOUR_32, **NANO, kind="distilled", summary="distilled DeiT of that size"
    ),
    "swin_nano_patch2_window4_32": swin(
        **COLOUR_32, **SWIN_NANO, window=4,
        summary="Swin, 4 blocks of width 24 on 16x16 and 8 of width 48 on 8x8 patches: CPU-sized",
    ),
}  # fmt: skip
