"""Trains the weights that ship with the suite, in about half an hour on one CPU core each.

    python -m benchmark.bundled_weights BACKBONE FILE

A small ViT learns to label the patches of scenes of garments (`datasets.compose_scenes`), and how far each patch is from the
borders of its garment's box. Every scene is a new one, made of the photos of train: the weights know nothing of val and test.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.nn import functional as F

from datasets import compose_scenes
from datasets.fashion_mnist import read_bundle
from datasets.fashion_scenes import FASHION_SCENES, SIDE
from methods.backbones import BACKBONES
from methods.tasks import get_task

STEPS, WARM, DECAY = 7_521, 200, 1_500
"""Steps in all, those of the linear warm-up, and those of the linear decay to 0 at the end."""
BATCH_SIZE = 16
LR, WEIGHT_DECAY = 6e-3, 0.01
BOX_WEIGHT, BOX_UNIT = 0.5, 20.0
"""Weight of the distances in the loss, and the pixels that count as 1."""
PATCH = 4
SEED = 7


def scenes(photos: Path) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches of new scenes.

    Yields:
        images (B, 1, S, S); classes int64 (B, S, S); and the box of the garment at the centre of each patch, (B, 4, g, g).
    """
    train, rng = read_bundle(photos)["train"], np.random.default_rng(SEED)
    assert isinstance(train.images, np.ndarray)
    cut_outs, grounds = compose_scenes.cut_out(train.images[..., 0]), compose_scenes.textures(rng)
    classes = np.concatenate([[0], train.labels + 1])
    while True:
        images, labels = np.empty((BATCH_SIZE, 1, SIDE, SIDE), np.uint8), np.empty((BATCH_SIZE, SIDE, SIDE), np.int64)
        boxes = np.zeros((BATCH_SIZE, 4, SIDE, SIDE), np.float32)
        for i in range(BATCH_SIZE):
            images[i, 0], owners = compose_scenes.compose(cut_outs, grounds, rng)
            labels[i] = classes[owners + 1]
            for garment, box in compose_scenes.boxes(owners).items():
                boxes[i][:, owners == garment] = np.array(box, np.float32)[:, None]
        mean, std = FASHION_SCENES.mean[0], FASHION_SCENES.std[0]
        normalised = (torch.from_numpy(images).float() / 255 - mean) / std
        yield (
            normalised,
            torch.from_numpy(labels),
            torch.from_numpy(boxes)[:, :, PATCH // 2 :: PATCH, PATCH // 2 :: PATCH],
        )


def train(backbone: str, photos: Path, steps: int = STEPS) -> dict[str, Tensor]:
    """The trained weights by name: of the blocks (``model.*``) and of the classifier of patches (``readout.*``)."""
    torch.manual_seed(0)
    card = BACKBONES[backbone]
    model: Any = get_task("segmentation").backbone(card.load(), card.architecture, len(FASHION_SCENES.classes))
    distances = nn.Linear(card.dims[-1], 4)
    both = nn.ModuleList([model, distances])
    optimizer = create_optimizer_v2(both, opt="muon", lr=LR, weight_decay=WEIGHT_DECAY)
    centres = torch.arange(SIDE // PATCH) * PATCH + PATCH / 2
    rows, columns = torch.meshgrid(centres, centres, indexing="ij")
    at = torch.stack([columns, rows, columns, rows])
    for step, (images, labels, boxes) in enumerate(islice(scenes(photos), steps)):
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1, step / WARM, (steps - step) / DECAY)
        tokens = model.embed(images)
        for number in range(1, model.depth + 1):
            tokens = model.block(number, tokens)
        logits = F.interpolate(model.classify(tokens), size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        found = distances(model.whole.normalised(tokens, "final").patches).transpose(1, 2).unflatten(2, at.shape[1:])
        garment = (labels[:, PATCH // 2 :: PATCH, PATCH // 2 :: PATCH] > 0).float()[:, None]
        gap = ((found - (boxes - at) / BOX_UNIT).abs() * garment).sum() / (4 * garment.sum() + 1)
        loss = F.cross_entropy(logits, labels) + BOX_WEIGHT * gap
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step:,} of {steps:,}, loss {loss.item():.3f}", flush=True)
    return {name: tensor.contiguous() for name, tensor in model.state_dict().items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train weights that ship with the suite.")
    parser.add_argument("backbone", choices=["vit_nano_patch4_64", "deit_nano_distilled_patch4_64"])
    parser.add_argument("file", help="where to write them, as safetensors")
    arguments = parser.parse_args()
    save_file(train(arguments.backbone, Path("datasets/bundled")), arguments.file)
