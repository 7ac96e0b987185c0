"""The stage ``latency``: dynamic inference of a finished run, compared with its stored scores and timed on one device."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmark import provenance
from benchmark.errors import UserError
from benchmark.evaluation.stored_runs import load_run_scores
from benchmark.measure.agreement import DEVICE_TOLERANCES, TOLERANCE, dynamic_agreement
from benchmark.measure.dynamic import PRECISIONS
from benchmark.measure.finished import choose_point, finished_run, load_model, policy_at
from benchmark.measure.latency import time_batches, usable
from benchmark.stages.graph import latency_stage
from benchmark.training.inputs import Inputs, read_inputs
from results.store.folder import Store
from results.store.latency import FILE, Latency


def measure_run(
    store: Store,
    reference: str,
    batch_sizes: tuple[int, ...],
    device: torch.device,
    say: Callable[[str], None],
    *,
    point: str | None,
    precision: str,
    threads: int | None,
    images: int,
    warmup: int,
    data_dir: Path | None,
) -> tuple[str, Latency]:
    """Time a run at an operating point, unless the same measurement exists for this device.

    Args:
        store: the results folder.
        reference: a name of a finished run with early exits; see `benchmark.run_reference`.
        batch_sizes: batch sizes to time; those above the number of images are omitted.
        device: device of the model.
        say: prints a progress message.
        point: name of the operating point; None for `choose_point`'s default.
        precision: a key of `PRECISIONS`.
        threads: CPU threads; None for torch's default.
        images: number of test images.
        warmup: number of untimed batches before the timed ones.
        data_dir: the user's folder of datasets, if any.

    Returns:
        the name and the content of the stage.

    Raises:
        UserError: the run or point does not exist or cannot be timed, or dynamic inference disagrees with the stored scores.
    """
    record = finished_run(store, reference)
    operating_point = choose_point(record, point)
    if threads is not None:
        torch.set_num_threads(threads)
    machine = provenance.machine(str(device))
    fields = {
        "run": record.run_id,
        "point": operating_point.name,
        "threshold": operating_point.settings[0].threshold,
        "batch_sizes": list(batch_sizes),
        "images": images,
        "warmup": warmup,
        "precision": precision,
        "machine": machine.model_dump(include={"device", "gpu", "cpu", "threads"}),
        "torch": machine.packages["torch"],
    }
    name, complete = latency_stage(fields)
    if store.has_stage(name):
        say("this measurement exists already for this device")
        return name, Latency.model_validate_json(store.artifact(name, FILE).read_bytes())

    model = load_model(store, record, device).to(PRECISIONS[precision])
    scores = load_run_scores(store, record)
    policy = policy_at(record, operating_point, scores["val"])
    inputs = read_inputs(record.spec.train, data_dir)
    pixels = first_images(inputs, images).to(device, PRECISIONS[precision])
    check = dynamic_agreement(model, policy, pixels, scores["test"])
    if check.unexplained or check.logit_error > DEVICE_TOLERANCES[precision]:
        raise UserError(
            f"--run {record.run_id}: dynamic inference disagrees with the stored scores: {check.unexplained} samples take "
            f"another exit, and logits differ by {check.logit_error:.1e} of the largest; nothing was timed"
        )
    if precision == "fp32" and check.logit_error > TOLERANCE:
        say(
            f"logits differ from the stored ones by {check.logit_error:.1e} of the largest: they were computed on "
            "other hardware or with another number of threads"
        )

    start = time.monotonic()
    timings = []
    for size in usable(batch_sizes, len(pixels)):
        say(f"timing batches of {size} ...")
        timings.append(time_batches(model, policy, pixels, record.costs, size, warmup))
    latency = Latency(
        run_id=record.run_id,
        point=operating_point.name,
        threshold=operating_point.settings[0].threshold,
        precision=precision,
        machine=machine,
        warmup=warmup,
        moved=check.moved,
        checked=len(pixels),
        logit_error=check.logit_error,
        timings=tuple(timings),
    )
    store.prepare()
    with store.write_stage(
        name, complete, provenance.stage_provenance(str(device), time.monotonic() - start)
    ) as folder:
        (folder / FILE).write_text(latency.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return name, latency


def first_images(inputs: Inputs, count: int) -> torch.Tensor:
    """The first ``count`` preprocessed test images, or all of them if there are fewer."""
    batches: list[torch.Tensor] = []
    for batch in inputs.scoring("test"):
        batches.append(batch.images)
        if sum(map(len, batches)) >= count:
            break
    return torch.cat(batches)[:count]
