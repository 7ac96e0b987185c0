"""The latencies that a grid asks for, measured after its runs, when nothing else is running."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from benchmark.errors import UserError
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.device import usable_device
from benchmark.measure.checked_model import Subject
from benchmark.measure.timed_run import measure_run
from benchmark.stages.plan import Plan
from datasets.api import DataError
from results.store.folder import Store, StoreError

IMAGES = 500
WARMUP = 20  # batches


def measure_grid(plan: Plan, config: ExecutionConfig, run_ids: Sequence[str], say: Callable[[str], None]) -> None:
    """Time runs of a grid on the device that trained them, at their default operating point.

    Args:
        plan: of the grid.
        config: of the command.
        run_ids: of the runs to time.
        say: prints a line of progress.
    """
    store, device = Store(config.results), usable_device(config.device)
    labels = {run.run_id: run.spec.train.method.label for run in plan.runs}
    sizes = ", ".join(map(str, plan.grid.latency))
    for number, run_id in enumerate(run_ids, start=1):
        say(f"timing {labels[run_id]} ({number} of {len(run_ids)}): {IMAGES} images in batches of {sizes}")
        try:
            subject = Subject.of(
                store, run_id, None, device, precision="fp32", images=IMAGES, threads=config.threads, data_dir=config.data_dir
            )  # fmt: skip
            measure_run(subject, plan.grid.latency, lambda line: None, warmup=WARMUP)
        except (UserError, StoreError, DataError, torch.OutOfMemoryError) as error:
            # The other results of the run are valid without its time.
            say(f"no latency of {run_id}: {error}")
