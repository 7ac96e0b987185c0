"""The server scenario, after MLPerf Inference: random arrivals into a batching queue, with and without early exits.

Every batch is executed on the device and timed. Only the arrivals are simulated: their clock advances by the measured times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmark import provenance
from benchmark.errors import UserError
from benchmark.measure.audit import TimedAnswers
from benchmark.measure.checked_model import CheckedModel, Subject, checked_model
from benchmark.measure.dynamic import OUTPUT, run_dynamic, run_to_end, run_to_exit
from benchmark.measure.latency import answered, stopwatch
from benchmark.measure.queue import poisson_arrivals, serve
from benchmark.stages.graph import measurement_name
from methods.policies.policy import State, survivors
from methods.tokens import Tokens
from results.store.server import BACKBONE, EXITS, FILE, MERGED, ServedLoad, ServerLatency

CAPACITY_BATCHES = 5
"""Full batches of the backbone that are timed for the meaning of a load of 1."""


@dataclass(frozen=True)
class ServerSetup:
    """Settings of the scenario.

    Attributes:
        batch_size: the largest batch of the queue.
        loads: arrivals as shares of the requests per second that the backbone serves in full batches.
        requests: requests per load.
        seed: of arrivals and images.
        limit_ms: bound for p99, in milliseconds; None for four times the backbone's time for a full batch.
        warmup: untimed batches of each kind.
    """

    batch_size: int
    loads: tuple[float, ...]
    requests: int
    seed: int
    limit_ms: float | None
    warmup: int


class ExitServer:
    """Executes batches of requests between two exits. Survivors wait as tokens on the device.

    Attributes:
        exits: exit of each request, 0-based, int64 [N]; complete when all have left. Likewise ``predictions``.
    """

    def __init__(self, checked: CheckedModel, images: Tensor) -> None:
        """Create a server.

        Args:
            checked: the model.
            images: position of the image of each request, int64 [N].
        """
        self.model, self.policy, self.pixels, self.images = checked.model, checked.policy, checked.pixels, images
        self.clock = stopwatch(checked.pixels.device)
        self.exits = torch.full_like(images, -1)
        self.predictions = torch.full_like(images, -1)
        self.parked: dict[int, list[tuple[Tokens, State]]] = {}

    @property
    def depths(self) -> int:
        return len(self.model.exit_heads.exits) + 1

    @torch.no_grad()
    def execute(self, depth: int, requests: list[int]) -> tuple[float, list[bool]]:
        """See `benchmark.measure.queue.Execute`: the blocks from one exit to the next, its head and the policy."""
        start = self.clock()
        tokens, state = self._take(depth, requests)
        if depth == self.depths - 1:
            predictions = self.policy.finish(run_to_end(self.model, tokens, state), state)
            leave = torch.ones(len(requests), dtype=torch.bool)
            answered(self.model, state[OUTPUT])
        else:
            tokens, logits, leaving = run_to_exit(self.model, self.policy, depth, tokens, state)
            predictions = self.policy.answer(logits, state).argmax(-1)
            keep = ~leaving
            if self.model.task.answers_beside and bool(leaving.any()):
                answered(self.model, state[OUTPUT][leaving])
            if bool(keep.any()):
                self.parked.setdefault(depth + 1, []).append((tokens.select(keep), survivors(state, keep)))
            leave = leaving.cpu()
        seconds = self.clock() - start
        rows = torch.tensor(requests)[leave]
        self.exits[rows], self.predictions[rows] = depth, predictions.cpu()[leave]
        return seconds, leave.tolist()

    def _take(self, depth: int, requests: list[int]) -> tuple[Tokens, State]:
        """Tokens and policy state of the first requests that wait at a depth; new requests pass through the stem."""
        if depth == 0:
            pixels = self.pixels[self.images[requests]]
            return self.model.backbone.embed(pixels), self.policy.start(len(requests), pixels.device)
        groups = self.parked.pop(depth)
        tokens, state = _concatenated(groups) if len(groups) > 1 else groups[0]
        if len(requests) == len(tokens.values):
            return tokens, state
        first = torch.arange(len(tokens.values), device=tokens.values.device) < len(requests)
        self.parked[depth] = [(tokens.select(~first), survivors(state, ~first))]
        return tokens.select(first), survivors(state, first)

    def answers(self) -> TimedAnswers:
        return TimedAnswers(self.images, self.exits, self.predictions)


def _concatenated(groups: Sequence[tuple[Tokens, State]]) -> tuple[Tokens, State]:
    states = [group[1] for group in groups]
    state = {name: torch.cat([part[name] for part in states]) for name in states[0]}
    return Tokens.joined([group[0] for group in groups]), state


def measure_server(subject: Subject, setup: ServerSetup, say: Callable[[str], None]) -> tuple[str, ServerLatency]:
    """Serve the same arrivals by the backbone and by the model with exits, unless the same measurement exists for this device.

    Args:
        subject: the run, the operating point and the device.
        setup: of the queue.
        say: prints a progress message.

    Returns:
        the name and the content of the stage.

    Raises:
        UserError: answers disagree with the stored scores; see `checked_model` and `CheckedModel.audit`.
    """
    if len(subject.record.exits) < 2:
        raise UserError(f"--run {subject.record.run_id}: it has no early exits, so it has no survivors to merge")
    store = subject.store
    settings = {name: getattr(setup, name) for name in ("batch_size", "requests", "seed", "limit_ms", "warmup")}
    name, complete = measurement_name(subject.fields | settings | {"loads": list(setup.loads)}, kind="server")
    if store.has_stage(name):
        say("this measurement exists already for this device")
        return name, ServerLatency.model_validate_json(store.artifact(name, FILE).read_bytes())

    checked = checked_model(subject, say)
    start = time.monotonic()
    images = torch.from_numpy(np.random.default_rng(setup.seed).integers(0, len(checked.pixels), setup.requests))
    full_batch = _full_batch_seconds(checked, images, setup)
    rows: list[ServedLoad] = []
    answers: list[TimedAnswers] = []
    for load in setup.loads:
        rate = load * setup.batch_size / full_batch
        say(f"load {load:g}: {rate:,.0f} requests/s ...")
        arrivals = poisson_arrivals(setup.requests, rate, setup.seed + 1)
        for server in (BACKBONE, EXITS, MERGED):
            row, served = _serve(checked, server, load, arrivals, images, setup.batch_size)
            rows.append(row)
            answers += [] if served is None else [served]
    result = ServerLatency(
        run_id=subject.record.run_id,
        point=subject.point.name,
        threshold=subject.threshold,
        execution="executed batches, simulated arrivals",
        attention=checked.attention,
        precision=subject.precision,
        machine=subject.machine,
        batch_size=setup.batch_size,
        requests=setup.requests,
        seed=setup.seed,
        full_batch_ms=1e3 * full_batch,
        limit_ms=setup.limit_ms or 4e3 * full_batch,
        audit=checked.audit(TimedAnswers.joined(answers)),
        rows=tuple(rows),
    )
    store.prepare()
    made = provenance.stage_provenance(str(subject.device), time.monotonic() - start)
    with store.write_stage(name, complete, made) as folder:
        (folder / FILE).write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return name, result


@torch.no_grad()
def _full_batch_seconds(checked: CheckedModel, images: Tensor, setup: ServerSetup) -> float:
    """Median time of a full batch of the backbone, after warming up all batch sizes of the queue."""
    for i in range(setup.warmup):
        batch = checked.pixels[images[: 1 + i % setup.batch_size]]
        answered(checked.model, checked.backbone(batch))
        run_dynamic(checked.model, checked.policy, batch)
    clock = stopwatch(checked.pixels.device)
    batch = checked.pixels[images[: setup.batch_size]]
    seconds = []
    for _ in range(CAPACITY_BATCHES):
        start = clock()
        answered(checked.model, checked.backbone(batch))
        seconds.append(clock() - start)
    return float(np.median(seconds))


def _serve(
    checked: CheckedModel, server: str, load: float, arrivals: np.ndarray, images: Tensor, batch_size: int
) -> tuple[ServedLoad, TimedAnswers | None]:
    """One server at one load, and its answers unless it is the backbone without exits."""
    clock = stopwatch(checked.pixels.device)
    exits = ExitServer(checked, images)
    executed: list[tuple[float, int]] = []

    @torch.no_grad()
    def run_backbone(_: int, requests: list[int]) -> tuple[float, list[bool]]:
        start = clock()
        answered(checked.model, checked.backbone(checked.pixels[images[requests]]))
        return clock() - start, [True] * len(requests)

    run = run_backbone if server == BACKBONE else exits.execute

    def execute(depth: int, requests: list[int]) -> tuple[float, list[bool]]:
        seconds, leave = run(depth, requests)
        executed.append((seconds, len(requests)))
        return seconds, leave

    depths = 1 if server == BACKBONE else exits.depths
    departures = serve(arrivals, depths, batch_size, execute, merge=server == MERGED)
    p50, p99 = 1e3 * np.quantile(departures - arrivals, [0.5, 0.99])
    busy = sum(seconds for seconds, _ in executed)
    row = ServedLoad(
        server=server,
        load=load,
        requests_per_second=len(arrivals) / float(arrivals[-1]),
        p50=float(p50),
        p99=float(p99),
        mean_batch=float(np.mean([size for _, size in executed])),
        busy=min(1.0, busy / float(departures.max())),
    )
    return row, None if server == BACKBONE else exits.answers()
