"""The rules of the policies one by one: what each decides, learns and guarantees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.policies import get_policy
from methods.policies.budgeted import solve
from methods.policies.controls import hashed_uniform
from methods.policies.risk_control import CRC, LTT, hoeffding_bentkus
from tests.methods.test_policies import online


def test_sdn_uses_the_most_confident_prediction_if_no_exit_passes() -> None:
    logits = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]], [[0.0, 0.5]]])
    exits, predictions = get_policy("sdn", threshold=0.99).choose(logits)
    assert (exits.item(), predictions.item()) == (2, 0)


def test_the_confidence_of_sdn_is_that_of_its_answer() -> None:
    logits = torch.randn(4, 500, 10, generator=torch.Generator().manual_seed(0))
    answers = get_policy("sdn", threshold=0.9).answers(logits)
    torch.testing.assert_close(answers[-1].softmax(-1).amax(-1), logits.softmax(-1).amax(-1).amax(0))
    assert torch.equal(answers[:-1], logits[:-1])


def test_bin_accuracy_is_measured_on_val() -> None:
    generator = torch.Generator().manual_seed(2)
    val = torch.randn(3, 6000, 4, generator=generator)
    # Exit 0 is correct if its confidence is above the median; exit 1 is never correct.
    confidence = val[0].softmax(-1).amax(-1)
    labels = torch.where(confidence > confidence.median(), val[0].argmax(-1), (val[0].argmax(-1) + 1) % 4)
    val[1] = -1e3
    val[1, torch.arange(6000), (labels + 2) % 4] = 0.0
    policy = get_policy("bin-accuracy", target=0.9).fit(val, labels)
    exits, _ = policy.choose(val)
    # Only the bin at the median has correct and wrong predictions.
    clear = (confidence - confidence.median()).abs() > 0.05
    assert torch.equal(exits[clear] == 0, (confidence > confidence.median())[clear])
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
    """As in MSDNet's code: of 3 samples and 2 exits with equal shares, one sample exits at the first exit."""
    confidence = np.array([[0.9, 0.8, 0.7]])
    mean_cost, thresholds = solve(confidence, 1.0, np.array([0.5, 1.0]), 3)
    assert thresholds.tolist() == pytest.approx([0.85])  # between the sample that exits and the next one
    assert mean_cost == pytest.approx((0.5 + 1 + 1) / 3)


def test_a_budget_is_met_on_val_and_nearly_used() -> None:
    val = torch.randn(6, 5000, 10, generator=torch.Generator().manual_seed(3)) * torch.arange(1, 7)[:, None, None]
    cost = np.array([0.2, 0.4, 0.5, 0.7, 0.9, 1.1])
    for budget in (0.4, 0.5, 0.7):
        policy = get_policy("budgeted", budget=budget).fit(val, cost=cost)
        exits, _ = policy.choose(val)
        mean_cost = cost[exits.numpy()].mean()
        assert budget - 0.02 <= mean_cost <= budget + 1e-9


def sample(generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Logits of three exits with increasing accuracy, [3, count, 4], and labels."""
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
    confidence = get_policy("crc", risk=bound).signal(test)  # does not depend on the calibration
    test_predictions = test.argmax(-1)
    risks: dict[str, list[float]] = {"crc": [], "ltt": []}
    for _ in range(150):
        val, labels = sample(generator, 300)
        for name, parameters in (("crc", {}), ("ltt", {"delta": delta})):
            policy = get_policy(name, risk=bound, loss=loss, **parameters).fit(val, labels)
            predictions = test_predictions.gather(0, policy.exits(confidence, bound)[None])[0]
            is_lost = predictions != test_predictions[-1]
            if loss == "accuracy-gap":
                is_lost = (predictions != test_labels) & (test_predictions[-1] == test_labels)
            risks[name].append(is_lost.double().mean().item())
    assert np.mean(risks["crc"]) <= bound + 0.003
    assert np.mean(risks["crc"]) >= bound / 2
    assert np.mean(np.array(risks["ltt"]) > bound) <= delta + 0.05
    assert np.mean(risks["ltt"]) <= np.mean(risks["crc"])


def test_a_threshold_is_used_only_if_all_safer_ones_are_certified() -> None:
    policy = CRC(risk=0.1)
    policy._thresholds = np.array([1.0, 0.9, 0.8, 0.7, 0.6, 0.5])
    policy._risks = np.array([0.01, 0.02, 0.2, 0.3, 0.02, 0.4])  # passes again after it failed
    policy._samples = 1000
    assert policy.threshold(0.1) == 0.9
    assert policy.threshold(0.001) == 1.0  # not even the safest threshold passes: no sample exits early
    ltt = LTT(risk=0.1, delta=0.1)
    ltt._thresholds, ltt._samples = np.arange(10)[::-1] / 10, 1000
    ltt._risks = np.array([0.01] * 5 + [0.5] * 5)
    assert ltt.threshold(0.1) == pytest.approx(0.5)  # the last certified threshold


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
    logits[0] *= 2.5  # exit 0 is miscalibrated by a temperature of 2.5
    policy = get_policy("confidence-scaled", threshold=0.5).fit(logits, labels)
    assert policy.temperatures[0].item() == pytest.approx(2.5, rel=0.05)  # type: ignore[attr-defined]


def test_the_oracle_bounds_every_policy() -> None:
    logits, labels = sample(torch.Generator().manual_seed(6), 2000)
    exits, predictions = get_policy("oracle").with_context(labels).choose(logits)  # type: ignore[attr-defined]
    is_solvable = (logits.argmax(-1) == labels).any(0)
    assert torch.equal(predictions == labels, is_solvable)
    assert (exits[~is_solvable] == 0).all()
    agree, same = get_policy("oracle").choose(logits)
    assert torch.equal(same, logits[-1].argmax(-1))
    assert (agree <= 2).all()


def test_random_exits_with_its_probability() -> None:
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
    with pytest.raises(ValueError, match="learned gate"):
        policy.with_context()
    with pytest.raises(ValueError, match="with_context"):
        policy.choose(logits)
    with pytest.raises(ValueError, match="learned gate"):
        policy.step(0, logits[0], {})


@pytest.mark.parametrize("name", ["confidence-scaled", "margin-scaled", "entropy-scaled"])
def test_labels_of_32_bits_give_the_same_temperatures(name: str) -> None:
    logits, labels = torch.randn(3, 40, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 4
    wide, narrow = (get_policy(name).fit(logits, kind) for kind in (labels, labels.int()))
    assert torch.equal(wide.temperatures, narrow.temperatures)  # type: ignore[attr-defined]
