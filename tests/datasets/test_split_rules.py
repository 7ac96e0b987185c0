"""Split rules: the train, val and test sets of each, their names, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datasets import DATASETS
from datasets.api import DataError
from datasets.images import ImageFiles, ImageList, encoded
from datasets.split_rules import SplitRule, refusal, trained_on
from datasets.splits import identity, merge, stratified_halves

CARD = DATASETS["fashion-mnist-mini"]
SPLITS = CARD.read(None)


def test_a_split_rule_delivers_the_sizes_that_it_announces() -> None:
    for rule in (SplitRule(), SplitRule("as-published"), SplitRule("halves", 3)):
        sizes = {name: len(split) for name, split in rule.apply(SPLITS).items()}
        assert sizes == rule.sizes(CARD)


def test_as_published_trains_on_train_and_val_and_has_test_twice() -> None:
    splits = SplitRule("as-published").apply(SPLITS)
    assert identity(splits["val"]) == identity(splits["test"]) == identity(SPLITS["test"])
    assert set(splits["train"].sample_id) == set(SPLITS["train"].sample_id) | set(SPLITS["val"].sample_id)
    assert (np.diff(splits["train"].sample_id) > 0).all()
    # Images and labels still match.
    for name in ("train", "val"):
        positions = np.searchsorted(splits["train"].sample_id, SPLITS[name].sample_id)
        assert np.array_equal(splits["train"].images[positions], SPLITS[name].images)
        assert np.array_equal(splits["train"].labels[positions], SPLITS[name].labels)


def test_halves_are_disjoint_stratified_and_numbered() -> None:
    identities = set()
    for resplit in range(10):
        splits = SplitRule("halves", resplit).apply(SPLITS)
        assert set(splits["val"].sample_id) | set(splits["test"].sample_id) == set(SPLITS["test"].sample_id)
        assert not set(splits["val"].sample_id) & set(splits["test"].sample_id)
        assert np.bincount(splits["val"].labels).tolist() == [200] * 10
        identities.add(identity(splits["val"]))
        assert identity(SplitRule("halves", resplit).apply(SPLITS)["val"]) == identity(splits["val"])
    assert len(identities) == 10


def test_the_halves_of_a_class_differ_by_at_most_one_image() -> None:
    labels = np.repeat([0, 1, 2], [3, 5, 1])
    val, test = stratified_halves(labels, np.random.default_rng(0))
    assert sorted([*val, *test]) == list(range(9))
    assert len(val) == 4
    assert np.abs(np.bincount(labels[val], minlength=3) - np.bincount(labels[test], minlength=3)).max() == 1


def test_only_default_options_have_no_label() -> None:
    assert SplitRule().label == ""
    assert SplitRule("as-published").label == "as-published"
    assert SplitRule("halves", 4).label == "halves-4"
    assert CARD.val_rule in SplitRule().describe(CARD)
    assert SplitRule("as-published").describe(CARD).startswith("as-published")
    assert "resplit 4 of 10" in SplitRule("halves", 4).describe(CARD)


def test_files_are_merged_without_being_read() -> None:
    root = Path("/nowhere")
    train, val = SPLITS["train"], SPLITS["val"]
    as_files = [
        type(split)(ImageFiles(root, encoded([str(i) for i in split.sample_id])), split.labels, split.sample_id)
        for split in (train, val)
    ]
    merged = merge(*as_files)
    assert isinstance(merged.images, ImageFiles)
    assert [int(name) for name in merged.images.names] == merged.sample_id.tolist()
    with pytest.raises(DataError):
        merge(train, type(val)(ImageList(()), val.labels, val.sample_id))
    with pytest.raises(DataError, match="sample ids"):
        merge(train, train)


@pytest.mark.parametrize(("weights", "names"), [
    (None, set()),
    ("vit_base_patch16_224.augreg_in21k_ft_in1k", {"ImageNet"}),
    ("deit_base_distilled_patch16_224.fb_in1k", {"ImageNet"}),
    ("swin_base_patch4_window7_224.ms_in22k", {"ImageNet"}),
    ("vit_base_patch16_clip_224.openai", set()),
])  # fmt: skip
def test_a_tag_determines_the_data_that_the_weights_were_trained_on(weights: str | None, names: set[str]) -> None:
    assert trained_on(weights) == names


def test_selection_on_training_images_is_refused() -> None:
    weights = "vit_base_patch16_224.augreg_in21k_ft_in1k"
    imagenet, cifar, tiny = DATASETS["imagenet-1k"], DATASETS["cifar-100"], DATASETS["tiny-imagenet"]
    refused = refusal(imagenet, SplitRule(), weights)
    assert refused is not None
    assert "{name: imagenet-1k, set: {split: halves}}" in refused
    for rule in (SplitRule("halves"), SplitRule("as-published")):
        assert refusal(imagenet, rule, weights) is None
    assert refusal(imagenet, SplitRule(), None) is None
    assert refusal(cifar, SplitRule(), weights) is None
    refused = refusal(tiny, SplitRule("halves"), weights)
    assert refused is not None
    assert {"tiny-imagenet", weights} <= set(refused.replace(",", "").replace(";", "").split())
    assert "halves" not in refused
