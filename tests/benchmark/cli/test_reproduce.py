"""`reproduce`: train a run again from its record alone and judge the result; records of other people are not trusted."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmark.errors import UserError
from benchmark.execution.config import ExecutionConfig
from benchmark.execution.local import run_locally
from benchmark.grid.load import load_grid
from benchmark.grid.spec_from_record import LocalPaths, claim_folder, finished_record, grid_of_record
from benchmark.stages.changes import stage_changes
from benchmark.stages.graph import run_stages
from benchmark.stages.keys import code_versions
from benchmark.stages.plan import make_plan
from results.record import DoneRecord
from results.spec import RunSpec
from results.store.folder import Store
from tests.conftest import ROOT, Command, SmokeRun
from tests.datasets.photos import write_photos
from tests.results.builders import failed_record, stage_provenance
from tests.results.edited import edit_record

pytestmark = pytest.mark.slow

TINY = """
name: tiny
backbones: [vit_nano_patch4_28]
datasets: [{name: fashion-mnist-mini, set: {train: 60, val: 50, test: 100}}]
methods: [vanilla]
exits: [[4, 8]]
recipes: {finetune: {epochs: 1, batch_size: 20}, exits: {epochs: 1, batch_size: 20}}
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A results folder with the record of one small run only: no weights, no scores, no tables."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "grid.yaml").write_text(TINY)
    whole = Store(folder / "whole")
    plan = make_plan(load_grid(folder / "grid.yaml"), whole)
    config = ExecutionConfig(results=whole.root, device="cpu", threads=1, loader_processes=0)
    assert run_locally(Console(file=io.StringIO()), plan, config).failed == []
    store = Store(folder / "record alone")
    (run_id,) = whole.run_ids()
    store.run(run_id).mkdir(parents=True)
    shutil.copy(whole.run(run_id) / "record.json", store.run(run_id))
    return store


@pytest.fixture
def lgvit(smoke: SmokeRun) -> DoneRecord:
    store = Store(smoke.results)
    (run_id,) = (name for name in store.run_ids() if name.startswith("lgvit-"))
    return store.record(run_id)


def test_a_record_alone_reproduces_the_run_bit_identically(
    tiny: Store, tmp_path: Path, benchmark_command: Command
) -> None:
    (run_id,) = tiny.run_ids()
    own = Store(tmp_path / "again")
    arguments = ("reproduce", run_id, "--results", tiny.root, "--into", own.root, "--loader-workers", 0)
    done = benchmark_command(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nreproduced: bit-identical\n" in done.stdout
    assert done.stdout.index("rule:") < done.stdout.index("fine-tuning")
    first, second = tiny.record(run_id), own.record(run_id)
    assert first.stages
    assert [s.artifacts for s in first.stages] == [s.artifacts for s in second.stages]
    assert first.points == second.points
    assert not (tiny.root / "stages").exists()

    # A second call trains nothing. A record with other checksums is not reproduced.
    again = benchmark_command(*arguments)
    assert again.returncode == 0
    assert "\nreproduced: bit-identical\n" in again.stdout
    assert "fine-tuning" not in again.stdout
    forged = Store(tmp_path / "forged")
    shutil.copytree(tiny.root, forged.root)
    edit_record(forged.run(run_id), lambda record: record["stages"][1]["artifacts"][0].update(sha256="0" * 64))
    other = Store(tmp_path / "other")
    claim_folder(other, forged, run_id)
    shutil.copytree(own.root / "runs", other.root / "runs")
    judged = benchmark_command("reproduce", run_id, "--results", forged.root, "--into", other.root)
    assert judged.returncode == 1, judged.stdout
    assert "OTHER BITS" in judged.stdout
    assert "not reproduced" in judged.stdout
    # Another number of threads is printed, and the bits may then differ.
    edit_record(forged.run(run_id), lambda record: record.update(provenance=_threads(record["provenance"], 64)))
    third = Store(tmp_path / "third")
    claim_folder(third, forged, run_id)
    shutil.copytree(own.root / "runs", third.root / "runs")
    tolerant = benchmark_command("reproduce", run_id, "--results", forged.root, "--into", third.root)
    assert tolerant.returncode == 0, tolerant.stdout
    threads = first.provenance.machine.threads
    assert f"threads: 64 -> {threads}" in tolerant.stdout
    assert "\nreproduced: within" in tolerant.stdout


def _threads(provenance: dict[str, Any], count: int) -> dict[str, Any]:
    return provenance | {"machine": provenance["machine"] | {"threads": count}}


def test_the_grid_of_each_record_contains_its_run(smoke: SmokeRun) -> None:
    store = Store(smoke.results)
    for run_id in store.run_ids():
        record = finished_record(store, run_id)
        (run,) = grid_of_record(record, store.run(run_id) / "record.json", LocalPaths(), None).runs
        stages = run_stages(run)
        assert stages.run_id == run_id
        assert run == record.spec
        assert stage_changes(record, store, stages) == []


def test_a_run_of_a_grid_with_learning_rates_and_a_primary_endpoint_is_the_same_run() -> None:
    """The learning rates of the grid are part of the run's key, and its own is part of its recipes."""
    store = Store(ROOT / "results" / "reference")
    for method in ("lgvit", "vanilla", "class-patch-mean"):
        run_id = next(name for name in store.run_ids() if name.startswith(f"{method}-") and "-s0-" in name)
        record = finished_record(store, run_id)
        assert record.spec.learning_rates
        (run,) = grid_of_record(record, store.run(run_id) / "record.json", LocalPaths(), None).runs
        assert run == record.spec


# Changes since the record


def test_a_stage_of_another_version_is_named(smoke: SmokeRun, lgvit: DoneRecord, tmp_path: Path) -> None:
    (run,) = grid_of_record(lgvit, tmp_path, LocalPaths(), None).runs
    older = [
        stage.model_copy(update={"key": "0" * 16, "code": stage.code | {"data": 0}})
        if stage.stage == "finetune"
        else stage
        for stage in lgvit.stages
    ]
    changed = lgvit.model_copy(update={"stages": tuple(older)})
    (change,) = stage_changes(changed, Store(tmp_path), run_stages(run))
    assert (change.field, change.recorded, change.here) == ("finetune.code.data", 0, code_versions("finetune")["data"])
    assert change.effect == "changes what is computed"

    # If only the key differs, the manifest names the changed field; without a manifest the difference is the key.
    other = tuple(s.model_copy(update={"key": "0" * 16}) if s.stage == "exits" else s for s in lgvit.stages)
    changed = lgvit.model_copy(update={"stages": other})
    (unknown,) = stage_changes(changed, Store(tmp_path), run_stages(run))
    assert unknown.field == "exits.key"
    stage = run_stages(run).training[-1]
    fields = stage.fields | {"heads": [{**stage.fields["heads"][0], "code_version": 0}, *stage.fields["heads"][1:]]}
    with Store(tmp_path).write_stage(f"exits-{'0' * 16}", fields, stage_provenance()):
        pass
    (named,) = stage_changes(changed, Store(tmp_path), run_stages(run))
    assert (named.field, named.recorded, named.here) == ("exits.heads.1.code_version", 0, 1)


# Paths in a record are not followed


def with_spec(record: DoneRecord, change: Callable[[dict[str, Any]], None]) -> DoneRecord:
    spec = record.spec.model_dump(mode="json")
    change(spec)
    return record.model_copy(update={"spec": RunSpec.model_validate(spec)})


def refused(record: DoneRecord, elsewhere: LocalPaths | None = None) -> str:
    with pytest.raises(UserError) as error:
        grid_of_record(record, Path("record.json"), elsewhere or LocalPaths(), None)
    return str(error.value)


@pytest.mark.parametrize("name", ["folder:/etc", "folder:../..", "synthetic:folder:/etc"])
def test_a_folder_named_by_a_record_is_not_read(lgvit: DoneRecord, name: str) -> None:
    record = with_spec(lgvit, lambda spec: spec["train"]["dataset"].update(name=name, set={}))
    assert f"the run uses {name};" in refused(record)
    assert "--images PATH" in refused(record)


def test_the_user_gives_the_local_folder(lgvit: DoneRecord, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos")
    record = with_spec(lgvit, lambda spec: spec["train"]["dataset"].update(name="folder:/theirs/photos", set={}))
    (run,) = grid_of_record(record, Path("record.json"), LocalPaths(images=tmp_path / "photos"), None).runs
    assert run.train.dataset.name == f"folder:{tmp_path / 'photos'}"
    assert refused(lgvit, LocalPaths(images=tmp_path)).startswith("--images ")
    assert str(tmp_path / "none") in refused(record, LocalPaths(images=tmp_path / "none"))


@pytest.mark.parametrize(("source", "sentence"), [
    ("file:/etc/passwd", "--weights PATH"),
    ("timm:../../etc/passwd", "weights are 'scratch', 'timm:' with a full tag"),
    ("/etc/passwd", "weights are 'scratch', 'timm:' with a full tag"),
])  # fmt: skip
def test_a_file_named_by_a_record_is_not_read(lgvit: DoneRecord, source: str, sentence: str) -> None:
    assert sentence in refused(with_spec(lgvit, lambda spec: spec["train"]["weights"].update(source=source)))


@pytest.mark.parametrize(("change", "sentence"), [
    (lambda spec: spec["train"]["method"].update(name="lgvitt"), "unknown method 'lgvitt'; did you mean 'lgvit'?"),
    (lambda spec: spec["train"]["dataset"].update(name="fashion-mnist-mimi"), "did you mean 'fashion-mnist-mini'?"),
    (lambda spec: spec["train"].update(exits=[3, 12]), "block 12 cannot be an early exit of vit_nano_patch4_28"),
    (lambda spec: spec["train"]["recipes"]["finetune"].update(augment="../x"), "unknown augmentation '../x'"),
    (lambda spec: spec["policies"][0].update(name="confidense"), "did you mean 'confidence'?"),
])  # fmt: skip
def test_an_invalid_spec_is_one_sentence(
    lgvit: DoneRecord, change: Callable[[dict[str, Any]], None], sentence: str
) -> None:
    message = refused(with_spec(lgvit, change))
    assert sentence in message
    assert message.startswith("record.json: ")


# The run, and the folder of the second run


def test_an_unknown_run_is_one_sentence(
    smoke: SmokeRun, lgvit: DoneRecord, tmp_path: Path, benchmark_command: Command
) -> None:
    done = benchmark_command("reproduce", lgvit.run_id + "0", "--results", smoke.results, "--into", tmp_path / "into")
    assert done.returncode == 2
    assert f"did you mean '{lgvit.run_id}'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "into").exists()


def test_failed_and_imported_runs_are_rejected(lgvit: DoneRecord, tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(UserError, match=re.escape(str(tmp_path))):
        finished_record(store, "x")
    (first, *others) = lgvit.stages
    imported = first.model_copy(update={"stage": "imported"})
    for record, part in (
        (failed_record("failed", cause="out of memory"), "out of memory"),
        (lgvit.model_copy(update={"run_id": "imported", "stages": (imported, *others)}), "checkpoint"),
    ):
        with store.write_run(record):
            pass
        with pytest.raises(UserError, match=f"{record.run_id} .*{part}"):
            finished_record(store, record.run_id)


def test_the_folder_holds_one_reproduction_and_nothing_else(smoke: SmokeRun, lgvit: DoneRecord, tmp_path: Path) -> None:
    store = Store(smoke.results)
    with pytest.raises(UserError, match=r"--into: .*; name another folder"):
        claim_folder(store, store, lgvit.run_id)
    claim_folder(Store(tmp_path / "new"), store, lgvit.run_id)
    claim_folder(Store(tmp_path / "new"), store, lgvit.run_id)  # the same record may continue
    other = next(name for name in store.run_ids() if name != lgvit.run_id)
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "new"))):
        claim_folder(Store(tmp_path / "new"), store, other)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "file"))):
        claim_folder(Store(tmp_path / "file"), store, lgvit.run_id)
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "file"))):
        claim_folder(Store(tmp_path / "file" / "below"), store, lgvit.run_id)
