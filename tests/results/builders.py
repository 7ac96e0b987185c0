"""Small valid records for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from results.provenance import Code, Machine, Provenance, StageProvenance
from results.record import (
    BackboneInfo,
    CostTable,
    DataCard,
    DoneRecord,
    ExitMetrics,
    FailedRecord,
    MethodInfo,
    SplitAccuracy,
)
from results.spec import Configured, Recipes, RunSpec, TrainSpec
from results.store.latency import Audit, BatchTiming, Latency, Quantiles, RepeatedImage


def machine(**changes: Any) -> Machine:
    fields = {
        "python": "3.11", "packages": {"torch": "2.0"}, "platform": "Linux", "cpu": "EPYC", "cpu_capability": "AVX2",
        "gpu": None, "gpu_memory_bytes": None, "device": "cpu", "memory_bytes": 2**34, "threads": 1, "ranks": 1,
        "deterministic": True, "precision": "float32",
    }  # fmt: skip
    return Machine(**fields | changes)


def _origin() -> dict[str, Any]:
    return {
        "code": Code(commit=None, dirty=None), "machine": machine(), "finished": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "seconds": 1.0, "peak_memory_bytes": 2**30, "gpu_peak_memory_bytes": None,
    }  # fmt: skip


def provenance(**changes: Any) -> Provenance:
    return Provenance(**_origin() | changes)


def stage_provenance(**changes: Any) -> StageProvenance:
    return StageProvenance(**_origin() | changes)


def run_spec(method: str = "lgvit", exits: tuple[int, ...] = (1, 2), **changes: Any) -> RunSpec:
    train = {
        "dataset": Configured(name="d"), "backbone": "b", "method": Configured(name=method), "exits": exits,
        "recipes": Recipes(), "seed": 0,
    }  # fmt: skip
    learning_rates = changes.pop("learning_rates", ())
    return RunSpec(train=TrainSpec(**train | changes), scheme="paper", policies=(), learning_rates=learning_rates)


def done_record(run_id: str = "r", **changes: Any) -> DoneRecord:
    spec = changes.get("spec", run_spec())
    exits = len(spec.train.exits) + 1
    fields = {
        "run_id": run_id, "spec": spec, "provenance": provenance(),
        "method": MethodInfo(name=spec.train.method.name, options={}, display_name=spec.train.method.name),
        "backbone": BackboneInfo(name=spec.train.backbone, family="vit"), "stages": (),
        "data": DataCard(
            name="d", fingerprint="f", classes=10, sizes={"train": 1, "val": 1, "test": 1}, split_identity={}, content={},
            split_rule="", transforms={}, citation="", licence="", redistributable=True,
        ),
        "costs": CostTable(
            stem=1, blocks=(1,) * 12, heads=(1,) * exits, cumulative=(1,) * exits, depth=12, baseline=12, norms=0,
            linear_conv_cumulative=(1,) * exits, linear_conv_baseline=12, parameters=1, heads_parameters=1, uncounted=(),
        ),
        "exits": tuple(ExitMetrics(block=k + 1, head="h", val_accuracy=0.5, test_accuracy=0.5) for k in range(exits)),
        "static_accuracy": SplitAccuracy(val=0.5, test=0.5), "points": (),
    }  # fmt: skip
    return DoneRecord(**fields | changes)


def failed_record(run_id: str = "r", **changes: Any) -> FailedRecord:
    fields = {
        "run_id": run_id, "spec": run_spec(), "provenance": provenance(), "cause": "out of memory", "failure": "oom",
    }  # fmt: skip
    return FailedRecord(**fields | changes)


def latency(milliseconds: float, **changes: Any) -> Latency:
    """A measurement with batches of one image, all of which take the same time."""
    times = Quantiles(p50=milliseconds, p95=milliseconds, p99=milliseconds, mean=milliseconds)
    fields = {
        "run_id": "run", "point": "confidence/fixed", "threshold": 0.5, "execution": "executed",
        "attention": ("flash_attention_for_cpu",), "precision": "fp32", "machine": machine(), "warmup": 1, "moved": 0,
        "checked": 1, "logit_error": 0.0, "audit": Audit(seed=0, answers=1, rounding=0),
        "timings": (BatchTiming(batch_size=1, images=1, backbone=times, dynamic=times, mac_speedup=1.0),),
        "repeated": RepeatedImage(sample_id=0, exit=1, batch_size=1, dynamic=times),
    }  # fmt: skip
    return Latency(**fields | changes)
