"""Measured times of finished runs: the artifact of the stage ``latency``."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError

from results.frozen import Frozen
from results.provenance import Machine
from results.record_parsing import refuse_control_characters
from results.store.files import read_file
from results.store.folder import Store, StoreError
from results.text import printable

FILE = "latency.json"
FILE_BYTES = 2**22

Milliseconds = Annotated[float, Field(gt=0)]


class Quantiles(Frozen):
    """Wall time of one batch, in milliseconds."""

    p50: Milliseconds
    p95: Milliseconds
    p99: Milliseconds
    mean: Milliseconds

    @classmethod
    def of(cls, seconds: list[float]) -> Quantiles:
        milliseconds = 1e3 * np.asarray(seconds)
        p50, p95, p99 = (float(value) for value in np.quantile(milliseconds, [0.5, 0.95, 0.99]))
        return cls(p50=p50, p95=p95, p99=p99, mean=float(milliseconds.mean()))


class BatchTiming(Frozen):
    """Times of the backbone without exits and of dynamic inference on the same images, interleaved in one process."""

    batch_size: PositiveInt
    images: PositiveInt
    """Number of images timed with each of the two, after the warm-up."""
    backbone: Quantiles
    dynamic: Quantiles
    mac_speedup: Annotated[float, Field(gt=0)]
    """MAC speed-up on these images, including every evaluated head."""

    @property
    def speedup(self) -> float:
        """Measured speed-up: mean time of the backbone without exits divided by that of dynamic inference."""
        return self.backbone.mean / self.dynamic.mean

    @property
    def realised(self) -> float:
        """Measured speed-up divided by MAC speed-up."""
        return self.speedup / self.mac_speedup

    def throughput(self, which: Quantiles) -> float:
        """Images per second."""
        return 1e3 * self.batch_size / which.mean


class Audit(Frozen):
    """Answers drawn at random from timed runs, compared with the offline policy on the stored scores.

    A difference beyond rounding ends the measurement.
    """

    seed: int
    """Of the draw."""
    answers: NonNegativeInt
    """Number of answers compared: 1 % of all, at least 10; 0 without several exits, classes or maps to compare."""
    rounding: int
    """Number of them that differ from the offline decision, as logits within rounding of the stored ones would; of maps, those
    with a patch of another class."""


class RepeatedImage(Frozen):
    """Dynamic inference on one easy image, repeated. Its time depends on the image, so it is no throughput."""

    sample_id: int
    exit: PositiveInt
    """1-based; the earliest exit that any of the images takes."""
    batch_size: PositiveInt
    dynamic: Quantiles


class Latency(Frozen):
    """One measurement of one run at one operating point on one device."""

    run_id: str
    point: str
    threshold: float
    execution: Literal["executed", "simulated"]
    """Whether the times are those of executed inference, or computed from times of its parts."""
    attention: tuple[str, ...]
    """Attention kernels that ran, as torch names them; see `benchmark.measure.attention`."""
    precision: str
    machine: Machine
    warmup: int
    """Number of untimed batches of each kind before the measurement."""
    moved: int
    """Number of samples whose exit differs from that in the stored scores, because rounding moved them across the threshold."""
    checked: int
    """Number of samples compared with the stored scores."""
    logit_error: float
    """Largest difference from a stored logit, relative to the largest logit."""
    audit: Audit
    timings: tuple[BatchTiming, ...]
    repeated: RepeatedImage

    def at(self, batch_size: int) -> BatchTiming | None:
        return next((timing for timing in self.timings if timing.batch_size == batch_size), None)


def read_latencies(store: Store, damaged: list[str] | None = None) -> dict[str, list[Latency]]:
    """Every measurement in a results folder, by run id.

    Args:
        damaged: list to which a sentence is appended for each damaged measurement.

    Raises:
        StoreError: a measurement is damaged, and ``damaged`` is None.
    """
    latencies: dict[str, list[Latency]] = {}
    for name in store.stages("latency"):
        try:
            path = store.plain_file(store.artifact(name, FILE))
            latency = Latency.model_validate_json(read_file(path, FILE_BYTES))
            refuse_control_characters(latency.model_dump())
            latencies.setdefault(latency.run_id, []).append(latency)
        except (StoreError, OSError, ValueError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            sentence = f"{store.stage(name) / FILE}: {printable(str(reason))[:300]}"
            if damaged is None:
                raise StoreError(sentence) from None
            damaged.append(sentence)
    return latencies
