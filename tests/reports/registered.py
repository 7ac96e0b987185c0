"""The description of registered methods in records."""

from __future__ import annotations

from benchmark.registry import configured, method_info
from results.record import MethodInfo


def registered(name: str) -> MethodInfo:
    """A registered method with its default options."""
    return method_info(name, configured("method", name, {}))
