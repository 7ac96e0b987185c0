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
from results.tables.run import STATIC

COUNTS = ("tp", "fp", "fn", "edge_tp", "edge_fp", "edge_fn")
WITHOUT_EXITS = -1
"""Number of the exit that stands for the backbone without exits in tables of counts."""


def answers(scores: ExitScores, static: ExitScores) -> pd.DataFrame:
    """Prediction, confidence and negative log-likelihood of every exit for every sample.

    In a task that has counts: these counts by class, without rows of zeros, also of the backbone without exits.

    Args:
        scores: of the run.
        static: of the backbone without exits on the same samples.
    """
    if scores.counts is not None:
        assert static.counts is not None
        return pd.concat(
            [
                _class_counts(static.counts[-1:], static.sample_id, WITHOUT_EXITS),
                _class_counts(scores.counts, scores.sample_id),
            ],
            ignore_index=True,
        )
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


def _class_counts(counts: torch.Tensor, sample_id: torch.Tensor, first_exit: int = 0) -> pd.DataFrame:
    """The rows that are not zero of counts int32 [K, N, C, 6]; the exits are numbered from ``first_exit``."""
    values = counts.numpy()
    exit_, sample, class_ = np.nonzero(values.any(-1))
    rows = values[exit_, sample, class_]
    where = {"exit": exit_ + first_exit, "sample_id": sample_id.numpy()[sample], "class": class_.astype(np.int32)}
    return pd.DataFrame(where | {name: rows[:, i] for i, name in enumerate(COUNTS)})


def static_outcomes(scores: ExitScores) -> pd.DataFrame:
    """The final classifier's prediction for every sample."""
    if scores.counts is not None:
        setting, samples = WeightedThreshold(threshold=0.0, weight=1.0), len(scores.sample_id)
        taken, score = np.full(samples, WITHOUT_EXITS), np.full(samples, np.nan)
        return count_frame(STATIC, setting, sample_id=scores.sample_id.numpy(), exit_taken=taken, score=score)
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
    """Exit and prediction of every test sample under one setting; ``score`` is the largest probability of the answer.

    In a task that has counts: the exit only, and the first signal at the exit taken as the score.
    """
    if scores.counts is not None:
        taken = decisions.exit_taken[decisions.row(setting.threshold)].astype(np.int64)
        score = scores.logits[..., 0].numpy()[taken, np.arange(len(taken))]
        return count_frame(point.name, setting, sample_id=scores.sample_id.numpy(), exit_taken=taken, score=score)
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


def count_frame(
    point: str, setting: WeightedThreshold, *, sample_id: np.ndarray, exit_taken: np.ndarray, score: np.ndarray
) -> pd.DataFrame:
    """Rows of the table of outcomes in a task that has counts, in which the exit taken gives a sample's counts."""
    return pd.DataFrame(
        {
            "point": point,
            "threshold": np.nan if point == STATIC else setting.threshold,
            "weight": setting.weight,
            "sample_id": sample_id,
            "exit": exit_taken,
            "score": score,
        }
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
    if decisions.correct is None:
        return corner_frame(label, setting, sample_id, decisions.exit_taken[row], None)
    return corner_frame(label, setting, sample_id, decisions.exit_taken[row], decisions.correct[row])


def no_corners() -> pd.DataFrame:
    """The table of `corner` without rows."""
    empty = np.zeros(0, dtype=np.int64)
    return corner_frame("", 0.0, empty, empty, empty)


def corner_frame(
    label: str, setting: float, sample_id: np.ndarray, exit_taken: np.ndarray, right: np.ndarray | None
) -> pd.DataFrame:
    """The table of `corner` with its column types; the arrays are [N], ``right`` is None in a task that has counts."""
    frame = pd.DataFrame(
        {
            "policy": pd.Series([label] * len(exit_taken), dtype="str"),
            "threshold": np.full(len(exit_taken), setting),
            "sample_id": sample_id,
            "exit": exit_taken.astype(np.int16),
        }
    )
    return frame if right is None else frame.assign(right=right.astype(bool))


def curve(policy: str, split: str, swept: Sweep, costs: CostTable, blocks: list[int]) -> pd.DataFrame:
    """Accuracy with its interval, mean MACs and mean block of every setting."""
    macs, depth = swept.mean(costs.cumulative), swept.mean(blocks)
    rows = []
    for t, setting in enumerate(swept.settings):
        accuracy, low, high = (float(values[t]) for values in (swept.accuracy, swept.low, swept.high))
        rows.append((policy, split, float(setting), accuracy, low, high, macs[t], depth[t]))
    return curve_frame(rows)


def curve_frame(rows: list[tuple[str, str, float, float, float, float, float, float]]) -> pd.DataFrame:
    """The table of `curve` with its column types; the rows may be empty."""
    columns = ["policy", "split", "threshold", "accuracy", "low", "high", "mean_macs", "mean_block"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype({"policy": str, "split": str} | dict.fromkeys(columns[2:], "float64"))
