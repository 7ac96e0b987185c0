"""The loss of probes is that of the heads, for every registered method."""

from __future__ import annotations

import pytest

from benchmark import registry
from methods import METHODS
from methods.exit_method import ExitMethod
from methods.losses.self_distillation import SelfDistillation
from results.store.probes import Distillation, distillation_of
from tests.results.builders import done_record

CLASSES = 10


METHODS_IN_REGIMES = [
    (name, regime)
    for name, card in METHODS.items()
    if issubclass(card.load(), ExitMethod)
    for regime in ("frozen", "joint", "alternating", "mixed", "alternating-frozen")
    if name != "jei-dnn" or regime == "frozen"  # its gates need a frozen backbone
]


@pytest.mark.parametrize(("name", "regime"), METHODS_IN_REGIMES)
def test_probes_have_the_loss_of_the_heads(name: str, regime: str) -> None:
    card = registry.card("backbone", "vit_nano_patch4_28")
    method = registry.configured("method", name, {"regime": regime})
    record = done_record(method=registry.method_info(name, method))
    assert record.data.classes == CLASSES
    expected = None
    last = method.stages(card)[-1].loss
    if last.name == "self-distillation":
        loss = SelfDistillation(**last.options)
        divisor = CLASSES if loss.kd_divisor == "elements" else 1
        entropy, distilled = 1 - loss.weight, loss.weight / divisor
        if distilled:
            expected = Distillation(weight=distilled / (entropy + distilled), temperature=loss.temperature)
    found = distillation_of(record)
    if expected is None or found is None:
        assert found is expected
    else:
        assert found.weight == pytest.approx(expected.weight)
        assert found.temperature == expected.temperature
