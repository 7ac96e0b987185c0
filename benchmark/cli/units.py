"""Quantities as people read them."""

from __future__ import annotations


def size(count: float) -> str:
    """A number of bytes: ``12 MB``."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit != "GB" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def hours(count: float) -> str:
    """A time of minutes or hours, for estimates: ``12 minutes``, ``3.5 hours``."""
    minutes = max(1, round(60 * count))
    if count >= 1:
        return f"{count:,.0f} hours" if count >= 100 else f"{count:.1f} hours"
    return "1 minute" if minutes == 1 else f"{minutes} minutes"
