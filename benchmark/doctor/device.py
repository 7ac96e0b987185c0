"""``doctor --device``: whether this device computes what the CPU computes, resumes with the same bits, and exits as swept.

The grid is run on the device in a folder of its own; the other checks read what it left there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor
from torch import distributed as dist

from benchmark import provenance
from benchmark.errors import RankError
from benchmark.evaluation.scores import ExitScores
from benchmark.evaluation.stored_runs import load_run_scores
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.launch import launch
from benchmark.execution.local import LocalResult
from benchmark.execution.process_group import process_group
from benchmark.execution.rehearse import rehearse
from benchmark.grid.load import Grid
from benchmark.measure.agreement import LOOSE, TOLERANCE, dynamic_agreement
from benchmark.measure.finished import choose_point, finished_run, load_model, policy_at
from benchmark.measure.timed_run import first_images
from benchmark.stages.graph import run_stages
from benchmark.training.inputs import read_inputs
from methods.model import MultiExitModel
from results.check import Check
from results.judge.failures import failed_records
from results.record import DoneRecord
from results.store.devices import DeviceCheck, write_check
from results.store.folder import Store

IMAGES = 500
RANKS = 2
TIMEOUT = timedelta(seconds=60)


class Examination:
    """Of one device: its checks, in the order in which they must run.

    Args:
        grid: with at least one run with early exits, whose trainings take two epochs or more.
        device: a usable one.
        work: an empty folder.
    """

    def __init__(self, grid: Grid, device: torch.device, work: Path) -> None:
        self.grid, self.device, self.work = grid, device, work
        self.store = Store(work / "whole")
        self.tested = next(run for run in grid.runs if run.train.exits)
        self.limit = TOLERANCE if device.type == "cpu" else LOOSE["fp32"]

    @property
    def steps(self) -> dict[str, Callable[[], Check]]:
        """Name to check."""
        return {
            f"grid {self.grid.name}": self.runs,
            "logits": self.logits,
            "bf16": self.bf16,
            "dynamic": self.dynamic,
            "resume": self.resume,
            "two ranks": self.ranks,
        }

    def runs(self) -> Check:
        """The grid from data to records."""
        start = time.monotonic()
        result = self._run(self.grid, self.store, kill=False)
        took = f"in {time.monotonic() - start:.0f} s"
        name = f"grid {self.grid.name}"
        if not result.failed:
            return Check(name, "ok", f"{len(self.grid.runs)} runs {took}")
        causes = dict.fromkeys(record.cause for record in failed_records(self.store, result.failed))
        found = f"{len(result.failed)} of {len(self.grid.runs)} runs failed {took}: {'; '.join(causes)}"
        return Check(name, "fail", found, f"see the whole: python -m benchmark run --grid {self.grid.name}")

    def logits(self) -> Check:
        """A model that was trained and scored here, asked again on the CPU."""
        cpu = torch.device("cpu")
        with torch.no_grad():
            found = load_model(self.store, self.record, cpu).forward_all(self.images).logits
        return self._close("logits", f"the CPU answers {len(self.images)} images alike", found, self.limit)

    def bf16(self) -> Check:
        """The same model in bfloat16."""
        if self.device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
            return Check("bf16", "warn", f"{self.device} has no bfloat16", "leave out latency --precision bf16 here")
        with torch.no_grad():
            found = self.model.to(torch.bfloat16).forward_all(self.images.to(self.device, torch.bfloat16)).logits
        return self._close("bf16", "bfloat16 answers alike", found, LOOSE["bf16"])

    def dynamic(self) -> Check:
        """True dynamic inference leaves where the offline sweep says."""
        point = choose_point(self.record, None)
        policy = policy_at(self.record, point, load_run_scores(self.store, self.record)["val"])
        found = dynamic_agreement(self.model, policy, self.images.to(self.device), self.stored)
        if found.unexplained:
            return self._fault(
                "dynamic", f"{found.unexplained} of {found.samples} images leave elsewhere on equal logits"
            )
        moved = f", {found.moved} within rounding of the threshold" if found.moved else ""
        said = f"{found.samples} images leave where the sweep says{moved}, logits {self._up_to(found.logit_error, self.limit)}"
        return Check("dynamic", "ok", said) if found.within(self.limit) else self._fault("dynamic", said)

    def resume(self) -> Check:
        """One run's trainings, each killed with SIGKILL behind its first checkpoint and gone on with, alone in their pass."""
        killed = Store(self.work / "killed")
        grid = Grid(self.grid.name, self.grid.source, (self.tested,))
        deaths = self._run(grid, killed, kill=True).deaths
        differing = self.differing(killed)
        text = f"{deaths} trainings were killed and resumed, "
        if deaths and not differing:
            return Check("resume", "ok", f"{text}with the bits of the undisturbed run in every stage")
        return self._fault("resume", f"{text}with other bits in {', '.join(differing) or 'none'}")

    def _run(self, grid: Grid, store: Store, *, kill: bool) -> LocalResult:
        config = ExecutionConfig(
            results=store.root, device=str(self.device), loader_processes=0, kill_each_training=kill
        )
        return rehearse(Console(quiet=True), grid, config)

    def differing(self, other: Store) -> list[str]:
        """Stages of the tested run that have other bits in another store."""
        names = [stage.name for stage in run_stages(self.tested).chain]
        return [name for name in names if other.manifest(name) != self.store.manifest(name)]

    def ranks(self) -> Check:
        """Two processes add up a tensor: by NCCL on two GPUs, by gloo on the CPU."""
        backend = "gloo"
        if self.device.type == "cuda":
            backend = "nccl"
            if torch.cuda.device_count() < RANKS:
                return Check("two ranks", "ok", "not tried: one GPU")
        try:
            launch(_add_up, str(self.device), processes=RANKS, session=f"doctor-{os.getpid()}")
        except RankError as error:
            return self._fault("two ranks", f"{backend}: {error}")
        return Check("two ranks", "ok", f"{RANKS} processes added up a tensor by {backend}")

    # What the checks share

    @cached_property
    def record(self) -> DoneRecord:
        return finished_run(self.store, run_stages(self.tested).run_id)

    @property
    def model(self) -> MultiExitModel:
        return load_model(self.store, self.record, self.device)

    @cached_property
    def images(self) -> Tensor:
        """On the CPU."""
        return first_images(read_inputs(self.record.spec.train, None, workers=0), IMAGES)

    @cached_property
    def stored(self) -> ExitScores:
        """What the device answered to the images when the run was scored."""
        return load_run_scores(self.store, self.record)["test"].part(slice(len(self.images)))

    def _close(self, name: str, what: str, logits: Tensor, limit: float) -> Check:
        """Whether logits are the stored ones up to a share of the largest."""
        stored = self.stored.logits
        error = float((logits.float().cpu() - stored).abs().max() / stored.abs().max())
        said = f"{what}, {self._up_to(error, limit)}"
        return Check(name, "ok", said) if error <= limit else self._fault(name, said)

    def _up_to(self, error: float, limit: float) -> str:
        return f"up to {error:.1e} of the largest logit (limit {limit:g})"

    def _fault(self, name: str, said: str) -> Check:
        """A device that computes something else."""
        mend = "do not publish numbers from this machine; please report this with the output of doctor --json"
        return Check(name, "fail", said, mend)


def _add_up(device_name: str) -> None:
    """In each of the two processes."""
    device = torch.device(device_name)
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    with process_group(device, TIMEOUT) as context:
        numbers = torch.arange(1000.0, device=device) + context.ranks.rank
        dist.all_reduce(numbers)
        expected = RANKS * torch.arange(1000.0) + sum(range(RANKS))
        if not torch.equal(numbers.cpu(), expected):
            raise RuntimeError("the sum over two processes is wrong")


def store_checks(checks: Sequence[Check], device: torch.device, results_dir: Path) -> Path:
    """Write the checks of a device into the results folder, where reports look for them."""
    result = DeviceCheck(
        machine=provenance.machine(str(device)),
        code=provenance.code(),
        finished=datetime.now(UTC),
        checks=tuple(checks),
    )
    return write_check(Store(results_dir), result)
