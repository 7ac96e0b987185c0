"""Training curves for TensorBoard: each epoch once, also where a training was stopped and resumed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmark.cli.run import command as run_command
from benchmark.errors import Interrupted, UserError
from benchmark.execution.tensorboard import FOLDER, CurveWriter, curve_name
from benchmark.training.loop import Learner
from tests.benchmark.training.loops import Loop, StopAt


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(epoch, value) of each curve."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def train(loop: Loop, folder: Path, stop: int | None) -> list[Learner]:
    learners = loop.learners(0, 2)
    stages = [loop.stages[i].training[-1] for i in (0, 2)]
    writer = CurveWriter(StopAt(stop), stages, learners, folder)
    try:
        loop.fit(learners, folder, writer)
    except Interrupted:
        assert stop is not None
    finally:
        writer.close()
    return learners


def test_a_resumed_training_continues_its_curves(tmp_path: Path) -> None:
    loop = Loop(tmp_path, recipes={"exits": {"epochs": 3}})
    names = [curve_name(loop.stages[i].training[-1]) for i in (0, 2)]
    for stop in (2, 4, None):  # in the first epoch of three steps, in the second, never
        learners = train(loop, tmp_path, stop)
    assert sorted(path.name for path in (tmp_path / FOLDER).iterdir()) == sorted(names)
    for name, learner in zip(names, learners, strict=True):
        written = curves(tmp_path / FOLDER / name)
        assert set(written) == {"learning rate", "loss", *learner.history[0]} - {"total"}
        for key, values in written.items():
            assert [epoch for epoch, _ in values] == [1, 2, 3]
            if key not in ("loss", "learning rate"):
                assert [value for _, value in values] == pytest.approx([row[key] for row in learner.history], rel=1e-6)
        assert [value for _, value in written["loss"]] == pytest.approx([row["total"] for row in learner.history])


def test_without_the_package_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    arguments = ["--grid", "quick", "--log", "tensorboard", "--results", str(tmp_path / "results")]
    with pytest.raises(UserError, match="pip install tensorboard"):
        CliRunner().invoke(run_command, arguments, catch_exceptions=False)
    assert not (tmp_path / "results").exists()
