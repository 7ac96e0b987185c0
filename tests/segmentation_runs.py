"""Finished segmentation runs without training: invented counts of pixels, consistent with each other, at every exit.

Later exits and some methods find more pixels; boundaries are harder; one class is rare, and one of the list never occurs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from results.metric import MIOU
from results.operating_point import BUDGETS, Measured, OperatingPoint, WeightedThreshold
from results.record import CostTable, ExitMetrics, SplitAccuracy
from results.stats.curves import cheapest_within_drop, enclosing_settings, measure
from results.stats.hull import upper_hull
from results.stats.iou import mean_iou, pseudo_values
from results.store.folder import Store
from results.tables.run import NO_POLICY, STATIC
from tests.invented_runs import DEPTH, METHODS, InventedModel, data_card, write_runs

CLASSES = ("background", "shirt", "trouser", "dress", "bag", "boot", "hat")
"""No image contains a hat."""
IMAGES = {"val": 150, "test": 200}
PIXELS = 64 * 64
POLICY = "confidence"


@dataclass(frozen=True)
class Invented:
    """A split: counts of K exits and, last, of the backbone without exits, [K + 1, N, C, 6], and a confidence, [K, N]."""

    counts: np.ndarray
    confidence: np.ndarray


def write_segmentation(root: Path, seeds: tuple[int, ...] = (0, 1), methods: tuple[str, ...] = tuple(METHODS)) -> Store:
    """The runs of ``static``, ``truncated`` to 6 blocks and some methods, with each seed."""
    return write_runs(root, seeds, methods, _write)


def _write(store: Store, model: InventedModel) -> None:
    costs, blocks = model.costs, model.blocks
    splits = {split: _invented(split, model) for split in IMAGES}
    miou = {split: mean_iou(s.counts[..., :3].sum(axis=1)) for split, s in splits.items()}
    evaluated = [_evaluate(splits, miou["val"][-1], costs, blocks)] if model.exits else []
    if model.method == "truncated":
        evaluated = [_without_exits(splits, costs, blocks)]
    exits = tuple(
        ExitMetrics(block=block, head=head, val_accuracy=miou["val"][k], test_accuracy=miou["test"][k])
        for k, (block, head) in enumerate(zip(blocks, [*model.heads, "final classifier"], strict=True))
    )
    record = model.record(
        "scenes",
        data_card("fashion-scenes", "segmentation", CLASSES, IMAGES),
        policy=POLICY,
        points=tuple(point for e in evaluated for point in e.points),
        exits=exits,
        static_accuracy=SplitAccuracy(**{split: values[-1] for split, values in miou.items()}),
    )
    test, ids = splits["test"], np.arange(IMAGES["test"]) + 1000
    tables = {
        "answers": _answers(test.counts, ids),
        "outcomes": pd.concat([_rows(STATIC, np.nan, 1.0, ids, np.full(len(ids), -1)), *(e.outcomes(ids) for e in evaluated)]),
        "curves": pd.concat([_curve([]), *(e.curves for e in evaluated)]),
        "corners": pd.concat([_corner("", 0.0, ids[:0], ids[:0]), *(e.corners(ids) for e in evaluated if model.exits)]),
    }  # fmt: skip
    with store.write_run(record) as folder:
        (folder / "thresholds.json").write_text("{}\n", encoding="utf-8")
        for table_name, table in tables.items():
            table.to_parquet(folder / f"{table_name}.parquet", index=False)


def _invented(split: str, model: InventedModel) -> Invented:
    """Easy and hard images. Methods differ in their early exits; every method has the same images and backbone of its seed."""
    images, classes, advantage = IMAGES[split], len(CLASSES), model.advantage
    scenes = np.random.default_rng(len(split))  # the same images for every seed
    chosen = np.zeros((images, classes))
    chosen[:, 0] = scenes.uniform(1, 3, images)
    for index, share in ((1, 0.6), (2, 0.5), (3, 0.4), (4, 0.5), (5, 0.12)):
        chosen[:, index] = scenes.uniform(0.3, 1.5, images) * (scenes.random(images) < share)
    label = np.floor(PIXELS * 0.98 * chosen / chosen.sum(axis=1, keepdims=True)).astype(np.int64)
    hard = scenes.beta(2, 4, images)
    counts = []
    for block in (*model.blocks, DEPTH):
        rng = np.random.default_rng([len(split), model.seed, block, round(1000 * advantage) * (block < DEPTH)])
        missed = hard * (1.3 - advantage * 4 * (block < DEPTH) - 0.9 * block / DEPTH) + rng.normal(0, 0.01, images)
        counts.append(_counts(rng, label, np.clip(0.97 - missed, 0.05, 0.99)))
    found = np.stack(counts)[:-1, :, :, 0].sum(axis=-1) / label.sum(axis=-1)
    confidence = np.clip(found + rng.normal(0, 0.03, found.shape), 0, 1)
    return Invented(np.stack(counts).astype(np.int32), confidence)


def _counts(rng: np.random.Generator, label: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Counts of images with these labelled pixels, [N, C], of which a share is found, [N]; the others get another class."""
    tp = rng.binomial(label, recall[:, None])
    fn = label - tp
    others = np.zeros_like(fn)
    others[:, :-1] = np.roll(fn[:, :-1], 1, axis=1)  # a pixel that one class misses is wrongly given to the next
    edge_label = np.ceil(2.5 * np.sqrt(label)).astype(np.int64)
    edge_tp = np.minimum(rng.binomial(edge_label, recall[:, None] ** 2), tp)
    edge_fp = np.ceil(1.5 * np.sqrt(others)).astype(np.int64)
    return np.stack([tp, others, fn, edge_tp, edge_fp, edge_label - edge_tp], axis=-1)


@dataclass(frozen=True)
class _Evaluated:
    """A policy: its points, curves, and the exit of every test image at each setting, [T, N]."""

    policy: str
    settings: np.ndarray
    taken: np.ndarray
    chosen_corners: np.ndarray
    points: tuple[OperatingPoint, ...]
    curves: pd.DataFrame

    def outcomes(self, ids: np.ndarray) -> pd.DataFrame:
        return pd.concat(
            _rows(point.name, s.threshold, s.weight, ids, self.taken[np.flatnonzero(self.settings == s.threshold)[0]])
            for point in self.points
            for s in point.settings
        )

    def corners(self, ids: np.ndarray) -> pd.DataFrame:
        return pd.concat(_corner(self.policy, self.settings[t], ids, self.taken[t]) for t in self.chosen_corners)


@dataclass(frozen=True)
class _Swept:
    taken: np.ndarray
    accuracy: np.ndarray
    shares: np.ndarray
    intervals: list[tuple[float, float]]


def _sweep(split: Invented, settings: np.ndarray) -> _Swept:
    leaves = split.confidence[None] >= settings[:, None, None]
    leaves[:, -1] = True
    taken = leaves.argmax(axis=1)
    counts = split.counts[taken, np.arange(taken.shape[1])][..., :3]
    shares = np.stack([np.bincount(row, minlength=len(split.confidence)) for row in taken]) / taken.shape[1]
    intervals = [MIOU.interval(values) for values in pseudo_values(counts)]
    return _Swept(taken, mean_iou(counts.sum(axis=1)), shares, intervals)


def _evaluate(splits: dict[str, Invented], reference: float, costs: CostTable, blocks: list[int]) -> _Evaluated:
    settings = np.linspace(0.4, 1.01, 62)
    val, test = (_sweep(splits[split], settings) for split in ("val", "test"))
    price = np.array(costs.cumulative, dtype=np.float64)
    points = []
    for drop in (0.0, 0.005, 0.01, 0.02):
        t = cheapest_within_drop(val.accuracy, val.shares @ price, reference, drop)
        mixture = [] if t is None else [(t, 1.0)]
        points.append(_point("accuracy-drop", drop, settings, (mixture, mixture), (val, test), costs, blocks))
    for budget in BUDGETS:
        both = [enclosing_settings(swept.shares @ price, budget * costs.baseline) for swept in (val, test)]
        mixtures = (both[0], both[1]) if all(both) else ([], [])
        points.append(_point("equal-macs", budget, settings, mixtures, (val, test), costs, blocks))
    curves = pd.concat(
        _of_sweep(POLICY, split, settings, s, price, blocks) for split, s in (("val", val), ("test", test))
    )
    cost = val.shares @ price
    corners = np.unique([*upper_hull(cost, val.accuracy), cost.argmax()])
    return _Evaluated(POLICY, settings, test.taken, corners, tuple(points), curves)


def _without_exits(splits: dict[str, Invented], costs: CostTable, blocks: list[int]) -> _Evaluated:
    settings = np.zeros(1)
    val, test = (_sweep(splits[split], settings) for split in ("val", "test"))
    point = _point("fixed", 0.0, settings, ([(0, 1.0)], [(0, 1.0)]), (val, test), costs, blocks, NO_POLICY)
    price = np.array(costs.cumulative, dtype=np.float64)
    curves = pd.concat(
        _of_sweep(NO_POLICY, split, settings, s, price, blocks) for split, s in (("val", val), ("test", test))
    )
    return _Evaluated(NO_POLICY, settings, test.taken, np.array([], dtype=int), (point,), curves)


def _point(
    kind: str,
    target: float,
    settings: np.ndarray,
    mixtures: tuple[list[tuple[int, float]], list[tuple[int, float]]],
    swept: tuple[_Swept, _Swept],
    costs: CostTable,
    blocks: list[int],
    policy: str = POLICY,
) -> OperatingPoint:
    val, test = (_measured(m, s, costs, blocks) for m, s in zip(mixtures, swept, strict=True))
    weighted = tuple(WeightedThreshold(threshold=float(settings[t]), weight=weight) for t, weight in mixtures[1])
    return OperatingPoint(policy=policy, kind=kind, target=target, settings=weighted, val=val, test=test)  # type: ignore[arg-type]


def _measured(mixture: list[tuple[int, float]], swept: _Swept, costs: CostTable, blocks: list[int]) -> Measured | None:
    return measure(mixture, swept.accuracy, swept.shares, costs, blocks) if mixture else None


def _of_sweep(
    policy: str, split: str, settings: np.ndarray, swept: _Swept, price: np.ndarray, blocks: list[int]
) -> pd.DataFrame:
    macs, block = swept.shares @ price, swept.shares @ np.array(blocks, dtype=np.float64)
    rows = zip(settings, swept.accuracy, swept.intervals, macs, block, strict=True)
    return _curve([(policy, split, t, miou, low, high, m, b) for t, miou, (low, high), m, b in rows])


def _curve(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    columns = ["policy", "split", "threshold", "accuracy", "low", "high", "mean_macs", "mean_block"]
    return pd.DataFrame(rows, columns=columns).astype(
        {"policy": str, "split": str} | dict.fromkeys(columns[2:], "float64")
    )


def _rows(point: str, threshold: float, weight: float, ids: np.ndarray, exits: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "point": point, "threshold": threshold, "weight": weight, "sample_id": ids, "exit": exits.astype(np.int16),
            "score": 0.5,
        }
    )  # fmt: skip


def _corner(policy: str, threshold: float, ids: np.ndarray, exits: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "policy": pd.Series([policy] * len(ids), dtype="str"), "threshold": np.full(len(ids), threshold), "sample_id": ids,
            "exit": exits.astype(np.int16),
        }
    )  # fmt: skip


def _answers(counts: np.ndarray, ids: np.ndarray) -> pd.DataFrame:
    exits, images, classes, _ = counts.shape
    frame = pd.DataFrame(
        {
            "exit": np.repeat([*range(exits - 1), -1], images * classes).astype(np.int16),
            "sample_id": np.tile(np.repeat(ids, classes), exits),
            "class": np.tile(np.arange(classes, dtype=np.int32), exits * images),
        }
    )
    names = ("tp", "fp", "fn", "edge_tp", "edge_fp", "edge_fn")
    frame[list(names)] = counts.reshape(-1, len(names))
    return frame[counts.reshape(-1, len(names)).any(axis=1)]
