"""Whether heads and backbones have converged: each head beside a linear probe with its inputs and loss, each backbone beside
itself before the last quarter of its training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from results.record import ExitMetrics
from results.stats.significance import holm, one_sided
from results.store.probes import BOTH, CLASS_TOKEN, PATCH_MEAN, BlockProbe, unpacked
from results.tables.run import Run

HEAD_LIMIT = 0.005
"""A head has not converged if its test accuracy is shown to be below that of the probe, and by more than this."""
ALPHA = 0.05
"""Level of the exact one-sided test that the probe is more accurate, after Holm's correction over the exits of a run."""
BACKBONE_LIMIT = 0.002
"""A backbone has not converged if its val accuracy rose by more than this in the last quarter of its epochs."""
READS = {
    "linear": CLASS_TOKEN, "mlp": CLASS_TOKEN, "ztw": CLASS_TOKEN, "jei": CLASS_TOKEN, "mixed-pool": PATCH_MEAN,
    "class-patch-mean": BOTH,
    "lph": BOTH, "gah": BOTH, "vit-ee": BOTH, "convolution": BOTH, "self-attention": BOTH,
}  # fmt: skip
"""The probe inputs that a head of each kind reads, so that it should be at least as accurate as the probe."""
MEAN_OF_CLASS_TOKENS = ("jei", "ztw")
"""Heads that read the mean of two class tokens (DeiT), and so less than the probe, which reads both: they are not compared."""
COLUMNS = [
    "run_id", "method", "backbone", "seed", "part", "block", "inputs", "split", "accuracy", "reference", "gap", "limit", "p",
    "converged",
]  # fmt: skip


def convergence_table(runs: list[Run]) -> pd.DataFrame | None:
    """One row per early exit (part ``head``) and per trained backbone (part ``backbone``); None without probes.

    split: test for heads, since val chose the probe; val for backbones. accuracy: of the head, or of the final classifier.
    reference: of the probe, or of the final classifier before the last quarter of the epochs. gap:
    reference minus accuracy of a head; the gain of a backbone. p: that chance alone makes the probe so much more accurate than
    the head, after Holm's correction over the exits of the run; empty for backbones.
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


def backbone_is_late(runs: list[Run]) -> bool:
    """Whether a backbone of these runs has not converged; False if that is not known."""
    return any(not row["converged"] for row in _backbones(runs))


def probe_of(run: Run, exit_: ExitMetrics) -> BlockProbe | None:
    """The probe of the inputs of an exit's head, with the loss of the head.

    Of a head whose inputs are unknown, such as one of an installed package or one that contains another method's head, the
    probe with the lowest val accuracy. A backbone without class tokens has only the mean of the patch tokens.
    """
    reads = None if run.record.method.options.get("base") else READS.get(exit_.head)
    if reads and exit_.head in MEAN_OF_CLASS_TOKENS and run.record.backbone.family == "deit":
        return None
    for probes in run.head_probes:
        at_block = [probe for probe in probes.probes if probe.block == exit_.block]
        if not at_block:
            continue
        inputs = reads if len(at_block) > 1 else PATCH_MEAN
        return probes.at(exit_.block, inputs) if inputs else min(at_block, key=lambda probe: probe.val_accuracy)
    return None


def _heads(run: Run) -> list[dict[str, Any]]:
    """One row per early exit whose block is probed on the test images of the run."""
    if run.record.costs.reduced_tokens:  # probes read the tokens of the whole backbone
        return []
    exits, probes, accuracies, p = [], [], [], []
    for number, exit_ in enumerate(run.record.exits[:-1]):
        probe = probe_of(run, exit_)
        head = run.answers.correct[number] if probe else np.empty(0, dtype=bool)
        by_probe = unpacked(probe.test_correct, len(head)) if probe else None
        if probe is not None and by_probe is not None:
            exits.append(exit_)
            probes.append(probe)
            accuracies.append(float(by_probe.mean()))
            p.append(one_sided(int((by_probe & ~head).sum()), int((head & ~by_probe).sum())))
    return [
        _row(
            run,
            "head",
            exit_.block,
            probe.inputs,
            "test",
            exit_.test_accuracy,
            accuracy,
            HEAD_LIMIT,
            adjusted,
        )
        for exit_, probe, accuracy, adjusted in zip(exits, probes, accuracies, holm(np.array(p)).tolist(), strict=True)
    ]


def _backbones(runs: list[Run]) -> Iterator[dict[str, Any]]:
    """One row per trained backbone, with the first run on it."""
    shown: set[str] = set()
    for run in runs:
        for probes in run.probes:
            last = probes.last_quarter
            if last is not None and probes.backbone not in shown:
                shown.add(probes.backbone)
                depth = len(run.record.costs.blocks)
                yield _row(run, "backbone", depth, "", "val", last.after, last.before, BACKBONE_LIMIT)


def _row(
    run: Run,
    part: str,
    block: int,
    inputs: str,
    split: str,
    accuracy: float,
    reference: float,
    limit: float,
    p: float = np.nan,
) -> dict[str, Any]:
    gap = reference - accuracy if part == "head" else accuracy - reference
    above = gap > limit + 1e-9
    values = (
        run.record.run_id, run.method, run.backbone, run.seed, part, block, inputs, split, accuracy, reference, gap, limit, p,
        not (above and (np.isnan(p) or p < ALPHA)),
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))
