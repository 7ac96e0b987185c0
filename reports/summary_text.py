"""The summary that `run` and `report` print: a row per method at two operating points, for the first settings."""

from __future__ import annotations

from reports.captioned import marks, noted
from reports.comparison_group import HALF, ComparisonGroup
from reports.study import Study
from reports.tables import DASH, Table, percent, plus_minus, renamed, times
from reports.text_tables import plain
from results.judge.contrast import AHEAD, BEHIND
from results.tables.run import STATIC

MOST = 12
"""Rows in all; a first setting with more of them is cut."""


def summary_text(study: Study) -> str:
    """Accuracy at half of the MACs, and accuracy and speed-ups at a drop of at most 1 point."""
    pairs: list[tuple[str, Table]] = []
    shown = 0
    for setting in study.main:
        table = renamed(_table(setting), study.display)
        if pairs and shown + len(table.rows) > MOST:
            break
        pairs.append((_caption(study, setting), table))
        shown += min(len(table.rows), MOST)
    parts = [plain([pair]) for pair in pairs]
    more = len(study.main) - len(pairs)
    if more:
        parts.append(f"{more} more setting{'' if more == 1 else 's'}: table.txt\n")
    return "\n".join(parts)


def _caption(study: Study, setting: ComparisonGroup) -> str:
    metric = setting.metric
    where = f"{setting.name}. ½ MACs: {metric.name} (%) on test at half of the MACs of the backbone without exits."
    rows = setting.shown
    seeds = "".join(f", {text} only" for text in dict.fromkeys(rows["timed_seeds"]) if text)
    rest = (
        f"Then, at a drop of at most 1 point on val or a fixed threshold: {metric.name} (%), and the speed-up in layers (heads "
        f"free), in MACs and, where measured, in time (one image at a time{seeds})."
    )
    cut = f" The first {MOST} of {len(rows)} rows; table.txt has all." if len(rows) > MOST else ""
    return noted(f"{where} {rest}{marks(setting, study.display) if setting.contrasts else ''}{cut}", metric)


def _table(setting: ComparisonGroup) -> Table:
    shown = setting.shown.iloc[:MOST]
    timed = bool(shown[shown["kind"] != STATIC]["time_speedup"].notna().any())
    half = setting.at(HALF).set_index("label")
    marked: dict[str, set[tuple[int, int]]] = {AHEAD: set(), BEHIND: set()}
    rows = []
    for r, (_, row) in enumerate(shown.iterrows()):
        label = row["label"]
        if (label, HALF[1]) in setting.contrasts:
            marked.setdefault(setting.contrasts[label, HALF[1]].result, set()).add((r, 1))
        cells = [label, plus_minus(half.loc[label]) if label in half.index else DASH]
        if row["reached"]:
            cells += [percent(row["accuracy"]), times(row["layer_speedup"]), times(row["mac_speedup"])]
            cells += [times(row["time_speedup"])] if timed else []
        else:
            cells += ["not reached", *[DASH] * (3 if timed else 2)]
        rows.append(tuple(cells))
    header = ("Method", "½ MACs", setting.metric.title, "Layers", "MACs", *(["Time"] if timed else []))
    # The contrasts are the reference minus the others: it is behind those that are ahead of it.
    return Table(header, tuple(rows), frozenset(marked[BEHIND]), frozenset(marked[AHEAD]))
