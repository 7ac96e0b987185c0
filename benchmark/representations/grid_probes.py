"""The probes that a grid asks for, made after its runs; runs on one backbone whose heads have the same loss share one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from benchmark.errors import UserError
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.device import usable_device
from benchmark.representations.probes import probe_backbone
from benchmark.representations.subject import Subject
from datasets.api import DataError
from results.record import DoneRecord
from results.store.folder import Store, StoreError
from results.store.probes import backbone_stage, distillation_of


def probe_grid(records: Sequence[DoneRecord], config: ExecutionConfig, say: Callable[[str], None]) -> None:
    """Probe the backbones of runs at all their exits, with the losses of the heads, on the device that trained them.

    Args:
        records: of finished runs.
        config: of the command.
        say: prints a line of progress.
    """
    store, device = Store(config.results), usable_device(config.device)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    groups = same_probes(records)
    for number, group in enumerate(groups, start=1):
        train = group[0].spec.train
        say(f"probing the tokens of {train.backbone}, seed {train.seed} ({number} of {len(groups)})")
        try:
            probe_backbone(
                Subject(store, group[0], device, config.data_dir), exit_blocks(group), distillation_of(group[0])
            )
        except (UserError, StoreError, DataError, torch.OutOfMemoryError) as error:  # the runs are valid without probes
            say(f"no probes of {train.backbone}, seed {train.seed}: {error}")


def same_probes(records: Sequence[DoneRecord]) -> list[list[DoneRecord]]:
    """Groups of runs whose heads are compared with the same probes: of one backbone, with one loss."""
    groups: dict[object, list[DoneRecord]] = {}
    for record in records:
        subject = backbone_stage(record), str(record.data.content), distillation_of(record)
        groups.setdefault(subject, []).append(record)
    return list(groups.values())


def exit_blocks(records: Sequence[DoneRecord]) -> list[int]:
    """The blocks of all early exits of some runs, ascending."""
    return sorted({exit_.block for record in records for exit_ in record.exits[:-1]})
