"""Pairs of runs on the same images, and the differences of their values image by image."""

from __future__ import annotations

import json

import numpy as np

from results.tables.run import Run


def have_equal_images(first: Run, second: Run) -> bool:
    """Whether two runs were trained, tuned and tested on the same images: equal hashes of every split that both name."""
    one, other = first.record.data, second.record.data
    pairs = ((one.content, other.content), (one.split_identity, other.split_identity))
    return one.same_test_images(other) and all(a[split] == b[split] for a, b in pairs for split in a.keys() & b.keys())


def image_identity(run: Run) -> str:
    """Equal for runs on the same images of all splits, whatever the name of their dataset."""
    return json.dumps([run.record.data.content, run.record.data.split_identity], sort_keys=True)


def paired(first: Run, at: str, second: Run, against: str) -> np.ndarray | None:
    """`Run.values` of the first run at one point minus that of the second at another, [N]; None unless `are_paired`."""
    return first.values(at) - second.values(against) if are_paired(first, at, second, against) else None


def are_paired(first: Run, at: str, second: Run, against: str) -> bool:
    """Whether two runs have the same test images and task: equal sample ids, and equal hashes on the data cards."""
    same_data = first.record.data.same_test_images(second.record.data) and first.metric is second.metric
    return same_data and np.array_equal(first.point_outcomes[at].sample_id, second.point_outcomes[against].sample_id)
