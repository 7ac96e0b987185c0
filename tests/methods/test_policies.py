"""Every registered policy: the reference vectors, and equal decisions of both drivers on identical logits."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.policies import POLICIES, get_policy
from methods.policies.budgeted import _solve
from methods.policies.controls import hashed_uniform
from methods.policies.policy import ExitPolicy, survivors
from methods.policies.risk_control import CRC, LTT, hoeffding_bentkus
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
    "bin-accuracy": [{"target": t} for t in (0.0, 0.3, 0.6, 1.0)],
    "budgeted": [{"budget": b} for b in (0.1, 0.5, 0.7, 1.0)],
    "crc": [{"risk": 0.3}, {"risk": 0.1, "loss": "accuracy-gap"}],
    "ltt": [{"risk": 0.4}, {"risk": 0.3, "delta": 0.5, "loss": "accuracy-gap"}],
    "confidence-scaled": [{"threshold": 0.4}, {"threshold": 0.8}],
    "margin-scaled": [{"threshold": 0.3}],
    "entropy-scaled": [{"threshold": 0.9}],
    "learned-gate": [{"threshold": t} for t in (0.0, 0.2, 0.5, 1.0)],
    "oracle": [{}],
    "random": [{"probability": p} for p in (0.0, 0.3, 1.0)],
}
# A larger setting means a later exit (1), an earlier one (-1).
LATER = {
    "confidence": 1, "margin": 1, "entropy": -1, "patience": 1, "pcee": -1, "sdn": 1, "beem": 1, "bin-accuracy": 1, "crc": -1,
    "ltt": -1, "confidence-scaled": 1, "margin-scaled": 1, "entropy-scaled": -1, "learned-gate": -1, "random": -1,
}  # fmt: skip


def test_every_policy_is_tested() -> None:
    assert set(PARAMETERS) == set(POLICIES)


def gates(logits: Tensor) -> Tensor:
    """Error probabilities [K - 1, N] of made-up gates, which depend on each exit and sample alone."""
    return 1 - logits[:-1].float().softmax(-1).amax(-1) ** 2


def seeing(policy: ExitPolicy, logits: Tensor) -> ExitPolicy:
    """The policy bound to the gates of these samples."""
    return policy.with_context(errors=gates(logits))


def choose(policy: ExitPolicy, logits: Tensor) -> tuple[Tensor, Tensor]:
    return seeing(policy, logits).choose(logits)


def online(policy: ExitPolicy, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Step a policy like dynamic inference does: samples that leave are removed from the batch and from the state."""
    samples = logits.shape[1]
    exits, answers = torch.full((samples,), len(logits) - 1), torch.full((samples,), -1)
    running, state = torch.arange(samples), policy.start(samples)
    for k in range(len(logits) - 1):
        state["error"] = gates(logits)[k, running]
        leave = policy.step(k, logits[k, running], state)
        exits[running[leave]] = k
        answers[running[leave]] = logits[k, running[leave]].argmax(-1)
        running, state = running[~leave], survivors(state, ~leave)
    answers[running] = policy.finish(logits[-1, running], state)
    return exits, answers


# The reference


def ours(case: dict[str, Any]) -> ExitPolicy:
    """Our policy for a reference case."""
    given_ = case["params"]
    return {
        "confidence": lambda: get_policy("confidence", threshold=given_["theta"]),
        "entropy": lambda: get_policy("entropy", threshold=given_["theta_nats"]),
        "lgvit_patience": lambda: get_policy("patience", patience=given_["t"], counting="lgvit"),
        "pabee": lambda: get_policy("patience", patience=given_["p"]),
        "lgvit_pcee": lambda: get_policy(
            "pcee", threshold=given_["theta_nats"], patience=given_["t"], normalised=False
        ),
        "pcee": lambda: get_policy("pcee", threshold=given_["tau_normalised"], patience=given_["p"]),
        "sdn": lambda: get_policy("sdn", threshold=given_["T"]),
        "beem": lambda: get_policy("beem", threshold=given_["alpha"]),
        "none": lambda: get_policy("confidence", threshold=1.0),
    }[case["policy"]]()


@pytest.mark.parametrize("case", GOLDEN["random_set"]["cases"], ids=lambda case: f"{case['policy']} {case['params']}")
def test_the_random_set_of_the_reference(case: dict[str, Any]) -> None:
    logits = torch.tensor(GOLDEN["random_set"]["logits"])
    logits = logits if len(logits) == 9 else logits.transpose(0, 1)
    for driver in (lambda policy: policy.choose(logits), lambda policy: online(policy, logits)):
        exits, predictions = driver(ours(case))
        assert exits.tolist() == case["exit_index"]
        assert predictions.tolist() == case["class"]


@pytest.mark.parametrize("case", GOLDEN["hand_table"]["cases"], ids=lambda case: f"{case['policy']} {case['params']}")
def test_the_reference_table_by_hand(case: dict[str, Any]) -> None:
    # In double precision, some thresholds equal a probability: shift those, as the reference advises.
    if case["policy"] == "sdn":
        case = case | {"params": {"T": case["params"]["T"] - 1e-6}}
    logits = torch.tensor(GOLDEN["hand_table"]["probabilities"], dtype=torch.float64).log()[:, None]
    exits, predictions = ours(case).choose(logits)
    assert (exits.item(), predictions.item()) == (case["exit_index"], case["class"])


@pytest.mark.parametrize(
    "case", GOLDEN["saturation"]["cases"], ids=lambda case: f"{case['policy']} {case['logit_gap']}"
)
def test_saturated_logits_leave_at_the_correct_exit(case: dict[str, Any]) -> None:
    """The official code computes 0 * ln 0 here, and samples never leave."""
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
    """A sample whose softmax reaches 0 stays to the end; before that the two agree."""
    (case,) = [c for c in GOLDEN["saturation"]["cases"] if (c["policy"], c["logit_gap"]) == ("entropy", gap)]
    logits = torch.zeros(9, 1, 4)
    logits[..., 0] = gap
    exits, _ = get_policy("entropy", threshold=0.6, guarded=False).choose(logits)
    assert 4 + exits.item() == case["official_block"]
    probabilities = logits[0].softmax(-1)
    assert (-(probabilities * probabilities.log()).sum(-1)).isnan().item() is (exits.item() == 8)


# Properties


@st.composite
def scores(draw: st.DrawFn, exits: int | None = None, classes: int | None = None) -> Tensor:
    """Logits of any scale and precision."""
    shape = (exits or draw(st.integers(2, 6)), draw(st.integers(1, 7)), classes or draw(st.integers(2, 5)))
    scale = draw(st.sampled_from([0.1, 1.0, 5.0, 200.0]))
    dtype = draw(st.sampled_from([torch.float32, torch.float16, torch.bfloat16]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return (scale * torch.randn(*shape, generator=generator)).to(dtype)


@st.composite
def decided(draw: st.DrawFn, *, causal: bool = False) -> tuple[ExitPolicy, Tensor]:
    """A policy, fitted if needed, and scores to decide on."""
    names = [name for name in sorted(PARAMETERS) if not causal or POLICIES[name].load().causal]
    name = draw(st.sampled_from(names))
    logits = draw(scores())
    return fitted(name, draw(st.sampled_from(PARAMETERS[name])), logits, draw(st.integers(0, 2**31))), logits


def fitted(name: str, parameters: dict[str, Any], logits: Tensor, seed: int) -> ExitPolicy:
    generator = torch.Generator().manual_seed(seed)
    val = 3 * torch.randn(len(logits), 60, logits.shape[-1], generator=generator)
    labels = torch.where(torch.rand(60, generator=generator) < 0.7, val[-1].argmax(-1), 0)
    return get_policy(name, **parameters).fit(val, labels)


@given(decided(causal=True))
@settings(max_examples=400, deadline=None)
def test_online_equals_offline(case: tuple[ExitPolicy, Tensor]) -> None:
    policy, logits = case
    for actual, expected in zip(online(policy, logits), choose(policy, logits), strict=True):
        assert torch.equal(actual, expected)


@given(decided())
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


@given(decided(causal=True), st.data())
@settings(max_examples=300, deadline=None)
def test_later_exits_do_not_decide(case: tuple[ExitPolicy, Tensor], data: st.DataObject) -> None:
    policy, logits = case
    exits, _ = choose(policy, logits)
    k = data.draw(st.integers(1, len(logits) - 1))
    changed = logits.clone()
    changed[k:] = changed[k:].flip(-1)
    again, _ = choose(policy, changed)
    assert torch.equal(exits[exits < k], again[exits < k])
    assert (again[exits >= k] >= k).all()


@given(st.sampled_from(sorted(PARAMETERS)), scores(), st.integers(0, 2**31))
@settings(max_examples=300, deadline=None)
def test_the_sweep_equals_applying_each_setting(name: str, logits: Tensor, seed: int) -> None:
    policy = seeing(fitted(name, {}, logits, seed), logits)
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
    exits, predictions = choose(fitted(name, PARAMETERS[name][0], logits, 0), logits)
    assert torch.equal(predictions, logits.argmax(-1)[exits, torch.arange(200)])


# One by one


def test_sdn_takes_the_most_confident_exit_if_none_passes() -> None:
    logits = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]], [[0.0, 0.5]]])
    exits, predictions = get_policy("sdn", threshold=0.99).choose(logits)
    assert (exits.item(), predictions.item()) == (2, 0)


def test_bin_accuracy_is_measured_on_val() -> None:
    generator = torch.Generator().manual_seed(2)
    val = torch.randn(3, 6000, 4, generator=generator)
    # Exit 0 is right when it is sure; exit 1 never is.
    sure = val[0].softmax(-1).amax(-1)
    labels = torch.where(sure > sure.median(), val[0].argmax(-1), (val[0].argmax(-1) + 1) % 4)
    val[1] = -1e3
    val[1, torch.arange(6000), (labels + 2) % 4] = 0.0
    policy = get_policy("bin-accuracy", target=0.9).fit(val, labels)
    exits, _ = policy.choose(val)
    # The bin at the median holds both kinds; all others are decided.
    clear = (sure - sure.median()).abs() > 0.05
    assert torch.equal(exits[clear] == 0, (sure > sure.median())[clear])
    assert not (exits == 1).any()


def test_beems_released_rule_does_not_count_the_first_exit_of_a_run() -> None:
    """Confidences .6 .7 .8 of classes 0 0 1, then the final exit."""
    probabilities = torch.tensor([[0.6, 0.4], [0.7, 0.3], [0.2, 0.8], [0.5, 0.5]])[:, None]
    for counting, threshold, expected in [("paper", 1.2, 1), ("released", 0.65, 1), ("released", 0.75, 3)]:
        policy = get_policy("beem", threshold=threshold, counting=counting)
        for driver in (policy.choose, lambda logits, policy=policy: online(policy, logits)):
            exits, _ = driver(probabilities.log())
            assert exits.tolist() == [expected], (counting, threshold)


def test_budgeted_rounds_shares_down() -> None:
    """As MSDNet's code: of 3 samples and 2 exits with equal shares, one leaves at the first."""
    confidence = np.array([[0.9, 0.8, 0.7]])
    mean_cost, thresholds = _solve(confidence, 1.0, np.array([0.5, 1.0]), 3)
    assert thresholds.tolist() == [0.9]
    assert mean_cost == pytest.approx((0.5 + 1 + 1) / 3)


def test_a_budget_is_met_on_val_and_nearly_used() -> None:
    val = torch.randn(6, 5000, 10, generator=torch.Generator().manual_seed(3)) * torch.arange(1, 7)[:, None, None]
    cost = np.array([0.2, 0.4, 0.5, 0.7, 0.9, 1.1])
    for budget in (0.4, 0.5, 0.7):
        policy = get_policy("budgeted", budget=budget).fit(val, cost=cost)
        exits, _ = policy.choose(val)
        spent = cost[exits.numpy()].mean()
        assert budget - 0.02 <= spent <= budget + 1e-9


def sample(generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Scores of three exits that get better, and labels that the last one mostly gets right."""
    labels = torch.randint(0, 4, (count,), generator=generator)
    logits = torch.randn(3, count, 4, generator=generator)
    logits[:, torch.arange(count), labels] += torch.tensor([1.0, 2.0, 3.0])[:, None]
    return logits, labels


@pytest.mark.parametrize("loss", ["disagreement", "accuracy-gap"])
def test_risk_control_bounds_the_risk(loss: str) -> None:
    """Over repeated calibrations, CRC bounds the mean risk, and LTT exceeds the bound in at most a share delta of them."""
    bound, delta = 0.1, 0.1
    generator = torch.Generator().manual_seed(4)
    test, test_labels = sample(generator, 20_000)
    risks: dict[str, list[float]] = {"crc": [], "ltt": []}
    for _ in range(150):
        val, labels = sample(generator, 300)
        for name, parameters in (("crc", {}), ("ltt", {"delta": delta})):
            _, answers = get_policy(name, risk=bound, loss=loss, **parameters).fit(val, labels).choose(test)
            lost = answers != test[-1].argmax(-1)
            if loss == "accuracy-gap":
                lost = (answers != test_labels) & (test[-1].argmax(-1) == test_labels)
            risks[name].append(lost.double().mean().item())
    assert np.mean(risks["crc"]) <= bound + 0.003
    assert np.mean(risks["crc"]) >= bound / 2
    assert np.mean(np.array(risks["ltt"]) > bound) <= delta + 0.05
    assert np.mean(risks["ltt"]) <= np.mean(risks["crc"])


def test_only_thresholds_certified_together_with_all_safer_ones_count() -> None:
    policy = CRC(risk=0.1)
    policy._thresholds = np.array([1.0, 0.9, 0.8, 0.7, 0.6, 0.5])
    policy._risks = np.array([0.01, 0.02, 0.2, 0.3, 0.02, 0.4])  # passes again after it failed
    policy._samples = 1000
    assert policy.threshold(0.1) == 0.9
    assert policy.threshold(0.001) == 1.0  # not even the safest threshold passes: no sample leaves early
    ltt = LTT(risk=0.1, delta=0.1)
    ltt._thresholds, ltt._samples = np.arange(10)[::-1] / 10, 1000
    ltt._risks = np.array([0.01] * 5 + [0.5] * 5)
    assert ltt.threshold(0.1) == pytest.approx(0.5)  # the last certified one, not the first that failed


def test_hoeffding_bentkus_is_a_p_value() -> None:
    p = hoeffding_bentkus(np.array([0.0, 0.05, 0.1, 0.2]), 500, 0.1)
    assert np.isfinite(p).all()
    assert (np.diff(p) >= 0).all()
    assert p[0] < 1e-15
    assert p[2] > 0.1
    assert p[3] == 1.0


def test_temperatures_calibrate_and_change_no_prediction() -> None:
    generator = torch.Generator().manual_seed(5)
    probabilities = torch.randn(3, 20_000, 4, generator=generator).softmax(-1)
    labels = torch.multinomial(probabilities[0], 1, generator=generator)[:, 0]
    logits = probabilities.log()
    logits[0] *= 2.5  # exit 0 is calibrated but for a temperature of 2.5
    policy = get_policy("confidence-scaled", threshold=0.5).fit(logits, labels)
    assert policy.temperatures[0].item() == pytest.approx(2.5, rel=0.05)  # type: ignore[attr-defined]


def test_the_oracle_bounds_every_policy() -> None:
    logits, labels = sample(torch.Generator().manual_seed(6), 2000)
    exits, answers = get_policy("oracle").with_context(labels).choose(logits)  # type: ignore[attr-defined]
    right = (logits.argmax(-1) == labels).any(0)
    assert torch.equal(answers == labels, right)
    assert (exits[~right] == 0).all()
    agree, same = get_policy("oracle").choose(logits)
    assert torch.equal(same, logits[-1].argmax(-1))
    assert (agree <= 2).all()


def test_random_leaves_with_its_probability() -> None:
    logits = torch.randn(4, 40_000, 5, generator=torch.Generator().manual_seed(7))
    exits, _ = get_policy("random", probability=0.3).choose(logits)
    shares = torch.bincount(exits, minlength=4) / 40_000
    np.testing.assert_allclose(shares, [0.3, 0.21, 0.147, 0.343], atol=0.01)
    chance = hashed_uniform(logits[0])
    assert abs(chance.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(chance, logits[0].amax(-1))[0, 1]) < 0.02


def test_a_policy_that_reads_gates_requires_them() -> None:
    logits, errors = torch.zeros(3, 2, 4), torch.tensor([[0.4, 0.9], [0.1, 0.8]])
    policy = get_policy("learned-gate", threshold=0.5)
    exits, _ = policy.with_context(errors=errors).choose(logits)
    assert exits.tolist() == [0, 2]
    with pytest.raises(ValueError, match="these exits have none"):
        policy.with_context()
    with pytest.raises(ValueError, match="with_context"):
        policy.choose(logits)
    with pytest.raises(ValueError, match="this exit has none"):
        policy.step(0, logits[0], {})


# Bad input


@pytest.mark.parametrize(("name", "parameters", "sentence"), [
    ("confidnce", {}, "unknown policy 'confidnce'; did you mean 'confidence'?"),
    ("confidence", {"treshold": 0.5}, "no option 'treshold'; did you mean 'threshold'? options: threshold"),
    ("confidence", {"threshold": 80}, "threshold is between 0 and 1, not 80"),
    ("confidence", {"threshold": "high"}, "option 'threshold': Input should be a valid number"),
    ("margin", {"threshold": -0.1}, "threshold is between 0 and 1"),
    ("entropy", {"threshold": -1}, "threshold must be an entropy of at least 0"),
    ("entropy", {"threshold": float("nan")}, "threshold must be an entropy of at least 0"),
    ("patience", {"patience": 0}, "patience must be an integer of at least 1"),
    ("patience", {"patience": 2, "counting": "berxit"}, "option 'counting': Input should be 'pabee' or 'lgvit'"),
    ("pcee", {"patience": 0}, "patience must be an integer of at least 1"),
    ("sdn", {"threshold": 2}, "threshold is between 0 and 1"),
    ("beem", {"threshold": -1}, "threshold must be a sum of confidences of at least 0"),
    ("bin-accuracy", {"target": 90}, "target is between 0 and 1"),
    ("budgeted", {"budget": 0}, "budget must be a positive mean cost"),
    ("crc", {"risk": 0}, "risk is between 0 and 1, both excluded"),
    ("ltt", {"risk": 0.1, "delta": 1}, "delta is between 0 and 1, both excluded"),
    ("random", {"probability": 2}, "probability is between 0 and 1"),
])  # fmt: skip
def test_wrong_parameters_are_errors(name: str, parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        get_policy(name, **parameters)
    assert sentence in str(error.value)


@pytest.mark.parametrize(("logits", "sentence"), [
    (torch.zeros(3, 4), "scores are floats [exits, samples, classes]; these are torch.float32 of shape 3 x 4"),
    (torch.zeros(3, 0, 4), "of shape 3 x 0 x 4"),
    (torch.zeros(3, 4, 5, dtype=torch.int64), "these are torch.int64"),
    (torch.tensor([[[0.0, 1.0]], [[float("nan"), 1.0]]]), "infinite values in 1 places, the first at exit 1, sample 0"),
])  # fmt: skip
def test_wrong_scores_are_errors(logits: Tensor, sentence: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        get_policy("confidence", threshold=0.5).choose(logits)
    assert sentence in str(error.value)


@pytest.mark.parametrize("name", [name for name in POLICIES if POLICIES[name].load().learns])
def test_a_policy_with_parameters_must_be_fitted(name: str) -> None:
    policy = get_policy(name, **PARAMETERS[name][0])
    with pytest.raises(ValueError, match="on val first"):
        policy.choose(torch.randn(3, 4, 5))


def test_a_policy_without_a_threshold_is_an_error() -> None:
    with pytest.raises(ValueError, match="has no threshold yet"):
        get_policy("confidence").choose(torch.zeros(2, 1, 3))


def test_policies_accept_arrays_and_a_single_exit() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 10, 4)).astype(np.float32)
    policy = get_policy("confidence", threshold=0.5)
    for actual, expected in zip(policy.choose(logits), policy.choose(torch.from_numpy(logits)), strict=True):
        assert torch.equal(actual, expected)
    for name, cases in PARAMETERS.items():
        alone = torch.randn(1, 6, 4)
        if name in ("bin-accuracy", "budgeted", "crc", "ltt"):
            continue  # nothing to learn without an early exit
        exits, predictions = choose(fitted(name, cases[0], alone, 0), alone)
        assert (exits == 0).all()
        assert torch.equal(predictions, alone[0].argmax(-1))


@pytest.mark.parametrize("name", ["confidence-scaled", "margin-scaled", "entropy-scaled"])
def test_labels_of_32_bits_give_the_same_temperatures(name: str) -> None:
    logits, labels = torch.randn(3, 40, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 4
    wide, narrow = (get_policy(name).fit(logits, kind) for kind in (labels, labels.int()))
    assert torch.equal(wide.temperatures, narrow.temperatures)  # type: ignore[attr-defined]
