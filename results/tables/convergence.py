"""Whether heads and backbones have converged: each head beside a linear probe of its inputs, each backbone beside itself
before the last quarter of its training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from results.record import ExitMetrics
from results.store.probes import BOTH, CLASS_TOKEN, PATCH_MEAN, BlockProbe
from results.tables.run import Run

HEAD_LIMIT = 0.005
"""A head has not converged if its val accuracy is further than this below that of the probe."""
BACKBONE_LIMIT = 0.002
"""A backbone has not converged if its val accuracy rose by more than this in the last quarter of its epochs."""
READS = {
    "linear": CLASS_TOKEN, "mlp": CLASS_TOKEN, "ztw": CLASS_TOKEN, "jei": CLASS_TOKEN, "mixed-pool": PATCH_MEAN,
    "class-patch-mean": BOTH,
    "lph": BOTH, "gah": BOTH, "vit-ee": BOTH, "convolution": BOTH, "self-attention": BOTH,
}  # fmt: skip
"""The probe inputs that a head of each kind reads, so that it should be at least as accurate as the probe."""
COLUMNS = [
    "run_id", "method", "backbone", "seed", "part", "block", "inputs", "val_accuracy", "reference", "gap", "limit",
    "converged",
]  # fmt: skip


def convergence_table(runs: list[Run]) -> pd.DataFrame | None:
    """One row per early exit (part ``head``) and per trained backbone (part ``backbone``); None without probes.

    val_accuracy: of the head, or of the final classifier. reference: of the probe of the head's inputs, or of the final
    classifier before the last quarter of the epochs. gap: reference minus val_accuracy of a head; the gain of a backbone.
    """
    rows = [row for run in runs for row in _heads(run)] + list(_backbones(runs))
    return pd.DataFrame(rows, columns=COLUMNS) if rows else None


def not_converged(runs: Iterable[Run]) -> dict[str, float]:
    """Label of each method with a head that has not converged, with its largest gap."""
    gaps: dict[str, float] = {}
    for run in runs:
        for row in _heads(run):
            if not row["converged"]:
                gaps[run.method] = max(gaps.get(run.method, 0.0), row["gap"])
    return gaps


def probe_of(run: Run, exit_: ExitMetrics) -> BlockProbe | None:
    """The probe of the inputs of an exit's head.

    Of a head whose inputs are unknown, such as one of an installed package, the probe with the lowest val accuracy. A backbone
    without class tokens has only the mean of the patch tokens.
    """
    for probes in run.probes:
        at_block = [probe for probe in probes.probes if probe.block == exit_.block]
        if not at_block:
            continue
        inputs = READS.get(exit_.head) if len(at_block) > 1 else PATCH_MEAN
        return probes.at(exit_.block, inputs) if inputs else min(at_block, key=lambda probe: probe.val_accuracy)
    return None


def _heads(run: Run) -> Iterator[dict[str, Any]]:
    if run.record.costs.reduced_tokens:  # probes read the tokens of the whole backbone
        return
    for exit_ in run.record.exits[:-1]:
        probe = probe_of(run, exit_)
        if probe is not None:
            gap = probe.val_accuracy - exit_.val_accuracy
            yield _row(run, "head", exit_.block, probe.inputs, exit_.val_accuracy, probe.val_accuracy, gap, HEAD_LIMIT)


def _backbones(runs: list[Run]) -> Iterator[dict[str, Any]]:
    """One row per trained backbone, with the first run on it."""
    shown: set[str] = set()
    for run in runs:
        for probes in run.probes:
            last = probes.last_quarter
            if last is not None and probes.backbone not in shown:
                shown.add(probes.backbone)
                depth = len(run.record.costs.blocks)
                yield _row(run, "backbone", depth, "", last.after, last.before, last.gain, BACKBONE_LIMIT)


def _row(
    run: Run, part: str, block: int, inputs: str, accuracy: float, reference: float, gap: float, limit: float
) -> dict[str, Any]:
    values = (
        run.record.run_id, run.method, run.backbone, run.seed, part, block, inputs, accuracy, reference, gap, limit,
        bool(gap <= limit + 1e-9),
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))
