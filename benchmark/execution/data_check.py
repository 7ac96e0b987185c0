"""Whether the stages of a run have read the same images and labels. Each notes what it read, and the next ones compare."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmark.stages.stage import Stage
from benchmark.training.inputs import Inputs
from datasets.api import DataError, DatasetCard
from results.store.folder import Store

DATA = "data.json"
READS = {"finetune": ("train",), "joint": ("train",), "exits": ("train",), "scores": ("val", "test")}
"""The splits that each kind of stage reads."""


def write_data(stage: Stage, inputs: Inputs, folder: Path) -> None:
    """Note the content of the splits that a stage has read, among its artifacts."""
    content = inputs.fingerprints()
    splits = {split: content[split] for split in READS[stage.kind]}
    (folder / DATA).write_text(json.dumps(splits, indent=1) + "\n", encoding="utf-8")


def check_dataset_version(stage: Stage, card: DatasetCard) -> None:
    """Compare the dataset at hand with that of the plan, which may come from another machine.

    Args:
        stage: of the plan.
        card: of the dataset at hand. Readers of official files compare their checksums, a folder is hashed.

    Raises:
        DataError: the stage was planned for other images or labels.
    """
    dataset = stage.reads.get("dataset")
    if dataset and dataset["fingerprint"] != card.fingerprint:
        raise DataError(
            f"{stage.name}: the content of {card.name} on {socket.gethostname()} differs from that when the run was planned "
            f"(SHA-256 {card.fingerprint} here, {dataset['fingerprint']} then); copy the same files there, or submit again"
        )


def check_data(name: str, inputs: Inputs, stages: Iterable[Stage], store: Store) -> None:
    """Compare the data at hand with what finished stages read.

    Args:
        name: of what is made, for the message.
        inputs: the data at hand.
        stages: finished stages, and those before them.
        store: their results folder.

    Raises:
        DataError: one of them read other images or labels.
    """
    for stage in _with_ancestors(stages):
        for split, planned in _data_of(stage, store).items():
            present = inputs.fingerprints().get(split)
            if present != planned:
                raise DataError(
                    f"{name}: the {split} images or labels of {inputs.card.name} are not those that {stage.name} read (SHA-256 "
                    f"{present} now, {planned} then); restore the data, or remove {store.stage(stage.name)} to train again"
                )


def _data_of(stage: Stage, store: Store) -> Mapping[str, str]:
    if stage.kind not in READS or not (store.stage(stage.name) / DATA).is_file():
        return {}
    return json.loads(store.artifact(stage.name, DATA).read_text(encoding="utf-8"))


def _with_ancestors(stages: Iterable[Stage]) -> list[Stage]:
    found = list(stages)
    for stage in found:
        found += [parent for parent in stage.parents if parent not in found]
    return found
