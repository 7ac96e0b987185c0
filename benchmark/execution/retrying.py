"""What each cause of failure means for `retry`: the table that docs/slurm.md shows, and the changed requests to Slurm.

Imports no torch.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from results.record import FailureCause
from results.store.attempts import Attempt, now

FAILURES_IN_A_ROW = 2
"""A node with this many suspect failures in a row is excluded."""
SUSPECT_TIME = timedelta(days=1)
"""Older failures do not count: the stages that a node finished since then are not looked up."""
ON_GPU = re.compile(r"CUDA|OutOfMemoryError")
"""In the sentences of failures for want of GPU memory."""
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class RetryRule:
    """What `retry` does with a cause.

    Attributes:
        events: what happened, as a sentence of docs/slurm.md.
        action: what `retry` does, likewise.
        retried: whether `retry` runs these failures at all.
        memory: whether the task requests twice the memory.
        node: whether the node of the failure is excluded: always, after `FAILURES_IN_A_ROW` failures, or never.
    """

    events: str
    action: str
    retried: bool = True
    memory: bool = False
    node: Literal["always", "in a row", "never"] = "never"


AGAIN = "It runs again."
RESUMES = "It resumes from the checkpoint."
IN_A_ROW = f"{RESUMES} A node with two such failures in a row within a day is excluded."
RULES: dict[FailureCause, RetryRule] = {
    "oom": RetryRule(
        "The memory of the machine or of the GPU ran out.",
        "It runs again with twice the memory, at most `--max-mem`, or with that of `--mem`. Where a GPU ran out of memory, or "
        "a profile sets `mem-per-cpu`, `retry` says what to change instead.",
        memory=True,
    ),
    "nan": RetryRule(
        "A loss or a weight became infinite or NaN.",
        "It never runs again: the same step would give the same bits.",
        retried=False,
    ),
    "disk-full": RetryRule("The results folder has no room left.", AGAIN),
    "missing-data": RetryRule("Images or weights are missing or damaged.", AGAIN),
    "time-limit": RetryRule(
        "The task reached its time limit and was not requeued, or Slurm ended five starts in a row without a result.",
        f"{RESUMES} A scoring has none: give it more `--time`.",
    ),
    "hang": RetryRule("A training made no step for `--hang-minutes`.", IN_A_ROW, node="in a row"),
    "node-failure": RetryRule("The machine failed.", f"{RESUMES} The failed machine is excluded.", node="always"),
    "cancelled": RetryRule("Somebody ran `cancel` or `scancel`, or the job was preempted and not requeued.", RESUMES),
    "killed": RetryRule(
        "A process was killed or crashed without an error, or Slurm no longer knows its job.", IN_A_ROW, node="in a row"
    ),
    "blocked": RetryRule("A stage that the run needs is missing.", "It runs again with that stage."),
    "error": RetryRule("Any other exception, or the job ended without a result.", AGAIN),
}
"""The rule of every cause."""


@dataclass(frozen=True)
class FailedTask:
    """A failed stage and what is known of it.

    Attributes:
        name: of the stage.
        kind: of the stage.
        last: its last attempt.
        mem: memory that its task requested in Slurm's notation; None for the cluster's default, and with mem-per-cpu.
    """

    name: str
    kind: str
    last: Attempt
    mem: str | None = None


@dataclass(frozen=True)
class Adjustment:
    """Changes of the resources that `retry` requests.

    Attributes:
        mem: by kind of stage, the memory of a task.
        exclude: nodes.
        sentences: the changes with their reasons, for the user.
    """

    mem: Mapping[str, str] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()


def adjustment(failures: Iterable[FailedTask], attempts: Iterable[Attempt], max_mem: str) -> Adjustment:
    """The changes that follow from failures.

    Args:
        failures: that are retried.
        attempts: of all unfinished stages.
        max_mem: the most memory to request.
    """
    mem: dict[str, str] = {}
    nodes: dict[str, str] = {}
    sentences = []
    for failure in failures:
        rule = RULES[failure.last.failure or "error"]
        if rule.memory and ON_GPU.search(failure.last.sentence):
            action = "request a larger GPU, or set accumulate in its recipe"
            sentences.append(f"{failure.name} ran out of GPU memory, so --mem does not help: {action}")
        elif rule.memory and failure.mem is None:
            sentences.append(
                f"{failure.name} ran out of memory, and its task requested none with --mem: request more with --mem, or with "
                "mem-per-cpu where the profile sets that"
            )
        elif rule.memory and failure.mem is not None:
            more = doubled(failure.mem, max_mem)
            if memory_bytes(more) > memory_bytes(mem.get(failure.kind, "0")):
                mem[failure.kind] = more
            sentences.append(
                f"{failure.name} ran out of memory with {failure.mem}: it gets {more} (--max-mem {max_mem})"
            )
        if rule.node == "always" and failure.last.by.node:
            nodes[failure.last.by.node] = "it failed"
    nodes |= {
        node: f"{FAILURES_IN_A_ROW} attempts in a row failed there within a day"
        for node in suspect_nodes(attempts)
        if node not in nodes
    }
    sentences += [f"node {node} is excluded: {reason}" for node, reason in nodes.items()]
    return Adjustment(mem, tuple(nodes), tuple(dict.fromkeys(sentences)))


def suspect_nodes(attempts: Iterable[Attempt]) -> list[str]:
    """Nodes whose last attempts of a day all ended in a failure that a bad node may cause."""
    ends: dict[str, list[bool]] = defaultdict(list)
    since = now() - SUSPECT_TIME
    for attempt in sorted(attempts, key=lambda attempt: attempt.at):
        if attempt.by.node and attempt.outcome != "started" and attempt.at > since:
            failure = attempt.failure or ("killed" if attempt.outcome == "killed" else None)
            ends[attempt.by.node].append(failure is not None and RULES[failure].node != "never")
    return [node for node, bad in ends.items() if len(bad) >= FAILURES_IN_A_ROW and all(bad[-FAILURES_IN_A_ROW:])]


def memory_bytes(text: str) -> int:
    """Memory in Slurm's notation, megabytes without a unit.

    >>> memory_bytes("2G") == memory_bytes("2048")
    True

    Raises:
        ValueError: the text has another form.
    """
    match = re.fullmatch(r"(\d+)([KMGT]?)B?", text.upper())
    if match is None:
        raise ValueError("memory is a number with K, M, G or T, such as 64G")
    return int(match[1]) * UNITS[match[2] or "M"]


def doubled(mem: str, max_mem: str) -> str:
    """Twice the memory, at most ``max_mem``, and never less than before.

    >>> doubled("48G", "64G"), doubled("2000M", "64G"), doubled("96G", "64G")
    ('64G', '4000M', '96G')
    """
    if memory_bytes(mem) >= memory_bytes(max_mem):
        return mem
    number, unit = re.sub(r"\D", "", mem), re.sub(r"\d", "", mem)
    twice = f"{2 * int(number)}{unit}"
    return twice if memory_bytes(twice) <= memory_bytes(max_mem) else max_mem
