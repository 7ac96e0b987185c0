"""Dynamic inference: samples are removed from the batch at their exit, and the others continue in a smaller batch.

The offline sweep applies a policy to stored logits; here the same policy runs step by step inside the model. Each exit requires
one synchronisation with the device to determine the number of remaining samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.model import MultiExitModel
from methods.policies.policy import ExitPolicy, survivors

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Evaluated:
    """The outputs of one exit for the R samples that reached it.

    Attributes:
        rows: indices of these samples in the batch, [R].
        logits: float32 [R, C].
        answer: logits of the policy's answer, [R, C]; the same as ``logits`` unless the policy combines exits.
        errors: error probabilities of the exit's learned gate, [R]; None without a gate.
    """

    rows: Tensor
    logits: Tensor
    answer: Tensor
    errors: Tensor | None = None


@dataclass(frozen=True)
class Routed:
    """The result of dynamic inference on a batch of B samples.

    Attributes:
        exits: the exit of each sample, 0-based over the K exits, int64 [B].
        predictions: classes, int64 [B].
        evaluated: outputs of the exits that ran, shallow to deep; empty without ``keep_logits``.
    """

    exits: Tensor
    predictions: Tensor
    evaluated: tuple[Evaluated, ...] = ()


@torch.no_grad()
def run_dynamic(model: MultiExitModel, policy: ExitPolicy, images: Tensor, *, keep_logits: bool = False) -> Routed:
    """Run a batch. Each sample passes only through the stem, and the blocks and heads up to its exit.

    Args:
        model: the model in evaluation mode, on the device and in the precision of the images.
        policy: the policy with its threshold set, and fitted if it learns from val.
        images: (B, channels, H, W).
        keep_logits: whether to return the logits of every exit that ran.

    Raises:
        ValueError: the model is in training mode, the policy has no threshold, or it requires labels or later exits (oracle).
    """
    if model.training:
        raise ValueError("dynamic inference requires the model in evaluation mode: call model.eval()")
    if not policy.causal:
        raise ValueError(
            f"{type(policy).__name__.lower()} requires labels or later exits, so it cannot run in dynamic inference"
        )
    policy.required_setting()
    backbone, heads = model.backbone, model.exit_heads
    exit_after = {block: k for k, block in enumerate(heads.exits)}
    batch, device = len(images), images.device
    exits = torch.full((batch,), len(heads.exits), device=device)
    predictions = torch.empty(batch, dtype=torch.int64, device=device)
    evaluated: list[Evaluated] = []
    running = torch.arange(batch, device=device)
    state = policy.start(batch, device)

    previous: Tensor | None = None  # logits of the exit before, for heads that read them
    tokens = backbone.embed(images)
    for block in range(1, backbone.depth + 1):
        tokens = backbone.block(block, tokens)
        if block not in exit_after:
            continue
        k = exit_after[block]
        head = heads.in_order[k]
        head_logits, feature = head.after(tokens, previous)
        logits, error = head_logits.float(), head.error_probability(feature)
        if error is not None:
            state["error"] = error.float()
        leave = policy.step(k, logits, state)
        answer = policy.answer(logits, state)
        if keep_logits:
            evaluated.append(Evaluated(running, logits, answer, state.get("error")))
        exiting = leave.nonzero()[:, 0]  # synchronises with the device
        previous = head_logits
        if not len(exiting):
            continue
        rows = running[exiting]
        exits[rows] = k
        predictions[rows] = answer[exiting].argmax(-1)
        if len(exiting) == len(running):
            return Routed(exits, predictions, tuple(evaluated))
        keep = ~leave
        running, tokens, state = running[keep], tokens.select(keep), survivors(state, keep)
        previous = previous[keep]

    logits = backbone.classify(tokens).float()
    predictions[running] = policy.finish(logits, state)
    if keep_logits:
        evaluated.append(Evaluated(running, logits, policy.answer(logits, state)))
    return Routed(exits, predictions, tuple(evaluated))
