"""Mean intersection over union (mIoU) from counts of pixels, and its value per image for paired statistics.

Policy: the counts are summed over the images before classes are averaged. Pixels without a label are in no count. A class with
no labelled and no predicted pixel is left out of the mean; it is no error and no success. The mean over images of each image's
own mIoU is another quantity and is not used.
"""

from __future__ import annotations

import numpy as np


def iou_by_class(counts: np.ndarray) -> np.ndarray:
    """TP / (TP + FP + FN) of each class, [..., C]; NaN for a class without pixels.

    Args:
        counts: true positive, false positive and false negative pixels of each class, [..., C, 3].
    """
    union = _union(counts)
    return np.where(union > 0, counts[..., 0] / np.where(union > 0, union, 1), np.nan)


def mean_iou(counts: np.ndarray) -> np.ndarray:
    """Mean of `iou_by_class` over the classes with pixels, in [0, 1], [...]; NaN where no class has pixels.

    >>> float(mean_iou(np.array([[9, 2, 1], [1, 1, 0], [2, 0, 2]])).round(6))
    0.583333

    Args:
        counts: as for `iou_by_class`, summed over the images, [..., C, 3].
    """
    union = _union(counts)
    classes = (union > 0).sum(axis=-1)
    total = np.where(union > 0, counts[..., 0] / np.where(union > 0, union, 1), 0.0).sum(axis=-1)
    return np.where(classes > 0, total / np.maximum(classes, 1), np.nan)


def pseudo_values(counts: np.ndarray) -> np.ndarray:
    """One value per image whose mean is exactly the mIoU and whose spread gives its standard error, [..., N].

    v_n = mIoU + N / classes * sum over classes of (TP_nc - IoU_c * U_nc) / U_c, with the union U = TP + FP + FN and its sum U_c
    over images: the mIoU plus the influence of the image on it (infinitesimal jackknife; Efron, The Jackknife, the Bootstrap
    and Other Resampling Plans, 1982). Single values may lie outside [0, 1]. For accuracy the same construction gives the
    correctness, 0 or 1.

    Args:
        counts: as for `iou_by_class`, of each image, [..., N, C, 3].
    """
    images = counts.shape[-3]
    summed = counts.sum(axis=-3, keepdims=True, dtype=np.int64)
    union = _union(summed)
    present = union > 0
    classes = np.maximum(present.sum(axis=-1), 1)
    iou = np.where(present, summed[..., 0] / np.maximum(union, 1), 0.0)
    residual = (counts[..., 0] - iou * _union(counts)) / np.maximum(union, 1)
    return mean_iou(summed) + images / classes * residual.sum(axis=-1)


def _union(counts: np.ndarray) -> np.ndarray:
    """TP + FP + FN, in 64 bits; counts with weights are real numbers."""
    return counts.sum(axis=-1, dtype=np.result_type(counts, np.int64))
