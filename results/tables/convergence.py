"""Whether heads and backbones have converged: each head beside a linear probe with its inputs and loss, each backbone beside
itself before the last quarter of its training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from results.record import ExitMetrics
from results.stats.significance import holm, one_sided
from results.store.probes import BOTH, CLASS_TOKEN, PATCH_MEAN, BlockProbe, distillation_of, unpacked
from results.tables.pairing import image_identity
from results.tables.run import Run

HEAD_LIMIT = 0.005
"""A head has not converged if its test accuracy is shown to be below that of the probe, and by more than this, in the mean over
the training seeds."""
ALPHA = 0.05
"""Level of the exact one-sided test that the probe is more accurate, after Holm's correction over the exits of a method."""
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
WEIGHTED = ("pabee", "pcee")
"""Methods that weight the cross-entropies of their exits by depth, beside those with the option ``exit_weights``."""
COLUMNS = [
    "run_id", "method", "backbone", "seed", "part", "block", "inputs", "split", "accuracy", "reference", "gap", "mean_gap",
    "limit", "p", "converged",
]  # fmt: skip


@dataclass(frozen=True)
class Head:
    """A head beside the probe of its inputs, on the test images.

    Attributes:
        run: that the head belongs to.
        exit: of the head.
        inputs: of the probe.
        reference: accuracy of the probe.
        lag: for each image 1 if only the probe classifies it correctly, -1 if only the head does, else 0.
    """

    run: Run
    exit: ExitMetrics
    inputs: str
    reference: float
    lag: np.ndarray

    @property
    def gap(self) -> float:
        return self.reference - self.exit.test_accuracy


def convergence_table(runs: list[Run]) -> pd.DataFrame | None:
    """One row per early exit (part ``head``) and per trained backbone (part ``backbone``); None without probes.

    split: test for heads, since val chose the probe; val for backbones. accuracy: of the head, or of the final classifier.
    reference: of the probe, or of the final classifier before the last quarter of the epochs. gap: reference minus accuracy of
    a head; the gain of a backbone. mean_gap: the mean over the training seeds of the method, which decides whether its heads
    after this block have converged; of a backbone, its own. p: that chance alone makes the probes so much more accurate than
    the heads, by the sign-flip test on the means over the seeds of each image, after Holm's correction over the exits; empty
    for backbones.
    """
    rows = [row for heads in _by_method(runs) for row in _rows(heads)] + list(_backbones(runs))
    return pd.DataFrame(rows, columns=COLUMNS) if rows else None


def not_converged(runs: Iterable[Run]) -> dict[str, float]:
    """Label of each method with heads that have not converged, with its largest mean gap."""
    gaps: dict[str, float] = {}
    for heads in _by_method(runs):
        for row in _rows(heads):
            if not row["converged"]:
                gaps[row["method"]] = max(gaps.get(row["method"], 0.0), row["mean_gap"])
    return gaps


def backbone_is_late(runs: list[Run]) -> bool:
    """Whether a backbone of these runs has not converged; False if that is not known."""
    return any(not row["converged"] for row in _backbones(runs))


def probe_of(run: Run, exit_: ExitMetrics) -> BlockProbe | None:
    """The probe of the inputs of an exit's head, with the loss of the head.

    Of a head whose inputs are unknown, such as one of an installed package or one that contains another method's head, the
    probe with the lowest val accuracy. A backbone without class tokens has only the mean of the patch tokens. None where no
    probe has the loss of the head: smoothed labels, a teacher without the backbone's final norm, or weights of the exits.
    """
    reads = None if run.record.method.options.get("base") else READS.get(exit_.head)
    if reads and exit_.head in MEAN_OF_CLASS_TOKENS and run.record.backbone.family == "deit":
        return None
    has_no_probe = run.heads_recipe.label_smoothing or _weights_exits(run)
    if run.record.method.options.get("teacher_norm", "final") != "final" or has_no_probe:
        return None
    found = []
    for probes in run.head_probes:
        at_block = [probe for probe in probes.probes if probe.block == exit_.block]
        if at_block:
            inputs = reads if len(at_block) > 1 else PATCH_MEAN
            found.append(
                probes.at(exit_.block, inputs) if inputs else min(at_block, key=lambda probe: probe.val_accuracy)
            )
    # Where a block was probed more than once, with other strengths, val chooses.
    return max(filter(None, found), key=lambda probe: probe.val_accuracy, default=None)


def are_compared(run: Run) -> bool:
    """Whether all early exits of a run have a probe that they are compared with."""
    return not run.record.costs.reduced_tokens and all(probe_of(run, exit_) for exit_ in run.record.exits[:-1])


def _weights_exits(run: Run) -> bool:
    """Whether the share of the distillation in the loss differs between the exits: only their cross-entropies are weighted.

    Without distillation a weight changes the length of the steps of a head, and not what it learns.
    """
    method = run.record.method
    is_weighted = method.options.get("exit_weights", "uniform") != "uniform" or method.name in WEIGHTED
    return is_weighted and distillation_of(run.record) is not None


def _by_method(runs: Iterable[Run]) -> list[list[Head]]:
    """The heads whose blocks are probed, of each method in each setting."""
    methods: dict[object, list[Head]] = {}
    for run in runs:
        methods.setdefault((run.setting, image_identity(run), run.method), []).extend(_heads(run))
    return list(methods.values())


def _heads(run: Run) -> Iterator[Head]:
    """The early exits whose blocks are probed on the test images of the run."""
    if run.record.costs.reduced_tokens:  # probes read the tokens of the whole backbone
        return
    for number, exit_ in enumerate(run.record.exits[:-1]):
        probe = probe_of(run, exit_)
        head = run.answers.correct[number] if probe else np.empty(0, dtype=bool)
        by_probe = unpacked(probe.test_correct, len(head)) if probe else None
        if probe is not None and by_probe is not None:
            yield Head(
                run, exit_, probe.inputs, float(by_probe.mean()), by_probe.astype(np.int8) - head.astype(np.int8)
            )


def _rows(heads: list[Head]) -> list[dict[str, Any]]:
    """One row per head of a method in a setting. Its seeds decide together, so that more seeds make no verdict less certain; of
    two runs with one seed, such as one training under two policies, the first counts."""
    by_seed: dict[int, dict[int, Head]] = {}
    for head in heads:
        by_seed.setdefault(head.exit.block, {}).setdefault(head.run.seed, head)
    by_block = {block: list(of_seeds.values()) for block, of_seeds in by_seed.items()}
    p = holm(np.array([one_sided(np.mean([head.lag for head in own], axis=0)) for own in by_block.values()]))
    of_block = {
        block: (sum(head.gap for head in own) / len(own), adjusted)
        for (block, own), adjusted in zip(by_block.items(), p.tolist(), strict=True)
    }
    return [
        _row(
            head.run,
            "head",
            head.exit.block,
            inputs=head.inputs,
            split="test",
            accuracy=head.exit.test_accuracy,
            reference=head.reference,
            gap=head.gap,
            mean_gap=of_block[head.exit.block][0],
            limit=HEAD_LIMIT,
            p=of_block[head.exit.block][1],
        )
        for head in heads
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
                yield _row(
                    run,
                    "backbone",
                    depth,
                    inputs="",
                    split="val",
                    accuracy=last.after,
                    reference=last.before,
                    gap=last.gain,
                    mean_gap=last.gain,
                    limit=BACKBONE_LIMIT,
                    p=np.nan,
                )


def _row(run: Run, part: str, block: int, *, mean_gap: float, limit: float, p: float, **others: Any) -> dict[str, Any]:
    """A row with the `COLUMNS`; converged: the mean gap is within the limit, or may be chance."""
    whose = {"run_id": run.record.run_id, "method": run.method, "backbone": run.backbone, "seed": run.seed}
    converged = not (mean_gap > limit + 1e-9 and (np.isnan(p) or p < ALPHA))
    return (
        whose
        | {"part": part, "block": block, "mean_gap": mean_gap, "limit": limit, "p": p, "converged": converged}
        | others
    )
