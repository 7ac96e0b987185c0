"""Dynamic inference: samples are removed from the batch at their exit, and the others continue in a smaller batch.

The offline sweep applies a policy to stored logits; here the same policy runs step by step inside the model. Each exit requires
one synchronisation with the device to determine the number of remaining samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.model import MultiExitModel
from methods.policies.policy import ExitPolicy, State, survivors
from methods.tokens import Tokens

OUTPUT = "output"
"""Key of the state: output of the last exit, in the precision of the model."""
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Evaluated:
    """The outputs of one exit for the R samples that reached it.

    Attributes:
        rows: indices of these samples in the batch, [R].
        logits: what the policy reads, float32 [R, C]: logits, or the signals of another task.
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
        predictions: classes, int64 [B]; without meaning where there are answers beside them.
        evaluated: outputs of the exits that ran, shallow to deep; empty without ``keep_logits``.
        answers: of a task whose answers are more than a class, as its `answers` gives them: classes of the patches (B, g, g),
            or boxes; None in classification.
    """

    exits: Tensor
    predictions: Tensor
    evaluated: tuple[Evaluated, ...] = ()
    answers: Tensor | None = None


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
    heads = model.exit_heads
    batch, device = len(images), images.device
    exits = torch.full((batch,), len(heads.exits), device=device)
    predictions = torch.empty(batch, dtype=torch.int64, device=device)
    evaluated: list[Evaluated] = []
    running = torch.arange(batch, device=device)
    state = policy.start(batch, device)
    answers: list[tuple[Tensor, Tensor]] = []

    def routed() -> Routed:
        return Routed(exits, predictions, tuple(evaluated), _joined(answers, batch))

    tokens = model.backbone.embed(images)
    for k in range(len(heads.exits)):
        tokens, logits, leave = run_to_exit(model, policy, k, tokens, state, whole=keep_logits)
        answer = policy.answer(logits, state)
        if keep_logits:
            evaluated.append(Evaluated(running, logits, answer, state.get("error")))
        exiting = leave.nonzero()[:, 0]  # synchronises with the device
        if not len(exiting):
            continue
        rows = running[exiting]
        exits[rows] = k
        predictions[rows] = answer[exiting].argmax(-1)
        if model.task.answers_beside:
            answers.append((rows, model.task.answers(state[OUTPUT][exiting])))
        if len(exiting) == len(running):
            return routed()
        keep = ~leave
        running, tokens, state = running[keep], tokens.select(keep), survivors(state, keep)

    logits = run_to_end(model, tokens, state, whole=keep_logits)
    predictions[running] = policy.finish(logits, state)
    if keep_logits:
        evaluated.append(Evaluated(running, logits, policy.answer(logits, state)))
    if model.task.answers_beside:
        answers.append((running, model.task.answers(state[OUTPUT])))
    return routed()


def _joined(answers: list[tuple[Tensor, Tensor]], batch: int) -> Tensor | None:
    """The answers for the whole batch, from parts with their rows; None without parts."""
    if not answers:
        return None
    whole = answers[0][1].new_empty(batch, *answers[0][1].shape[1:])
    for rows, part in answers:
        whole[rows] = part
    return whole


def run_to_exit(
    model: MultiExitModel, policy: ExitPolicy, k: int, tokens: Tokens, state: State, *, whole: bool = False
) -> tuple[Tokens, Tensor, Tensor]:
    """The blocks between exit k - 1 and exit k, the head of exit k, and the policy's decision there.

    Args:
        model: the model in evaluation mode.
        policy: the policy with its threshold set.
        k: the early exit, 0-based.
        tokens: of R samples, at exit k - 1; at the first exit the output of the stem.
        state: of the policy for these samples; the step of exit k updates it. It also carries the output of the exit
            before, for heads and signals that read it.
        whole: whether values that the policy does not read are computed too.

    Returns:
        tokens at exit k, what the policy reads, float32 [R, C], and a bool mask [R] of the samples that leave.
    """
    exits, head = model.exit_heads.exits, model.exit_heads.in_order[k]
    for block in range(exits[k - 1] + 1 if k else 1, exits[k] + 1):
        tokens = model.backbone.block(block, tokens)
    before = state.get(OUTPUT)
    output, feature = head.after(tokens, before)
    state[OUTPUT] = output
    compared = before if policy.compares_exits else None
    logits = model.task.evidence(output, compared, None if whole else policy.reads)
    error = head.error_probability(feature)
    if error is not None:
        state["error"] = error.float()
    return tokens, logits, policy.step(k, logits, state)


def run_to_end(model: MultiExitModel, tokens: Tokens, state: State, *, whole: bool = False) -> Tensor:
    """The blocks after the last early exit and the final classifier, whose output the state gets.

    Args:
        model: the model in evaluation mode.
        tokens: of R samples at the last early exit.
        state: as in `run_to_exit`.
        whole: whether values are computed that only policies read, none of which decides here.

    Returns:
        what the policy reads, float32 [R, C].
    """
    exits = model.exit_heads.exits
    for block in range(exits[-1] + 1 if exits else 1, model.backbone.depth + 1):
        tokens = model.backbone.block(block, tokens)
    state[OUTPUT] = model.backbone.classify(tokens)
    return model.task.evidence(state[OUTPUT], None, None if whole else ())
