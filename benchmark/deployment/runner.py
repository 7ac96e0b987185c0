"""Runs an exported model with early exits; needs only onnxruntime and numpy.

from runner import Model
labels, confidences, exits = Model("folder").predict(images)  # uint8 [N, H, W, C] of the size in export.json
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime


class Model:
    """An exported model: one graph per segment. Images leave the batch at their exit, and the others continue."""

    def __init__(self, folder: str | Path, threads: int = 0) -> None:
        self.about = json.loads((Path(folder) / "export.json").read_text(encoding="utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads  # 0: one per core
        self.sessions = [
            onnxruntime.InferenceSession(str(Path(folder) / name), options, providers=["CPUExecutionProvider"])
            for name in self.about["segments"]
        ]

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Class indices, largest probabilities and exits (1-based) of N images, each [N]."""
        labels, exits, confidences = np.zeros(len(images), int), np.zeros(len(images), int), np.zeros(len(images))
        rows, values = np.arange(len(images)), images
        for number, session in enumerate(self.sessions, start=1):
            if not len(rows):
                break
            logits, *tokens = session.run(None, {"values": values})
            probabilities = softmax(logits)
            leave = self.leave(number, rows, probabilities) if tokens else np.ones(len(rows), bool)
            labels[rows[leave]] = logits[leave].argmax(-1)
            confidences[rows[leave]] = probabilities[leave].max(-1)
            exits[rows[leave]] = number
            rows, values = rows[~leave], tokens[0][~leave] if tokens else values
        return labels, confidences, exits

    def leave(self, exit_number: int, rows: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """Which of the images in ``rows`` leave at an early exit, by their probabilities [R, classes]: bools [R]."""
        policy, threshold = self.about["policy"], self.about["threshold"]
        if policy["name"] == "entropy":
            nats = -(probabilities * np.log(np.maximum(probabilities, 1e-38))).sum(-1)
            return nats / (np.log(probabilities.shape[-1]) if policy["normalised"] else 1) < threshold
        first, second = np.sort(probabilities, axis=-1)[:, :-3:-1].T
        return (first - second if policy["name"] == "margin" else first) > threshold


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)
