"""Registered names that users give as values of options."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from benchmark import registry
from benchmark.errors import UserError
from benchmark.grid.yaml_files import read_value
from results.spec import Configured


def registered(kind: str, name: str, option: str) -> Any:
    """The registry's card for a name on the command line.

    Args:
        kind: as in `benchmark.registry.TABLES`.
        name: as the user wrote it.
        option: the command-line option, for messages.

    Raises:
        UserError: the name is not registered.
    """
    try:
        return registry.card(kind, name)
    except KeyError as error:
        raise UserError(f"{option}: {error.args[0]}") from None


def configured(kind: str, text: str, option: str) -> tuple[Configured, Any]:
    """Read ``NAME[:KEY=VALUE,...]``, with values as in a grid.

    Returns:
        the name with its options, and the method, policy or other object that they configure.

    Raises:
        UserError: the name is unknown, or an option does not fit it.
    """
    name, _, options = text.partition(":")
    pairs = [pair.partition("=") for pair in options.split(",") if pair]
    try:
        config = Configured(name=name, set={key.strip(): read_value(value) for key, _, value in pairs})
        return config, registry.configured(kind, config.name, config.set)
    except ValidationError as error:  # an empty name
        raise UserError(f"{option} {text!r}: {error.errors()[0]['msg']}") from None
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{option}: {error.args[0]}") from None
