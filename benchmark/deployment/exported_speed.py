"""Time of an exported model with early exits beside that of the exported backbone without exits, in onnxruntime."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from benchmark.deployment.export import DESCRIPTION, write_graphs
from benchmark.deployment.onnx_graphs import ONNX
from benchmark.deployment.runner import Model
from benchmark.deployment.segments import Preprocess, segments
from benchmark.measure.dynamic_speed import RELEASED_SHARES, random_model, scheduled
from methods.api import BackboneCard


@dataclass(frozen=True)
class ExportedTiming:
    """Mean milliseconds per image of both exported models on the same batches.

    Attributes:
        backbone: of the backbone without exits, one graph.
        cascade: of the model with exits, one graph per segment.
        mac_speedup: MACs of the backbone over the mean MACs of the cascade.
    """

    backbone: float
    cascade: float
    mac_speedup: float

    @property
    def speedup(self) -> float:
        return self.backbone / self.cascade

    @property
    def realised(self) -> float:
        """Share of the speed-up in MACs that is reached in time."""
        return self.speedup / self.mac_speedup


class ScheduledModel(Model):
    """Computes confidences as the runner does, but takes the exit of each image from a schedule, 0-based [N]."""

    schedule: np.ndarray

    def leave(self, exit_number: int, rows: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        return super().leave(exit_number, rows, probabilities) & (self.schedule[rows] < exit_number)


class Plain(nn.Module):
    """The backbone without exits from stored images to logits."""

    def __init__(self, preprocess: nn.Module, backbone: nn.Module) -> None:
        super().__init__()
        self.preprocess, self.backbone = preprocess, backbone

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        return (self.backbone(self.preprocess(values)),)


def measure_exported(
    card: BackboneCard, batch_size: int, batches: int, warmup: int, threads: int, folder: Path
) -> ExportedTiming:
    """Export both models with random weights and LGViT's heads, and time them on the same batches in alternation.

    The exit shares are `RELEASED_SHARES`.

    Args:
        card: of the backbone.
        batch_size: images per batch.
        batches: timed batches.
        warmup: untimed batches before them.
        threads: of onnxruntime.
        folder: empty; for the graphs.
    """
    model, costs = random_model("lgvit", card)
    half = (0.5,) * card.channels
    preprocess = Preprocess(card.image_size, card.image_size, card.channels, half, half)
    parts = segments(model, preprocess, torch.zeros(1, card.channels, card.image_size, card.image_size))
    names = [f"segment-{number}.onnx" for number in range(1, len(parts) + 1)]
    shape = (card.image_size, card.image_size, card.channels)
    sample = torch.zeros(2, *shape, dtype=torch.uint8)
    write_graphs(parts, sample, [folder / name for name in names], ONNX)
    write_graphs([Plain(preprocess, model.backbone).eval()], sample, [folder / "backbone.onnx"], ONNX)
    # The threshold is below every confidence, so that the schedule alone decides.
    about = {"segments": names, "policy": {"name": "confidence"}, "threshold": 0.0}
    (folder / DESCRIPTION).write_text(json.dumps(about), encoding="utf-8")

    cascade = ScheduledModel(folder, threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    plain = onnxruntime.InferenceSession(folder / "backbone.onnx", options, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).integers(0, 256, (batch_size, *shape), dtype=np.uint8)
    exits = scheduled(np.array(RELEASED_SHARES), batch_size * batches).numpy().reshape(batches, batch_size)
    seconds = {"backbone": 0.0, "cascade": 0.0}
    for number in range(-warmup, batches):
        cascade.schedule = exits[number % batches]
        for kind in ("backbone", "cascade") if number % 2 else ("cascade", "backbone"):
            start = time.perf_counter()
            if kind == "backbone":
                plain.run(None, {"values": images})
            else:
                cascade.predict(images)
            if number >= 0:
                seconds[kind] += time.perf_counter() - start
    milliseconds = {kind: 1e3 * total / (batch_size * batches) for kind, total in seconds.items()}
    mean_macs = float(np.array(costs.cumulative, dtype=np.float64)[exits].mean())
    return ExportedTiming(milliseconds["backbone"], milliseconds["cascade"], costs.baseline / mean_macs)
