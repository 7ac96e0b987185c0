"""Submission to Slurm, with programs in place of Slurm's own; tests/cluster has the real one."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.exceptions import Exit
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmark import registry
from benchmark.cli.slurm import Asked, in_flight, run_on_slurm
from benchmark.cli.slurm_options import check_executor
from benchmark.cli.status_view import screen
from benchmark.errors import UserError
from benchmark.execute.slurm import scheduler
from benchmark.execute.slurm.estimate import Estimator, backbone_size, total
from benchmark.execute.slurm.freeze import code_hash, files_of
from benchmark.execute.slurm.layout import JobArray, arrays_of, units_of
from benchmark.execute.slurm.options import minutes, read_options
from benchmark.execute.slurm.signals import SchedulerSignals
from benchmark.execute.slurm.staging import staged
from benchmark.execute.slurm.submission import Submission, submissions
from benchmark.execute.slurm.verdicts import note_verdicts, sentence_of
from benchmark.execute.slurm.view import slurm_view
from benchmark.grid import find_grid, load_grid
from benchmark.plan import Plan, make_plan
from benchmark.status import status_of
from results.store import Store
from tests.conftest import DATA, ROOT, torch_free

GRID = """
name: many
backbones: [vit_nano_patch4_28]
datasets: [{name: fashion-mnist-mini, set: {train: 200, val: 100, test: 100}}]
methods: [static, lgvit, vanilla, homogeneous-local]
seeds: [0, 1, 2]
"""
SBATCH = """#!/bin/sh
for last; do :; done
case $(grep -c partition=full "$last")$(ls "$FAKE" | grep -c script) in 1*) ;; 02) [ ! -e "$FAKE/refuse" ] ;; esac || {
  echo "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy" >&2; exit 1; }
number=$((100 + $(ls "$FAKE" | grep -c script)))
cp "$last" "$FAKE/script-$number"
echo "Submitted batch job $number"
"""
TOLD = '#!/bin/sh\n[ -e "$FAKE/%s" ] || exit 1\ncat "$FAKE/%s"\n'


class FakeSlurm:
    """A folder in front of PATH; what squeue and sacct say are files there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        programs = {
            "sbatch": SBATCH,
            "squeue": TOLD % ("squeue", "squeue"),
            "sacct": TOLD % ("sacct", "sacct"),
            "scancel": '#!/bin/sh\necho "$@" >> "$FAKE/cancelled"\n',
            "scontrol": "#!/bin/sh\necho 'MaxArraySize            = 4'\n",
            "srun": "#!/bin/sh\n",
        }
        for name, text in programs.items():
            path = folder / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        self.says("squeue", "")

    def says(self, program: str, text: str) -> None:
        (self.folder / program).write_text(text)

    @property
    def scripts(self) -> list[str]:
        return [path.read_text() for path in sorted(self.folder.glob("script-*"))]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    folder = tmp_path / "slurm"
    folder.mkdir()
    monkeypatch.setenv("FAKE", str(folder))
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    return FakeSlurm(folder)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / 'it\'s my "results"')


def plan_of(store: Store, text: str = GRID) -> Plan:
    path = store.root.parent / "grid.yaml"
    path.write_text(text)
    return make_plan(load_grid(path), store)


def run(plan: Plan, store: Store, **given: Any) -> tuple[Submission | None, str]:
    out = io.StringIO()
    asked = Asked("cpu", None, None, None, store.root.parent / "report")
    return run_on_slurm(Console(file=out, width=100), plan, plan, store, asked, given), out.getvalue()


def test_what_is_submitted(slurm: FakeSlurm, store: Store) -> None:
    plan = plan_of(store)
    submission, said = run(
        plan, store, partition="gpu", gpus_per_node=1, sbatch=("mail-type=END",), setup=("module load x",)
    )
    assert submission is not None
    manifest = submission.manifest()
    assert len(slurm.scripts) == len(manifest.arrays)
    for script, array in zip(slurm.scripts, manifest.arrays, strict=True):
        assert f"--array=0-{len(array.tasks) - 1}%" in script or len(array.tasks) == 1
        assert ("--gpus-per-node=1" in script) == any(task.gpus for task in array.tasks)
        assert (f"--dependency=afterany:{':'.join(array.after)}" in script) == bool(array.after)
        assert "#SBATCH --mail-type=END" in script
        assert script.index("module load x") < script.index("export PYTHONPATH") < script.index("srun")
        assert array.job in said
    # All that is missing, each once.
    tasks = [task for array in manifest.arrays for task in array.tasks]
    names = [name for task in tasks for name in task.names]
    assert sorted(names) == sorted([stage.name for stage in plan.missing_stages] + [run.run_id for run in plan.runs])
    # Frozen, and for nobody else.
    assert stat.S_IMODE(submission.folder.stat().st_mode) == 0o700
    assert code_hash(submission.code, [n for n in files_of() if (submission.code / n).is_file()]) == manifest.code
    assert json.loads((submission.code / "frozen.json").read_text())["frozen"] == manifest.code
    assert [run.spec for run in submission.plan(store).runs] == [run.spec for run in plan.runs]


def test_what_is_in_flight_is_not_submitted_again(slurm: FakeSlurm, store: Store) -> None:
    plan = plan_of(store)
    submission, _ = run(plan, store)
    assert submission is not None
    jobs = [task.job for array in submission.manifest().arrays for task in array.tasks]
    waiting = ["|".join([*(job.split("_") if "_" in job else [job, "N/A"]), "PENDING", "Priority", ""]) for job in jobs]
    slurm.says("squeue", "\n".join(waiting) + "\n")
    again, said = run(plan, store)
    assert again is None
    assert "12 in flight" in said
    # A larger grid: its jobs wait for those that make what they share.
    larger = plan_of(store, GRID.replace("vanilla,", "vanilla, homogeneous-global,"))
    more, _ = run(larger, store)
    assert more is not None
    arrays = more.manifest().arrays
    assert not any(task.kind == "finetune" for array in arrays for task in array.tasks)
    exits = next(array for array in arrays if any(task.kind == "exits" for task in array.tasks))
    makers = {task.job for a in submission.manifest().arrays for task in a.tasks if task.kind == "finetune"}
    assert makers <= set(exits.after)
    # When they have ended without making anything, everything is tried again.
    slurm.says("squeue", "\n".join(waiting).replace("PENDING", "CANCELLED") + "\n")
    assert in_flight(store) == {}


def test_all_or_nothing_is_submitted(slurm: FakeSlurm, store: Store) -> None:
    slurm.says("refuse", "")
    with pytest.raises(UserError, match=r"Job violates accounting/QOS policy; the 2 arrays before it were cancelled"):
        run(plan_of(store), store)
    assert (slurm.folder / "cancelled").read_text().split() == ["100", "101"]
    assert in_flight(store) == {}


def test_a_plan_that_is_too_dear_is_refused(slurm: FakeSlurm, store: Store) -> None:
    plan = make_plan(load_grid(find_grid("paper-cifar100")), store)
    with pytest.raises(UserError, match=r"estimated are \d+\.\d GPU-hours at 10 TFLOP/s a GPU, more than the 100"):
        run(plan, store, gpus_per_node=1, max_gpu_hours=100.0)
    assert not slurm.scripts
    assert not store.root.exists()


def test_without_squeue_nothing_is_submitted_over_something(slurm: FakeSlurm, store: Store) -> None:
    run(plan_of(store), store)
    (slurm.folder / "squeue").unlink()
    with pytest.raises(UserError, match="squeue does not answer"):
        run(plan_of(store), store)


def test_a_dry_run_needs_neither_slurm_nor_torch(without_torch: dict[str, str], tmp_path: Path) -> None:
    done = torch_free(
        without_torch, "run", "--grid", "paper-cifar100", "--executor", "slurm", "--results", tmp_path / "r",
        "--gpus-per-node", 1, "--dry-run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "GPU-hours" in done.stdout
    assert "#SBATCH --gpus-per-node=1" in done.stdout
    assert "Nothing was submitted." in done.stdout
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("grid", ["paper-cifar100", "competitors-cpu", "training-schemes"])
@pytest.mark.parametrize("most", [3, 1001])
def test_every_array_comes_behind_what_its_tasks_need(grid: str, most: int, tmp_path: Path) -> None:
    plan = make_plan(load_grid(find_grid(grid)), Store(tmp_path))
    arrays = arrays_of(plan, read_options({"array_parallelism": 8}, None), {}, most)
    before: list[set[str]] = []
    for array in arrays:
        assert 1 <= len(array.tasks) <= most
        waits = set().union(*(before[i] for i in closure(arrays, array)))
        for unit in (unit for task in array.tasks for unit in task.units):
            assert unit.parents <= waits
        before.append({name for task in array.tasks for unit in task.units for name in unit.names})
    made = [name for names in before for name in names]
    assert sorted(made) == sorted(name for unit in units_of(plan, {}) for name in unit.names)
    assert closure(arrays, arrays[-1]) == set(range(len(arrays) - 1))  # the report waits for everything


def closure(arrays: list[JobArray], array: JobArray) -> set[int]:
    found = set(array.after)
    return found.union(*(closure(arrays, arrays[i]) for i in array.after))


def test_estimates_are_those_of_the_reference() -> None:
    published = json.loads((DATA / "cost_tables.json").read_text())["per_exit"]
    table = next(table for name, table in published.items() if name.startswith("ViT-B/16 (197"))
    macs, _ = backbone_size(registry.card("backbone", "vit_base_patch16_224"), 12)
    assert macs == pytest.approx(table["linconv_matmul"]["M0"], rel=1e-3)
    swin = next(table for name, table in published.items() if name.startswith("Swin"))
    macs, _ = backbone_size(registry.card("backbone", "swin_base_patch4_window7_224"), 24)
    assert macs == pytest.approx(swin["linconv_matmul"]["M0"], rel=1e-3)


def test_training_takes_three_forward_passes_an_image(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    plan = plan_of(store)
    (array,) = [a for a in arrays_of(plan, read_options({}, None), {}, 1001) if a.tasks[0].kind == "cost"]
    finetunes = [unit for task in array.tasks for unit in task.units if unit.kind == "finetune"]
    macs, weights = backbone_size(registry.card("backbone", "vit_nano_patch4_28"), 12)
    epochs = plan.runs[0].spec.train.recipes.finetune.epochs
    found = total(Estimator(store).of_unit(unit) for unit in finetunes)
    assert found.macs == 3 * 3 * 200 * epochs * macs
    assert found.kept == 3 * 4 * weights


# Options and profiles


def test_the_command_line_goes_above_the_profile_and_its_sections(tmp_path: Path) -> None:
    profile = tmp_path / "p.yaml"
    profile.write_text(
        "partition: gpu\ngpus-per-node: 1\ntime: 12:00:00\nsetup: module load cuda\n"
        "finetune: {time: 1-00:00:00, partition: long}\nscores: {time: 10}\nrecords: {partition: cpu}\n"
    )
    choice = read_options({"account": "lab", "partition": "mine"}, profile)
    assert {choice.of(kind).partition for kind in ("finetune", "exits", "records")} == {"mine"}
    assert [choice.of(kind).time for kind in ("finetune", "exits", "scores")] == [1440, 720, 10]
    assert [choice.of(kind).gpus for kind in ("finetune", "scores", "cost", "records")] == [1, 1, 0, 0]
    assert choice.of("cost").setup == ("module load cuda",)
    assert read_options({}, profile).of("records").partition == "cpu"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("partiton: gpu", "unknown key 'partiton'; did you mean 'partition'?"),
        ("finetun: {time: 3}", "unknown key 'finetun'; did you mean 'finetune'?"),
        ("finetune: {tim: 3}", "finetune: unknown key 'tim'; did you mean 'time'?"),
        ("finetune: {array-parallelism: 3}", "finetune: unknown key 'array-parallelism'"),
        ("time: 2h", "time: a time is minutes, minutes:seconds"),
        ("time: 0", "time: a time is minutes, minutes:seconds"),
        ("gpus-per-node: -1", "gpus-per-node: Input should be greater than or equal to 0"),
        ("sbatch: {dependency: afterok:1}", "sbatch: 'dependency' is set by the submission itself"),
        ("sbatch: {partition: x}", "sbatch: 'partition' is an option of its own: --partition"),
        ("sbatch: {'x y': 1}", "is no option of sbatch"),
        ("[1]", "a profile is a mapping"),
        ("time: 3\ntime: 4", "the key 'time' is given twice"),
    ],
)
def test_a_wrong_profile_is_explained(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        read_options({}, tmp_path / "p.yaml")
    (message,) = error.value.messages
    assert told in message
    assert "p.yaml" in message


def test_no_grid_says_what_runs_on_a_node(tmp_path: Path) -> None:
    for key in ("setup: [rm -rf]", "sbatch: {comment: x}", "partition: x"):
        (tmp_path / "g.yaml").write_text(GRID + key)
        with pytest.raises(UserError, match=f"unknown key '{key.split(':')[0]}'"):
            load_grid(tmp_path / "g.yaml")


@given(st.integers(0, 30), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_times_are_read_as_sbatch_reads_them(days: int, hours: int, mins: int, secs: int) -> None:
    whole = days * 1440 + hours * 60 + mins + (secs > 0)
    if whole:
        assert minutes(f"{days}-{hours:02d}:{mins:02d}:{secs:02d}") == whole
        assert minutes(f"{days * 24 + hours}:{mins:02d}:{secs:02d}") == whole
        assert minutes(f"{(days * 24 + hours) * 60 + mins}:{secs:02d}") == whole


# What Slurm says


def test_states_come_from_the_queue_then_from_accounting(slurm: FakeSlurm) -> None:
    slurm.says("squeue", "7|0|RUNNING|None|n1\n7|1|PENDING|Resources|\n9|N/A|COMPLETING|None|n2\n")
    slurm.says("sacct", "7_[4-5,8]|CANCELLED by 0|0:0|\n6|OUT_OF_MEMORY|0:125|n3\n6.batch|FAILED|0:9|n3\n")
    states = scheduler.states_of(["7_0", "7_1", "7_5", "7_8", "9", "6", "5"])
    assert {job: state.state for job, state in states.items()} == {
        "7_0": "RUNNING", "7_1": "PENDING", "7_5": "CANCELLED", "7_8": "CANCELLED", "9": "COMPLETING", "6": "OUT_OF_MEMORY",
        "5": scheduler.LOST,
    }  # fmt: skip
    assert [job for job, state in states.items() if state.in_flight] == ["7_0", "7_1", "9"]
    (slurm.folder / "sacct").unlink()  # a site without accounting
    assert scheduler.states_of(["6"])["6"].state == scheduler.LOST


def test_causes_that_only_slurm_knows_are_noted(slurm: FakeSlurm, store: Store) -> None:
    plan = plan_of(store)
    submission, _ = run(plan, store)
    assert submission is not None
    tasks = {name: task.job for array in submission.manifest().arrays for task in array.tasks for name in task.names}
    stage = plan.runs[0].reference
    slurm.says(
        "sacct",
        "".join(
            f"{job}|{'OUT_OF_MEMORY' if job == tasks[stage.name] else 'COMPLETED'}|0:9|n1\n" for job in tasks.values()
        ),
    )
    note_verdicts(plan, store, submission, plan.runs[:1])
    (end,) = store.attempts(stage.name).attempts()
    assert (end.outcome, end.failure) == ("failed", "oom")
    assert f"job {tasks[stage.name]}" in end.sentence
    assert end.by.log == str(submission.log(tasks[stage.name]))
    note_verdicts(plan, store, submission, plan.runs[:1])  # it is told once
    assert len(store.attempts(stage.name).attempts()) == 1


@pytest.mark.parametrize(
    ("state", "reason", "failure"),
    [
        ("OUT_OF_MEMORY", "exit code 0:125", "oom"),
        ("TIMEOUT", "exit code 0:0", "time-limit"),
        ("NODE_FAIL", "exit code 0:0", "node-failure"),
        ("CANCELLED", "exit code 0:15", "cancelled"),
        ("FAILED", "exit code 137:0", "killed"),
        ("FAILED", "exit code 9:0", "killed"),
        ("FAILED", "exit code 0:9", "killed"),
        ("FAILED", "exit code 1:0", "error"),
        ("COMPLETED", "exit code 0:0", "error"),
        ("SOMETHING_NEW", "", "error"),
        (scheduler.LOST, "", "killed"),
    ],
)
def test_slurms_word_for_an_end_is_a_kind_of_cause(state: str, reason: str, failure: str) -> None:
    found, sentence = sentence_of("7_0", scheduler.JobState(state, reason, "n1"))
    assert found == failure
    assert "job 7_0" in sentence
    assert state in sentence


def test_status_says_what_waits_and_what_will_never_come(slurm: FakeSlurm, store: Store) -> None:
    plan = plan_of(store)
    submission, _ = run(plan, store)
    assert submission is not None
    manifest = submission.manifest()
    first = next(task.job for array in manifest.arrays for task in array.tasks if task.kind == "finetune")
    waiting = [task.job for array in manifest.arrays for task in array.tasks if task.job != first]
    lines = [
        "|".join([*(job.split("_") if "_" in job else [job, "N/A"]), "PENDING", "Dependency", ""]) for job in waiting
    ]
    slurm.says("squeue", "\n".join(lines) + "\n")
    slurm.says("sacct", f"{first}|NODE_FAIL|0:0|n7\n")
    status = status_of(plan, store, slurm_view)
    (lost,) = [stage for stage in status.stages.values() if stage.state == "lost"]
    assert lost.stage.kind == "finetune"
    assert lost.log == str(submission.log(first))
    console = Console(file=io.StringIO(), width=120)
    console.print(screen(status, None))
    shown = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert f"its node failed, and Slurm did not requeue it (job {first}: NODE_FAIL" in shown
    assert "waits (Dependency)" in shown


def test_waiting_ends_with_the_last_job_and_says_whether_all_is_done(slurm: FakeSlurm, store: Store) -> None:
    with pytest.raises(Exit) as ended:  # no job is in the queue of this Slurm, and none has made anything
        run(plan_of(store), store, wait=True)
    assert ended.value.exit_code == 1


def test_options_go_with_their_executor() -> None:
    with pytest.raises(UserError, match="--gpus-per-node goes with --executor slurm"):
        check_executor("local", {"gpus_per_node": 0}, workers=True)
    with pytest.raises(UserError, match="--workers goes with --executor local"):
        check_executor("slurm", {}, rehearse=False, workers=True)
    check_executor("local", {}, workers=True)


@pytest.fixture
def requeued() -> Iterator[list[int]]:
    """submitit's handler, as far as we call it."""
    called: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: called.append(number))
    yield called
    signal.signal(signal.SIGUSR2, before)


def test_the_schedulers_warning_requeues_when_everything_is_saved(requeued: list[int]) -> None:
    with SchedulerSignals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)  # Slurm sends both when it preempts
        assert (signals.requested, signals.requeue) == (True, False)
        os.kill(os.getpid(), signal.SIGUSR2)
        assert (signals.requested, signals.requeue) == (True, True)
        assert not requeued
        signals.go()
        assert requeued == [signal.SIGUSR2]
    os.kill(os.getpid(), signal.SIGUSR2)
    assert len(requeued) == 2  # it is submitit's again


def test_what_cannot_stop_is_requeued_after_a_while(requeued: list[int]) -> None:
    with SchedulerSignals() as signals:
        signals.patience = 1
        os.kill(os.getpid(), signal.SIGUSR2)
        end = time.monotonic() + 5
        while not requeued and time.monotonic() < end:
            time.sleep(0.05)
        assert requeued == [signal.SIGUSR2]


# Code


def test_the_hash_covers_what_computes(tmp_path: Path) -> None:
    names = ["methods/lgvit.py", "README.md"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    before = code_hash(tmp_path, names)
    (tmp_path / "README.md").write_text("another page")
    assert code_hash(tmp_path, names) == before
    with (tmp_path / names[0]).open("a") as file:
        file.write("# another line\n")
    assert code_hash(tmp_path, names) != before


def test_a_copy_of_the_code_is_told_from_the_checkout(
    slurm: FakeSlurm, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmark.cli.slurm import other_code

    submission, _ = run(plan_of(store), store)
    assert submission is not None
    ((_, manifest),) = submissions(store.root)
    job = manifest.arrays[0].tasks[0].job
    slurm.says("squeue", f"{job.replace('_', '|')}|RUNNING|None|n1\n")
    assert other_code(store) == []
    monkeypatch.setattr("benchmark.cli.slurm.code_hash", lambda root: "another")
    assert other_code(store) == [f"submission {submission.name} runs the code {manifest.code}, the checkout is another"]


# What the documentation shows


@pytest.mark.parametrize("profile", sorted((ROOT / "docs" / "profiles").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_profiles_of_the_documentation_are_sound(profile: Path, tmp_path: Path) -> None:
    choice = read_options({}, profile)
    assert [choice.of(kind).gpus for kind in ("finetune", "exits", "scores", "cost", "records")] == [1, 1, 1, 0, 0]
    plan = make_plan(load_grid(find_grid("paper-cifar100")), Store(tmp_path))
    assert arrays_of(plan, choice, {}, 1001)
    assert profile.name in (ROOT / "docs" / "slurm.md").read_text()


def test_gpus_are_counted_however_they_are_asked_for() -> None:
    for gres, count in (
        ("gpu", 1),
        ("gpu:2", 2),
        ("gpu:a100:3", 3),
        ("gpu:a100", 1),
        ("lustre:1", 0),
        ("gpu:h100:2,tmp:9", 2),
    ):
        assert read_options({"sbatch": (f"gres={gres}",)}, None).of("exits").gpus == count


def test_data_are_copied_to_the_node_once_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = registry.card("dataset", "cifar-10")
    data_dir, disk, said = tmp_path / "data", tmp_path / "disk", []
    folder = data_dir / card.folders[1]
    disk.mkdir()
    (folder / "deeper").mkdir(parents=True)
    (folder / card.markers[0].rstrip("/")).write_bytes(b"images")
    (folder / "deeper" / "more").write_bytes(b"more images")
    (data_dir / "weights").mkdir()
    monkeypatch.setenv("SLURM_TMPDIR", str(disk))
    root = staged(data_dir, [card], said.append)
    assert root.is_relative_to(disk)
    copy = card.find(root)
    assert {path.name: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == {
        path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    assert (root / "weights").resolve() == data_dir / "weights"
    assert staged(data_dir, [card], said.append) == root
    assert len(said) == 1  # the second found it there
    (folder / card.markers[0].rstrip("/")).write_bytes(b"others")
    assert staged(data_dir, [card], said.append) != root


def test_a_disk_without_room_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = registry.card("dataset", "cifar-10")
    folder = tmp_path / "data" / card.folders[1]
    folder.mkdir(parents=True)
    with (folder / card.markers[0].rstrip("/")).open("wb") as file:
        file.truncate(1 << 43)  # eight terabytes of nothing
    monkeypatch.setenv("SLURM_TMPDIR", str(tmp_path))
    said: list[str] = []
    assert staged(tmp_path / "data", [card], said.append) == tmp_path / "data"
    assert "has no room" in said[0]
