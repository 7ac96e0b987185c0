"""The stage ``latency``: dynamic inference of a finished run, compared with its stored scores and timed on one device."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmark import provenance
from benchmark.measure.audit import TimedAnswers
from benchmark.measure.checked_model import CheckedModel, Subject, checked_model
from benchmark.measure.latency import time_batches, time_repeated, usable
from benchmark.stages.graph import measurement_name
from results.store.latency import FILE, BatchTiming, Latency, RepeatedImage


def measure_run(
    subject: Subject, batch_sizes: tuple[int, ...], say: Callable[[str], None], *, warmup: int
) -> tuple[str, Latency]:
    """Time a run at an operating point, unless the same measurement exists for this device.

    Args:
        subject: the run, the operating point and the device.
        batch_sizes: batch sizes to time; those above the number of images are omitted.
        say: prints a progress message.
        warmup: number of untimed batches before the timed ones.

    Returns:
        the name and the content of the stage.

    Raises:
        UserError: dynamic inference disagrees with the stored scores, or answers of the timed runs with the offline decisions.
    """
    store = subject.store
    name, complete = measurement_name(subject.fields | {"batch_sizes": list(batch_sizes), "warmup": warmup})
    if store.has_stage(name):
        say("this measurement exists already for this device")
        return name, Latency.model_validate_json(store.artifact(name, FILE).read_bytes())

    checked = checked_model(subject, say)
    start = time.monotonic()
    timings: list[BatchTiming] = []
    answers: list[TimedAnswers] = []
    for size in usable(batch_sizes, len(checked.pixels)):
        say(f"timing batches of {size} ...")
        timing, timed = time_batches(
            checked.model, checked.backbone, checked.policy, checked.pixels, subject.record.costs, size, warmup,
            say,
        )  # fmt: skip
        timings.append(timing)
        answers.append(timed)
    latency = Latency(
        run_id=subject.record.run_id,
        point=subject.point.name,
        threshold=subject.threshold,
        execution="executed",
        attention=checked.attention,
        precision=subject.precision,
        machine=subject.machine,
        warmup=warmup,
        moved=checked.check.moved,
        checked=len(checked.pixels),
        logit_error=checked.check.logit_error,
        audit=checked.audit(TimedAnswers.joined(answers)),
        timings=tuple(timings),
        repeated=_repeated(checked, min(timings, key=lambda timing: timing.batch_size), warmup),
    )
    store.prepare()
    made = provenance.stage_provenance(str(subject.device), time.monotonic() - start)
    with store.write_stage(name, complete, made) as folder:
        (folder / FILE).write_text(latency.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return name, latency


def _repeated(checked: CheckedModel, beside: BatchTiming, warmup: int) -> RepeatedImage:
    """The first of the images with the earliest exit, in batches of the size of another timing."""
    stored = checked.stored.part(slice(0, len(checked.pixels)))
    exits, _ = checked.policy.with_context(stored.labels, stored.errors).choose(stored.logits)
    easy = int(exits.argmin())
    size = beside.batch_size
    times = time_repeated(
        checked.model, checked.policy, checked.pixels[easy : easy + 1], size, beside.images // size, warmup
    )
    return RepeatedImage(
        sample_id=int(stored.sample_id[easy]), exit=int(exits[easy]) + 1, batch_size=size, dynamic=times
    )
