"""Examples beside a record of segmentation: written, read, bounded and drawn; also those of models whose tokens leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reports.blocks import Drawn, Text
from reports.figures.scenes import NAMED, Scene, scenes
from reports.sections.dense_prediction import frames, shown_exits
from reports.sections.segmentation import classes_and_boundaries
from reports.study import Study
from reports.tidy_tables import tidy_tables
from results.tables.examples import Example, examples_frame, examples_of
from results.tables.loading import load_runs
from results.tables.run import Run
from tests.segmentation_runs import write_segmentation


def example(sample_id: int = 3, left: np.ndarray | None = None) -> Example:
    rng = np.random.default_rng(sample_id)
    label = rng.integers(0, 4, (32, 32)).astype(np.uint8)
    label[:4] = 255
    return Example(
        sample_id,
        rng.integers(0, 256, (32, 32, 1)).astype(np.uint8),
        label,
        rng.integers(0, 4, (3, 8, 8)).astype(np.uint8),
        left,
    )


LEFT = np.arange(64, dtype=np.uint8).reshape(8, 8) % 3


def test_a_table_of_examples_gives_them_back(tmp_path: Path) -> None:
    path = tmp_path / "examples.parquet"
    examples_frame([example(3), example(1, LEFT)]).to_parquet(path, index=False)
    again = examples_of(pd.read_parquet(path))
    assert [one.sample_id for one in again] == [3, 1]
    assert again[0].left is None
    assert again[1].left is not None
    assert (again[1].left == LEFT).all()
    for one, other in zip(again, [example(3), example(1)], strict=True):
        assert (one.image == other.image).all()
        assert (one.label == other.label).all()
        assert (one.answers == other.answers).all()


@pytest.mark.parametrize(("change", "sentence"), [
    (lambda table: table.drop(columns="pixels"), "no column pixels"),
    (lambda table: table[table["what"] != "label"], "has no image, no label or no answer"),
    (lambda table: table.assign(height=10**6), "at most 1024 are read"),
    (lambda table: table.assign(width=31), "has other pixels"),
    (lambda table: table.assign(height=16, channels=2), "has 2 channels"),
])  # fmt: skip
def test_a_damaged_table_is_named(change: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        examples_of(change(examples_frame([example()])))  # type: ignore[operator]


@pytest.mark.parametrize(("spread", "taken", "shown"), [
    ([0, 2, 5, 8], [2, 8, 2, 8], [0, 2, 5, 8]),
    ([0, 2, 5, 8], [3, 3, 3, 3], [0, 2, 3, 5, 8]),
    ([0, 2, 5, 8], [3, 6, 3, 6], [0, 3, 6, 8]),
    ([0, 3, 6, 8], [2, 3, 5, 6], [0, 2, 3, 5, 8]),  # the last exit, not the one before
])  # fmt: skip
def test_the_first_and_the_last_exit_have_a_column(spread: list[int], taken: list[int], shown: list[int]) -> None:
    assert shown_exits(spread, taken, 5) == shown
    assert ("without a frame" in frames("confidence/equal-macs-0.5", shown, taken)) == (not set(taken) <= set(shown))


def test_the_figure_has_a_column_for_each_shown_exit_and_names_the_classes_in_it() -> None:
    figure = scenes(
        [Scene(example(1), 0), Scene(example(2), 2)], [4, 8, 12], ["ground", "shirt", "shoe", "bag"], [0, 2]
    )
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert titles == ["image", "label", "block 4", "block 12"]
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {"ground", "shirt", "shoe", "bag"}
    frames = [len(axes.patches) for axes in figure.axes]
    assert frames == [0, 0, 1, 0, 0, 0, 0, 1]


def test_exits_of_tokens_have_the_size_of_the_answers() -> None:
    with pytest.raises(ValueError, match="have another size than its answers"):
        examples_of(examples_frame([example(3, LEFT[:4])]))


def test_where_tokens_left_is_a_column_of_its_own() -> None:
    tokens = [example(1, LEFT), example(2, LEFT)]
    rows = [Scene(example(1), 0, tokens[0]), Scene(example(2), 2, tokens[1])]
    figure = scenes(rows, [4, 8, 12], ["ground", "shirt", "shoe", "bag"], [0, 2], (6, 8, 12))
    assert [axes.get_title() for axes in figure.axes[4:6]] == ["token exit", "left after"]
    (legend,) = figure.legends
    colors = {
        text.get_text(): patch.get_facecolor()  # type: ignore[attr-defined]
        for text, patch in zip(legend.get_texts(), legend.get_patches(), strict=True)
    }
    assert list(colors)[-3:] == ["block 6", "block 8", "block 12"]
    for row, last in ((0, 5), (1, 11)):
        (image,) = figure.axes[last].images
        pixels = np.asarray(image.get_array())
        for exit_, block in enumerate(("block 6", "block 8", "block 12")):
            assert np.allclose(pixels[exit_ == LEFT], colors[block]), (row, block)


def test_the_legend_names_the_largest_of_many_classes_and_leaves_room_for_the_images() -> None:
    label = np.repeat(np.arange(150, dtype=np.uint8), 8).reshape(30, 40)
    label[:20] = 7
    many = Example(1, np.zeros((30, 40, 3), np.uint8), label, np.full((1, 8, 8), 99, np.uint8))
    figure = scenes([Scene(many, 0)], [12], [f"class {index}" for index in range(150)], [0])
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert len(names) == NAMED + 1
    assert {"class 7", "class 99"} <= set(names)
    assert names[-1] == "and 35 more"
    figure.draw_without_rendering()
    assert all(axes.get_window_extent().height > figure.bbox.height / 3 for axes in figure.axes)


@pytest.fixture(scope="module")
def invented(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """LGViT and truncated backbones with two seeds, and a model of seed 1 whose tokens leave, at each of four costs."""
    store = write_segmentation(tmp_path_factory.mktemp("scenes"), methods=("lgvit",))
    runs, problems = load_runs(store, store.run_ids())
    assert not problems
    (truncated,) = (run for run in runs if run.method.startswith("truncated") and run.seed == 1)
    return runs + [token_exit(truncated, share) for share in (0.2, 0.45, 0.52, 0.9)]


def token_exit(run: Run, share: float) -> Run:
    """A run of ``token-exit`` with this share of the MACs, on the backbone and data of a run without exits."""
    record = run.record
    method = record.spec.train.method.model_copy(update={"name": "token-exit", "set": {"threshold": share}})
    train = record.spec.train.model_copy(update={"method": method, "token_exits": (4, 8)})
    described = record.method.model_copy(update={"name": "token-exit", "display_name": "Token exit"})
    costs = record.costs.model_copy(update={"cumulative": (round(share * record.costs.baseline),)})
    changes = {"spec": record.spec.model_copy(update={"train": train}), "method": described, "costs": costs}
    return replace(run, record=record.model_copy(update={"run_id": f"token-exit-{share}", **changes}))


def scenes_of(runs: Sequence[Run], seed: int) -> tuple[str, Drawn]:
    """The sentence and the figure of the scenes in a report, where LGViT of this seed is shown."""
    chosen = [run for run in runs if run.seed == seed or not run.has_exits]
    study = Study("scenes", chosen, tidy_tables(chosen, []))
    text, drawn = classes_and_boundaries(study)[:2]
    assert isinstance(text, Text)
    assert isinstance(drawn, Drawn)
    return text.text, drawn


def examples_with(monkeypatch: pytest.MonkeyPatch, left: dict[float, np.ndarray | None]) -> None:
    """Give LGViT two examples and each ``token-exit`` the same images, with what is in ``left`` for its share of the MACs."""

    def examples(run: Run) -> list[Example]:
        rng = np.random.default_rng(0)
        exits = rng.integers(0, 4, (4, 8, 8)).astype(np.uint8)
        shown = [replace(example(1000 + i), answers=exits) for i in range(2)]
        if run.has_exits:
            return shown
        share = run.record.spec.train.method.set.get("threshold")
        return [replace(one, answers=exits[:1], left=left.get(share)) for one in shown]  # type: ignore[arg-type]

    monkeypatch.setattr(Run, "examples", property(examples))


def test_a_report_shows_where_tokens_left_in_the_model_nearest_to_half_of_the_macs(
    invented: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    examples_with(monkeypatch, {0.2: LEFT, 0.45: LEFT, 0.52: LEFT, 0.9: LEFT})
    text, drawn = scenes_of(invented, seed=1)
    assert text.endswith("and where tokens left with Token exit (threshold 0.52).")
    assert "columns are of Token exit (threshold 0.52), with 52 % of the MACs of the backbone" in drawn.caption
    titles = [axes.get_title() for axes in drawn.figure.axes]
    columns = titles.index("left after") + 1
    assert titles[columns - 2] == "token exit"
    assert len(titles) == 2 * columns  # two images
    (legend,) = drawn.figure.legends
    assert [text.get_text() for text in legend.get_texts()][-3:] == ["block 4", "block 8", "block 12"]


def test_a_report_without_the_exits_of_tokens_of_this_seed_shows_those_of_images_alone(
    invented: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    examples_with(monkeypatch, {0.45: LEFT})
    assert "with 45 % of the MACs" in scenes_of(invented, seed=1)[1].caption
    for left, seed in (({0.45: LEFT}, 0), ({}, 1)):
        examples_with(monkeypatch, dict(left))
        text, drawn = scenes_of(invented, seed)
        assert "tokens" not in text + drawn.caption
        assert "left after" not in [axes.get_title() for axes in drawn.figure.axes]
