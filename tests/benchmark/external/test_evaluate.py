"""The command `evaluate`: somebody else's exits become a run like any other, marked as external."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from benchmark.cli.compare import command as compare_command
from benchmark.cli.deploy import command as deploy_command
from benchmark.cli.evaluate import command
from benchmark.cli.sweep import command as sweep_command
from benchmark.errors import UserError
from benchmark.evaluation.scores import SCORED
from benchmark.evaluation.stored_runs import load_run_scores
from benchmark.external.table import load_exits, read_exits, write_exits
from results.judge.claims import judge
from results.judge.literature import read_claims
from results.record import EXTERNAL_FILE, DoneRecord
from results.store.folder import Store
from results.tables.loading import load_runs
from tests.external_tables import answers_of
from tests.trained_runs import write_trained_run

RUN = "lgvit-vit_nano_patch4_28"
SAMPLES = 60


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with one trained run."""
    folder = tmp_path_factory.mktemp("external") / "results"
    write_trained_run(folder, samples=SAMPLES)
    return folder


@pytest.fixture(scope="module")
def trained(results: Path) -> DoneRecord:
    return Store(results).done_record(RUN)


@pytest.fixture(scope="module")
def table(results: Path, trained: DoneRecord) -> pd.DataFrame:
    """The predictions of the trained run in the form that `evaluate` reads."""
    return answers_of(Store(results), trained)


@pytest.fixture(scope="module")
def external(results: Path, table: pd.DataFrame) -> DoneRecord:
    """The run that `evaluate` makes of them."""
    path = results.parent / "exits.parquet"
    table.sample(frac=1, random_state=0).to_parquet(path)  # rows come in any order
    done = evaluate(results, path, "--name", "lgvit", "--like", RUN, "--blocks", "4,8,12")
    assert done.exit_code == 0, done.output
    (run_id,) = [run_id for run_id in Store(results).run_ids() if run_id.startswith("external-lgvit-")]
    assert run_id in done.output
    return Store(results).done_record(run_id)


def evaluate(results: Path, *arguments: object) -> Result:
    return CliRunner().invoke(command, [*map(str, arguments), "--results", str(results)])


def test_the_answers_of_a_run_give_its_operating_points(trained: DoneRecord, external: DoneRecord) -> None:
    own = {point.name: point for point in external.points}
    expected = {point.name: point for point in trained.points if point.policy == "confidence"}
    assert own == expected
    assert external.costs.cumulative == trained.costs.cumulative
    assert external.costs.baseline == trained.costs.baseline
    assert [exit_.test_accuracy for exit_ in external.exits] == pytest.approx(
        [exit_.test_accuracy for exit_ in trained.exits]
    )


def test_the_run_is_marked_and_reads_like_any_other(results: Path, trained: DoneRecord, external: DoneRecord) -> None:
    assert external.label == "external: lgvit, claimed MACs"
    assert external.is_external
    assert not trained.is_external
    runs, problems = load_runs(Store(results), [RUN, external.run_id])
    assert problems == []
    assert runs[0].setting == runs[1].setting
    compared = CliRunner().invoke(compare_command, [RUN, external.run_id, "--results", str(results)])
    assert compared.exit_code == 0, compared.output
    assert "other images" not in compared.output


def test_no_claim_is_judged_by_it(results: Path, trained: DoneRecord, external: DoneRecord) -> None:
    """Not even when its author names it like a method or a rival of the paper."""
    runs, _ = load_runs(Store(results), [RUN, external.run_id])
    judged = judge(runs, read_claims())
    assert judged["run_ids"].str.contains(trained.run_id).any()
    assert not judged["run_ids"].str.contains(external.run_id).any()
    assert judge(runs[1:], read_claims())["verdict"].eq("not run").all()


def test_sweep_takes_its_confidences(results: Path, external: DoneRecord, tmp_path: Path) -> None:
    out = tmp_path / "sweep.csv"
    arguments = ["--results", str(results), "--out", str(out)]
    done = CliRunner().invoke(
        sweep_command, [*arguments, "--policy", "confidence", "--policy", "confidence:threshold=0.5"]
    )
    assert done.exit_code == 0, done.output
    rows = pd.read_csv(out)
    columns = ["policy", "point", "thresholds", "accuracy", "mac_speedup"]
    own, other = rows[rows["run_id"] == external.run_id], rows[rows["run_id"] == RUN]
    pd.testing.assert_frame_equal(own[columns].reset_index(drop=True), other[columns].reset_index(drop=True))
    assert CliRunner().invoke(sweep_command, arguments).exit_code == 0
    other_out = tmp_path / "entropy.csv"
    arguments = ["--results", str(results), "--out", str(other_out), "--policy", "entropy"]
    done = CliRunner().invoke(sweep_command, arguments, catch_exceptions=False)
    assert f"left out: {external.run_id}" in done.output
    assert set(pd.read_csv(other_out)["run_id"]) == {RUN}


def test_it_has_no_model(results: Path, external: DoneRecord) -> None:
    with pytest.raises(UserError, match="external"):
        CliRunner().invoke(
            deploy_command, [external.run_id, "--budget", "0.5", "--results", str(results)], catch_exceptions=False
        )
    with pytest.raises(UserError, match="external"):
        load_run_scores(Store(results), external)


def test_val_by_ids_and_a_setting_of_its_own(table: pd.DataFrame, tmp_path: Path) -> None:
    test = table[table["split"] == "test"].drop(columns=["split", "macs"])
    path, ids = tmp_path / "exits.csv", tmp_path / "val.txt"
    test.to_csv(path, index=False)
    val = sorted(test["sample_id"].unique())[::2]
    ids.write_text("\n".join(map(str, val)))
    out = tmp_path / "results"
    arguments = (path, "--val-ids", ids, "--macs", "1e6,2e6,3e6", "--dataset", "theirs", "--backbone", "their-net")
    assert evaluate(out, *arguments).exit_code == 0
    store = Store(out)
    (run_id,) = store.run_ids()
    record = store.done_record(run_id)
    assert record.run_id.startswith("external-exits-")
    assert (record.data.name, record.backbone.name, record.costs.baseline) == ("theirs", "their-net", 3_000_000)
    assert record.data.sizes == {"train": 0, "val": 30, "test": 30}
    assert [exit_.block for exit_ in record.exits] == [1, 2, 3]
    runs, problems = load_runs(store, [run_id])
    assert len(runs) == 1
    assert problems == []
    assert evaluate(out, *arguments).exit_code == 0  # the same file is the same run
    assert store.run_ids() == [run_id]
    path.write_text(path.read_text() + "\n")  # another file is not
    assert evaluate(out, *arguments).exit_code == 0
    assert len(store.run_ids()) == 2


def test_thresholds_are_chosen_without_test(table: pd.DataFrame, tmp_path: Path) -> None:
    """Other predictions on test change no threshold that was chosen on val."""
    changed = table.copy()
    test = changed["split"] == "test"
    changed.loc[test, "prediction"] = (changed.loc[test, "label"] + 1) % 10
    thresholds = []
    for number, content in enumerate((table, changed)):
        path, out = tmp_path / f"{number}.csv", tmp_path / f"results-{number}"
        content.to_csv(path, index=False)
        assert evaluate(out, path).exit_code == 0
        (run_id,) = Store(out).run_ids()
        thresholds.append((Store(out).run(run_id) / "thresholds.json").read_bytes())
    assert thresholds[0] == thresholds[1]


def test_stored_exits_read_back(table: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "exits.csv"
    table.to_csv(path, index=False)
    splits, _ = read_exits(path, None, None)
    write_exits(splits, tmp_path / EXTERNAL_FILE)
    again = load_exits(tmp_path / EXTERNAL_FILE)
    for split in SCORED:
        for field in ("sample_id", "label", "prediction", "confidence"):
            np.testing.assert_array_equal(getattr(again[split], field), getattr(splits[split], field))


def _without(**values: object):  # type: ignore[no-untyped-def]
    """A change of the table: the rows with these values are left out."""
    return lambda t: t[~np.logical_and.reduce([t[name] == value for name, value in values.items()])]


def _with(column: str, value: object, row: int = 0):  # type: ignore[no-untyped-def]
    """A change of the table: one cell gets another value."""

    def change(t: pd.DataFrame) -> pd.DataFrame:
        t = t.copy()
        t[column] = t[column].astype(object)
        t.loc[t.index[row], column] = value
        return t

    return change


MISTAKES = {
    "missing column": (lambda t: t.rename(columns={"confidence": "confidences"}), (), ["confidence", "confidences"]),
    "no column": (lambda t: t.drop(columns="confidence"), (), ["no column confidence; needed are"]),
    "missing sample": (lambda t: t.drop(index=0), (), ["exit 1", "every exit"]),
    "duplicate row": (lambda t: pd.concat([t, t[:1]]), (), ["duplicate", "exit 1"]),
    "confidence": (_with("confidence", 1.5, 3), (), ["row 4", "[0, 1]", "1.5"]),
    "no number": (_with("confidence", "high", 3), (), ["row 4", "high"]),
    "half a class": (_with("prediction", 0.5), (), ["row 1", "prediction", "0.5"]),
    "negative id": (_with("sample_id", -1), (), ["row 1", "sample_id", "-1"]),
    "labels differ": (_with("label", 77), (), ["different labels"]),
    "unknown split": (_with("split", "train"), (), ["row 1", "val or test", "train"]),
    "no split": (lambda t: t.drop(columns="split"), (), ["split", "--val-ids"]),
    "no val": (_without(split="val"), (), ["no sample of val"]),
    "no cost": (lambda t: t.drop(columns="macs"), (), ["no cost", "macs", "3 numbers"]),
    "an exit without cost": (lambda t: t, ("--macs", "1,2"), ["--macs", "2 numbers for 3 exits"]),
    "two costs": (_with("macs", 5), (), ["exit 1", "several costs"]),
    "falling costs": (lambda t: t, ("--macs", "3,2,1"), ["grow", "3, 2, 1"]),
    "no costs": (lambda t: t, ("--macs", "a,b,c"), ["--macs a,b,c"]),
    "gap in exits": (_without(exit=2), (), ["1 to K", "1, 3"]),
    "one exit": (lambda t: t[t["exit"] == 1], (), ["at least 2"]),
    "blocks": (lambda t: t, ("--blocks", "4,2,12"), ["--blocks", "4,2,12"]),
    "baseline": (lambda t: t, ("--baseline", "0"), ["--baseline 0"]),
    "no rows": (lambda t: t[:0], (), ["no rows"]),
    "val is test": (lambda t: pd.concat([t[t["split"] == "test"], t[t["split"] == "test"].assign(split="val")]), (),
                    ["60 of 60", "also in val"]),
    "other samples": (lambda t: t[t["sample_id"] != t["sample_id"].iloc[-1]], ("--like", RUN), ["--like", "missing"]),
    "unknown run": (lambda t: t, ("--like", "nothing"), ["unknown run", "nothing"]),
    "bad name": (lambda t: t, ("--name", "\n"), ["--name"]),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(results: Path, table: pd.DataFrame, tmp_path: Path, mistake: str) -> None:
    change, arguments, words = MISTAKES[mistake]
    path = tmp_path / "exits.csv"
    change(table).to_csv(path, index=False)
    before = Store(results).run_ids()
    with pytest.raises(UserError) as raised:
        CliRunner().invoke(command, [str(path), "--results", str(results), *arguments], catch_exceptions=False)
    assert all(word in str(raised.value) for word in words), str(raised.value)
    assert Store(results).run_ids() == before


@pytest.mark.parametrize("name", ["missing.csv", "exits.txt", "broken.parquet", "broken.csv"])
def test_files_that_are_no_tables(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if not name.startswith("missing"):
        path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=name):
        read_exits(path, None, None)
