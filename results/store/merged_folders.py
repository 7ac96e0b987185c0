"""Several results folders read as one. Nothing is copied or written."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from results.store.files import StoreError, sha256
from results.store.folder import Store
from results.store.run_files import GROUND_TRUTH, TABLES

# The files by which copies of a run are compared.
FILES = ("record.json", *(f"{name}.parquet" for name in (*TABLES, GROUND_TRUTH)))


class MergedFolders(Store):
    """Results folders read as one.

    Of several copies of a run, a finished one is preferred to a failed one, and a failed one to a damaged one. Among equals,
    the one in the first folder is preferred.

    Args:
        roots: the folders, at least one.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        super().__init__(roots[0])
        self.stores = [Store(root) for root in dict.fromkeys(roots)]

    @property
    def roots(self) -> list[Path]:
        return [store.root for store in self.stores]

    def without_root(self, sentence: str) -> str:
        if len(self.roots) == 1:
            return super().without_root(sentence)
        tails = [[str(Path(*root.parts[-length:])) for root in self.roots] for length in range(1, 20)]
        names = next((names for names in tails if len(set(names)) == len(names)), tails[0])
        for root, name in sorted(zip(self.roots, names, strict=True), key=lambda pair: -len(str(pair[0]))):
            sentence = sentence.replace(str(root), name)
        return sentence

    def run(self, run_id: str) -> Path:
        return self._holder(run_id).run(run_id)

    def table(self, run_id: str, name: str) -> Path:
        return self._holder(run_id).table(run_id, name)

    def run_ids(self) -> list[str]:
        return sorted(self._copies)

    def stage(self, name: str) -> Path:
        return next((store for store in self.stores if store.has_stage(name)), self.stores[0]).stage(name)

    def done_stages(self) -> frozenset[str]:
        return frozenset().union(*(store.done_stages() for store in self.stores))

    def conflicts(self, run_ids: Sequence[str]) -> list[str]:
        sentences = []
        for run_id in run_ids:
            first, *others = self._copies.get(run_id, self.stores[:1])
            for other in others:
                different = _different_files(first.run(run_id), other.run(run_id))
                if different and other.is_readable(run_id):
                    sentences.append(
                        f"{other.run(run_id)}: differs in {' and '.join(different)} from the run of the same name in "
                        f"{first.root}, which counts; to see how: python -m benchmark compare {first.root} {other.root}"
                    )
                elif different:
                    sentences.append(f"{other.run(run_id)}: damaged; the run of the same name in {first.root} counts")
        return sentences

    def _holder(self, run_id: str) -> Store:
        return self._copies.get(run_id, self.stores)[0]

    @cached_property
    def _copies(self) -> dict[str, list[Store]]:
        """The folders with a copy of each run, ordered by preference."""
        copies: dict[str, list[Store]] = {}
        for store in self.stores:
            for run_id in store.run_ids():
                copies.setdefault(run_id, []).append(store)
        for run_id, stores in copies.items():
            if len(stores) > 1:
                stores.sort(key=lambda store: _rank(store, run_id))
        return copies


def _rank(store: Store, run_id: str) -> int:
    try:
        return 0 if store.record(run_id).status == "done" else 1
    except StoreError:
        return 2


def _different_files(first: Path, other: Path) -> list[str]:
    """Names of the files in which two copies of a run differ."""

    def content(path: Path) -> str | None:
        return sha256(path) if path.is_file() else None

    return [name for name in FILES if content(first / name) != content(other / name)]
