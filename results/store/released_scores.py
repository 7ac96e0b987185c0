"""Stored scores in a small form for others: log-probabilities in half precision, one safetensors file per split.

``scores/<stage>/<split>.safetensors`` of a results folder holds, for K exits (the final one last), N samples and C classes:

- ``log_probabilities``: float16 [K, N, C]; with more than `TOP` classes [K, N, TOP], in descending order.
- ``classes``: uint16 [K, N, TOP], the classes of these; missing with at most `TOP` classes.
- ``log_sum_exp``: float32 [K, N], over all classes. A logit is its log-probability plus this.
- ``labels``: int64 [N]; ``sample_id``: int64 [N].
- ``errors``: float32 [K - 1, N], error probabilities of the early exits' learned gates; missing without gates.

The metadata hold ``format`` (`FORMAT`) and ``classes``, the number C.

A rounded log-probability l differs by at most 2^-11 |l|, since half precision has 11 significant bits. The largest softmax
probability p of an exit therefore differs by at most p ln(C) / 1024, and a policy with a threshold on it decides as on the
original scores unless p is that close to the threshold.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from results.store.files import StoreError

FORMAT = "lgvit-bench-scores-1"
FOLDER = "scores"
TOP = 50
MANY_CLASSES = 2**16
LOWEST = float(np.finfo(np.float16).min)
Arrays = dict[str, np.ndarray]


def write_released(scores: Arrays, path: Path) -> None:
    """Write scores in the released form.

    Args:
        scores: logits float32 [K, N, C], labels [N], sample_id [N], and errors [K - 1, N] if the exits have gates.
        path: file to write; its folder is created.

    Raises:
        ValueError: there are more than 65,536 classes.
    """
    logits = scores["logits"].astype(np.float64)
    classes = logits.shape[-1]
    if classes > MANY_CLASSES:
        raise ValueError(f"{classes:,} classes; the released form holds at most {MANY_CLASSES:,}")
    highest = logits.max(axis=-1)
    log_sum_exp = highest + np.log(np.exp(logits - highest[..., None]).sum(axis=-1))
    log_probabilities = logits - log_sum_exp[..., None]
    arrays: Arrays = {name: scores[name] for name in ("labels", "sample_id", "errors") if name in scores}
    if classes > TOP:
        order = np.argsort(-log_probabilities, axis=-1, kind="stable")[..., :TOP]
        log_probabilities = np.take_along_axis(log_probabilities, order, axis=-1)
        arrays["classes"] = order.astype(np.uint16)
    arrays["log_probabilities"] = np.maximum(log_probabilities, LOWEST).astype(np.float16)
    arrays["log_sum_exp"] = log_sum_exp.astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(contiguous, path, metadata={"format": FORMAT, "classes": str(classes)})


def read_released(path: Path) -> Arrays:
    """Read a released file: logits float32 [K, N, C], labels [N], sample_id [N], and errors [K - 1, N] if the exits have gates.

    With more than `TOP` classes, the probability of the others is shared equally among them, and none exceeds the smallest of
    the top. Confidence, margin and class are not affected by this; entropy is.

    Raises:
        StoreError: the file is missing or not in this form.
    """
    try:
        with safe_open(path, framework="numpy") as opened:
            metadata = opened.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise StoreError(f"{path}: not scores in the form {FORMAT}")
        arrays = load_file(path)
        log_probabilities = arrays["log_probabilities"].astype(np.float32)
        if "classes" in arrays:
            log_probabilities = _all_classes(log_probabilities, arrays["classes"], int(metadata["classes"]))
        logits = log_probabilities + arrays["log_sum_exp"][..., None]
        return {"logits": logits} | {name: arrays[name] for name in ("labels", "sample_id", "errors") if name in arrays}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read as scores ({error})") from error


def _all_classes(top: np.ndarray, indices: np.ndarray, classes: int) -> np.ndarray:
    """Log-probabilities of all classes from those of the top: [K, N, TOP] to [K, N, classes]."""
    rest = np.maximum(1 - np.exp(top.astype(np.float64)).sum(axis=-1), 1e-30)
    fill = np.minimum(np.log(rest / (classes - top.shape[-1])), top[..., -1]).astype(np.float32)
    filled = np.repeat(fill[..., None], classes, axis=-1)
    np.put_along_axis(filled, indices.astype(np.int64), top, axis=-1)
    return filled
