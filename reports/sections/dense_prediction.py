"""What the sections on segmentation and on detection share: parts by group, and the point and the exits of scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from reports.blocks import Block, Heading
from reports.comparison_group import DROP, HALF, ComparisonGroup
from reports.names import point_words
from reports.study import Study
from results.tables.run import Run

Part = Callable[[Study, ComparisonGroup], list[Block]]


def by_group(study: Study, task: str, parts: Iterable[Part]) -> list[Block]:
    """The parts about each main group of a task, below a heading where the report has several groups."""
    blocks: list[Block] = []
    for setting in study.main:
        if setting.leading.record.data.task == task:
            made = [block for part in parts for block in part(study, setting)]
            blocks += [Heading(setting.place), *made] if made and len(study.main) > 1 else made
    return blocks


def point_names(run: Run) -> list[str]:
    """The operating points that scenes and tables of classes are about, the preferred one first; a run may not reach them."""
    return [f"{run.judged_policy}/{kind}-{target:g}" for kind, target in (HALF, DROP)]


def exits_taken(run: Run) -> tuple[str, dict[int, int]] | None:
    """The first of `point_names` that a run reaches, and the 0-based exit of each test image there, by id; None without one.

    Where settings are mixed, the exits are those of the setting with the largest weight.
    """
    point = next((name for name in point_names(run) if name in run.point_outcomes), None)
    if point is None:
        return None
    outcomes = run.point_outcomes[point]
    mostly = outcomes.exit[outcomes.weight.argmax()]
    return point, dict(zip(outcomes.sample_id.tolist(), mostly.tolist(), strict=True))


def shown_exits(spread: Iterable[int], taken: Iterable[int], most: int) -> list[int]:
    """The exits that have a column in a figure of scenes.

    Args:
        spread: some exits over the whole depth.
        taken: those at which the shown images leave.
        most: number of columns, at least 2; if there are more exits, only the first, the last and the earliest of those taken
            are shown.
    """
    spread, taken = set(spread), set(taken)
    if len(spread | taken) <= most:
        return sorted(spread | taken)
    ends = {min(spread), max(spread)}
    return sorted(ends | set(sorted(taken - ends)[: most - 2]))


def frames(point: str, shown: Iterable[int], taken: Iterable[int]) -> str:
    """For the caption of a figure of scenes: what the frames are, and where an image has none."""
    text = f"A frame marks the exit at which the image leaves {point_words(point)}"
    return f"{text}." if set(taken) <= set(shown) else f"{text}; images without a frame leave at another one."
