"""The columns of the tables beside a record by task, in order; docs/results.md is generated from them.

Exits are numbered from 0 here and from 1 in records, reports and commands.
"""

from __future__ import annotations

EXIT = "exit, **numbered from 0**: 0 is the first early exit, K − 1 the final classifier"
SAMPLE = "id of the test sample, as in the split"

COLUMNS = {
    "outcomes": {
        "point": "name of the operating point as in the record, `POLICY/KIND-TARGET`; `static` is the backbone without exits",
        "threshold": "the policy's threshold; empty for `static`",
        "weight": "share of the threshold in the mixture; 1 where a point has one threshold",
        "sample_id": SAMPLE,
        "exit": f"{EXIT}; 0 for `static`",
        "prediction": "class of the answer, numbered from 0",
        "label": "true class, numbered from 0",
        "score": "largest probability of the answer; not in shared records",
    },
    "curves": {
        "policy": "label of the policy; `none` for a model without early exits",
        "split": "`val` or `test`",
        "threshold": "the policy's threshold",
        "accuracy": "share of correct answers; in a segmentation the mIoU, in a detection the AP",
        "low": "lower end of the 95 % interval of the accuracy (Wilson), mIoU or AP",
        "high": "upper end",
        "mean_macs": "mean multiply-accumulates per image, heads included",
        "mean_block": "mean number of the last block that is computed, numbered from 1",
    },
    "answers": {
        "exit": EXIT,
        "sample_id": SAMPLE,
        "label": "true class, numbered from 0",
        "prediction": "class with the largest logit, numbered from 0",
        "confidence": "largest probability; not in shared records",
        "nll": "negative log-likelihood of the true class in nats; not in shared and external records",
    },
    "corners": {
        "policy": "label of the policy",
        "threshold": "the policy's threshold: a corner of the upper hull on val, or the one with the highest cost",
        "sample_id": SAMPLE,
        "exit": EXIT,
        "right": "whether the answer is correct",
    },
}

PIXEL_EXIT = f"{EXIT}; −1 for the backbone without exits"
PIXEL_COLUMNS = {
    "outcomes": {
        **{name: COLUMNS["outcomes"][name] for name in ("point", "threshold", "weight", "sample_id")},
        "exit": f"{EXIT}; −1 for `static`",
        "score": "the first of the task's signals at the exit taken, whichever the policy reads; not in shared records",
    },
    "curves": COLUMNS["curves"],
    "answers": {
        "exit": PIXEL_EXIT,
        "sample_id": SAMPLE,
        "class": "numbered from 0; a class without pixels in the label and in the answer may have no row",
        "tp": "pixels with this class in the label and in the answer",
        "fp": "false positives: labelled pixels of another class that the answer gives this class",
        "fn": "false negatives: pixels of this class that the answer gives another one",
        "edge_tp": "like `tp`, of the pixels on boundaries of the class",
        "edge_fp": "like `fp`, of these pixels",
        "edge_fn": "like `fn`, of these pixels",
    },
    "corners": {name: text for name, text in COLUMNS["corners"].items() if name != "right"},
}
"""Of a segmentation."""

BOX = {
    "left": "left side, in pixels of the stored image from its left border",
    "top": "top side, in pixels from the upper border",
    "right": "right side",
    "bottom": "bottom side",
}
BOX_COLUMNS = {
    "outcomes": PIXEL_COLUMNS["outcomes"],
    "curves": COLUMNS["curves"],
    "answers": {
        "exit": PIXEL_EXIT,
        "sample_id": SAMPLE,
        "label": "class of the box, numbered from 0",
        "score": "of the box, by which boxes are ordered for AP; at most 100 boxes an exit and image",
        **BOX,
    },
    "corners": PIXEL_COLUMNS["corners"],
    "ground_truth": {
        "sample_id": SAMPLE,
        "label": "class of the labelled box, numbered from 0",
        "ignored": "whether a box may be found and need not (a crowd, or a difficult object)",
        **BOX,
    },
}
"""Of a detection: one row per box in `answers` and `ground_truth`."""
BY_TASK = {"classification": COLUMNS, "segmentation": PIXEL_COLUMNS, "detection": BOX_COLUMNS}
"""By the task of the run."""
