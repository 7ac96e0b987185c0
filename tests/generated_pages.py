"""The generated parts of the pages in docs/: grid keys, commands, methods, policies, datasets, tables, causes.

A page marks such a part by two comments:

    <!-- generated: methods -->
    ...
    <!-- end -->

After a change of what they describe, write them again:

    .tox/py/bin/python -m tests.generated_pages
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from pydantic_core import PydanticUndefined

from benchmark import registry
from benchmark.cli import COMMANDS
from benchmark.execution.retrying import RULES
from benchmark.execution.slurm.failures import CAUSES, EXIT_CODES
from benchmark.execution.slurm.scheduler import LOST
from benchmark.grid.grid_file import GridFile
from benchmark.grid.load import load_grid
from benchmark.grid.schema import attribute_docstrings
from benchmark.grid.summary import grid_summary
from datasets.joint_augment import JOINT_AUGMENTATIONS
from methods.api import TrainStage
from methods.exit_method import ExitMethod
from methods.placement import SCHEMES
from reports.tidy_columns import COLUMNS as TIDY_COLUMNS
from reports.tidy_columns import COMMON as TIDY_COMMON
from reports.tidy_tables import CONTENTS
from results.spec import DEFAULT_RECIPES, Recipe, Recipes
from results.tables.columns import BY_TASK, COLUMNS

PAGES = Path(__file__).resolve().parent.parent / "docs"
PART = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rendered(page: str) -> str:
    """The page with all generated parts made anew."""
    return PART.sub(lambda match: f"{match[1]}\n{PARTS[match[2]]()}\n\n{match[3]}", page)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    cells = [list(header), ["---"] * len(header), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def code(value: object) -> str:
    return f"`{value}`"


def attribute_texts(cls: type) -> dict[str, str]:
    """The string below each field of a class, in Markdown."""
    return {name: _plain(text) for name, text in attribute_docstrings(cls).items()}


def _plain(docstring: str) -> str:
    """One line, in Markdown's form of code."""
    return re.sub(r"`+", "`", " ".join(docstring.split()))


def documented_attributes(cls: type) -> dict[str, str]:
    """The entries of the section "Attributes" in a docstring, on one line each."""
    _, _, section = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")
    entries = re.split(r"^    (?=\w+: )", section.partition("\n\n")[0], flags=re.MULTILINE)[1:]
    return {name: _plain(text) for name, _, text in (entry.partition(": ") for entry in entries)}


def grid_keys() -> str:
    texts = attribute_texts(GridFile)
    return table(
        ["key", "default", "meaning"],
        [
            [code(key), "required" if field.is_required() else code(_yaml(field.default)), texts[key]]
            for key, field in GridFile.model_fields.items()
        ],
    )


def shipped_grids() -> str:
    rows = []
    for name, path in registry.grids().items():
        grid = load_grid(path)
        trained = [run.train for run in grid.runs]
        axes = [train.backbone for train in trained], [train.dataset.name for train in trained]
        used = (", ".join(map(code, dict.fromkeys(axis))) for axis in axes)
        rows.append([code(name), grid_summary(path), *used, str(len(trained))])
    return table(["grid", "what it compares", "backbones", "datasets", "runs"], rows)


def recipe_keys() -> str:
    texts = attribute_texts(Recipe)
    rows = []
    for key, field in Recipe.model_fields.items():
        values = {stage: getattr(recipe, key) for stage, recipe in DEFAULT_RECIPES.items()}
        same = field.default is not PydanticUndefined and set(values.values()) == {field.default}
        default = code(_yaml(field.default)) if same else ", ".join(f"{s} {code(_yaml(v))}" for s, v in values.items())
        rows.append([code(key), default, _choices(key, field.annotation) + texts[key]])
    stages = table(["stage", "what it trains"], [[code(k), t] for k, t in attribute_texts(Recipes).items()])
    return f"{stages}\n\n{table(['key of a recipe', 'default', 'meaning'], rows)}"


def _choices(key: str, annotation: Any) -> str:
    """The values that a key may have, if they are few."""
    values: Collection[str] = get_args(annotation) if get_origin(annotation) is Literal else ()
    if key == "augment":
        values = JOINT_AUGMENTATIONS  # has those of the other tasks, too
    return ", ".join(map(code, values)) + ". " if values else ""


def _yaml(value: object) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def exit_schemes() -> str:
    return table(["scheme", "blocks"], [[code(name), text] for name, text in SCHEMES.items()])


def failure_causes() -> str:
    """The cause in the record, what happened, and what `retry` does, from the tables that the code uses."""
    states: dict[str, list[str]] = {cause: [] for cause in RULES}
    for state, (cause, _) in CAUSES.items():
        if state != LOST:  # not a word of Slurm's
            states[cause].append(code(state))
    for cause, _ in EXIT_CODES.values():
        if code("FAILED") not in states[cause]:
            states[cause].append(code("FAILED"))
    rows = [[code(cause), rule.events, ", ".join(states[cause]) or "–", rule.action] for cause, rule in RULES.items()]
    return table(
        ["cause in the record", "what happened", "state of the job in Slurm", "what `retry --failed` does"], rows
    )


def commands() -> str:
    parts = []
    for name, (module, _) in COMMANDS.items():
        command = import_module(module).command
        parts.append(_command(name, command, 2))
        if isinstance(command, click.Group):
            parts += [_command(f"{name} {sub}", command.commands[sub], 3) for sub in sorted(command.commands)]
    return "\n\n".join(parts)


def _command(name: str, command: click.Command, level: int) -> str:
    paragraphs = inspect.cleandoc(command.help or "").replace("\b\n", "").split("\n\n")
    text = [_example(part) if part.startswith("Example") else " ".join(part.split()) for part in paragraphs]
    text = [part if part.startswith("  ") else _prose(part) for part in text]
    context = click.Context(command, info_name=name)
    usage = " ".join(["python -m benchmark", name, *command.collect_usage_pieces(context)])
    records = [record for p in command.params if (record := p.get_help_record(context))]
    options = table(["option", "meaning"], [[code(option), _prose(meaning)] for option, meaning in records])
    parts = [f"{'#' * level} {name}", f"Usage: `{usage}`", *text]
    return "\n\n".join([*parts, options] if records else parts)


def _example(part: str) -> str:
    """The command lines of a paragraph "Examples:", with what stands behind a command as its comment."""
    return textwrap.indent(re.sub(r"(?<=\S) {3,}(?=\S)", "   # ", part.partition("\n")[2]), "  ")


def _prose(text: str) -> str:
    """Options and placeholders of a help text as code, so that Markdown does not change them."""
    return re.sub(r"(?<![\w`-])(--[a-z][a-z-]*|[A-Z]+=[A-Z]+)", r"`\1`", text.replace("<", "&lt;"))


def methods() -> str:
    backbone = registry.card("backbone", "vit_base_patch16_224")
    rows = []
    for name, card in registry.TABLES["method"].items():
        method = registry.configured("method", name, {})
        if name == "next-smaller":
            exits: tuple[int, ...] = ()
        else:
            exits = method.published_exits(backbone)
        heads = " ".join(dict.fromkeys(head.name for head in method.heads(exits, backbone)))
        regime = getattr(method, "regime", None)
        rows.append(
            [
                code(name),
                card.display_name,
                card.citation or "control of this suite",
                code(regime) if regime else "–",
                _losses(method.stages(backbone)) if regime else "–",
                heads or "none",
                _ranges(exits) or "none",
                code(method.policy().name) if heads and not method.tokens_leave else "–",
                card.summary,
            ]
        )
    return table(
        [
            "name", "in reports", "source", "regime", "loss", "heads", "`exits: [published]` on 12 blocks", "`policies: [own]`",
            "in short",
        ],
        rows,
    )  # fmt: skip


def _losses(stages: Iterable[TrainStage]) -> str:
    """The losses of the stages that train heads."""
    texts = []
    for stage in stages:
        options = stage.loss.options
        if stage.loss.name == "self-distillation":
            terms = options["weight"], options["heterogeneous_weight"], options["homogeneous_weight"]
            texts.append("self-distillation" if any(terms) else "cross-entropy")
        elif "weights" in options:
            texts.append(f"cross-entropy, weights `{options['weights']}`")
        else:
            texts.append(code(stage.loss.name))
    return ", then ".join(texts)


def _ranges(blocks: Sequence[int]) -> str:
    consecutive = len(blocks) > 2 and list(blocks) == list(range(blocks[0], blocks[-1] + 1))
    return f"{blocks[0]} to {blocks[-1]}" if consecutive else ", ".join(map(str, blocks))


def method_options() -> str:
    """The options of single methods, also of a base class that is no method; not the general ones, and none twice."""
    parts = []
    methods = {name: card.load() for name, card in registry.TABLES["method"].items()}
    for name, cls in methods.items():
        texts = {key: text for base in reversed(cls.__mro__) for key, text in documented_attributes(base).items()}
        elsewhere = {ExitMethod, *methods.values()} - {cls}
        own_texts = [documented_attributes(base) for base in cls.__mro__ if base not in elsewhere]
        own = [field for field in fields(cls) if any(field.name in documented for documented in own_texts)]
        if own:
            rows = [[code(f.name), code(_yaml(f.default)), texts[f.name]] for f in own]
            parts.append(f"**`{name}`**\n\n{table(['option', 'default', 'meaning'], rows)}")
    return "\n\n".join(parts)


def policies() -> str:
    rows = []
    for name, card in registry.TABLES["policy"].items():
        cls = card.load()
        texts = {key: text for base in reversed(cls.__mro__) for key, text in documented_attributes(base).items()}
        options = []
        for field in fields(cls):
            default = "" if field.default in (None, MISSING) else f", default {code(field.default)}"
            text = texts.get(field.name, "")
            options.append(f"{code(field.name)}{default}: {text}" if text else f"{code(field.name)}{default}")
        rows.append([code(name), card.summary, card.citation or "–", "<br>".join(options) or "none"])
    return table(
        ["policy", "rule: a sample leaves at the first exit where ... (unless stated otherwise)", "source", "options"],
        rows,
    )


def datasets() -> str:
    rows = []
    for name, card in registry.TABLES["dataset"].items():
        sizes = " / ".join(f"{card.sizes[split]:,}" for split in ("train", "val", "test"))
        size = f"{card.image_size}" if card.image_size else "varies"
        rows.append([code(name), card.task, sizes, str(len(card.classes)), size, card.val_rule, card.licence])
    return table(["name", "task", "train / val / test", "classes", "pixels", "val", "licence"], rows)


def backbones() -> str:
    rows = []
    for name, card in registry.TABLES["backbone"].items():
        rows.append([code(name), card.summary, str(card.depth), f"{card.image_size}", code(card.weights or "scratch")])
    return table(["name", "architecture", "blocks", "input", "weights by default"], rows)


def tidy_tables() -> str:
    return table(["table", "contents"], [[code(name), text] for name, text in CONTENTS.items()])


def tidy_columns() -> str:
    common = table(["column", "meaning"], [[code(column), text] for column, text in TIDY_COMMON.items()])
    rows = [[code(name), code(column), text] for name, own in TIDY_COLUMNS.items() for column, text in own.items()]
    return "\n".join([common, "", "And those of single tables:", "", table(["table", "column", "meaning"], rows)])


def run_tables() -> str:
    parts = []
    for name in (*COLUMNS, "ground_truth"):
        tasks = [task for task, tables in BY_TASK.items() if name in tables]
        while tasks:
            columns = BY_TASK[tasks[0]][name]
            alike = [task for task in tasks if BY_TASK[task].get(name) == columns]
            tasks = [task for task in tasks if task not in alike]
            where = "" if "classification" in alike else f" of a {' or '.join(alike)}"
            rows = [[code(column), text] for column, text in columns.items()]
            parts += [f"`{name}.parquet`{where}:", "", table(["column", "meaning"], rows), ""]
    return "\n".join(parts).rstrip()


PARTS: dict[str, Callable[[], Any]] = {
    "grid-keys": grid_keys,
    "shipped-grids": shipped_grids,
    "recipe-keys": recipe_keys,
    "exit-schemes": exit_schemes,
    "commands": commands,
    "failure-causes": failure_causes,
    "methods": methods,
    "method-options": method_options,
    "policies": policies,
    "datasets": datasets,
    "backbones": backbones,
    "tidy-tables": tidy_tables,
    "tidy-columns": tidy_columns,
    "run-tables": run_tables,
}


def main() -> None:
    for path in sorted(PAGES.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if (new := rendered(text)) != text:
            path.write_text(new, encoding="utf-8")
            print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
