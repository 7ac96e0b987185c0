"""Every registered policy: the reference vectors, and equal decisions on stored logits and at inference."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.policies import POLICIES, get_policy
from methods.policies.policy import ExitPolicy, survivors
from tests.conftest import DATA

GOLDEN = json.loads((DATA / "policies.json").read_text(encoding="utf-8"))

# Parameters for the property tests.
PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "confidence": [{"threshold": t} for t in (0.0, 0.3, 0.8, 0.95, 1.0)],
    "margin": [{"threshold": t} for t in (0.0, 0.2, 0.7, 1.0)],
    "entropy": [{"threshold": 0.6}, {"threshold": 0.0}, {"threshold": 0.4, "normalised": True}],
    "patience": [{"patience": p, "counting": c} for p in (1, 2, 3) for c in ("pabee", "lgvit")],
    "pcee": [
        {"threshold": 0.5},
        {"threshold": 0.9, "patience": 1},
        {"threshold": 0.7, "patience": 3, "normalised": False},
    ],
    "sdn": [{"threshold": t} for t in (0.0, 0.5, 0.9, 1.0)],
    "beem": [{"threshold": t, "counting": c} for t in (0.0, 0.8, 1.6, 3.0) for c in ("paper", "released")],
    "poe-relu": [{"threshold": t, "weights": w} for t in (0.0, 0.4, 0.9, 1.0) for w in ("equal", "depth")],
    "poe-softmax": [{"threshold": t, "weights": w} for t in (0.3, 0.95) for w in ("equal", "depth")],
    "caching": [{"threshold": t} for t in (0.0, 0.6, 0.9, 1.0)],
    "ztw-geometric": [{"threshold": t, "steps": 3} for t in (0.0, 0.5, 0.9)],
    "ztw-arithmetic": [{"threshold": t, "steps": 3} for t in (0.3, 0.6)],
    "bin-accuracy": [{"target": t} for t in (0.0, 0.3, 0.6, 1.0)],
    "budgeted": [{"budget": b} for b in (0.1, 0.5, 0.7, 1.0)],
    "running-quantile": [{"budget": 0.5}, {"budget": 0.7, "prior": 1, "rate": 3.0}],
    "eenet": [{"budget": 0.5, "epochs": 1}, {"budget": 0.7, "epochs": 1, "assigner": "linear"}],
    "crc": [{"risk": 0.3}, {"risk": 0.1, "loss": "accuracy-gap"}],
    "ltt": [{"risk": 0.4}, {"risk": 0.3, "delta": 0.5, "loss": "accuracy-gap"}],
    "confidence-scaled": [{"threshold": 0.4}, {"threshold": 0.8}],
    "margin-scaled": [{"threshold": 0.3}],
    "entropy-scaled": [{"threshold": 0.9}],
    "learned-gate": [{"threshold": t} for t in (0.0, 0.2, 0.5, 1.0)],
    "jei": [{"threshold": t} for t in (0.0, 0.3, 0.5, 1.0)],
    "map-confidence": [{"threshold": t} for t in (0.0, 0.4, 1.0)],
    "box-confidence": [{"threshold": t} for t in (0.0, 0.4, 1.0)],
    "oracle": [{}],
    "random": [{"probability": p} for p in (0.0, 0.3, 1.0)],
}
# Whether a larger setting means a later exit (1) or an earlier exit (-1).
LATER = {
    "confidence": 1, "margin": 1, "entropy": -1, "patience": 1, "pcee": -1, "sdn": 1, "beem": 1, "bin-accuracy": 1, "crc": -1,
    "poe-relu": 1, "poe-softmax": 1, "caching": 1,
    "ztw-geometric": 1, "ztw-arithmetic": 1,
    "ltt": -1, "confidence-scaled": 1, "margin-scaled": 1, "entropy-scaled": -1, "learned-gate": -1, "jei": 1,
    "map-confidence": 1, "box-confidence": 1,
    "random": -1,
}  # fmt: skip


# Options with which a policy that trains is fitted in milliseconds.
FAST: dict[str, dict[str, Any]] = {
    "ztw-geometric": {"steps": 3},
    "ztw-arithmetic": {"steps": 3},
    "eenet": {"epochs": 1},
}


def test_every_policy_is_tested() -> None:
    assert set(PARAMETERS) == set(POLICIES)


def gates(logits: Tensor) -> Tensor:
    """Error probabilities [K - 1, N] of made-up gates; each depends only on the logits of its exit and sample."""
    return 1 - logits[:-1].float().softmax(-1).amax(-1) ** 2


def with_gates(policy: ExitPolicy, logits: Tensor) -> ExitPolicy:
    """The policy with the gates' predictions for these samples."""
    return policy.with_context(errors=gates(logits))


def choose(policy: ExitPolicy, logits: Tensor) -> tuple[Tensor, Tensor]:
    return with_gates(policy, logits).choose(logits)


def online(policy: ExitPolicy, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Step a policy as dynamic inference does: samples that exit are removed from the batch and from the state."""
    samples = logits.shape[1]
    exits, predictions = torch.full((samples,), len(logits) - 1), torch.full((samples,), -1)
    running, state = torch.arange(samples), policy.start(samples)
    for k in range(len(logits) - 1):
        state["error"] = gates(logits)[k, running]
        leave = policy.step(k, logits[k, running], state)
        exits[running[leave]] = k
        predictions[running[leave]] = policy.answer(logits[k, running], state)[leave].argmax(-1)
        running, state = running[~leave], survivors(state, ~leave)
    predictions[running] = policy.finish(logits[-1, running], state)
    assert torch.equal(policy.answer(logits[-1, running], state).argmax(-1), predictions[running])
    return exits, predictions


def our_policy(case: dict[str, Any]) -> ExitPolicy:
    """Our policy for a reference case."""
    params = case["params"]
    return {
        "confidence": lambda: get_policy("confidence", threshold=params["theta"]),
        "entropy": lambda: get_policy("entropy", threshold=params["theta_nats"]),
        "lgvit_patience": lambda: get_policy("patience", patience=params["t"], counting="lgvit"),
        "pabee": lambda: get_policy("patience", patience=params["p"]),
        "lgvit_pcee": lambda: get_policy(
            "pcee", threshold=params["theta_nats"], patience=params["t"], normalised=False
        ),
        "pcee": lambda: get_policy("pcee", threshold=params["tau_normalised"], patience=params["p"]),
        "sdn": lambda: get_policy("sdn", threshold=params["T"]),
        "beem": lambda: get_policy("beem", threshold=params["alpha"]),
        "none": lambda: get_policy("confidence", threshold=1.0),
    }[case["policy"]]()


@pytest.mark.parametrize("case", GOLDEN["random_set"]["cases"], ids=lambda case: f"{case['policy']} {case['params']}")
def test_the_random_set_of_the_reference(case: dict[str, Any]) -> None:
    logits = torch.tensor(GOLDEN["random_set"]["logits"])
    logits = logits if len(logits) == 9 else logits.transpose(0, 1)
    for driver in (lambda policy: policy.choose(logits), lambda policy: online(policy, logits)):
        exits, predictions = driver(our_policy(case))
        assert exits.tolist() == case["exit_index"]
        assert predictions.tolist() == case["class"]


@pytest.mark.parametrize("case", GOLDEN["hand_table"]["cases"], ids=lambda case: f"{case['policy']} {case['params']}")
def test_the_hand_made_table_of_the_reference(case: dict[str, Any]) -> None:
    # In double precision, some thresholds equal a probability; the reference says to shift them.
    if case["policy"] == "sdn":
        case = case | {"params": {"T": case["params"]["T"] - 1e-6}}
    logits = torch.tensor(GOLDEN["hand_table"]["probabilities"], dtype=torch.float64).log()[:, None]
    exits, predictions = our_policy(case).choose(logits)
    assert (exits.item(), predictions.item()) == (case["exit_index"], case["class"])


@pytest.mark.parametrize(
    "case", GOLDEN["saturation"]["cases"], ids=lambda case: f"{case['policy']} {case['logit_gap']}"
)
def test_saturated_logits_exit_at_the_correct_block(case: dict[str, Any]) -> None:
    """The official code computes 0 * ln 0 here, and samples never exit early."""
    logits = torch.zeros(9, 1, 4)
    logits[..., 0] = case["logit_gap"]
    parameters = {"entropy": {"threshold": 0.6}, "lgvit_pcee": {"threshold": 0.5, "normalised": False}}
    name = {"lgvit_pcee": "pcee"}.get(case["policy"], case["policy"])
    policy = get_policy(name, **parameters.get(case["policy"], {"threshold": 0.865}))
    exits, predictions = policy.choose(logits)
    assert 4 + exits.item() == case["correct_block"]
    assert predictions.item() == case["class"]


@pytest.mark.parametrize("gap", [50, 200])
def test_unguarded_entropy_equals_the_official_code(gap: int) -> None:
    """A sample whose softmax contains 0 does not exit early; for other samples the two agree."""
    (case,) = [c for c in GOLDEN["saturation"]["cases"] if (c["policy"], c["logit_gap"]) == ("entropy", gap)]
    logits = torch.zeros(9, 1, 4)
    logits[..., 0] = gap
    exits, _ = get_policy("entropy", threshold=0.6, guarded=False).choose(logits)
    assert 4 + exits.item() == case["official_block"]
    probabilities = logits[0].softmax(-1)
    assert (-(probabilities * probabilities.log()).sum(-1)).isnan().item() is (exits.item() == 8)


@st.composite
def scores(draw: st.DrawFn, exits: int | None = None, classes: int | None = None) -> Tensor:
    """Logits of any scale and precision."""
    shape = (exits or draw(st.integers(2, 6)), draw(st.integers(1, 7)), classes or draw(st.integers(2, 5)))
    scale = draw(st.sampled_from([0.1, 1.0, 5.0, 200.0]))
    dtype = draw(st.sampled_from([torch.float32, torch.float16, torch.bfloat16]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return (scale * torch.randn(*shape, generator=generator)).to(dtype)


@st.composite
def policies_and_scores(
    draw: st.DrawFn, *, causal: bool = False, independent: bool = False
) -> tuple[ExitPolicy, Tensor]:
    """A policy, fitted if needed, and scores to decide on."""
    names = [name for name in sorted(PARAMETERS) if not causal or POLICIES[name].load().causal]
    names = [name for name in names if not independent or not POLICIES[name].load().ordered]
    name = draw(st.sampled_from(names))
    logits = draw(scores())
    return fitted(name, draw(st.sampled_from(PARAMETERS[name])), logits, draw(st.integers(0, 2**31))), logits


def fitted(name: str, parameters: dict[str, Any], logits: Tensor, seed: int) -> ExitPolicy:
    generator = torch.Generator().manual_seed(seed)
    val = 3 * torch.randn(len(logits), 60, logits.shape[-1], generator=generator)
    labels = torch.where(torch.rand(60, generator=generator) < 0.7, val[-1].argmax(-1), 0)
    return get_policy(name, **(FAST.get(name, {}) | parameters)).fit(val, labels)


@given(policies_and_scores(causal=True))
@settings(max_examples=400, deadline=None)
def test_online_equals_offline(case: tuple[ExitPolicy, Tensor]) -> None:
    policy, logits = case
    before = copy.deepcopy(policy)  # dynamic inference may move the thresholds
    for actual, expected in zip(online(policy, logits), choose(before, logits), strict=True):
        assert torch.equal(actual, expected)


@given(policies_and_scores(independent=True))
@settings(max_examples=300, deadline=None)
def test_samples_of_a_batch_are_independent(case: tuple[ExitPolicy, Tensor]) -> None:
    policy, logits = case
    together = choose(policy, logits)
    single = [choose(policy, logits[:, n : n + 1]) for n in range(logits.shape[1])]
    for i in range(2):
        assert together[i].tolist() == [actual[i].item() for actual in single]
    order = torch.randperm(logits.shape[1], generator=torch.Generator().manual_seed(0))
    for actual, expected in zip(choose(policy, logits[:, order]), together, strict=True):
        assert torch.equal(actual, expected[order])


@given(policies_and_scores(causal=True), st.data())
@settings(max_examples=300, deadline=None)
def test_later_exits_do_not_affect_a_decision(case: tuple[ExitPolicy, Tensor], data: st.DataObject) -> None:
    policy, logits = case
    exits, _ = choose(policy, logits)
    k = data.draw(st.integers(1, len(logits) - 1))
    changed = logits.clone()
    changed[k:] = changed[k:].flip(-1)
    again, _ = choose(policy, changed)
    assert torch.equal(exits[exits < k], again[exits < k])
    assert (again[exits >= k] >= k).all()


@given(st.sampled_from(sorted(PARAMETERS)), scores(), st.integers(0, 2**31))
@settings(max_examples=150, deadline=None)
def test_the_sweep_equals_applying_each_setting(name: str, logits: Tensor, seed: int) -> None:
    policy = with_gates(fitted(name, {}, logits, seed), logits)
    signal = policy.signal(logits)
    assert not signal.isnan().any()
    grid = policy.default_grid(logits)
    assert np.isfinite(grid).all()
    swept = policy.sweep(signal, grid)
    slow = torch.stack([policy.exits(signal, float(setting)) for setting in grid])
    assert torch.equal(swept, slow)
    if name in LATER:
        assert (swept.diff(dim=0) >= 0).all()  # from the earliest to the latest exits
        assert (np.diff(grid) * LATER[name] > 0).all()


@pytest.mark.parametrize("name", sorted(set(PARAMETERS) - {"sdn"}))
def test_the_prediction_is_that_of_the_exit_taken(name: str) -> None:
    logits = torch.randn(5, 200, 4, generator=torch.Generator().manual_seed(1))
    policy = with_gates(fitted(name, PARAMETERS[name][0], logits, 0), logits)
    exits, predictions = policy.choose(logits)
    assert torch.equal(predictions, policy.answers(logits).argmax(-1)[exits, torch.arange(200)])
