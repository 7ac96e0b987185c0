"""Released scores: what half precision and the top 50 classes change, and what they do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from methods.policies import get_policy
from results.store.files import StoreError
from results.store.released_scores import FORMAT, TOP, Arrays, read_released, write_released

EXITS, SAMPLES = 4, 400


def scores_with(classes: int, *, gates: bool = False) -> Arrays:
    """Logits like those of a trained model: one class stands out, more at later exits."""
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, SAMPLES)
    logits = 2 * random.standard_normal((EXITS, SAMPLES, classes)) - 7  # an offset that softmax does not see
    logits[:, np.arange(SAMPLES), labels] += np.linspace(2, 8, EXITS)[:, None]
    scores = {"logits": logits.astype(np.float32), "labels": labels, "sample_id": np.arange(SAMPLES) * 3}
    if gates:
        scores["errors"] = random.random((EXITS - 1, SAMPLES)).astype(np.float32)
    return scores


def released(scores: Arrays, folder: Path) -> Arrays:
    write_released(scores, folder / "val.safetensors")
    return read_released(folder / "val.safetensors")


@pytest.mark.parametrize("classes", [2, 10, TOP, TOP + 1, 1000])
def test_a_policy_decides_alike_but_within_the_stated_bound(classes: int, tmp_path: Path) -> None:
    original = scores_with(classes)
    copy = released(original, tmp_path)
    before, after = (torch.from_numpy(s["logits"]) for s in (original, copy))
    policy = get_policy("confidence", threshold=0.5)
    signal = policy.signal(before)
    bound = signal * np.log(classes) / 1024 + 2**-24
    assert ((policy.signal(after) - signal).abs() <= bound).all()
    for threshold in np.linspace(0.05, 0.99, 40):
        policy = get_policy("confidence", threshold=float(threshold))
        (exits, predictions), (copied_exits, copied_predictions) = policy.choose(before), policy.choose(after)
        near = ((signal - threshold).abs() <= bound).any(0)
        assert torch.equal(exits[~near], copied_exits[~near])
        top = before.log_softmax(-1).topk(2, dim=-1).values
        tied = ((top[..., 0] - top[..., 1]) <= 2**-11 * top.abs().sum(-1)).any(0)
        sure = ~near & ~tied
        assert sure.float().mean() > 0.5
        assert torch.equal(predictions[sure], copied_predictions[sure])


def test_logits_come_back_with_their_offset(tmp_path: Path) -> None:
    original = scores_with(10, gates=True)
    copy = released(original, tmp_path)
    log_probabilities = torch.from_numpy(original["logits"]).log_softmax(-1).numpy()
    error = np.abs(copy["logits"] - original["logits"])
    assert (error <= 2**-11 * np.abs(log_probabilities) + 1e-5).all()
    for name in ("labels", "sample_id", "errors"):
        np.testing.assert_array_equal(copy[name], original[name])


def test_many_classes_are_cut_to_the_top(tmp_path: Path) -> None:
    original = scores_with(1000)
    copy = released(original, tmp_path)
    stored = load_file(tmp_path / "val.safetensors")
    assert stored["log_probabilities"].dtype == np.float16
    assert stored["log_probabilities"].shape == stored["classes"].shape == (EXITS, SAMPLES, TOP)
    np.testing.assert_array_equal(np.take_along_axis(original["logits"], stored["classes"][..., :1].astype(int), -1)[..., 0],
                                  original["logits"].max(-1))  # fmt: skip
    probabilities = torch.from_numpy(copy["logits"]).softmax(-1)
    assert torch.allclose(probabilities.sum(-1), torch.ones(EXITS, SAMPLES), atol=1e-4)
    full = EXITS * SAMPLES * 1000 * 4
    assert (tmp_path / "val.safetensors").stat().st_size < full / 15


def test_extreme_logits_stay_finite(tmp_path: Path) -> None:
    logits = np.array([[[1e5, -1e5, 0.0], [0.0, 0.0, 0.0]]], np.float32)
    scores = {"logits": logits, "labels": np.zeros(2, np.int64), "sample_id": np.arange(2)}
    copy = released(scores, tmp_path)
    assert np.isfinite(copy["logits"]).all()
    assert copy["logits"][0, 0].argmax() == 0


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    other, text = tmp_path / "other.safetensors", tmp_path / "text.safetensors"
    save_file({"logits": np.zeros(3, np.float32)}, other)
    text.write_text("scores")
    for path in (other, text, tmp_path / "missing.safetensors"):
        with pytest.raises(StoreError, match=path.name):
            read_released(path)
    save_file({"labels": np.zeros(3)}, other, metadata={"format": FORMAT, "classes": "3"})
    with pytest.raises(StoreError, match=other.name):
        read_released(other)
