"""A changed byte in any file of a results or progress folder is detected or has no effect."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmark.training.checkpoints import previous, read_checkpoint, write_checkpoint
from results.check import Check
from results.provenance import Code
from results.store.attempts import ATTEMPTS, HEARTBEAT, Attempt, Heartbeat, this_process
from results.store.commands import FILE, Command
from results.store.devices import DeviceCheck, read_checks, write_check
from results.store.folder import Store, StoreError
from results.store.run_files import TABLES, read_run_file
from tests.conftest import SmokeRun
from tests.results.builders import failed_record, machine

PLACES = 200
AT = datetime(2026, 1, 2, tzinfo=UTC)
Case = tuple[Path, Callable[[], Any]]
"""A file and its readers, which raise an error if they detect damage."""


def cases(store: Store, smoke: SmokeRun) -> dict[str, Case]:
    """A file of each kind, in a copy of a small results folder."""
    (source,) = smoke.results.glob("runs/lgvit-*")
    shutil.copytree(source, store.run(source.name))
    record = store.done_record(source.name)
    for reference in record.stages:
        shutil.copytree(smoke.results / "stages" / reference.name, store.stage(reference.name), dirs_exist_ok=True)
    with store.write_run(failed_record("failed")) as folder:
        (folder / "traceback.txt").write_text("Traceback: out of memory")
    run = store.run(source.name)
    files: dict[str, Case] = {
        "record.json": (run / "record.json", lambda: store.record(source.name)),
        "record.json of a failed run": (store.run("failed") / "record.json", lambda: store.record("failed")),
    }
    beside = [run / f"{name}.parquet" for name in TABLES] + [run / "thresholds.json"]
    for path in beside:
        files[path.name] = path, lambda path=path: read_run_file(path, record)
    traceback = store.run("failed") / "traceback.txt"
    files["traceback.txt"] = traceback, lambda: read_run_file(traceback, store.record("failed"))
    for reference in record.stages:
        name = reference.name
        for artifact in reference.artifacts:
            file = Path(artifact.path).name
            files[f"{reference.stage}/{file}"] = (
                store.root / artifact.path, lambda name=name, file=file: store.artifact(name, file).read_bytes(),
            )  # fmt: skip
    files["manifest.json"] = store.stage(name) / "manifest.json", lambda: store.manifest(name)
    files["provenance.json"] = store.stage(name) / "provenance.json", lambda: store.provenance(name)
    check = DeviceCheck(
        machine=machine(), code=Code(commit=None, dirty=None), finished=AT, checks=(Check("a", "ok", "b"),)
    )
    files["devices/*.json"] = write_check(store, check), lambda: read_checks(store)
    return files | _unfinished(store)


def _unfinished(store: Store) -> dict[str, Case]:
    """The files of a stage in progress, and of the command."""
    progress = store.progress("exits-0")
    checkpoint = progress.folder / "checkpoint.pt"
    for content in (b"first" * 100, b"second" * 100):
        write_checkpoint(checkpoint, content)
    worker = this_process("session")
    progress.write_heartbeat(
        Heartbeat(stage="exits-0", by=worker, device="cpu", attempt=1, started=AT, updated=AT, step=5)
    )
    for outcome in ("started", "failed"):
        progress.append(Attempt(number=1, at=AT, by=worker, outcome=outcome))
    with Command.open(store, "grid"):
        command = (store.root / FILE).read_bytes()
    (store.root / FILE).write_bytes(command)

    def resumed() -> bytes:
        """The content that a training resumes from; damaged files are removed, so a copy is read."""
        copy = store.root / "copy"
        shutil.copytree(progress.folder, copy)
        content, damage = read_checkpoint(copy / checkpoint.name)
        shutil.rmtree(copy)
        if damage:
            raise StoreError(damage)
        return content

    def heartbeat() -> Heartbeat:
        beat = progress.heartbeat()
        if beat is None:
            raise StoreError("it counts as not written")
        return beat

    def attempts() -> list[Attempt]:
        lines = progress.attempts()
        if len(lines) < 2:
            raise StoreError("a line counts as not written")
        return lines

    return {
        "checkpoint.pt": (checkpoint, resumed),
        "checkpoint-previous.pt": (previous(checkpoint), resumed),  # not read while the latest one is whole
        HEARTBEAT: (progress.folder / HEARTBEAT, heartbeat),
        ATTEMPTS: (progress.folder / ATTEMPTS, attempts),
    }


def flips(path: Path, read: Callable[[], Any], seed: str) -> Counter[str]:
    """Number of changed bytes that are detected, have no effect, or change the content without an error."""
    rng = random.Random(seed)
    whole, expected = path.read_bytes(), read()
    counts: Counter[str] = Counter()
    for _ in range(PLACES):
        content = bytearray(whole)
        content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
        path.write_bytes(content)
        try:
            counts["no effect" if read() == expected else "silent"] += 1
        except StoreError:
            counts["noticed"] += 1
    path.write_bytes(whole)
    return counts


@pytest.mark.slow
def test_a_changed_byte_is_never_silent(smoke: SmokeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    totals = {}
    for kind, (path, read) in cases(Store(tmp_path), smoke).items():
        totals[kind] = flips(path, read, kind)
    with capsys.disabled():
        print()
        for kind, counts in totals.items():
            print(f"{kind}: {dict(counts)}")
    assert {kind: counts["silent"] for kind, counts in totals.items() if counts["silent"]} == {}
    assert sum(counts["noticed"] for counts in totals.values()) > 0.9 * PLACES * (len(totals) - 1)
