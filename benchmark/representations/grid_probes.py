"""The probes that a grid asks for, made after its runs; runs on the same backbone share one pass."""

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
from results.store.probes import backbone_stage


def probe_grid(records: Sequence[DoneRecord], config: ExecutionConfig, say: Callable[[str], None]) -> None:
    """Probe the backbones of runs at the exits of all these runs, on the device that trained them.

    Args:
        records: of finished runs.
        config: of the command.
        say: prints a line of progress.
    """
    store, device = Store(config.results), usable_device(config.device)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    groups: dict[tuple[str | None, str], list[DoneRecord]] = {}
    for record in records:
        groups.setdefault((backbone_stage(record), str(record.data.content)), []).append(record)
    for number, group in enumerate(groups.values(), start=1):
        train = group[0].spec.train
        say(f"probing the tokens of {train.backbone}, seed {train.seed} ({number} of {len(groups)})")
        blocks = {exit_.block for record in group for exit_ in record.exits[:-1]}
        try:
            probe_backbone(Subject(store, group[0], device, config.data_dir), sorted(blocks))
        except (UserError, StoreError, DataError) as error:  # the runs are valid without probes
            say(f"no probes of {train.backbone}, seed {train.seed}: {error}")
