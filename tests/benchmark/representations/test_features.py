"""The features of a split, from a made-up backbone whose tokens are known."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.representations.features import features
from methods.tokens import Tokens
from results.store.probes import BOTH

IMAGES, CLASSES = 6, 2


@dataclass
class Counting:
    """After block b, the class token of an image of value v is (v, b), the patches are (v, 0), (v, 1), (v, 2) and (v, 3)."""

    depth: int = 2
    alive: list[Any] = field(default_factory=list)
    tensors: list[int] = field(default_factory=list)
    """Number of tensors of floats in memory before each batch."""

    def embed(self, images: Tensor) -> Tokens:
        assert sum(one() is not None for one in self.alive) <= 1, "more than the last tokens stay in memory"
        self.tensors.append(sum(type(one) is Tensor and one.is_floating_point() for one in gc.get_objects()))
        return self.block(0, Tokens(images.reshape(-1, 1, 1).expand(-1, 5, 2), 2, 1))

    def block(self, number: int, tokens: Tokens) -> Tokens:
        values = tokens.values.numpy().copy()
        values[:, 0, 1], values[:, 1:, 1] = number, np.arange(4)
        self.alive.append(weakref.ref(values))
        return Tokens(torch.from_numpy(values), 2, 1)

    def classify(self, tokens: Tokens) -> Tensor:
        return tokens.class_tokens[:, 0] @ torch.eye(2)


def test_features_are_class_tokens_and_patch_means_and_no_other_tokens_stay_in_memory() -> None:
    values = torch.arange(IMAGES).float()
    batches = [
        SimpleNamespace(images=part.reshape(-1, 1, 1, 1), labels=(part % CLASSES).long(), sample_id=part.long())
        for part in values.split(2)
    ]
    inputs: Any = SimpleNamespace(scoring=lambda split: batches, splits={"train": values})
    backbone: Any = Counting()
    made = features(backbone, inputs, "train", [1, 2], torch.device("cpu"))
    _, second, third = backbone.tensors
    assert second == third, "small tensors that stay fragment the memory"
    for block in (1, 2):
        rows = [[value, block, value, 1.5] for value in values.tolist()]
        assert made.at(block, BOTH).features.tolist() == rows
    assert made.final_logits.tolist() == [[value, 2] for value in values.tolist()]
    assert made.final_accuracy == np.mean([(0 if value >= 2 else 1) == value % CLASSES for value in values.tolist()])
    elsewhere = replace(made, device=torch.device("meta")).at(1, BOTH)
    assert elsewhere.features.is_meta
    assert elsewhere.labels.is_meta
    assert not made.class_tokens[1].is_meta
