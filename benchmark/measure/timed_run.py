"""The stage ``latency``: a finished run's dynamic inference, checked against its stored scores and timed on one device."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmark import provenance
from benchmark.errors import UserError
from benchmark.execution.device import usable_device
from benchmark.measure.agreement import LOOSE, TOLERANCE, dynamic_agreement
from benchmark.measure.dynamic import PRECISIONS
from benchmark.measure.finished import choose_point, finished_run, load_model, load_run_scores, policy_at
from benchmark.measure.latency import time_batches, usable
from benchmark.stages.graph import latency_stage
from benchmark.training.inputs import Inputs, read_inputs
from results.store.folder import Store
from results.store.latency import FILE, Latency


def measure_run(
    store: Store,
    run_id: str,
    batch_sizes: tuple[int, ...],
    say: Callable[[str], None],
    *,
    point: str | None,
    device: str,
    precision: str,
    threads: int | None,
    images: int,
    warmup: int,
    data_dir: Path | None,
) -> tuple[str, Latency]:
    """Measure, unless the same was measured on this device before.

    Returns:
        name of the stage, and what it holds.

    Raises:
        UserError: the run, point or device does not exist; or dynamic inference does not do what the stored scores say.
    """
    record = finished_run(store, run_id)
    chosen = choose_point(record, point)
    if threads is not None:
        torch.set_num_threads(threads)
    where = usable_device(device)
    machine = provenance.machine(str(where))
    fields = {
        "run": run_id,
        "point": chosen.name,
        "threshold": chosen.settings[0].threshold,
        "batch_sizes": list(batch_sizes),
        "images": images,
        "warmup": warmup,
        "precision": precision,
        "machine": machine.model_dump(include={"device", "gpu", "cpu", "threads"}),
        "torch": machine.packages["torch"],
    }
    name, complete = latency_stage(fields)
    if store.has_stage(name):
        say("measured before on this device, nothing to do")
        return name, Latency.model_validate_json(store.artifact(name, FILE).read_bytes())

    model = load_model(store, record, where).to(PRECISIONS[precision])
    scores = load_run_scores(store, record)
    policy = policy_at(record, chosen, scores["val"])
    inputs = read_inputs(record.spec.train, data_dir)
    pixels = first_images(inputs, images).to(where, PRECISIONS[precision])
    found = dynamic_agreement(model, policy, pixels, scores["test"])
    if found.unexplained or found.logit_error > LOOSE[precision]:
        raise UserError(
            f"--run {run_id}: dynamic inference does not do what the stored scores say: {found.unexplained} samples leave "
            f"elsewhere, and logits differ by {found.logit_error:.1e} of the largest; nothing was timed"
        )
    if precision == "fp32" and found.logit_error > TOLERANCE:
        say(
            f"logits differ from the stored ones by {found.logit_error:.1e} of the largest: other hardware or threads than "
            "scored them"
        )

    begun = time.monotonic()
    timings = []
    for size in usable(batch_sizes, len(pixels)):
        say(f"timing batches of {size} ...")
        timings.append(time_batches(model, policy, pixels, record.costs, size, warmup))
    latency = Latency(
        run_id=run_id,
        point=chosen.name,
        threshold=chosen.settings[0].threshold,
        precision=precision,
        machine=machine,
        warmup=warmup,
        moved=found.moved,
        checked=len(pixels),
        logit_error=found.logit_error,
        timings=tuple(timings),
    )
    store.prepare()
    with store.write_stage(name, complete, provenance.stage_provenance(str(where), time.monotonic() - begun)) as folder:
        (folder / FILE).write_text(latency.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return name, latency


def first_images(inputs: Inputs, count: int) -> torch.Tensor:
    """The first ``count`` test images, or all there are, as the model sees them."""
    parts: list[torch.Tensor] = []
    for batch in inputs.scoring("test"):
        parts.append(batch.images)
        if sum(map(len, parts)) >= count:
            break
    return torch.cat(parts)[:count]
