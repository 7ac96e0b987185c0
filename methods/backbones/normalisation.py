"""The mean and standard deviation of the images that public weights were trained on, by timm tag; no torch.

Copied from timm's pretrained configurations, so that planning needs neither timm nor a download; a test compares them.
"""

from __future__ import annotations

from methods.api import Normalisation

IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
HALF = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
CLIP = Normalisation(
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
)

NORMALISATIONS: dict[str, Normalisation] = {
    "vit_base_patch16_224.augreg2_in21k_ft_in1k": HALF,
    "vit_base_patch16_224.augreg_in1k": HALF,
    "vit_base_patch16_224.augreg_in21k": HALF,
    "vit_base_patch16_224.augreg_in21k_ft_in1k": HALF,
    "vit_base_patch16_224.bamboo": CLIP,
    "vit_base_patch16_224.dino": IMAGENET,
    "vit_base_patch16_224.mae": IMAGENET,
    "vit_base_patch16_224.orig_in21k": HALF,
    "vit_base_patch16_224.orig_in21k_ft_in1k": HALF,
    "vit_base_patch16_224.sam_in1k": HALF,
    "vit_small_patch16_224.augreg_in1k": HALF,
    "vit_small_patch16_224.augreg_in21k": HALF,
    "vit_small_patch16_224.augreg_in21k_ft_in1k": HALF,
    "vit_small_patch16_224.dino": IMAGENET,
    "vit_tiny_patch16_224.augreg_in21k": HALF,
    "vit_tiny_patch16_224.augreg_in21k_ft_in1k": HALF,
    "deit_base_distilled_patch16_224.fb_in1k": IMAGENET,
    "deit_small_distilled_patch16_224.fb_in1k": IMAGENET,
    "deit_tiny_distilled_patch16_224.fb_in1k": IMAGENET,
    "swin_base_patch4_window7_224.ms_in1k": IMAGENET,
    "swin_base_patch4_window7_224.ms_in22k": IMAGENET,
    "swin_base_patch4_window7_224.ms_in22k_ft_in1k": IMAGENET,
    "swin_small_patch4_window7_224.ms_in1k": IMAGENET,
    "swin_small_patch4_window7_224.ms_in22k": IMAGENET,
    "swin_small_patch4_window7_224.ms_in22k_ft_in1k": IMAGENET,
    "swin_tiny_patch4_window7_224.ms_in1k": IMAGENET,
    "swin_tiny_patch4_window7_224.ms_in22k": IMAGENET,
    "swin_tiny_patch4_window7_224.ms_in22k_ft_in1k": IMAGENET,
}
"""Of every tag of the registered architectures."""
