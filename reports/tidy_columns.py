"""The meaning of every column of the tidy tables; docs/results.md is generated from it.

A key that ends in ``*`` stands for all columns that begin so.
"""

from __future__ import annotations

from reports.tidy_tables import CONTRASTS, FAILURES

COMMON = {
    "run_id": "the run",
    "backbone": "with `dataset`, `scheme` and `recipes` the setting: runs are compared only within one",
    "dataset": "name, with its options",
    "scheme": "the grid's name for the exit positions",
    "recipes": "hash of the recipes and initial weights",
    "method": "the method, with its options",
    "label": "name of the row in tables: the method, and its policy where it has several",
    "seed": "training seed",
    "point": "operating point, `POLICY/KIND-TARGET`; `static` is the backbone without exits",
    "policy": "label of the policy",
    "kind": "of the operating point: `accuracy-drop`, `equal-macs` or `fixed`",
    "target": "the permitted drop, or the budget as a share of the MACs of the backbone without exits",
    "block": "number of the block after which the exit is, from 1",
    "head": "name of the head",
    "first": "label of one side",
    "second": "label of the other side",
    "low": "lower end of the 95 % interval; over test samples, unless the table says otherwise",
    "high": "upper end",
    "p": "p-value, not corrected",
    "split": "`train`, `val` or `test`",
    "mean_block": "mean number of the block at which samples leave",
    "macs": "mean cost on test, as a share of the MACs of the backbone without exits",
    "ece": "expected calibration error",
    "metric": "what the accuracies are; only in reports with other tasks than classification",
}
"""Columns that mean the same in every table that has them."""

BOXES = {
    "ap50": "AP at an IoU of 0.5",
    "ap_small": "AP of objects up to 32² pixels",
    "ap_medium": "AP of objects up to 96² pixels",
    "ap_large": "AP of larger objects",
    "ar100": "average recall with 100 boxes",
}
COLUMNS: dict[str, dict[str, str]] = {
    "points": {
        "reached": "whether the target could be met on val; the measured columns are empty if not",
        "accuracy": "on test",
        "drop": "`static` of the same seed minus this, paired; negative where this is more accurate",
        "drop_low": "lower end of its interval",
        "drop_high": "upper end",
        "layer_speedup": "blocks over mean block",
        "mac_speedup": "MACs of the backbone without exits over mean MACs",
        "layer_low": "lower end of the interval of `layer_speedup`",
        "layer_high": "upper end",
        "mac_low": "lower end of the interval of `mac_speedup`",
        "mac_high": "upper end",
        "drop_redrawn_*": "interval of the drop, with the threshold chosen anew on each resample of val",
        "layer_redrawn_*": "the same for `layer_speedup`",
        "mac_redrawn_*": "the same for `mac_speedup`",
        "time_speedup": "measured at batch 1; empty where it was not measured",
        "time_device": "where it was measured",
        "official_swin_speedup": "Swin only: layers as the authors' code counts them (discrepancy D3)",
    },
    "comparisons": {
        "difference": "accuracy of the first minus that of the second, paired by test sample",
        "detectable": "the smallest difference that so many samples show with a probability of 80 %",
        "p": "sign-flip test over test samples, not corrected for the number of pairs; only at equal MACs",
    },
    "curves": {
        "threshold": "the policy's threshold",
        "accuracy": "on the split",
        "mean_macs": "mean multiply-accumulates per image, heads included",
    },
    "areas": {
        "area": "mean accuracy over budgets from 0.4 to 1, on the hull chosen on val",
        "accuracy_at_*": "accuracy on the hull at 25, 40, ... percent of the MACs; empty below the cheapest threshold",
        "drop_*": "per permitted drop: `claimed_speedup` and `claimed_drop` of the cheapest threshold that keeps it on *test*, "
        "`honest_speedup` and `honest_drop` of the one that keeps it on val; speed-ups in MACs",
    },
    "budget-drift": {
        "accuracy": "on test, of the thresholds that cost the budget on val",
        "drift": "cost on test over the budget",
    },
    "iso-accuracy": {
        "drop": "against the backbone without exits, the same for both sides",
        "speedup": "MACs of the second over MACs of the first",
        "unreached": "share of bootstrap replicates in which one side does not reach the accuracy",
    },
    "routing": {
        "accuracy": "of the policy, on test",
        "random": "accuracy if as many samples left at each exit, chosen at random",
        "oracle": "accuracy if they were chosen perfectly",
        "regret": "`oracle` minus `accuracy`",
        "gain": "share of the way from `random` to `oracle`",
        "agreement": "share of samples with the answer of the final classifier",
        "val_accuracy": "accuracy on val",
        "val_macs": "cost on val",
    },
    "heads": {
        "oracle_accuracy": "share of samples that some exit answers correctly",
        "oracle_macs": "mean cost if each sample leaves at the first exit that is right, or at the first one if none is",
        "wasteful": "share of samples that an early exit and the final classifier answer correctly",
        "destructive": "share of samples that an early exit answers correctly and the final classifier does not",
        "wasted_macs": "mean cost after the first right exit, 0 for samples that the final classifier answers wrongly",
        "flips": "mean number of times that the answer changes from one exit to the next",
    },
    "exits": {
        "macs": "of leaving there, as a share of the MACs of the backbone without exits",
        "accuracy": "of the exit, on all test samples",
        "nll": "negative log-likelihood in nats",
        "boundary_iou": "segmentation: mIoU on boundaries",
        "pixel_accuracy": "segmentation: share of the labelled pixels",
        "classes": "segmentation: over which the mIoU is averaged",
        **{column: f"detection: {text}" for column, text in BOXES.items()},
    },
    "leaving": {
        "share": "of the test samples that leave here",
        "accuracy": "of the exit on these samples",
        "final_accuracy": "of the final classifier on these samples",
        "all_accuracy": "of the exit on all samples",
        "ece": "on these samples; empty where a point mixes two thresholds",
    },
    "boxes": {
        "accuracy": "AP",
        **BOXES,
    },
    "classes": {
        "class": "number of the class, from 0",
        "name": "of the class",
        "samples": "test samples of the class",
        "cost": "their mean cost, as a share of the MACs of the backbone without exits",
        "accuracy": "recall of the class; in a segmentation its IoU, in a detection its AP",
        "static_accuracy": "the same of the backbone without exits",
        "drop": "`static_accuracy` minus `accuracy`",
    },
    "backbones": {
        "train": "number of images", "val": "number of images", "test": "number of images", "classes": "number of classes",
        "majority": "the most frequent class",
        "majority_share": "accuracy of always answering it",
        "accuracy": "on test",
        "balanced_accuracy": "mean recall over the classes",
        "lowest_recall": "of the class `lowest_class`",
        "lowest_class": "the class that is recognised worst",
        "never_predicted": "classes that are no answer",
    },
    "convergence": {
        "part": "`head` or `backbone`",
        "inputs": "of the probe",
        "accuracy": "of the head, or of the final classifier",
        "reference": "of the probe, or of the final classifier before the last quarter of the epochs",
        "gap": "of a head `reference` minus `accuracy`; of a backbone its gain in the last quarter",
        "mean_gap": "mean over the seeds of the method: what decides",
        "limit": "above which a gap counts",
        "p": "that chance alone makes the probes so much more accurate: over test images, corrected (Holm)",
        "converged": "whether `mean_gap` is within the limit, or may be chance",
    },
    "representations": {
        "measure": "what was measured ([mechanisms](mechanisms.md))",
        "part": "inputs, head or exit that it belongs to",
        "value": "of the measure",
        "note": "why a value is undefined",
    },
    "disagreement": {
        "disagreement": "share of samples for which the exit's answer differs from the final classifier's",
        "final_right": "the same among samples that the final classifier answers correctly",
        "final_wrong": "the same among the others",
        "corrected": "share of the others that the exit answers correctly",
    },
    "mechanisms": {
        "train_images": "number of train images",
        "rule": "letter of the [rule](statistics.md#rules-on-mechanisms)",
        "statement": "what it judges",
        "verdict": "`supported`, `not supported` or `open`",
        "effect": "name of a number that decides",
        "mean": "of the effect over the seeds",
        "low": "lower end of its interval over seeds",
        "high": "upper end",
        "seeds": "number of training seeds",
        "margin": "that an effect must exceed",
        "reason": "why an answer is open",
    },
    "static-models": {
        "model": "name", "top1": "accuracy (%) as published", "gmacs": "MACs in billions", "cpu_ms": "time, if published",
        "gpu_images_per_second": "if published", "smaller": "a smaller model of the table", "status": "how sure the number is",
        "conditions": "of the measurement", "source": "of the numbers",
    },
    "learning-rates": {
        "learning_rate": "that was tried", "val_accuracy": "by which the rate is chosen", "chosen": "whether it was",
    },
    CONTRASTS: {
        "difference": "accuracy of the first minus that of the second, mean over the seeds",
        "interval": "what its interval is over: `seeds` or test samples",
        "seeds": "number of training seeds",
        "p_holm": "corrected over the `tests` comparisons of its `family`: what decides",
        "tests": "number of comparisons in the family",
        "family": "`primary`, `other methods` or `variants`",
        "primary": "whether the grid declared the comparison as its primary endpoint",
        "result": "`ahead`, `behind` or `not shown to differ`",
    },
    FAILURES: {
        "signature": "name of the rule",
        "run_id": "the run; several are joined by spaces",
        "place": "exit, class or operating point",
        "value": "measured",
        "limit": "that it exceeds",
        "sentence": "in words",
    },
}  # fmt: skip
"""Name of a table to its other columns."""


def meaning(table: str, column: str) -> str | None:
    """What a column of a table means; None if nobody has said."""
    for known in (COLUMNS[table], COMMON):
        for key, text in known.items():
            if column == key or (key.endswith("*") and column.startswith(key[:-1])):
                return text
    return None
