"""How commands name a run: by its id, by the beginning of the id, or by its short id."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from benchmark.errors import UserError
from methods.lookup import nearest, shortened

SHOWN = 10


def short_id(run_id: str) -> str:
    """The last part of a run's id: 8 hexadecimal digits, which tables show and every command takes."""
    return run_id.rpartition("-")[2]


def find_run(reference: str, run_ids: Collection[str], where: str) -> str:
    """The run that a user means.

    Args:
        reference: a run's id, or the beginning of its id or of its short id.
        run_ids: to choose from.
        where: the place where the runs are, for messages: a folder, a grid.

    Raises:
        UserError: no run or more than one fits.
    """
    if reference in run_ids:
        return reference
    if not run_ids:
        raise UserError(f"there is no run in {where}")
    fitting = [run_id for run_id in run_ids if run_id.startswith(reference) or short_id(run_id).startswith(reference)]
    if reference and len(fitting) == 1:
        return fitting[0]
    if not reference or not fitting:
        suggestion = nearest(reference, [*run_ids, *map(short_id, run_ids)])
        raise UserError(f"unknown run {shortened(reference)}; {suggestion}in {where} there are: {_listed(run_ids)}")
    raise UserError(f"{reference!r} is the beginning of {len(fitting)} runs in {where}: {_listed(fitting)}; name one")


def _listed(run_ids: Iterable[str]) -> str:
    names = list(run_ids)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
