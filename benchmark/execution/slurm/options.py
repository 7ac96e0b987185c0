"""What a user may ask of the cluster: resources, for every stage or for one kind, and how a plan becomes jobs.

A profile is a YAML file with the names of the command line's options as keys, and a section for any kind of stage:

    partition: gpu
    gpus-per-node: 1
    time: 2:00:00
    finetune: {time: 8:00:00, gpus-per-node: 4}
    scores: {time: 0:10:00}

The command line goes above the profile, its sections included. Set-up commands and sbatch keys run as the user on a node: they
come from these two places and never from a grid.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from benchmark.errors import UserError
from benchmark.grid.yaml_keys import TextLoader, read_mapping
from methods.lookup import nearest

KINDS = ("cost", "finetune", "joint", "exits", "scores", "records", "report")
"""Sections of a profile, in the order of the work."""
NO_GPU = ("cost", "records", "report")
"""Kinds that compute on the CPU: they ask for a GPU only where their own section does."""
TRAINING = ("finetune", "joint", "exits")
"""Kinds that may take several GPUs."""
FOR_GPUS = {"gres", "gpus", "gpus-per-task", "gpu-bind", "cpus-per-gpu", "mem-per-gpu"}
"""sbatch keys that mean GPUs."""
OURS = {
    "array", "begin", "chdir", "dependency", "error", "export", "open-mode", "output", "parsable", "requeue", "signal", "wait",
    "wrap", "ntasks", "ntasks-per-node",
}  # fmt: skip
"""sbatch keys that the submission itself sets."""
NAMED = {
    "partition", "gpus-per-node", "time", "account", "qos", "constraint", "mem", "cpus-per-task", "nodes", "exclude",
}  # fmt: skip
"""sbatch keys that are options of their own."""
TIMES = (
    (r"(\d+)", (1,)),
    (r"(\d+):(\d+)", (1, 1 / 60)),
    (r"(\d+):(\d+):(\d+)", (60, 1, 1 / 60)),
    (r"(\d+)-(\d+)", (1440, 60)),
    (r"(\d+)-(\d+):(\d+)", (1440, 60, 1)),
    (r"(\d+)-(\d+):(\d+):(\d+)", (1440, 60, 1, 1 / 60)),
)


def minutes(text: object) -> int:
    """A time as sbatch reads it, in whole minutes, rounded up.

    >>> minutes("8:00:00"), minutes("1-12"), minutes("30")
    (480, 2160, 30)

    Raises:
        ValueError: sbatch would not take it.
    """
    for form, factors in TIMES:
        if found := re.fullmatch(form, str(text)):
            total = sum(int(number) * factor for number, factor in zip(found.groups(), factors, strict=True))
            if total > 0:
                return -(-round(total * 60) // 60)
    raise ValueError("a time is minutes, minutes:seconds, hours:minutes:seconds or days-hours[:minutes[:seconds]]")


def _keys(given: object) -> object:
    """sbatch keys as a mapping, or as the command line's list of KEY=VALUE; a key alone is a switch."""
    if isinstance(given, list | tuple):
        given = {key: value for key, _, value in (str(entry).lstrip("-").partition("=") for entry in given)}
    if isinstance(given, Mapping):
        for key in given:
            if not re.fullmatch(r"[a-z][a-z0-9-]*", str(key)):
                raise ValueError(f"{key!r} is no option of sbatch; its long names have the form mail-type")
            if key in OURS:
                raise ValueError(f"{key!r} is set by the submission itself")
            if key in NAMED:
                raise ValueError(f"{key!r} is an option of its own: --{key}")
        if "mem-per-cpu" in given and "mem-per-gpu" in given:
            raise ValueError("mem-per-cpu and mem-per-gpu exclude each other")
    return given


def _lines(given: object) -> object:
    return [given] if isinstance(given, str) else given


def _name(text: str) -> str:
    return text.replace("_", "-")


Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]


class Resources(BaseModel):
    """What one task asks for; None leaves it to the cluster."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=_name, populate_by_name=True)

    partition: Text | None = None
    gpus_per_node: Annotated[int, Field(ge=0)] | None = None
    time: Annotated[int, BeforeValidator(minutes)] = 60
    """Minutes."""
    account: Text | None = None
    qos: Text | None = None
    constraint: Text | None = None
    mem: Text | None = None
    cpus_per_task: Count | None = None
    nodes: Count = 1
    exclude: Text | None = None
    setup: Annotated[tuple[Text, ...], BeforeValidator(_lines)] = ()
    """Shell commands before the work, in order."""
    sbatch: Annotated[dict[str, str], BeforeValidator(_keys)] = {}

    @property
    def gpus(self) -> int:
        """Of one task."""
        return self.gpus_here * self.nodes

    @property
    def processes_per_node(self) -> int:
        """One a GPU, which train together; without GPUs one a node."""
        return max(1, self.gpus_here)

    @property
    def gpus_here(self) -> int:
        """On each node; some sites want them as ``gres=gpu:a100:1``."""
        if self.gpus_per_node is not None:
            return self.gpus_per_node
        found = re.search(r"gpu(?::[^:,]*[^\d:,][^:,]*)?(?::(\d+))?(?:,|$)", self.sbatch.get("gres", ""))
        return int(found[1] or 1) if found else 0


class SlurmOptions(Resources):
    """Everything that the command line takes, and a profile beside its sections."""

    array_parallelism: Count = 32
    """Tasks of one set of resources that run at once."""
    max_array_size: Count | None = None
    """Most tasks of an array; the cluster's MaxArraySize goes below it."""
    stages_per_task: Count = 8
    """Short stages (cost, scores, records) that share a task."""
    max_requeues: Annotated[int, Field(ge=0)] = 10
    """How often a task may start again, for whatever reason."""
    signal_delay: Annotated[int, Field(ge=10)] = 120
    """Seconds before its time limit at which a task writes its checkpoint and is requeued."""
    stage_data: bool = False
    """Whether datasets are copied to the node's own disk first."""
    tflops: Annotated[float, Field(gt=0)] = 10.0
    """Throughput that estimates assume, in 10^12 operations a second and GPU (a multiply-accumulate is two)."""


@dataclass(frozen=True)
class SlurmChoice:
    """The options, and what the sections of a profile put in their place for one kind of stage."""

    options: SlurmOptions
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def of(self, kind: str) -> Resources:
        """What a task of this kind asks for."""
        values = {name: getattr(self.options, name) for name in Resources.model_fields}
        if kind in NO_GPU:
            kept = {key: value for key, value in self.options.sbatch.items() if key not in FOR_GPUS}
            values |= {"gpus_per_node": None, "sbatch": kept}
        if kind not in TRAINING:  # one process on one device
            values |= {"nodes": 1, "gpus_per_node": values["gpus_per_node"] and 1}
        return Resources.model_construct(**(values | dict(self.sections.get(kind, {}))))


def read_options(given: Mapping[str, Any], profile: Path | None) -> SlurmChoice:
    """Options of the command line above those of a profile.

    Args:
        given: option names (``gpus_per_node``) to values; None or empty where not given.
        profile: the file, if one is named.

    Raises:
        UserError: a sentence for every mistake.
    """
    given = {name: value for name, value in given.items() if value is not None and value != ()}
    content = (
        {}
        if profile is None
        else read_mapping(profile, TextLoader, "a profile is a mapping with keys such as partition, time and finetune")
    )
    mistakes: list[str] = []
    sections = {}
    for kind in KINDS:
        own = content.pop(kind, None)
        if own is not None:
            checked = _checked(Resources, own, f"{profile}: {kind}", mistakes)
            if checked is not None:
                own = {field: getattr(checked, field) for field in checked.model_fields_set}
                sections[kind] = {name: value for name, value in own.items() if name not in given}
    base = _checked(SlurmOptions, content, str(profile), mistakes, beside=KINDS)
    above = _checked(SlurmOptions, given, "", mistakes)
    if mistakes or base is None or above is None:
        raise UserError(*mistakes)
    above_profile = {name: getattr(above, name) for name in above.model_fields_set}
    return SlurmChoice(base.model_copy(update=above_profile), sections)


def _checked(
    model: type[Resources], content: Any, where: str, mistakes: list[str], beside: tuple[str, ...] = ()
) -> Any:
    """The model, or None with a sentence for every mistake noted."""
    known = [*map(_name, model.model_fields), *beside]
    prefix = f"{where}: " if where else "--"
    if not isinstance(content, Mapping):
        mistakes.append(f"{where}: a mapping with keys such as time, not {content!r}")
        return None
    try:
        return model.model_validate(content)
    except ValidationError as error:
        for problem in error.errors():
            key = _name(str(problem["loc"][0]))
            if problem["type"] == "extra_forbidden":
                mistakes.append(f"{prefix}unknown key {key!r}; {nearest(key, known)}allowed: {', '.join(known)}")
            else:
                message = problem["msg"].removeprefix("Value error, ")
                mistakes.append(f"{prefix}{key}: {message}, not {problem['input']!r}")
        return None
