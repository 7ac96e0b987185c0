"""The file that `deploy` writes: everything that a program needs beside the model to run it with early exits."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from benchmark.errors import UserError
from results.frozen import Frozen
from results.spec import Configured
from results.store.files import StoreError, read_file
from results.store.output import write_output

FILE_BYTES = 2**22


class Interval(Frozen):
    """A mean over test images with its 95 % interval."""

    mean: float
    low: float
    high: float


class InputForm(Frozen):
    """How an image becomes the model's input: to the stored size and channels, then / 255, - mean, / std, to the input size."""

    size: int
    """Side of the model's input in pixels."""
    channels: int
    """Channels of the model's input."""
    stored_size: int | None
    """Side of the dataset's images; None if they have many sizes."""
    stored_channels: int
    mean: tuple[float, ...]
    """Per stored channel, of values in [0, 1]; likewise `std`."""
    std: tuple[float, ...]


class DeployedExit(Frozen):
    """An exit; the final classifier is the last."""

    block: int
    """1-based."""
    macs: int
    """Multiply-accumulates of an image that leaves here, evaluated heads included."""


class OnTest(Frozen):
    """The deployed policy on the test images. Accuracy and drop in [0, 1], costs in MACs per image."""

    images: int
    accuracy: Interval
    drop: Interval
    """Accuracy of the backbone without exits minus that of the policy, paired."""
    mean_macs: Interval
    exit_shares: tuple[float, ...]


class Deployed(Frozen):
    """A run with a policy and its setting."""

    format: Literal[1] = 1
    run: str
    dataset: str
    backbone: str
    budget: str
    policy: Configured
    setting_name: str
    """The parameter of the policy that was chosen, mostly ``threshold``."""
    setting: float
    classes: tuple[str, ...]
    """Class names by index."""
    input: InputForm
    exits: tuple[DeployedExit, ...]
    baseline_macs: int
    """Of the backbone without exits."""
    val_accuracy: float
    val_macs: float
    milliseconds: float | None = None
    """Measured mean time per image in batches of one, where the budget is a time."""
    measured_on: str | None = None
    """The GPU, or the CPU with its threads, on which it was measured."""
    test: OnTest

    def write(self, path: Path) -> None:
        """
        Raises:
            StoreError: another file is there, or the file cannot be written.
        """
        write_output(path, self.model_dump_json(indent=1) + "\n", _is_deployed, "a file")


def _is_deployed(path: Path) -> bool:
    try:
        read_deployed(path)
    except UserError:
        return False
    return True


def read_deployed(path: Path) -> Deployed:
    """
    Raises:
        UserError: the file is missing, or `deploy` did not write it.
    """
    try:
        return Deployed.model_validate_json(read_file(path, FILE_BYTES))
    except (ValidationError, StoreError, OSError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise UserError(
            f"{path}: not a file that deploy wrote ({reason}); make one with: python -m benchmark deploy RUN --budget 0.5 "
            f"--out {path}"
        ) from None
