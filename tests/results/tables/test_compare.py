"""Comparisons of two runs and of two sets of runs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmark.checkout import ROOT
from benchmark.cli.compare import command as compare
from benchmark.cli.list import command as list_command
from results.judge.failures import failures
from results.metric import MIOU
from results.stats.significance import holm
from results.store.folder import Store
from results.tables.compare import differences, disjoint_axes, match, point_differences, record_differences
from results.tables.iso_accuracy import iso_table
from results.tables.outcomes import split_by_point
from results.tables.points import comparisons
from results.tables.run import Run
from tests.conftest import Command, SmokeRun
from tests.results.loaded import runs_by_method
from tests.segmentation_runs import write_segmentation


@pytest.fixture(scope="module")
def runs(smoke: SmokeRun) -> dict[str, Run]:
    return runs_by_method(Store(smoke.results))


def test_differing_fields_are_named() -> None:
    first = {"a": {"b": 1, "c": 2}, "same": 3, "list": [1], "seconds": 1}
    second = {"a": {"b": 1, "c": 4}, "same": 3, "list": [1, 2], "new": {"x": 5}, "seconds": 2}
    fields = [(d.field, d.first, d.second) for d in differences(first, second)]
    assert fields == [("a.c", 2, 4), ("list", [1], [1, 2]), ("new.x", None, 5)]
    assert differences(first, first) == []


def test_two_methods_differ_in_their_spec_only(runs: dict[str, Run]) -> None:
    by_kind = record_differences(runs["lgvit"].record, runs["vanilla"].record)
    assert [d.field for d in by_kind["spec"]] == ["train.method.name"]
    assert by_kind["code"] == by_kind["environment"] == []


def test_points_are_paired(runs: dict[str, Run]) -> None:
    lgvit, local = runs["lgvit"], runs["homogeneous-local"]
    table = point_differences(lgvit, local).set_index("point")
    assert table.loc["static", "difference"] == 0
    assert table.loc["static", "p"] == 1
    assert len(table) > 3
    for name, row in table.iterrows():
        expected = (lgvit.values(str(name)) - local.values(str(name))).mean()
        assert row["difference"] == pytest.approx(expected)
        assert row["low"] - 1e-9 <= row["difference"] <= row["high"] + 1e-9
    assert table["p_holm"].tolist() == holm(table["p"].to_numpy()).tolist()
    same = point_differences(lgvit, lgvit)
    assert (same["difference"] == 0).all()
    assert (same["first_macs"].dropna() == same["second_macs"].dropna()).all()


def test_other_samples_are_not_paired(runs: dict[str, Run]) -> None:
    run = runs["lgvit"]
    moved = replace(run, point_outcomes=split_by_point(run.outcomes.assign(sample_id=run.outcomes["sample_id"] + 1)))
    table = point_differences(run, moved)
    assert (table["difference"] == 0).all()
    assert table["low"].isna().all()
    assert table["p_holm"].isna().all()


@pytest.mark.parametrize("differ", ["sample ids", "labels", "content"])
def test_only_runs_on_the_same_images_are_paired(runs: dict[str, Run], differ: str) -> None:
    run = runs["lgvit"]
    if differ == "sample ids":
        other = replace(
            run, point_outcomes=split_by_point(run.outcomes.assign(sample_id=run.outcomes["sample_id"] + 1))
        )
    else:  # a folder of the same name with other images under the same ids
        assert run.record.data is not None
        changes = {"split_identity": {"test": "x"}} if differ == "labels" else {"content": {"test": "pixels:x"}}
        data = run.record.data.model_copy(update=changes)
        other = replace(run, record=run.record.model_copy(update={"data": data}))
    others = [other, runs["vanilla"], runs["homogeneous-local"]]
    assert {tuple(pair) for pair in comparisons(others)[["first", "second"]].to_numpy()} == {
        ("vanilla", "homogeneous-local")
    }
    assert set(iso_table(others).query("second != 'static'")["first"]) <= {"vanilla"}
    named = failures([runs["vanilla"], other, runs["homogeneous-local"]]).query("signature == 'tested on other images'")
    assert named["run_id"].tolist() == [other.record.run_id]


def test_results_are_paired_by_their_spec(runs: dict[str, Run]) -> None:
    first = [runs["lgvit"], runs["vanilla"]]
    renamed = replace(runs["lgvit"], record=runs["lgvit"].record.model_copy(update={"run_id": "elsewhere"}))
    matched = match(first, [renamed, runs["homogeneous-local"]])
    assert matched.equal == [(runs["lgvit"], renamed)]
    assert matched.similar == []
    assert matched.only_first == [runs["vanilla"].record.run_id]
    assert matched.only_second == [runs["homogeneous-local"].record.run_id]


def test_runs_of_other_recipes_are_paired_by_what_they_compare(runs: dict[str, Run]) -> None:
    run = runs["lgvit"]
    train = run.record.spec.train

    def changed(**fields: object) -> Run:
        spec = run.record.spec.model_copy(update={"train": train.model_copy(update=fields)})
        return replace(run, record=run.record.model_copy(update={"spec": spec}))

    longer = train.recipes.model_copy(update={"exits": train.recipes.exits.model_copy(update={"epochs": 9})})
    matched = match([run], [changed(recipes=longer)])
    assert [len(matched.equal), len(matched.similar)] == [0, 1]
    other = changed(backbone="vit_pico_patch4_28")
    assert match([run], [other]).similar == []
    assert disjoint_axes([run], [other]) == {"backbone": ([train.backbone], ["vit_pico_patch4_28"])}


def test_the_command(smoke: SmokeRun, runs: dict[str, Run], tmp_path: Path, benchmark_command: Command) -> None:
    names = [runs[method].record.run_id for method in ("lgvit", "vanilla")]
    done = benchmark_command("compare", *names, "--results", smoke.results)
    assert done.returncode == 0, done.stderr
    assert "train.method.name: lgvit -> vanilla" in done.stdout
    assert "code: the same" in done.stdout
    assert "environment: the same" in done.stdout
    assert "confidence/equal-macs-0.5" in done.stdout

    shutil.copytree(smoke.results / "runs", tmp_path / "copy" / "runs")
    shutil.rmtree(tmp_path / "copy" / "runs" / names[1])
    done = benchmark_command("compare", smoke.results, tmp_path / "copy")
    assert done.returncode == 0, done.stderr
    assert f"only in {smoke.results}: {names[1][-8:]} ({names[1][:-9]})" in " ".join(done.stdout.split())
    assert f"{len(runs) - 1} of {len(runs) - 1} pairs" in done.stdout  # told in one line, not point by point
    assert "confidence" not in done.stdout

    short, elsewhere = names[0][-8:], tmp_path / "copy" / "runs" / names[0][:-2]
    done = benchmark_command("compare", short, elsewhere, "--results", smoke.results)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(names[0]) == 2
    assert "results are the same" in done.stdout

    wrong = benchmark_command("compare", names[0], names[1] + "0", "--results", smoke.results)
    assert wrong.returncode == 2
    assert f"did you mean '{names[1]}'" in wrong.stderr
    empty = benchmark_command("compare", "a", "b", "--results", tmp_path)
    assert empty.returncode == 2
    assert "there is no run in" in empty.stderr
    (tmp_path / "empty").mkdir()
    none = benchmark_command("compare", smoke.results, tmp_path / "empty")
    assert none.returncode == 2
    assert "no finished run in" in none.stderr


def test_runs_without_a_common_point_are_not_called_the_same() -> None:
    reference = ROOT / "results" / "reference"
    runs = sorted(path.name for path in (reference / "runs").iterdir())
    names = [next(name for name in runs if name.startswith(f"{method}-vit_nano")) for method in ("static", "lgvit")]
    done = CliRunner().invoke(compare, [*names, "--results", str(reference)])
    assert done.exit_code == 0
    assert "no operating point" in " ".join(done.output.split())
    assert "results are the same" not in done.output


def test_segmentations_are_compared_by_their_miou(smoke: SmokeRun, runs: dict[str, Run], tmp_path: Path) -> None:
    store = write_segmentation(tmp_path, seeds=(0,), methods=("lgvit", "vanilla"))
    first, second = (
        next(name for name in store.run_ids() if name.startswith(method)) for method in ("lgvit", "vanilla")
    )
    done = CliRunner().invoke(compare, [first, second, "--results", str(tmp_path)])
    assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    assert "mIoU in % on test" in text
    assert MIOU.note in text
    assert "the first has the higher mIoU at" in text
    assert "ccura" not in text.replace("accuracy-drop", "")
    assert "other images" not in text  # both have the same backbone without exits, so its difference is exactly 0

    listed = CliRunner().invoke(list_command, ["--runs", "--results", str(tmp_path)])
    assert f"speed-up in layers and in MACs, at a drop of at most 1 point on val. mIoU: {MIOU.note}" in " ".join(
        listed.output.split()
    )

    same = CliRunner().invoke(compare, [str(tmp_path), str(tmp_path)])
    assert "4 of 4 pairs of runs have the same results" in same.output

    classifier = str(smoke.results / "runs" / runs["lgvit"].record.run_id)
    other = CliRunner().invoke(compare, [first, classifier, "--results", str(tmp_path)])
    assert other.exit_code == 0, other.output
    assert "not compared: they are of segmentation and classification" in other.output
