"""Exports a model with early exits: one graph per segment, a description, and a program that runs them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from benchmark.deployment.deployed import DeployedExit, InputForm
from benchmark.deployment.predictor import Predictor
from benchmark.deployment.segments import Preprocess, segments
from benchmark.errors import UserError
from methods.policies.confidence import Confidence
from methods.policies.entropy import Entropy
from methods.policies.margin import Margin
from methods.policies.policy import ExitPolicy
from results.frozen import Frozen

DESCRIPTION = "export.json"
RUNNER = Path(__file__).with_name("runner.py")
POLICIES: dict[type[ExitPolicy], str] = {Confidence: "confidence", Entropy: "entropy", Margin: "margin"}
"""The policies that the runner has."""


@dataclass(frozen=True)
class GraphWriter:
    """Writes a module with one input as a graph.

    Attributes:
        suffix: of the files.
        opset: of ONNX; None for another form.
        write: called with the module, an input of two images or of their tokens, and the file.
    """

    suffix: str
    opset: int | None
    write: Callable[[nn.Module, Tensor, Path], None]


class ExportedPolicy(Frozen):
    """The rule by which an image leaves."""

    name: Literal["confidence", "entropy", "margin"]
    """The largest probability, or the difference of the two largest, is above the threshold; or the entropy is below it."""
    normalised: bool = False
    """Whether the entropy is divided by its maximum, ln C."""


class Exported(Frozen):
    """The content of export.json."""

    format: Literal[1] = 1
    run: str
    point: str
    """The operating point, or the policy with its threshold."""
    policy: ExportedPolicy
    threshold: float
    classes: tuple[str, ...]
    """Class names by index."""
    input: InputForm
    """Images are uint8 [N, stored_size, stored_size, stored_channels]; the first graph does the rest."""
    segments: tuple[str, ...]
    """Files, in order. The input is `values`; the outputs are `logits` and, except for the last, `tokens`."""
    opset: int | None
    """Of ONNX; None in the torch form. The first axis of every tensor is the batch, of any size from 1."""
    torch: str
    exits: tuple[DeployedExit, ...]
    baseline_macs: int
    """Of the backbone without exits."""


def export(predictor: Predictor, folder: Path, writer: GraphWriter) -> Exported:
    """Write a predictor's model into a folder.

    Args:
        predictor: on the CPU.
        folder: is created; must not contain anything.
        writer: `TORCH`, or `benchmark.deployment.onnx_graphs.ONNX`, with which the folder also gets a runner for onnxruntime.

    Raises:
        UserError: a head reads the logits of another exit, the runner lacks the policy, the folder is not
            empty or cannot be written, or a graph differs from the model.
    """
    if any(head.cascades for head in predictor.model.exit_heads.in_order):
        raise UserError(
            f"export has no graphs for heads that read the logits of the exit before, and {predictor.run_id} has such heads"
        )
    policy, threshold = _policy(predictor.policy), predictor.policy.setting
    assert threshold is not None
    card = predictor.card
    stored_size = card.image_size or predictor.size
    preprocess = Preprocess(stored_size, predictor.size, predictor.channels, card.mean, card.std)
    parts = segments(predictor.model, preprocess, torch.zeros(1, predictor.channels, predictor.size, predictor.size))
    files = [f"segment-{number}{writer.suffix}" for number in range(1, len(parts) + 1)]
    exported = Exported(
        run=predictor.run_id,
        point=predictor.point,
        policy=policy,
        threshold=threshold,
        classes=card.classes,
        input=InputForm(
            size=predictor.size,
            channels=predictor.channels,
            stored_size=stored_size,
            stored_channels=card.channels,
            mean=card.mean,
            std=card.std,
        ),
        segments=tuple(files),
        opset=writer.opset,
        torch=torch.__version__,
        exits=tuple(
            DeployedExit(block=block, macs=macs)
            for block, macs in zip(predictor.blocks, predictor.costs.cumulative, strict=True)
        ),
        baseline_macs=predictor.costs.baseline,
    )
    _prepare(folder)
    images = torch.zeros(2, stored_size, stored_size, card.channels, dtype=torch.uint8)
    write_graphs(parts, images, [folder / file for file in files], writer)
    if writer.opset is not None:
        shutil.copyfile(RUNNER, folder / RUNNER.name)
    (folder / DESCRIPTION).write_text(exported.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return exported


def write_graphs(parts: Sequence[nn.Module], images: Tensor, paths: Sequence[Path], writer: GraphWriter) -> None:
    """Write modules as graphs with a free batch size; ``images`` are an input of the first, its tokens that of the next."""
    values = images
    for part, path in zip(parts, paths, strict=True):
        writer.write(part, values, path)
        with torch.no_grad():
            values = part(values)[-1]


def write_torch(part: nn.Module, values: Tensor, path: Path) -> None:
    """Write a module as a program of torch.export."""
    with torch.no_grad():
        program = torch.export.export(part, (values,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch.export.save(program, path)


TORCH = GraphWriter(".pt2", None, write_torch)


def _policy(policy: ExitPolicy) -> ExportedPolicy:
    """
    Raises:
        UserError: the runner does not have it.
    """
    name = POLICIES.get(type(policy))
    if name is None or (isinstance(policy, Entropy) and not policy.guarded):
        raise UserError(
            f"export has the policies {', '.join(POLICIES.values())}, and this one is {type(policy).__name__.lower()}; choose "
            "another with --point NAME, or with --policy NAME --threshold T"
        )
    return ExportedPolicy(name=name, normalised=getattr(policy, "normalised", False))


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UserError(f"--out {folder}: the folder contains something; name another")
    except OSError as error:
        raise UserError(f"--out {folder}: cannot be created ({error.strerror})") from None
