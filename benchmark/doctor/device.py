"""``doctor --device``: whether a device computes like the CPU, resumes with the same bits, and takes the exits of the sweep.

The grid is run on the device in a temporary folder; the other checks use its results.
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
from benchmark.measure.agreement import DEVICE_TOLERANCES, TOLERANCE, dynamic_agreement
from benchmark.measure.checked_model import first_images
from benchmark.measure.finished import choose_point, finished_run, load_model, policy_at
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
    """The checks of one device, in the order in which they must run.

    Args:
        grid: has at least one run with early exits, trained for at least two epochs.
        device: to check.
        work: an empty folder.
    """

    def __init__(self, grid: Grid, device: torch.device, work: Path) -> None:
        self.grid, self.device, self.work = grid, device, work
        self.store = Store(work / "whole")
        self.tested = next(run for run in grid.runs if run.train.exits)
        self.limit = TOLERANCE if device.type == "cpu" else DEVICE_TOLERANCES["fp32"]

    @property
    def steps(self) -> dict[str, Callable[[], Check]]:
        """The checks by name, in order."""
        return {
            f"grid {self.grid.name}": self.runs,
            "logits": self.logits,
            "bf16": self.bf16,
            "dynamic": self.dynamic,
            "resume": self.resume,
            "two ranks": self.ranks,
        }

    def runs(self) -> Check:
        """Runs the grid from data to records."""
        start = time.monotonic()
        result = self._run(self.grid, self.store, kill=False)
        duration = f"in {time.monotonic() - start:.0f} s"
        name = f"grid {self.grid.name}"
        if not result.failed:
            return Check(name, "ok", f"{len(self.grid.runs)} runs {duration}")
        causes = dict.fromkeys(record.cause for record in failed_records(self.store, result.failed))
        text = f"{len(result.failed)} of {len(self.grid.runs)} runs failed {duration}: {'; '.join(causes)}"
        return Check(name, "fail", text, f"for details: python -m benchmark run --grid {self.grid.name}")

    def logits(self) -> Check:
        """Compares the stored logits, which this device computed, with the same model on the CPU."""
        cpu = torch.device("cpu")
        with torch.no_grad():
            logits = load_model(self.store, self.record, cpu).forward_all(self.images).logits
        return self._close("logits", f"{len(self.images)} images have equal logits on the CPU", logits, self.limit)

    def bf16(self) -> Check:
        """Compares the stored logits with the same model in bfloat16 on this device."""
        if self.device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
            return Check(
                "bf16", "warn", f"{self.device} does not support bfloat16", "do not use latency --precision bf16 here"
            )
        with torch.no_grad():
            logits = self.model.to(torch.bfloat16).forward_all(self.images.to(self.device, torch.bfloat16)).logits
        return self._close("bf16", "logits in bfloat16 are equal", logits, DEVICE_TOLERANCES["bf16"])

    def dynamic(self) -> Check:
        """Compares the exits of dynamic inference with those of the offline sweep."""
        point = choose_point(self.record, None)
        policy = policy_at(self.record, point, load_run_scores(self.store, self.record)["val"])
        agreement = dynamic_agreement(self.model, policy, self.images.to(self.device), self.stored)
        if agreement.unexplained:
            count = f"{agreement.unexplained} of {agreement.samples}"
            return self._fault("dynamic", f"{count} images take another exit on equal logits")
        moved = f", {agreement.moved} within rounding of the threshold" if agreement.moved else ""
        tolerance = self._up_to(agreement.logit_error, self.limit)
        text = f"{agreement.samples} images take the exits of the sweep{moved}, logits are equal {tolerance}"
        return Check("dynamic", "ok", text) if agreement.within(self.limit) else self._fault("dynamic", text)

    def resume(self) -> Check:
        """Repeats the trainings of one run, kills each after its first checkpoint, resumes it, and compares the artifacts."""
        killed = Store(self.work / "killed")
        grid = Grid(self.grid.name, self.grid.source, (self.tested,))
        deaths = self._run(grid, killed, kill=True).deaths
        differing = self.differing(killed)
        text = f"{deaths} trainings were killed and resumed, "
        if deaths and not differing:
            return Check("resume", "ok", f"{text}every stage has the bits of the uninterrupted run")
        return self._fault("resume", f"{text}stages with other bits: {', '.join(differing) or 'none'}")

    def _run(self, grid: Grid, store: Store, *, kill: bool) -> LocalResult:
        config = ExecutionConfig(
            results=store.root, device=str(self.device), loader_processes=0, kill_each_training=kill
        )
        return rehearse(Console(quiet=True), grid, config)

    def differing(self, other: Store) -> list[str]:
        """Names of the tested run's stages whose artifacts have other bits in another store."""
        names = [stage.name for stage in run_stages(self.tested).chain]
        return [name for name in names if other.manifest(name) != self.store.manifest(name)]

    def ranks(self) -> Check:
        """Two processes sum a tensor, by NCCL on two GPUs or by gloo on the CPU."""
        backend = "gloo"
        if self.device.type == "cuda":
            backend = "nccl"
            if torch.cuda.device_count() < RANKS:
                return Check("two ranks", "ok", "not checked: one GPU")
        try:
            launch(_sum_over_ranks, str(self.device), processes=RANKS, session=f"doctor-{os.getpid()}")
        except RankError as error:
            return self._fault("two ranks", f"{backend}: {error}")
        return Check("two ranks", "ok", f"{RANKS} processes summed a tensor by {backend}")

    # Shared by the checks

    @cached_property
    def record(self) -> DoneRecord:
        return finished_run(self.store, run_stages(self.tested).run_id)

    @property
    def model(self) -> MultiExitModel:
        return load_model(self.store, self.record, self.device)

    @cached_property
    def images(self) -> Tensor:
        """Preprocessed test images, on the CPU."""
        return first_images(read_inputs(self.record.spec.train, None, workers=0), IMAGES)

    @cached_property
    def stored(self) -> ExitScores:
        """The scores that the device computed for these images when the run was scored."""
        return load_run_scores(self.store, self.record)["test"].part(slice(len(self.images)))

    def _close(self, name: str, claim: str, logits: Tensor, limit: float) -> Check:
        """Checks that logits equal the stored ones within a tolerance, relative to the largest."""
        stored = self.stored.logits
        error = float((logits.float().cpu() - stored).abs().max() / stored.abs().max())
        text = f"{claim} {self._up_to(error, limit)}"
        return Check(name, "ok", text) if error <= limit else self._fault(name, text)

    def _up_to(self, error: float, limit: float) -> str:
        return f"up to {error:.1e} of the largest logit (limit {limit:g})"

    def _fault(self, name: str, text: str) -> Check:
        """The failed check of a device that computes wrong results."""
        fix = "do not publish numbers from this machine; please report this with the output of doctor --json"
        return Check(name, "fail", text, fix)


def _sum_over_ranks(device_name: str) -> None:
    """Runs in each of the two processes."""
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
