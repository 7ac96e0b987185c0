"""What `retry` does with each cause: memory, nodes, and the reasons in the record."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest

from benchmark.execution.retrying import RULES, FailedTask, adjustment, doubled, suspect_nodes
from benchmark.execution.slurm.failures import CAUSES, EXIT_CODES, note_end
from benchmark.execution.slurm.options import adjusted, read_options
from results.record import FailureCause
from results.store.attempts import Attempt, Worker, now, this_process
from tests.benchmark.execution.test_workers import execute_here, grid_file, maker_for


def ended(failure: FailureCause | None, node: str = "n1", minutes: int = 0, outcome: str = "failed") -> Attempt:
    by = Worker(pid=1, host="host", session="s", node=node)
    return Attempt(number=1, at=now() + timedelta(minutes=minutes), by=by, outcome=outcome, failure=failure)


def test_every_cause_has_a_rule() -> None:
    assert set(RULES) == set(get_args(FailureCause))
    assert {cause for cause, _ in [*CAUSES.values(), *EXIT_CODES.values()]} <= set(RULES)


def test_memory_is_doubled_up_to_the_limit_for_the_kind_of_stage() -> None:
    failures = [
        FailedTask("joint-1", "joint", ended("oom"), "48G"),
        FailedTask("joint-2", "joint", ended("oom"), "20G"),
    ]
    changes = adjustment([*failures, FailedTask("exits-1", "exits", ended("oom"))], [], "64G")
    assert changes.mem == {"joint": "64G"}
    assert [
        name in sentence for name, sentence in zip(("joint-1", "joint-2", "exits-1"), changes.sentences, strict=True)
    ]
    assert "mem-per-cpu" in changes.sentences[2]  # the memory of exits-1 is not known
    choice = adjusted(read_options({"mem": "8G"}, None), changes)
    assert [choice.resources(kind).mem for kind in ("joint", "exits")] == ["64G", "8G"]


def test_gpu_memory_is_not_that_of_the_machine() -> None:
    gpu = ended("oom").model_copy(
        update={"sentence": "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."}
    )
    changes = adjustment([FailedTask("joint-1", "joint", gpu, "48G")], [], "512G")
    assert not changes.mem
    (sentence,) = changes.sentences
    for word in ("joint-1", "GPU", "accumulate"):
        assert word in sentence


@pytest.mark.parametrize(("before", "after"), [("2048", "4096"), ("700G", "700G"), ("300G", "512G"), ("1T", "1T")])
def test_memory_in_slurms_notation(before: str, after: str) -> None:
    assert doubled(before, "512G") == after


def test_failed_nodes_are_excluded_also_those_of_a_section(tmp_path: Path) -> None:
    changes = adjustment([FailedTask("exits-1", "exits", ended("node-failure", "n7"))], [], "512G")
    (tmp_path / "p.yaml").write_text("exclude: n1\nexits: {exclude: n2}\n")
    choice = adjusted(read_options({}, tmp_path / "p.yaml"), changes)
    assert [choice.resources(kind).exclude for kind in ("exits", "joint")] == ["n2,n7", "n1,n7"]


@pytest.mark.parametrize(
    ("ends", "nodes"),
    [
        ([ended("killed"), ended("hang", minutes=1)], ["n1"]),
        ([ended("killed"), ended("hang", "n2")], []),
        ([ended("killed"), ended("oom", minutes=1)], []),
        ([ended("killed"), ended("killed", minutes=1), ended(None, minutes=2, outcome="stopped")], []),
        ([ended("killed", minutes=-29_000), ended("killed")], []),  # 20 days ago
        ([ended(None, outcome="killed"), ended(None, minutes=1, outcome="killed")], ["n1"]),
    ],
)
def test_two_failures_in_a_row_exclude_a_node(ends: list[Attempt], nodes: list[str]) -> None:
    assert suspect_nodes(reversed(ends)) == nodes


def test_the_record_lists_earlier_attempts_with_their_reasons(tmp_path: Path) -> None:
    maker = maker_for(grid_file(tmp_path, epochs=1), tmp_path / "results")
    stage = next(stage for stage in maker.plan.missing_stages if stage.kind == "finetune")
    assert maker.attempts.startable([stage])
    maker.attempts._start(stage.name)
    worker = this_process("before").model_copy(update={"node": "n3"})
    note_end(maker.store, worker, [stage.name], "oom", "Slurm killed it for memory")
    assert execute_here(maker) == []
    record = maker.store.record(maker.plan.runs[0].run_id)
    assert record.status == "done"
    (earlier,) = next(one.earlier for one in record.stages if one.name == stage.name)
    assert (earlier.number, earlier.failure, earlier.node) == (1, "oom", "n3")
    assert "for memory" in earlier.reason
