"""Writes modules as ONNX graphs, and compares each graph with its module."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from benchmark.deployment.export import GraphWriter
from benchmark.errors import UserError

OPSET = 18
BATCHES = (1, 3)
"""Batch sizes at which a graph is compared; it is traced with another one."""
TOLERANCE = 1e-3
"""Largest difference of an output, relative above 1."""


def write_onnx(part: nn.Module, values: Tensor, path: Path) -> None:
    """
    Raises:
        UserError: the graph gives other outputs than the module, for instance at other batch sizes than that of ``values``.
    """
    with torch.no_grad():
        names = ["logits", "tokens"][: len(part(values))]
    with warnings.catch_warnings():
        # The tracing exporter takes a tenth of the time of its successor and needs no onnxscript. torch advises against it, and
        # warns of Python numbers in the trace: here these are sizes that all images share, as the comparison below shows.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            part, (values,), str(path), dynamo=False, input_names=["values"], output_names=names, opset_version=OPSET,
            dynamic_axes={name: {0: "batch"} for name in ("values", *names)},
        )  # fmt: skip
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in BATCHES:
        inputs = values[:1].expand(batch, *values.shape[1:]).contiguous()
        with torch.no_grad():
            expected = part(inputs)
        try:
            outputs = session.run(None, {"values": inputs.numpy()})
            same = all(
                np.shape(own) == other.shape and np.allclose(own, other.numpy(), rtol=TOLERANCE, atol=TOLERANCE)
                for own, other in zip(outputs, expected, strict=True)
            )
        except Exception:  # onnxruntime has many kinds of errors; here all mean the same
            same = False
        if not same:
            raise UserError(
                f"{path.name}: the ONNX graph differs from the model with a batch of {batch}; use --to torch"
            )


ONNX = GraphWriter(".onnx", OPSET, write_onnx)
