"""Makes a run from a table of external exits: marked as external, with claimed costs."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmark import provenance
from benchmark.errors import UserError
from benchmark.external.evaluation import POLICY, evaluate_exits, identity_of
from benchmark.external.table import MAX_CLASSES, MAX_MACS, SPLITS, ExternalExits, read_exits, write_exits
from benchmark.run_reference import find_run
from benchmark.stages.keys import code_versions, stage_key
from results.record import (
    EXTERNAL,
    EXTERNAL_FILE,
    BackboneInfo,
    CostTable,
    DataCard,
    DoneRecord,
    ExitMetrics,
    MethodInfo,
    SplitAccuracy,
    StageRef,
)
from results.spec import Configured, Recipes, RunSpec, TrainSpec, Weights
from results.store.files import sha256
from results.store.folder import Store
from results.tables.run import STATIC

CLAIMED = "costs are claimed, not counted by this suite"
MAX_BLOCK = 10_000
ORDER = 20
"""Rows of external runs come last in tables."""


@dataclass(frozen=True)
class Setting:
    """What the exits are compared with: runs of the same dataset, backbone and scheme share tables and figures.

    Attributes:
        like: a finished run on the same test samples, whose setting the new run gets; None for a setting of its own.
        dataset: name of the dataset, without `like`; likewise `backbone`.
    """

    like: DoneRecord | None = None
    dataset: str = EXTERNAL
    backbone: str = EXTERNAL


def evaluate_file(
    store: Store,
    path: Path,
    name: str,
    *,
    val_ids: Path | None = None,
    macs: Sequence[float] | None = None,
    baseline: float | None = None,
    blocks: Sequence[int] | None = None,
    like: str | None = None,
    dataset: str = EXTERNAL,
    backbone: str = EXTERNAL,
) -> DoneRecord:
    """Record a run from a table of exits; `read_exits` describes the table.

    The same content makes the same run; a second call returns the record that exists.

    Args:
        store: the results folder that the run is written to.
        path: of the table, CSV or Parquet.
        name: of the method.
        val_ids: file with the ids of val; None where the table has a column ``split``.
        macs: cost of leaving at each exit; None where the table has a column ``macs``.
        baseline: MACs of the backbone without exits; None for those of `like`, or else the cost of the last exit.
        blocks: block after which each exit comes, the last block for the final one; None for 1 to K.
        like: names a finished run on the same test samples; see `Setting`.
        dataset: name of the dataset, without `like`; likewise ``backbone``.

    Raises:
        UserError: a mistake in the table or the arguments.
        StoreError: the folder cannot be written.
    """
    start = time.monotonic()
    if not re.search("[A-Za-z0-9]", name) or not name.isprintable():
        raise UserError(f"--name {name!r}: must hold a letter or digit, and no control characters")
    splits, exit_macs = read_exits(path, val_ids, macs)
    numbers = _checked_blocks(blocks, len(exit_macs))
    setting = Setting(None if like is None else _same_samples(store, like, splits), dataset, backbone)
    costs = _claimed_costs(exit_macs, numbers, baseline if baseline is not None else _baseline(setting, exit_macs))
    store.prepare()
    stage = _write_stage(store, path, val_ids, splits)
    spec = _spec(setting, name, tuple(numbers[:-1]), Weights(source=f"{EXTERNAL}:{path.name}", sha256=sha256(path)))
    fields = {"spec": spec.model_dump(mode="json"), "costs": costs.model_dump(mode="json"), "parents": stage}
    key = stage_key("evaluate", {"code": code_versions("evaluate"), **fields})
    run_id = "-".join((EXTERNAL, re.sub(r"[^A-Za-z0-9_.=-]+", "_", name).strip("_"), key[:8]))
    if store.is_done(run_id):
        return store.done_record(run_id)
    evaluation = evaluate_exits(splits, costs, numbers)
    accuracy = {split: exits.right.mean(axis=1).tolist() for split, exits in splits.items()}
    record = DoneRecord(
        run_id=run_id,
        spec=spec,
        method=MethodInfo(
            name=EXTERNAL, options={"name": name}, display_name=spec.train.method.name, table_order=ORDER
        ),
        backbone=_backbone(setting),
        own_policy=POLICY,
        stages=(_reference(store, stage),),
        provenance=provenance.provenance("cpu", time.monotonic() - start),
        data=_data(setting, splits),
        costs=costs,
        exits=tuple(
            ExitMetrics(block=block, head=EXTERNAL, val_accuracy=val, test_accuracy=test)
            for block, val, test in zip(numbers, accuracy["val"], accuracy["test"], strict=True)
        ),
        static_accuracy=SplitAccuracy(**{split: values[-1] for split, values in accuracy.items()}),
        points=evaluation.points,
    )
    with store.write_run(record) as folder:
        evaluation.write(folder, record.data.split_identity["val"])
    return record


def _write_stage(store: Store, path: Path, val_ids: Path | None, splits: dict[str, ExternalExits]) -> str:
    """Store the exits, keyed by the hash of the file that they come from.

    Returns:
        the stage's name.
    """
    fields = {
        "code": code_versions(EXTERNAL),
        "sha256": sha256(path),
        "val_ids": None if val_ids is None else sha256(val_ids),
    }
    name = f"{EXTERNAL}-{stage_key(EXTERNAL, fields)}"
    if not store.has_stage(name):
        with store.write_stage(name, fields, provenance.stage_provenance("cpu", 0.0)) as folder:
            write_exits(splits, folder / EXTERNAL_FILE)
    return name


def _reference(store: Store, stage: str) -> StageRef:
    kind, key = stage.split("-")
    code, artifacts = code_versions(kind), store.artifacts(stage)
    return StageRef(stage=kind, key=key, code=code, seconds=0.0, shared_pass=1, artifacts=artifacts)


def _checked_blocks(blocks: Sequence[int] | None, exits: int) -> list[int]:
    numbers = list(range(1, exits + 1)) if blocks is None else list(blocks)
    if len(numbers) != exits or numbers != sorted(set(numbers)) or numbers[0] < 1 or numbers[-1] > MAX_BLOCK:
        raise UserError(
            f"--blocks {','.join(map(str, numbers))}: {exits} ascending block numbers from 1 to {MAX_BLOCK:,} are needed, "
            "one per exit"
        )
    return numbers


def _baseline(setting: Setting, macs: list[int]) -> int:
    return macs[-1] if setting.like is None else setting.like.costs.baseline


def _claimed_costs(macs: list[int], blocks: list[int], baseline: float) -> CostTable:
    """Costs as claimed: what runs between two exits, heads included, counts to the block of the later one."""
    if not 1 <= baseline <= MAX_MACS:
        raise UserError(f"--baseline {baseline:g}: the MACs of the backbone without exits, from 1 to {MAX_MACS:g}")
    per_block = [0] * blocks[-1]
    for block, cost, before in zip(blocks, macs, [0, *macs], strict=False):
        per_block[block - 1] = cost - before
    return CostTable(
        stem=0, blocks=tuple(per_block), heads=(0,) * len(macs), cumulative=tuple(macs), depth=blocks[-1],
        baseline=round(baseline), norms=0, linear_conv_cumulative=tuple(macs), linear_conv_baseline=round(baseline),
        parameters=0, heads_parameters=0, uncounted=(CLAIMED,),
    )  # fmt: skip


def _same_samples(store: Store, like: str, splits: dict[str, ExternalExits]) -> DoneRecord:
    """The record of a run on the same test samples.

    Raises:
        UserError: there is no such finished run, or samples, labels or classes differ.
    """
    record = store.record(find_run(like, store.run_ids(), str(store.root)))
    if record.status == "failed":
        raise UserError(f"--like {record.run_id}: it did not finish ({record.cause})")
    outcomes = pd.read_parquet(store.table(record.run_id, "outcomes.parquet"), columns=["point", "sample_id", "label"])
    labels = outcomes[outcomes["point"] == STATIC].set_index("sample_id")["label"].sort_index()
    test = splits["test"]
    ids = pd.Index(test.sample_id)
    missing, extra = labels.index.difference(ids), ids.difference(labels.index)
    for samples, sentence in (
        (missing, "test samples of that run are missing"),
        (extra, "test samples are not in that run"),
    ):
        if len(samples):
            raise UserError(f"--like {record.run_id}: {len(samples)} {sentence}, the first is sample {samples[0]}")
    differs = labels.to_numpy() != test.label
    predicted = max(int(exits.prediction.max()) for exits in splits.values())
    if predicted >= record.data.classes:
        raise UserError(
            f"--like {record.run_id}: it has {record.data.classes} classes, and the table predicts {predicted}"
        )
    if differs.any():
        raise UserError(
            f"--like {record.run_id}: {int(differs.sum())} labels differ, the first that of sample "
            f"{test.sample_id[differs][0]}"
        )
    return record


def _spec(setting: Setting, name: str, exits: tuple[int, ...], answers: Weights) -> RunSpec:
    # No registered method has a colon in its name, so a claim about registered methods never reads this run.
    method, policies = Configured(name=f"{EXTERNAL}: {name}, claimed MACs"), (Configured(name=POLICY),)
    like = setting.like
    train = TrainSpec(
        dataset=Configured(name=setting.dataset) if like is None else like.spec.train.dataset,
        backbone=setting.backbone if like is None else like.spec.train.backbone,
        weights=answers if like is None else like.spec.train.weights,
        method=method,
        exits=exits,
        recipes=Recipes() if like is None else like.spec.train.recipes,
        seed=0 if like is None else like.spec.train.seed,
    )
    return RunSpec(train=train, scheme=EXTERNAL if like is None else like.spec.scheme, policies=policies)


def _backbone(setting: Setting) -> BackboneInfo:
    return BackboneInfo(name=setting.backbone, family=EXTERNAL) if setting.like is None else setting.like.backbone


def _data(setting: Setting, splits: dict[str, ExternalExits]) -> DataCard:
    sizes = {split: splits[split].samples for split in SPLITS}
    identities = {split: identity_of(splits[split]) for split in SPLITS}
    rule = "val and test as given in the table of answers"
    if setting.like is not None:
        data = setting.like.data
        identities["test"] = data.split_identity["test"]
        changes = {"sizes": data.sizes | sizes, "split_identity": data.split_identity | identities, "split_rule": rule}
        return data.model_copy(update=changes)
    classes = 1 + max(int(max(exits.label.max(), exits.prediction.max())) for exits in splits.values())
    return DataCard(
        name=setting.dataset, fingerprint=identities["test"], classes=min(classes, MAX_CLASSES),
        sizes={"train": 0} | sizes, split_identity=identities, content={}, split_rule=rule, transforms={},
        citation=EXTERNAL, licence="unknown", redistributable=False,
    )  # fmt: skip
