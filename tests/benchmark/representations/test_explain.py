"""The command `explain` on the smoke runs: what it prints and stores, and what it refuses in one sentence."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchmark.cli import main
from benchmark.errors import UserError
from benchmark.representations import logistic
from benchmark.run_reference import short_id
from reports.blocks import Drawn, Shown, Text
from reports.sections.mechanisms import mechanisms
from reports.sections.representations import representations
from reports.study import Study
from reports.tidy_tables import tidy_tables
from reports.web.page import page
from results.record import StageRef
from results.store.folder import Store
from results.store.sharing import share
from results.tables.loading import load_runs
from results.tables.representations import disagreement_table, representation_table
from tests.benchmark.cli.test_screens import too_wide
from tests.conftest import SmokeRun

pytestmark = pytest.mark.slow


def explain(results: Path, *references: str) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(main, ["explain", *references, "--results", str(results)])


def run_of(store: Store, method: str) -> str:
    return next(name for name in store.run_ids() if name.startswith(f"{method}-"))


@pytest.fixture(scope="module")
def explained(smoke: SmokeRun, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    """A copy of the smoke runs, and the output of `explain` for two of them on one backbone."""
    folder = tmp_path_factory.mktemp("r")
    shutil.copytree(smoke.results, folder, dirs_exist_ok=True)
    store = Store(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logistic, "ITERATIONS", 10)  # `test_logistic.py` tests the fits
        done = explain(folder, run_of(store, "static"), run_of(store, "vanilla"))
    assert done.exit_code == 0, done.output
    return store, done.output


def test_the_screen_fits_and_every_run_has_its_sentence_or_table(explained: tuple[Store, str]) -> None:
    store, output = explained
    assert not too_wide(output)
    assert output.count("measuring 12 blocks") == 1  # both runs are on one backbone
    text = " ".join(output.split())
    static, vanilla = (short_id(run_of(store, method)) for method in ("static", "vanilla"))
    assert re.search(rf"{static}: [^:]*no early exits", text)
    assert re.search(rf"{vanilla}: [^:]*frozen backbone", text)
    (first,) = (line.split() for line in output.splitlines() if line.startswith(f"{vanilla}  vanilla"))
    run = next(run for run in load_runs(store, store.run_ids())[0] if run.method == "vanilla")
    exits = disagreement_table([run])
    assert exits is not None
    columns = ["disagreement", "final_right", "final_wrong", "corrected"]
    assert first[2:] == ["4", "linear", *(f"{100 * exits[name][0]:.1f}" for name in columns)]


def test_nothing_is_measured_twice_and_shared_records_need_no_weights(
    explained: tuple[Store, str], tmp_path: Path
) -> None:
    store, output = explained
    stages = store.done_stages()
    again = explain(store.root, run_of(store, "static"), run_of(store, "vanilla"))
    assert (again.output, store.done_stages()) == (output, stages)
    share(store, store.run_ids(), tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))
    copied = explain(tmp_path, run_of(store, "static"), run_of(store, "vanilla"))
    assert copied.output.replace(str(tmp_path), str(store.root)) == output
    table, copy = (representation_table(load_runs(one, one.run_ids())[0]) for one in (store, Store(tmp_path)))
    assert table is not None
    assert table.equals(copy)
    assert set(table["measure"]) >= {"cka", "attention-distance", "high-frequency-share", "probe-accuracy"}
    assert not table.duplicated(["measure", "split", "block", "part"]).any()


def test_the_report_has_a_section_whose_numbers_are_in_its_tables(explained: tuple[Store, str]) -> None:
    runs, _ = load_runs(explained[0], explained[0].run_ids())
    study = Study("t", runs, tidy_tables(runs, []))
    text, figure, table = representations(study)
    (rules,) = mechanisms(study)
    assert isinstance(text, Text)
    assert isinstance(figure, Drawn)
    assert isinstance(table, Shown)
    assert len(table.table.rows) == 12
    assert {row[0] for row in rules.table.rows} == {"(a)", "(b)", "(c)", "(d)"}
    shown = {number for row in table.table.rows for cell in row for number in re.findall(r"[0-9.]+", cell)}
    exits = study.tidy["disagreement"].select_dtypes("number").to_numpy().ravel()
    shown |= {f"{100 * value:.1f}" for value in exits} | {str(int(value)) for value in exits}
    sentence = text.text.partition(": ")[2].partition("{")[0]
    assert set(re.findall(r"[0-9]+(?:[.][0-9]+)?", sentence)) <= shown
    assert page(study).count("What the blocks represent") == 2  # a title and a caption
    bare = [run.changed(measurements=(), probes=()) for run in runs]
    without = Study("t", bare, tidy_tables(bare, []))
    assert [*representations(without), *mechanisms(without)] == []
    assert "What the blocks represent" not in page(without)


def test_a_damaged_table_is_named_and_left_out(explained: tuple[Store, str], tmp_path: Path) -> None:
    share(explained[0], explained[0].run_ids(), tmp_path)
    copy = Store(tmp_path)
    (name,) = copy.stages("representations")
    with (copy.stage(name) / "representations.csv").open("a") as table:
        table.write("cka,val,1,both,1,\n")
    runs, problems = load_runs(copy, copy.run_ids())
    assert len(problems) == 1
    assert name in problems[0]
    assert representation_table(runs) is None


def test_runs_without_weights_and_external_runs_are_refused_in_a_sentence(smoke: SmokeRun, tmp_path: Path) -> None:
    store, copy = Store(smoke.results), Store(tmp_path)
    vanilla = run_of(store, "vanilla")
    share(store, [vanilla], tmp_path)
    stage = StageRef(stage="external", key="0" * 16, code={}, seconds=1, shared_pass=1, artifacts=())
    with copy.write_run(store.done_record(vanilla).model_copy(update={"run_id": "external-1", "stages": (stage,)})):
        pass
    for run_id, reason in ((vanilla, "weights"), ("external-1", "not trained here")):
        done = explain(tmp_path, run_id)
        assert isinstance(done.exception, UserError)
        assert run_id in str(done.exception)
        assert reason in str(done.exception)
