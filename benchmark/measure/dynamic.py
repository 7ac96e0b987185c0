"""True dynamic inference: samples leave the batch at their exit, the survivors go on compacted.

The offline driver folds a policy over stored logits; this one steps the same policy inside the model. Each exit costs one
transfer from the device, which is where a batch finds out how many are left.
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
    """What an exit said of the samples that reached it.

    Attributes:
        rows: their places in the batch, [R].
        logits: float32 [R, C].
        errors: what the exit's learned gate said, [R]; None without one.
    """

    rows: Tensor
    logits: Tensor
    errors: Tensor | None = None


@dataclass(frozen=True)
class Routed:
    """What happened to a batch of B samples.

    Attributes:
        exits: 0-based over the K exits, int64 [B].
        predictions: classes, int64 [B].
        evaluated: of the exits that ran, shallow to deep; exits after the batch was empty are missing. Empty unless asked for.
    """

    exits: Tensor
    predictions: Tensor
    evaluated: tuple[Evaluated, ...] = ()


@torch.no_grad()
def run_dynamic(model: MultiExitModel, policy: ExitPolicy, images: Tensor, *, keep_logits: bool = False) -> Routed:
    """Run a batch; a sample costs its stem, its blocks and the heads on its way, and nothing after its exit.

    Args:
        model: in evaluation mode, on the device and in the precision of the images.
        policy: with a setting, fitted where it learns.
        images: (B, channels, H, W).
        keep_logits: also return the logits of every exit that ran.

    Raises:
        ValueError: the model is in training mode, the policy has no setting, or it sees the future (the oracle).
    """
    if model.training:
        raise ValueError("dynamic inference needs the model in evaluation mode: call model.eval()")
    if not policy.causal:
        raise ValueError(f"{type(policy).__name__.lower()} sees the future and cannot run inside inference")
    policy.chosen()
    backbone, heads = model.backbone, model.exit_heads
    exit_after = {block: k for k, block in enumerate(heads.exits)}
    batch, device = len(images), images.device
    exits = torch.full((batch,), len(heads.exits), device=device)
    predictions = torch.empty(batch, dtype=torch.int64, device=device)
    evaluated: list[Evaluated] = []
    running = torch.arange(batch, device=device)
    state = policy.start(batch, device)

    tokens = backbone.embed(images)
    for block in range(1, backbone.depth + 1):
        tokens = backbone.block(block, tokens)
        if block not in exit_after:
            continue
        k = exit_after[block]
        head = heads.in_order[k]
        answer, feature = head(tokens)
        logits, error = answer.float(), head.error_probability(feature)
        if error is not None:
            state["error"] = error.float()
        if keep_logits:
            evaluated.append(Evaluated(running, logits, state.get("error")))
        leave = policy.step(k, logits, state)
        leaving = leave.nonzero()[:, 0]  # waits for the device
        if not len(leaving):
            continue
        gone = running[leaving]
        exits[gone] = k
        predictions[gone] = logits[leaving].argmax(-1)
        if len(leaving) == len(running):
            return Routed(exits, predictions, tuple(evaluated))
        keep = ~leave
        running, tokens, state = running[keep], tokens.select(keep), survivors(state, keep)

    logits = backbone.classify(tokens).float()
    if keep_logits:
        evaluated.append(Evaluated(running, logits))
    predictions[running] = policy.finish(logits, state)
    return Routed(exits, predictions, tuple(evaluated))
