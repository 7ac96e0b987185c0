"""The environment of a node: the frozen code and plug-ins; what its tasks note."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from benchmark import provenance
from benchmark.errors import HeldElsewhereError
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.slurm import node, report_job
from benchmark.execution.slurm.failures import last_failure
from benchmark.execution.slurm.freeze import FrozenCode, code_files, frozen_code
from benchmark.execution.slurm.submission import submissions
from benchmark.execution.slurm.task import HELD, fruitless_starts
from benchmark.execution.task import run_task
from benchmark.plug_ins import plug_ins
from benchmark.progress import Reporter
from methods import lookup
from results.store.folder import Store
from tests.benchmark.execution.slurm.conftest import FakeSlurm, plan_of, run
from tests.conftest import ROOT

PLUG_IN = """
from methods.api import Card, Component, MethodCard, TrainStage
from methods.losses.self_distillation import SelfDistillation as Loss
from methods.vanilla import Vanilla

class Theirs(Vanilla):
    def stages(self, backbone):
        return (TrainStage(loss=Component("their-loss")),)

method = MethodCard(target="their_method:Theirs", summary="from outside")
loss = Card(target="their_method:Loss", summary="from outside")
"""


@pytest.fixture
def their_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of an installed method, whose package has a second module."""
    folder = tmp_path / "installed"
    info = folder / "their_package-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "their_method.py").write_text(PLUG_IN)
    (folder / "their_rules.py").write_text("LIMIT = 1\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (info / "RECORD").write_text("their_method.py,,\ntheir_rules.py,,\n")
    groups = "[lgvit_bench.method]\ntheirs = their_method:method\n[lgvit_bench.loss]\ntheir-loss = their_method:loss\n"
    (info / "entry_points.txt").write_text(groups)
    monkeypatch.syspath_prepend(folder)
    import_again()
    yield folder / "their_method.py"
    import_again()


def import_again() -> None:
    """As in a new process."""
    lookup.registered_outside.cache_clear()
    plug_ins.cache_clear()
    sys.modules.pop("their_method", None)


def test_a_submission_has_the_code_of_plug_ins(
    slurm: FakeSlurm, store: Store, their_method: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = {"methods": ["static", "theirs"], "seeds": [0]}
    plan = plan_of(store, **theirs)
    submission, _ = run(plan, store)
    assert submission is not None
    before, their_rules = frozen_code().hash, their_method.with_name("their_rules.py")
    assert submission.manifest().code == before
    assert all(f"{submission.code}:{submission.plug_ins}" in script.replace("'\"'\"'", "'") for script in slurm.scripts)
    for path in (their_method, their_rules):  # edited while the job is queued
        path.write_text(path.read_text() + "# edited\n")
    assert frozen_code().hash != before
    assert plan_of(store, **theirs).missing_stages != plan.missing_stages
    monkeypatch.syspath_prepend(submission.plug_ins)  # as in the job
    import_again()
    assert [stage.name for stage in plan_of(store, **theirs).stages] == [stage.name for stage in plan.stages]
    assert sys.modules["their_method"].__file__ == str(submission.plug_ins / "their_method.py")


def test_a_task_of_other_code_says_so(
    slurm: FakeSlurm,
    store: Store,
    their_method: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = plan_of(store, methods=["static", "theirs"], seeds=[0])
    submission, _ = run(plan, store)
    assert submission is not None
    plan_stages = [stage for stage in plan.missing_stages if stage.kind == "exits"]
    their_method.write_text(PLUG_IN + "# edited\n")
    (stage,) = plan_stages
    for name, value in {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1"}.items():
        monkeypatch.setenv(name, value)
    assert node.main(str(submission.folder), "exits", "1", stage.name) == node.FAILED
    failure = last_failure(store, stage.name)
    assert failure is not None
    assert stage.name in failure.sentence
    assert "plug-in" in failure.sentence
    assert failure.sentence in capsys.readouterr().out


@pytest.fixture
def signal_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in node.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signal_handlers")
@pytest.mark.slow
def test_stages_side_by_side_have_the_bits_of_stages_alone(
    slurm: FakeSlurm, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = {"methods": ["static"], "seeds": [0, 1, 2], "recipes": {"finetune": {"epochs": 1, "batch_size": 50}}}
    plan = plan_of(store, **tiny)
    submission, _ = run(plan, store, stages_at_once=2)
    assert submission is not None
    tasks = [task.names for task in submission.manifest().tasks if task.kind == "finetune"]
    assert [len(names) for names in tasks] == [2, 1]
    assert any("--cpus-per-task=2" in script for script in slurm.scripts)
    for name, value in {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1"}.items():
        monkeypatch.setenv(name, value)
    assert node.main(str(submission.folder), "finetune", "1", *tasks[0]) == 0
    attempts = [store.provenance(name) for name in tasks[0]]
    assert {one.machine.threads for one in attempts} == {1}
    logs = list(submission.jobs.glob("7_workers/*.log"))
    assert len(logs) == 2

    alone = Store(store.root.parent / "alone")
    alone.prepare()
    config = ExecutionConfig(results=alone.root, session="s", device="cpu", threads=1, loader_processes=0)
    run_task(plan, config, Reporter(Console(quiet=True)), stages=tasks[0])
    assert [alone.manifest(name) for name in tasks[0]] == [store.manifest(name) for name in tasks[0]]


def test_the_hash_covers_what_computes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = frozen_code({"cifar-10"})
    assert "methods/lgvit.py" in files.code
    assert files.code == frozen_code({"fashion-mnist-mini"}).code
    for name in ("methods/lgvit.py", "reports/paper.typ"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.setattr("benchmark.execution.slurm.freeze.ROOT", tmp_path)
    part = FrozenCode(("methods/lgvit.py", "reports/paper.typ"), (), ())
    before = part.hash
    with (tmp_path / "methods/lgvit.py").open("a") as file:
        file.write("# another line\n")
    assert part.hash != before


def test_the_checkout_of_another_user_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch
    assert "methods/lgvit.py" in code_files()
    provenance.code.cache_clear()
    assert provenance.code().commit is not None
    provenance.code.cache_clear()


def test_a_submission_copies_only_what_tasks_read() -> None:
    files = frozen_code({"cifar-10"})
    assert files.data == ()
    assert {name.partition("/")[0] for name in files.code} == {"benchmark", "datasets", "methods", "results", "reports"}
    assert not [name for name in files.code if name.startswith("results/reference")]
    assert files.count < 600
    assert files.size < 3_000_000
    assert not [name for name in files.code if "/bundled/" in name]
    bundled = frozen_code({"cifar-10", "fashion-mnist-mini"}).data
    assert "datasets/bundled/fashion_mnist_mini.safetensors.xz" in bundled
    source = "bundled:vit_nano_patch4_64.fashion-scenes"
    weights = frozen_code(weights={source, "scratch"}).data
    assert weights == ("methods/backbones/bundled/vit_nano_patch4_64.fashion-scenes.safetensors",)


def test_a_copy_of_the_code_differs_from_the_checkout(
    slurm: FakeSlurm, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmark.execution.slurm.jobs import other_code

    submission, _ = run(plan_of(store), store)
    assert submission is not None
    ((_, manifest),) = submissions(store.root)
    job = manifest.arrays[0].tasks[0].job
    slurm.says("squeue", f"{job.replace('_', '|')}|RUNNING|None|n1\n")
    assert other_code(store.root) == []
    monkeypatch.setattr(FrozenCode, "hash", "another")
    assert other_code(store.root) == [
        f"submission {submission.name} runs the code {manifest.code}, the checkout is another"
    ]


def test_the_summary_goes_to_the_users_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report_job.notify(f"cat > {tmp_path}/mail", "3 of 4 runs are finished")
    assert (tmp_path / "mail").read_text() == "3 of 4 runs are finished\n"
    assert capsys.readouterr().out == ""
    report_job.notify("exit 3", "")
    assert "exit code 3" in capsys.readouterr().out


def test_the_report_job_tells_its_user_of_an_error_and_of_missing_runs(
    slurm: FakeSlurm, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail = store.root.parent / "mail"
    submission, _ = run(plan_of(store, methods=["static"], seeds=[0]), store, notify=f"cat > '{mail}'")
    assert submission is not None
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(report_job.NodeTask, "record_runs", lambda task, run_ids: 1)
    assert report_job.main(str(submission.folder), "report", "1") == node.FAILED
    assert "0 of 1 runs are finished" in mail.read_text()

    def fails(task: node.NodeTask, run_ids: list[str]) -> int:
        raise OSError("No space left on device")

    monkeypatch.setattr(report_job.NodeTask, "record_runs", fails)
    with pytest.raises(OSError, match="No space"):
        report_job.main(str(submission.folder), "report", "1")
    assert "No space left on device" in mail.read_text()


def test_a_task_that_reaches_its_time_limit_again_and_again_fails_and_names_it(
    slurm: FakeSlurm, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission, _ = run(plan_of(store, methods=["static"], seeds=[0]), store)
    assert submission is not None
    (name,) = next(task.names for task in submission.manifest().tasks if task.kind == "finetune")
    for key, value in {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "3"}.items():
        monkeypatch.setenv(key, value)
    task = node.NodeTask(str(submission.folder), "finetune", "1")
    counted = fruitless_starts(submission.folder, "7")
    counted.write_bytes(b"." * (node.MAX_FRUITLESS - 1))
    assert not task.is_started_too_often([name])
    counted.write_bytes(b"." * node.MAX_FRUITLESS)
    assert task.is_started_too_often([name])
    failure = last_failure(store, name)
    assert failure is not None
    assert (failure.failure, "--time" in failure.sentence) == ("time-limit", True)


def test_starts_that_only_waited_do_not_use_up_the_requeues(
    slurm: FakeSlurm, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission, _ = run(plan_of(store, methods=["static"], seeds=[0]), store, max_requeues=2)
    assert submission is not None
    (name,) = next(task.names for task in submission.manifest().tasks if task.kind == "finetune")
    environment = {
        "SUBMITIT_EXECUTOR": "slurm",
        "SLURM_JOB_ID": "7",
        "SLURMD_NODENAME": "n1",
        "SLURM_RESTART_COUNT": "4",
    }
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    task = node.NodeTask(str(submission.folder), "finetune", "1")
    assert task.is_started_too_often([name])
    failure = last_failure(store, name)
    assert failure is not None
    assert (failure.failure, "5 times" in failure.sentence) == ("error", True)

    def held(*arguments: object) -> None:
        raise HeldElsewhereError("a process on n2 makes it")

    monkeypatch.setattr(task, "_in_all_ranks", held)
    for _ in range(2):
        assert task.make_stages([name]) == HELD
    assert not task.is_started_too_often([name])
