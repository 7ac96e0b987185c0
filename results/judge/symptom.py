"""One symptom of a problem, as the rules of `results.judge.failures` and `results.judge.weak_runs` report it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Symptom:
    """One symptom.

    Attributes:
        signature: name of the rule.
        run_id: of the run; several are joined by spaces.
        place: exit, class or operating point.
        value: measured.
        limit: that it exceeds.
        sentence: a description.
    """

    signature: str
    run_id: str
    place: str
    value: float
    limit: float
    sentence: str
