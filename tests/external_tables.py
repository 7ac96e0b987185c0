"""The predictions of a run in the form that ``evaluate FILE`` reads."""

from __future__ import annotations

import pandas as pd

from benchmark.evaluation.stored_runs import load_run_scores
from methods.policies.policy import confidences
from results.record import DoneRecord
from results.store.folder import Store


def answers_of(store: Store, record: DoneRecord) -> pd.DataFrame:
    """One row per sample of val and test, and exit."""
    parts = []
    for split, scores in load_run_scores(store, record).items():
        for k, (logits, macs) in enumerate(zip(scores.logits, record.costs.cumulative, strict=True), start=1):
            parts.append(
                pd.DataFrame(
                    {
                        "sample_id": scores.sample_id.numpy(), "exit": k, "prediction": logits.argmax(-1).numpy(),
                        "confidence": confidences(logits).numpy(), "label": scores.labels.numpy(), "split": split,
                        "macs": macs,
                    }
                )
            )  # fmt: skip
    return pd.concat(parts, ignore_index=True)
