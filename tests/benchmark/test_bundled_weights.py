"""The program that trains the weights that ship with the suite."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from benchmark.bundled_weights import BATCH_SIZE, train
from benchmark.weights import BUNDLED, bundled_names
from datasets.fashion_mnist import MINI


@pytest.mark.parametrize("name", bundled_names())
def test_steps_change_all_weights_that_ship(name: str) -> None:
    (photos,) = MINI.fixed_folders
    start, weights = (train(name.partition(".")[0], photos, steps) for steps in (0, 3))
    shipped = load_file(BUNDLED / f"{name}.safetensors")
    assert {name: tensor.shape for name, tensor in weights.items()} == {name: t.shape for name, t in shipped.items()}
    assert all(tensor.isfinite().all() for tensor in weights.values())
    changed = [name for name in weights if not torch.equal(weights[name], start[name])]
    read = [name for name in weights if not name.startswith("model.cls_token")]
    assert set(read) <= set(changed)
    assert BATCH_SIZE * 7_521 == 120_336  # as the README of the weights says
