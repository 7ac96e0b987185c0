"""The tables of a run from its scores, with one row per sample, exit or setting. `results.tables.run.Run` reads them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from benchmark.evaluation.scores import ExitScores
from benchmark.evaluation.sweep import Decisions, Sweep
from methods.policies.policy import ExitPolicy, confidences
from results.operating_point import OperatingPoint, WeightedThreshold
from results.record import CostTable
from results.stats.statistics import wilson
from results.tables.run import STATIC


def answers(scores: ExitScores) -> pd.DataFrame:
    """Prediction, confidence and negative log-likelihood of every exit for every sample."""
    exits, samples, _ = scores.logits.shape
    logits = scores.logits.float()
    nll = torch.stack([F.cross_entropy(row, scores.labels, reduction="none") for row in logits])
    return pd.DataFrame(
        {
            "exit": np.repeat(np.arange(exits, dtype=np.int16), samples),
            "sample_id": np.tile(scores.sample_id.numpy(), exits),
            "label": np.tile(scores.labels.numpy().astype(np.int32), exits),
            "prediction": logits.argmax(-1).numpy().astype(np.int32).ravel(),
            "confidence": confidences(logits).numpy().ravel(),
            "nll": nll.numpy().ravel(),
        }
    )


def static_outcomes(scores: ExitScores) -> pd.DataFrame:
    """The final classifier's prediction for every sample."""
    final = scores.logits[-1]
    return outcome_frame(
        STATIC,
        WeightedThreshold(threshold=0.0, weight=1.0),
        sample_id=scores.sample_id.numpy(),
        exit_taken=np.zeros(len(scores.labels), dtype=np.int64),
        prediction=final.argmax(-1).numpy(),
        label=scores.labels.numpy(),
        score=final.softmax(-1).amax(-1).numpy(),
    )


def outcomes(
    point: OperatingPoint, setting: WeightedThreshold, decisions: Decisions, policy: ExitPolicy, scores: ExitScores
) -> pd.DataFrame:
    """Exit and prediction of every test sample under one setting; ``score`` is the largest probability of the answer."""
    bound = policy.with_context(scores.labels, scores.errors)
    exits = torch.from_numpy(decisions.exit_taken[decisions.row(setting.threshold)].astype(np.int64))
    samples = torch.arange(len(exits))
    return outcome_frame(
        point.name,
        setting,
        sample_id=scores.sample_id.numpy(),
        exit_taken=exits.numpy(),
        prediction=bound.predictions(scores.logits)[exits, samples].numpy(),
        label=scores.labels.numpy(),
        score=confidences(bound.answers(scores.logits)[exits, samples]).numpy(),
    )


def outcome_frame(
    point: str,
    setting: WeightedThreshold,
    *,
    sample_id: np.ndarray,
    exit_taken: np.ndarray,
    prediction: np.ndarray,
    label: np.ndarray,
    score: np.ndarray,
) -> pd.DataFrame:
    """Rows of the table of outcomes: N samples under one setting of a point, whose arrays are [N]."""
    return pd.DataFrame(
        {
            "point": point,
            "threshold": np.nan if point == STATIC else setting.threshold,
            "weight": setting.weight,
            "sample_id": sample_id,
            "exit": exit_taken,
            "prediction": prediction,
            "label": label,
            "score": score,
        }
    )


def corner(label: str, row: int, decisions: Decisions, sample_id: np.ndarray) -> pd.DataFrame:
    """Exit and correctness of every test sample at one corner of a hull, which is a row of the decisions."""
    setting = float(decisions.settings[row])
    return corner_frame(label, setting, sample_id, decisions.exit_taken[row], decisions.correct[row])


def no_corners() -> pd.DataFrame:
    """The table of `corner` without rows."""
    empty = np.zeros(0, dtype=np.int64)
    return corner_frame("", 0.0, empty, empty, empty)


def corner_frame(
    label: str, setting: float, sample_id: np.ndarray, exit_taken: np.ndarray, right: np.ndarray
) -> pd.DataFrame:
    """The table of `corner` with its column types; the arrays are [N]."""
    return pd.DataFrame(
        {
            "policy": pd.Series([label] * len(exit_taken), dtype="str"),
            "threshold": np.full(len(exit_taken), setting),
            "sample_id": sample_id,
            "exit": exit_taken.astype(np.int16),
            "right": right.astype(bool),
        }
    )


def curve(policy: str, split: str, swept: Sweep, costs: CostTable, blocks: list[int]) -> pd.DataFrame:
    """Accuracy with its interval, mean MACs and mean block of every setting."""
    macs, depth = swept.mean(costs.cumulative), swept.mean(blocks)
    rows = []
    for t, setting in enumerate(swept.settings):
        accuracy = float(swept.accuracy[t])
        low, high = wilson(round(accuracy * swept.samples), swept.samples)
        rows.append((policy, split, float(setting), accuracy, low, high, macs[t], depth[t]))
    return curve_frame(rows)


def curve_frame(rows: list[tuple[str, str, float, float, float, float, float, float]]) -> pd.DataFrame:
    """The table of `curve` with its column types; the rows may be empty."""
    columns = ["policy", "split", "threshold", "accuracy", "low", "high", "mean_macs", "mean_block"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype({"policy": str, "split": str} | dict.fromkeys(columns[2:], "float64"))
