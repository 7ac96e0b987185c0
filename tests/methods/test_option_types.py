"""The options of policies are known without torch: read from the source, they are those of the classes."""

from __future__ import annotations

from dataclasses import fields
from typing import get_type_hints

import pytest

from methods.policies import POLICIES
from methods.policies.option_types import options_class


@pytest.mark.parametrize("name", POLICIES)
def test_options_read_from_the_source_are_those_of_the_class(name: str) -> None:
    policy, options = POLICIES[name].load(), options_class(POLICIES[name].target)
    assert options is not None
    types = get_type_hints(policy, include_extras=True)
    expected = {field.name: (types[field.name], field.default) for field in fields(policy) if field.init}
    assert {field.name: (field.type, field.default) for field in fields(options)} == expected


def test_a_class_of_another_package_is_not_read() -> None:
    assert options_class("theirs.policy:Policy") is None
