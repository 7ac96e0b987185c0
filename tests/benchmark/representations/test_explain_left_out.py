"""The command `explain` on several runs, some of which have no backbone of their own to explain."""

from __future__ import annotations

import pytest
from click.testing import CliRunner, Result

from benchmark.cli import main
from benchmark.errors import UserError
from benchmark.run_reference import short_id
from results.record import StageRef
from results.spec import ReplacementBackbone
from results.store.folder import Store
from results.store.sharing import share
from tests.conftest import ROOT

REFERENCE = Store(ROOT / "results" / "reference")
STATIC = next(run_id for run_id in REFERENCE.run_ids() if run_id.startswith("static-"))
SMALLER, EXTERNAL = "next-smaller-0123456", "external-0123456"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A run with stored measurements, one on a smaller backbone, and one whose answers were made elsewhere."""
    copy = Store(tmp_path_factory.mktemp("explained"))
    share(REFERENCE, [STATIC], copy.root)
    record = REFERENCE.done_record(STATIC)
    replacement = ReplacementBackbone(backbone="vit_pico", weights=record.spec.train.weights)
    train = record.spec.train.model_copy(update={"replacement": replacement})
    spec = record.spec.model_copy(update={"train": train})
    made = StageRef(stage="external", key="0" * 16, code={}, seconds=1, shared_pass=1, artifacts=())
    for changes in ({"run_id": SMALLER, "spec": spec}, {"run_id": EXTERNAL, "stages": (made,)}):
        with copy.write_run(record.model_copy(update=changes)):
            pass
    return copy


def explain(store: Store, *references: str) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(main, ["explain", *references, "--results", str(store.root)])


def test_runs_that_cannot_be_explained_are_named_and_left_out(store: Store) -> None:
    done = explain(store, SMALLER, STATIC, EXTERNAL)
    assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    assert f"{short_id(SMALLER)}: vit_pico replaces its backbone" in text
    assert f"{short_id(EXTERNAL)}: its backbone was not trained here" in text
    assert text.count("measuring 12 blocks") == 1
    assert "Rules on mechanisms" not in text  # which compare several runs


@pytest.mark.parametrize("references", [(SMALLER,), (EXTERNAL,), (SMALLER, EXTERNAL)])
def test_without_a_run_that_can_be_explained_all_are_refused(store: Store, references: tuple[str, ...]) -> None:
    done = explain(store, *references)
    assert isinstance(done.exception, UserError)
    for run_id in references:
        assert f"{run_id}: " in str(done.exception)
