"""``python -m benchmark data``: list, locate, check and download datasets. Imports no torch."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark import registry
from benchmark.cli.options import data_dir_option
from benchmark.errors import UserError
from benchmark.progress import LINE_SECONDS
from benchmark.text_table import wrapped
from datasets.api import IGNORED, SPLITS, DataError, DatasetCard, ImageSplit
from datasets.boxes import Boxes
from datasets.check import class_counts, scan
from datasets.fetch import fetch as fetch_files
from datasets.folder import PREFIX, SUMMARY, absolute, is_folder
from datasets.integrity import digest_of, is_archive
from datasets.skipped import skipped_files
from results.text import printable

SHOWN_CLASSES = 20
SHOWN_PROBLEMS = 20


@click.group("data", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """List datasets, locate them, check every image, and download those with a public source.

    \b
    Examples:
      python -m benchmark data list
      python -m benchmark data where cifar-100 --data-dir /data
      python -m benchmark data check food-101 --data-dir /data
      python -m benchmark data fetch cifar-100 --data-dir /data
    """


@command.command("list")
@data_dir_option
def list_datasets(data_dir: Path | None) -> None:
    """List every dataset with its splits, its licence and its folder.

    \b
    Example:
      python -m benchmark data list --data-dir /data
    """
    console = Console()
    for name, card in registry.table("dataset").items():
        console.print("\n".join(wrapped(card.summary, console.width, f"{name}: ", "  ")), markup=False, style="bold")
        sizes = ", ".join(f"{split} {card.sizes[split]:,}" for split in SPLITS)
        shown = "a report may show its images" if card.redistributable else "a report shows none of its images"
        for text in (
            f"{len(card.classes)} classes; {sizes}; val: {card.val_rule}",
            f"licence: {card.licence}; {shown}",
            _place(card, data_dir),
        ):
            lines = "\n".join(wrapped(text, console.width, "  ", "    "))
            console.print(lines, highlight=False, markup=False, soft_wrap=True)
    console.print("\n".join(wrapped(SUMMARY, console.width, f"{PREFIX}PATH: ", "  ")), markup=False, style="bold")


def _place(card: DatasetCard, data_dir: Path | None) -> str:
    try:
        return f"in {card.find(data_dir)}"
    except DataError:
        return f"not here: {card.how_to_get}"


@command.command("where")
@click.argument("name")
@data_dir_option
def where(name: str, data_dir: Path | None) -> None:
    """Show the folders in which a dataset is searched, and the one that has it.

    \b
    Example:
      python -m benchmark data where imagenet-1k --data-dir /data
    """
    card = _card(name)
    console = Console()
    for folder in card.places(data_dir):
        console.print(f"searched {folder}", highlight=False, markup=False, soft_wrap=True)
    place = card.find(data_dir)
    console.print(f"{card.name} is in {place}", highlight=False, markup=False, soft_wrap=True)


@command.command("check")
@click.argument("name")
@data_dir_option
@click.option("--processes", type=click.IntRange(min=0), help="Processes that decode images; by default one per CPU.")
@click.option("--classes", "all_classes", is_flag=True, help="Count every class, however many there are.")
def check(name: str, data_dir: Path | None, processes: int | None, all_classes: bool) -> None:
    """Check every image: class counts, checksums, images that cannot be read, images that are in two splits.

    In segmentation also every mask: its size, and that every value is a class; in detection every box. Exits with 1 if an
    image, mask or box is wrong or cannot be read, or a checksum is wrong.

    \b
    Examples:
      python -m benchmark data check fashion-mnist-mini
      python -m benchmark data check oxford-pets --data-dir /data
      python -m benchmark data check folder:my/photos
    """
    card = _card(name)
    console = Console()
    place = card.find(data_dir)
    console.print(f"{card.name} in {place}", highlight=False, markup=False, soft_wrap=True)
    wrong_archives = _check_archives(console, card, place, data_dir)
    splits = card.read(data_dir)
    if card.task != "segmentation":
        counts = class_counts(splits, len(card.classes))
        _show_counts(console, card, splits, counts, all_classes)
    if is_folder(card.name):
        for sentence in skipped_files(place, splits.values()):
            console.print(sentence, style="yellow", highlight=False, markup=False, soft_wrap=True)
    with _Progress(console, "checked", "images") as progress:
        result = scan(splits, len(os.sched_getaffinity(0)) if processes is None else processes, progress.show)
    if card.task == "segmentation":
        _show_counts(console, card, splits, result.shown, all_classes)
        _show_pixels(console, card, result.pixels)
    for name, split in splits.items():
        if split.boxes is not None:
            console.print(_objects(name, split.boxes), highlight=False)
    total = sum(len(split) for split in splits.values())
    for problem in result.damaged[:SHOWN_PROBLEMS]:
        console.print(problem, style="red", highlight=False, markup=False, soft_wrap=True)
    noun = {"segmentation": "images and their masks", "detection": "images with their boxes"}.get(card.task, "images")
    console.print(f"{total - len(result.damaged):,} of {total:,} {noun} can be read", highlight=False)
    for first, second in result.in_two_splits[:SHOWN_PROBLEMS]:
        console.print(f"the same image: {first}; {second}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"images that are in two splits: {len(result.in_two_splits):,}", highlight=False)
    if result.damaged or wrong_archives:
        raise click.exceptions.Exit(1)


def _check_archives(console: Console, card: DatasetCard, place: Path, data_dir: Path | None) -> int:
    """Compare archives on this machine with their published checksums; returns the number that differ.

    Files that are not archives are verified by the dataset's reader.
    """
    wrong = 0
    for archive in card.archives:
        for folder in dict.fromkeys([place, place.parent, *([data_dir] if data_dir else [])]):
            path = folder / archive.name
            if not path.is_file() or archive.md5 is None or not is_archive(archive.name):
                continue
            matches = digest_of(path, "md5") == archive.md5
            wrong += not matches
            verdict = "MD5 as published" if matches else f"its MD5 is not {archive.md5}: truncated or replaced"
            console.print(f"{path}: {verdict}", highlight=False, markup=False, soft_wrap=True)
            break
    return wrong


def _show_counts(
    console: Console,
    card: DatasetCard,
    splits: Mapping[str, ImageSplit],
    counts: Mapping[str, np.ndarray],
    all_classes: bool,
) -> None:
    """The number of images with each class; ``counts`` by split, [classes] or more."""
    table = Table("class", *splits, box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    if all_classes or len(card.classes) <= SHOWN_CLASSES:
        for label, name in enumerate(card.classes):
            table.add_row(Text(printable(name)), *(f"{counts[split][label]:,}" for split in splits))
    else:
        of_classes = [counts[split][: len(card.classes)] for split in splits]
        ranges = [f"{of_split.min():,} to {of_split.max():,}" for of_split in of_classes]
        table.add_row(f"each of {len(card.classes):,}", *ranges)
    table.add_row("images" if card.task == "detection" else "all", *(f"{len(split):,}" for split in splits.values()))
    console.print(table)


def _show_pixels(console: Console, card: DatasetCard, pixels: Mapping[str, np.ndarray]) -> None:
    """The share of ignored pixels, and that of the most common class among the others."""
    for split, counts in pixels.items():
        counted = counts[: len(card.classes)]
        largest = int(counted.argmax())
        console.print(
            f"{split}: {counts[IGNORED] / max(counts.sum(), 1):.1%} of the pixels are ignored; of the others "
            f"{counted[largest] / max(counted.sum(), 1):.1%} are {printable(card.classes[largest])}",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip


def _objects(split: str, boxes: Boxes) -> str:
    """What a split shows, in one sentence."""
    return (
        f"{split}: {len(boxes.labels):,} objects, of which {int(boxes.ignored.sum()):,} are ignored; "
        f"{int((boxes.counts == 0).sum()):,} images without an object, at most {int(boxes.counts.max(initial=0))} in one"
    )


@command.command("fetch")
@click.argument("name")
@data_dir_option
def fetch(name: str, data_dir: Path | None) -> None:
    """Download a dataset's official files into your folder of datasets, verify them and unpack them.

    An interrupted download continues where it stopped.

    \b
    Example:
      python -m benchmark data fetch cifar-100 --data-dir /data
    """
    card = _card(name)
    console = Console()
    try:
        console.print(f"{card.name} is in {card.find(data_dir)}", highlight=False, markup=False, soft_wrap=True)
        return
    except DataError:
        if data_dir is None:
            raise UserError("data fetch needs --data-dir (or LGVIT_BENCH_DATA): the folder of your datasets") from None
    with _Progress(console, "received", "bytes") as progress:
        lines = fetch_files(card, data_dir, lambda file, done, total: progress.show(done, total, file))
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(f"{card.name} is in {card.find(data_dir)}", highlight=False, markup=False, soft_wrap=True)


def _card(name: str) -> DatasetCard:
    try:
        return registry.card("dataset", absolute(name, Path.cwd()) if is_folder(name) else name)
    except KeyError as error:
        raise UserError(error.args[0]) from None


class _Progress:
    """A status line on a terminal; elsewhere a printed line every `LINE_SECONDS`."""

    def __init__(self, console: Console, verb: str, noun: str) -> None:
        self.console, self.verb, self.noun = console, verb, noun
        self.interval = 0.2 if console.is_terminal else LINE_SECONDS
        self.last_shown = time.monotonic()

    def __enter__(self) -> _Progress:
        self.status = self.console.status("starting") if self.console.is_terminal else None
        if self.status:
            self.status.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.status:
            self.status.stop()

    def show(self, done: int, total: int | None, what: str = "") -> None:
        now = time.monotonic()
        if now - self.last_shown < self.interval:
            return
        self.last_shown = now
        of_total = f" of {total:,}" if total else ""
        text = f"{what} {self.verb} {done:,}{of_total} {self.noun}".strip()
        if self.status:
            self.status.update(text)
        else:
            self.console.print(text, highlight=False, markup=False)
