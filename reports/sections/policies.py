"""Other exit policies on the same scores, if the grid has several."""

from __future__ import annotations

from reports.blocks import Block, Shown, Text
from reports.sources import source
from reports.study import DROP, HALF, Study
from reports.tables import DASH, Table, plus_minus, times
from results.tables.points import summary

MANY = 40


def other_policies(study: Study) -> list[Block]:
    """Every method under every policy. With only one method the main results show this already."""
    if study.judged is study.runs or all(len(run.policies) < 2 for run in study.runs):
        return []
    blocks: list[Block] = []
    for setting in study.main:
        ids = {run.record.run_id for run in setting.exiting}
        rows = study.points[study.points["run_id"].isin(ids) & study.points["kind"].isin([DROP[0], HALF[0], "fixed"])]
        rules = list(dict.fromkeys(rows["policy"]))
        if len(rules) < 2:
            continue
        totals = summary(rows)
        half = totals[(totals["kind"] == HALF[0]) & (totals["target"] == HALF[1])]
        drop = totals[(totals["kind"] == DROP[0]) & (totals["target"] == DROP[1])]
        cells = []
        for method in dict.fromkeys(rows["method"]):
            for rule in rules:
                at, fast = (t[(t["method"] == method) & (t["policy"] == rule) & t["reached"]] for t in (half, drop))
                if not at.empty or not fast.empty:
                    speed = (
                        [DASH] * 2
                        if fast.empty
                        else [times(fast.iloc[0][f"{name}_speedup"]) for name in ("layer", "mac")]
                    )
                    cells.append(
                        (f"{study.display[method]}, {rule}", DASH if at.empty else plus_minus(at.iloc[0]), *speed)
                    )
        more = f" {len(cells) - MANY} more rows are in table.md." if len(cells) > MANY else ""
        caption = (
            f"Test accuracy (%) at half of the MACs by policy{study.where(setting)}; layers, MACs: the speed-up where "
            f"at most 1 point is lost on val. ±: half of the 95 % interval.{more}"
        )
        table = Table(("Method and policy", "½ MACs", "layers", "MACs"), tuple(cells[:MANY]))
        blocks.append(Shown(caption, table, source=source(setting.exiting, "points")))
    if not blocks:
        return []
    own = list(dict.fromkeys(rule for run in study.runs if (rule := run.judged_policy) and run.has_exits))
    text = (
        f"Section 2 uses one policy per method, its own or the first of the grid ({', '.join(own)}); the table has all."
    )
    return [Text(text), *blocks]
