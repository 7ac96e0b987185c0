"""The comparison with the stored scores before a timing, of models whose tokens leave."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from benchmark.evaluation.scores import ExitScores
from benchmark.measure.agreement import DEVICE_TOLERANCES, dynamic_agreement
from benchmark.measure.audit import PATCHES
from methods.model import ExitHeads, MultiExitModel
from methods.policies.map_signals import MapConfidence
from methods.reductions.token_exit import TokenExitViT, leaving
from tests.methods.test_token_exit import EXITS, TASK, parts, pictures

IMAGES, TOLERANCE = 20, DEVICE_TOLERANCES["fp32"]


@torch.no_grad()
def test_one_token_at_its_threshold_does_not_end_a_timing() -> None:
    """It leaves in the stored scores and stays in dynamic inference: signals of its image jump, and few patches change."""
    backbone, heads = parts()
    images = pictures(IMAGES)

    def model(threshold: float) -> MultiExitModel:
        return MultiExitModel(TokenExitViT(backbone, heads, threshold, 2), ExitHeads((), ()), TASK).eval()

    tokens = backbone.embed(images)
    for number in range(1, EXITS[0] + 1):
        tokens = backbone.block(number, tokens)
    head: Any = heads.in_order[0]
    score, classes = head.each(tokens.patches).softmax(-1).max(-1)
    at = score[leaving(score, classes, 0.6, 2)].min()
    outputs = model(float(torch.nextafter(at, at.new_tensor(0)))).forward_all(images)
    maps = outputs.logits.argmax(2).to(torch.uint8)
    assert outputs.tokens is not None
    stored = ExitScores(
        TASK.evidence(outputs.logits[0], None)[None], torch.zeros(IMAGES, dtype=torch.int64), torch.arange(IMAGES),
        maps=maps, tokens=outputs.tokens[None],
    )  # fmt: skip
    dynamic, policy = model(float(at)), MapConfidence(threshold=0.5)
    found = dynamic_agreement(dynamic, policy, images, stored)
    assert found.logit_error > TOLERANCE
    assert found.patches is not None
    assert found.patches <= PATCHES
    assert found.within(TOLERANCE)
    swapped = replace(stored, maps=maps.roll(1, 1))  # each map is that of another image
    assert not dynamic_agreement(dynamic, policy, images, swapped).within(TOLERANCE)
