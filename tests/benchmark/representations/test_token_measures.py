"""The stage `representations` of a real backbone: made once, read by all runs on it, and damaged files are refused."""

from __future__ import annotations

import pytest
import torch

from benchmark import registry
from benchmark.representations.similarity import MinibatchCKA, gram
from benchmark.representations.token_measures import TokenSums
from results.store.representations import Measurement, csv_text, parse_csv


@pytest.fixture(scope="module")
def rows() -> list[Measurement]:
    """Of an untrained ViT with three blocks on two minibatches of noise."""
    card = registry.card("backbone", "vit_nano_patch4_28")
    torch.manual_seed(0)
    backbone = card.load()({**card.architecture, "depth": 3}, 10).eval()
    images = torch.randn(12, 1, 28, 28)
    sums = TokenSums(backbone, "val", 28)
    for part in images.split(6):
        sums.add(part)
    own = list(sums.rows())
    whole = TokenSums(backbone, "val", 28)
    whole.add(images)
    # Sums over images do not depend on how they are divided; only CKA does.
    for one, other in zip(own, whole.rows(), strict=True):
        assert one.measure == "cka" or one.value == pytest.approx(other.value, rel=1e-5)
    return own


def values(rows: list[Measurement], measure: str) -> dict[tuple[int, str], float]:
    return {(row.block, row.part): row.value or 0.0 for row in rows if row.measure == measure}


def test_the_last_block_equals_itself(rows: list[Measurement]) -> None:
    cka = values(rows, "cka")
    assert {part for _, part in cka} == {"class token", "patch mean", "both"}
    assert {block for block, _ in cka} == {1, 2, 3}
    assert all(value == pytest.approx(1) for (block, _), value in cka.items() if block == 3)
    assert all(value < 1 for (block, _), value in cka.items() if block < 3)


def test_heads_without_training_attend_almost_uniformly(rows: list[Measurement]) -> None:
    distances, uniform = values(rows, "attention-distance"), values(rows, "uniform-distance")
    assert {part for _, part in distances} == {f"head {head}" for head in range(1, 1 + len(distances) // 3)}
    assert len(set(uniform.values())) == 1
    assert all(value == pytest.approx(uniform[block, ""], rel=0.05) for (block, _), value in distances.items())
    assert all(0 < share < 1 for share in values(rows, "high-frequency-share").values())


def test_the_gram_matrix_of_both_kinds_is_that_of_the_concatenated_features() -> None:
    first, second = torch.randn(8, 3), torch.randn(8, 2)
    torch.testing.assert_close(gram(first) + gram(second), gram(torch.cat([first, second], dim=1)))
    assert MinibatchCKA().value is None


def test_windows_have_a_sentence_instead_of_distances() -> None:
    card = registry.card("backbone", "swin_nano_patch2_window7_28")
    sums = TokenSums(card.load()(card.architecture, 10).eval(), "val", 28)
    sums.add(torch.randn(4, card.channels, 28, 28))
    table = list(sums.rows())
    distances = [row for row in table if row.measure == "attention-distance"]
    assert len(distances) == card.depth
    assert all(row.value is None and "windows" in row.note for row in distances)
    assert {row.part for row in table if row.measure == "cka"} == {"patch mean"}


def test_a_table_is_read_as_it_was_written_and_others_are_refused(rows: list[Measurement]) -> None:
    text = csv_text(rows)
    assert list(parse_csv(text.encode())) == rows
    for damaged in (
        text.replace("measure,", "measured,"),
        text.replace("val,", "all,", 1),
        text + "cka,val,1,both,nan,\n",
        text + "cka,val,0,both,1,\n",
        text + "cka,val,1,bo\x1bth,1,\n",
    ):
        with pytest.raises(ValueError):  # noqa: PT011
            parse_csv(damaged.encode())
