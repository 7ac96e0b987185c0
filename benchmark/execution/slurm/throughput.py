"""The throughput that the estimate of a submission rests on: stated, measured on the same kind of device, or assumed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.execution.rates import Rate, measured_rates, recorded_plan
from benchmark.execution.requirements import CORE_TFLOPS, GPU_TFLOPS
from benchmark.execution.slurm.layout import JobArray
from benchmark.execution.slurm.options import SlurmChoice
from benchmark.stages.plan import Plan
from results.store.folder import Store


@dataclass(frozen=True)
class Throughput:
    """Operations a second of one device.

    Attributes:
        tflops: 10^12 operations a second (a multiply-accumulate is two).
        basis: a phrase on where the number comes from.
    """

    tflops: float
    basis: str


def throughput(plan: Plan, store: Store, arrays: Sequence[JobArray], choice: SlurmChoice, threads: int) -> Throughput:
    """The throughput of a device of a submission.

    Args:
        plan: of the grid.
        store: the results folder, whose finished stages of any grid count.
        arrays: to submit. If any requests GPUs, these do the work.
        choice: the user's options: ``--tflops`` overrides everything, and a type in ``gres`` or a feature in ``--constraint``
            selects among the GPUs that were measured.
        threads: of a process.
    """
    if choice.options.tflops is not None:
        return Throughput(choice.options.tflops, "--tflops")
    on_gpus = any(array.resources.gpus for array in arrays)
    recorded = recorded_plan(plan, store)
    backbones = {run.spec.train.backbone for run in plan.missing_runs}
    for among in (backbones, ()):
        rates = measured_rates(recorded, store, among)
        rates = _same_gpu(rates, choice) if on_gpus else [rate for rate in rates if _is_cpu(rate, threads)]
        if rates:
            return Throughput(rates[0].tflops, f"measured in {rates[0].basis} on {rates[0].machine.name}")
    assumed = GPU_TFLOPS if on_gpus else threads * CORE_TFLOPS
    return Throughput(assumed, "assumed; --tflops states it, finished runs measure it")


def _is_cpu(rate: Rate, threads: int) -> bool:
    return rate.machine.gpu is None and rate.machine.threads == threads


def _same_gpu(rates: Sequence[Rate], choice: SlurmChoice) -> list[Rate]:
    """The rates of the requested type of GPU; of all types if none is requested."""
    on_gpus = [rate for rate in rates if rate.machine.gpu]
    gpu_type = re.search(r"gpu:([^:,\d][^:,]*)", choice.options.sbatch.get("gres", ""))
    if gpu_type:
        return [rate for rate in on_gpus if _is_called(rate, gpu_type[1])]
    features = re.findall(r"[\w-]+", choice.options.constraint or "")
    return [rate for rate in on_gpus if any(_is_called(rate, feature) for feature in features)] or on_gpus


def _is_called(rate: Rate, name: str) -> bool:
    """Whether a name such as ``a100_80gb`` is part of the GPU's name, without regard to case, spaces and hyphens."""
    plain = re.sub(r"[\W_]", "", (rate.machine.gpu or "").lower())
    return re.sub(r"[\W_]", "", name.lower()) in plain
