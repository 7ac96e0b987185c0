"""A plug-in method with linear exits. The environment makes its steps slow, or fail, or take memory, which changes no bit:

SLOW_SECONDS    what each step takes longer, except the first SLOW_AFTER steps of a process
SLOW_FAILS      1: the first step fails
SLOW_MEGABYTES  memory that the first step takes
"""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass
from typing import Any

from methods.api import BackboneCard, Card, Component, MethodCard, TrainStage
from methods.losses.self_distillation import SelfDistillation
from methods.vanilla import Vanilla


@dataclass(frozen=True)
class Slow(Vanilla):
    def stages(self, backbone: BackboneCard) -> tuple[TrainStage, ...]:
        return (TrainStage(loss=Component("slow-loss")),)


STEPS = itertools.count()
TAKEN = bytearray()


@dataclass(frozen=True)
class SlowLoss(SelfDistillation):
    def __call__(self, *arguments: Any) -> Any:
        if next(STEPS) >= int(os.environ.get("SLOW_AFTER", "0")):
            time.sleep(float(os.environ.get("SLOW_SECONDS", "0")))
        if os.environ.get("SLOW_FAILS") == "1":
            raise RuntimeError("planned failure")
        if not TAKEN:
            TAKEN.extend(bytes(int(os.environ.get("SLOW_MEGABYTES", "0")) << 20))
        return super().__call__(*arguments)


METHOD = MethodCard(target="slow_method:Slow", summary="vanilla, slowly")
LOSS = Card(target="slow_method:SlowLoss", summary="slowly")
