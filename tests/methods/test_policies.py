"""Every registered policy: the reference vectors, and one policy in two drivers on identical logits."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmark.registry import table
from methods.policies.confidence import Confidence
from methods.policies.policy import ExitPolicy
from tests.conftest import DATA

GOLDEN = json.loads((DATA / "policies.json").read_text(encoding="utf-8"))
SETTINGS = {"confidence": ["threshold", 0.0, 0.3, 0.8, 0.95, 1.0]}


def online(policy: ExitPolicy, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Step a policy as dynamic inference does: samples that leave are gone from the batch."""
    exits = torch.full((logits.shape[1],), len(logits) - 1)
    running = torch.arange(logits.shape[1])
    state = policy.start(logits.shape[1])
    for k in range(len(logits) - 1):
        leave = policy.step(k, logits[k, running], state)
        exits[running[leave]] = k
        running = running[~leave]
    return exits, logits.argmax(-1)[exits, torch.arange(logits.shape[1])]


def test_every_policy_is_under_test() -> None:
    assert set(SETTINGS) == set(table("policy"))


@pytest.mark.parametrize("case", [c for c in GOLDEN["random_set"]["cases"] if c["policy"] == "confidence"], ids=str)
def test_confidence_equals_the_official_loop(case: dict) -> None:
    logits = torch.tensor(GOLDEN["random_set"]["logits"])
    if logits.shape[0] != 9:
        logits = logits.transpose(0, 1)
    exits, predictions = Confidence(threshold=case["params"]["theta"]).choose(logits)
    assert exits.tolist() == case["exit_index"]
    assert predictions.tolist() == case["class"]


@pytest.mark.parametrize("case", [c for c in GOLDEN["hand_table"]["cases"] if c["policy"] == "confidence"], ids=str)
def test_confidence_on_the_hand_table(case: dict) -> None:
    logits = torch.tensor(GOLDEN["hand_table"]["probabilities"]).log()[:, None]
    exits, predictions = Confidence(threshold=case["params"]["theta"]).choose(logits)
    assert (exits.item(), predictions.item()) == (case["exit_index"], case["class"])


@st.composite
def policies_and_logits(draw: st.DrawFn) -> tuple[ExitPolicy, Tensor]:
    name = draw(st.sampled_from(sorted(SETTINGS)))
    option, *values = SETTINGS[name]
    policy = table("policy")[name].load()(**{option: draw(st.sampled_from(values))})
    exits, samples, classes = draw(st.integers(2, 6)), draw(st.integers(1, 7)), draw(st.integers(2, 5))
    scale = draw(st.sampled_from([0.1, 1.0, 5.0, 200.0]))
    seed = draw(st.integers(0, 2**31))
    dtype = draw(st.sampled_from([torch.float32, torch.float16, torch.bfloat16]))
    generator = torch.Generator().manual_seed(seed)
    return policy, (scale * torch.randn(exits, samples, classes, generator=generator)).to(dtype)


@given(policies_and_logits())
@settings(max_examples=150, deadline=None)
def test_online_equals_offline(case: tuple[ExitPolicy, Tensor]) -> None:
    policy, logits = case
    for found, expected in zip(online(policy, logits), policy.choose(logits), strict=True):
        assert torch.equal(found, expected)


@given(policies_and_logits())
@settings(max_examples=100, deadline=None)
def test_samples_do_not_see_each_other(case: tuple[ExitPolicy, Tensor]) -> None:
    policy, logits = case
    together = policy.choose(logits)
    single = [policy.choose(logits[:, n : n + 1]) for n in range(logits.shape[1])]
    for i in range(2):
        assert together[i].tolist() == [found[i].item() for found in single]
    order = torch.randperm(logits.shape[1], generator=torch.Generator().manual_seed(0))
    for found, expected in zip(policy.choose(logits[:, order]), together, strict=True):
        assert torch.equal(found, expected[order])


@given(policies_and_logits())
@settings(max_examples=100, deadline=None)
def test_later_exits_do_not_decide(case: tuple[ExitPolicy, Tensor]) -> None:
    policy, logits = case
    exits, _ = policy.choose(logits)
    changed = logits.clone()
    changed[-1] = changed[-1].flip(-1)
    assert torch.equal(policy.choose(changed)[0], exits)


@given(policies_and_logits())
@settings(max_examples=100, deadline=None)
def test_the_grid_spans_from_all_leave_first_to_none_leaves_early(case: tuple[ExitPolicy, Tensor]) -> None:
    policy, logits = case
    signal = policy.signal(logits)
    assert torch.isfinite(signal).all()
    grid = policy.default_grid(signal)
    exits = np.stack([policy.exits(signal, float(setting)).numpy() for setting in grid])
    assert (np.diff(exits, axis=0) >= 0).all()
    assert (exits[0] == 0).all()
    assert (exits[-1] == len(logits) - 1).all()


def test_a_threshold_is_a_probability() -> None:
    with pytest.raises(ValueError, match="between 0 and 1, not 80"):
        Confidence(threshold=80)
    with pytest.raises(ValueError, match="no threshold yet"):
        Confidence().choose(torch.zeros(2, 1, 3))
