"""Slurm resources and submission options, from the command line and a YAML profile.

A profile has the names of the command line's options as keys, and a section for any kind of stage:

    partition: gpu
    gpus-per-node: 1
    time: 2:00:00
    finetune: {time: 8:00:00, gpus-per-node: 4}
    scores: {time: 0:10:00}

The command line overrides the profile, sections included. Set-up commands and sbatch keys run as the user on a node, so a grid
cannot contain them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from benchmark.errors import UserError
from benchmark.execution.retrying import Adjustment, memory_bytes
from benchmark.grid.yaml_files import TextLoader, read_mapping
from methods.lookup import nearest

TRAINING_KINDS = ("finetune", "joint", "exits")
"""Kinds of stage that several GPUs may share."""
CPU_KINDS = ("cost", "records", "report")
"""Kinds that compute on the CPU; they get a GPU only if their own section requests one."""
KINDS = ("cost", *TRAINING_KINDS, "scores", "records", "report")
"""Sections of a profile, in the order of the work."""
GPU_KEYS = {"gres", "gpus", "gpus-per-task", "gpu-bind", "cpus-per-gpu", "mem-per-gpu"}
"""sbatch keys that request or describe GPUs."""
RESERVED_KEYS = {
    "array", "begin", "chdir", "dependency", "error", "export", "job-name", "no-requeue", "ntasks", "ntasks-per-node",
    "open-mode", "output", "parsable", "requeue", "signal", "wait", "wrap",
}  # fmt: skip
"""sbatch keys that the submission sets itself."""


def minutes(text: object) -> int:
    """A time limit in the forms of sbatch, in whole minutes, rounded up.

    >>> minutes("8:00:00"), minutes("1-12"), minutes("30")
    (480, 2160, 30)

    Raises:
        ValueError: the text is not a valid time limit.
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", str(text))
    if match:
        days, *fields = match.groups()
        numbers = [int(number) for number in fields if number is not None]
        if days is None and len(numbers) < 3:  # minutes or minutes:seconds
            numbers.insert(0, 0)
        hours, mins, seconds = [*numbers, 0, 0][:3]
        total = ((int(days or 0) * 24 + hours) * 60 + mins) * 60 + seconds
        if total > 0:
            return -(-total // 60)
    raise ValueError("a time is minutes, minutes:seconds, hours:minutes:seconds or days-hours[:minutes[:seconds]]")


def _sbatch_keys(value: object) -> object:
    """sbatch keys as a mapping; the command line has a list of KEY=VALUE, where a key without a value is a switch."""
    if isinstance(value, list | tuple):
        value = {key: text for key, _, text in (str(entry).lstrip("-").partition("=") for entry in value)}
    if isinstance(value, Mapping):
        for key in value:
            if not re.fullmatch(r"[a-z][a-z0-9-]*", str(key)):
                raise ValueError(f"{key!r} is not an option of sbatch; its long names have the form mail-type")
            if key in RESERVED_KEYS:
                raise ValueError(f"{key!r} is set by the submission itself")
            if key in map(_hyphenated, Resources.model_fields):
                raise ValueError(f"{key!r} has an option of its own: --{key}")
        if "mem-per-cpu" in value and "mem-per-gpu" in value:
            raise ValueError("mem-per-cpu and mem-per-gpu exclude each other")
    return value


def _memory(text: str) -> str:
    memory_bytes(text)
    return text


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _hyphenated(name: str) -> str:
    return name.replace("_", "-")


Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]


class Resources(BaseModel):
    """The resources that one task requests; None for the cluster's default."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=_hyphenated, populate_by_name=True)

    partition: Text | None = None
    gpus_per_node: Annotated[int, Field(ge=0)] | None = None
    time: Annotated[int, BeforeValidator(minutes)] = 60
    """Minutes."""
    account: Text | None = None
    qos: Text | None = None
    constraint: Text | None = None
    mem: Text | None = None
    cpus_per_task: Count | None = None
    """CPUs of each process."""
    nodes: Count = 1
    exclude: Text | None = None
    setup: Annotated[tuple[Text, ...], BeforeValidator(_as_list)] = ()
    """Shell commands before the work, in order."""
    sbatch: Annotated[dict[str, str], BeforeValidator(_sbatch_keys)] = {}

    @property
    def gpus(self) -> int:
        """GPUs of one task, over all its nodes."""
        return self.nodes * self.gpus_on_node

    @property
    def gpus_on_node(self) -> int:
        """GPUs of one task on each node; some sites require them as ``gres=gpu:a100:1``."""
        if self.gpus_per_node is not None:
            return self.gpus_per_node
        match = re.search(r"gpu(?::[^:,]*[^\d:,][^:,]*)?(?::(\d+))?(?:,|$)", self.sbatch.get("gres", ""))
        return int(match[1] or 1) if match else 0


class SlurmOptions(Resources):
    """All options of the command line, and all keys of a profile except its sections."""

    array_parallelism: Count = 32
    """Tasks of one set of resources that run at the same time."""
    max_array_size: Count | None = None
    """Maximum number of tasks in an array, if smaller than the cluster's MaxArraySize."""
    stages_per_task: Count = 8
    """Short stages (cost, scores, records) that share a task."""
    stages_at_once: Count = 1
    """Trainings that a task runs side by side, one process each, which take its GPUs in turn."""
    max_requeues: Annotated[int, Field(ge=0)] = 10
    """How often a task may start again, for any reason."""
    max_mem: Annotated[str, AfterValidator(_memory)] = "512G"
    """The most memory that `retry` requests for a task that ran out of it."""
    signal_delay: Annotated[int, Field(ge=10)] = 120
    """Seconds before its time limit at which a task writes its checkpoint and is requeued."""
    notify: Text | None = None
    """Shell command that the last job runs, with the summary on its standard input."""
    stage_data: bool = False
    """Whether datasets are copied to the node's own disk first."""
    tflops: Annotated[float, Field(gt=0)] | None = None
    """Throughput of a GPU in 10^12 operations a second (a multiply-accumulate is two); None to measure or assume it."""


@dataclass(frozen=True)
class SlurmChoice:
    """The options, and the values that the sections of a profile replace for one kind of stage."""

    options: SlurmOptions
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def resources(self, kind: str) -> Resources:
        """The resources of a task of this kind."""
        values = {name: getattr(self.options, name) for name in Resources.model_fields}
        if kind in CPU_KINDS:
            without_gpus = {key: value for key, value in self.options.sbatch.items() if key not in GPU_KEYS}
            values |= {"gpus_per_node": None, "sbatch": without_gpus}
        if kind not in TRAINING_KINDS:  # one process on one device
            values |= {"nodes": 1, "gpus_per_node": values["gpus_per_node"] and 1}
        return Resources(**(values | dict(self.sections.get(kind, {}))))


def adjusted(choice: SlurmChoice, adjustment: Adjustment) -> SlurmChoice:
    """The choice with more memory for some kinds of stage, and with more excluded nodes."""
    sections = {kind: dict(section) for kind, section in choice.sections.items()}
    for kind, mem in adjustment.mem.items():
        sections.setdefault(kind, {})["mem"] = mem
    for section in sections.values():
        if "exclude" in section:
            section["exclude"] = _joined(section["exclude"], adjustment.exclude)
    exclude = _joined(choice.options.exclude, adjustment.exclude)
    return SlurmChoice(choice.options.model_copy(update={"exclude": exclude}), sections)


def _joined(nodes: str | None, more: tuple[str, ...]) -> str | None:
    return ",".join([*filter(None, [nodes]), *more]) or None


def read_options(command_line: Mapping[str, Any], profile: Path | None) -> SlurmChoice:
    """The options of the command line and of a profile.

    Args:
        command_line: option names (``gpus_per_node``) to values; None or empty if not given.
        profile: the YAML file.

    Raises:
        UserError: one sentence for every mistake.
    """
    command_line = {name: value for name, value in command_line.items() if value is not None and value != ()}
    content = {}
    if profile is not None:
        content = read_mapping(
            profile, TextLoader, "a profile is a mapping with keys such as partition, time and finetune"
        )
    mistakes: list[str] = []
    sections = {}
    for kind in KINDS:
        if (section := content.pop(kind, None)) is not None:
            values = _validated(Resources, section, f"{profile}: {kind}: ", mistakes)
            sections[kind] = {name: value for name, value in values.items() if name not in command_line}
    in_profile = _validated(SlurmOptions, content, f"{profile}: ", mistakes, other_keys=KINDS)
    in_command = _validated(SlurmOptions, command_line, "--", mistakes)
    if mistakes:
        raise UserError(*mistakes)
    choice = SlurmChoice(SlurmOptions(**(in_profile | in_command)), sections)
    several = [kind for kind in TRAINING_KINDS if choice.resources(kind).nodes > 1]
    if several and choice.options.stages_at_once > 1:
        raise UserError(
            f"--stages-at-once {choice.options.stages_at_once}: a training that shares a node with others cannot use several; "
            f"{several[0]} requests {choice.resources(several[0]).nodes} nodes"
        )
    return choice


def _validated(
    model: type[Resources], content: Any, where: str, mistakes: list[str], other_keys: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The valid values of the fields that are set; a sentence for every mistake is added to ``mistakes``."""
    if not isinstance(content, Mapping):
        mistakes.append(f"{where}a mapping with keys such as time, not {content!r}")
        return {}
    try:
        validated = model.model_validate(content)
    except ValidationError as error:
        known = [*map(_hyphenated, model.model_fields), *other_keys]
        for problem in error.errors():
            key = _hyphenated(str(problem["loc"][0]))
            if problem["type"] == "extra_forbidden":
                mistakes.append(f"{where}unknown key {key!r}; {nearest(key, known)}allowed: {', '.join(known)}")
            else:
                message = problem["msg"].removeprefix("Value error, ")
                mistakes.append(f"{where}{key}: {message}, not {problem['input']!r}")
        return {}
    return {name: getattr(validated, name) for name in validated.model_fields_set}
