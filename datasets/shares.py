"""How several processes (ranks) divide a training batch: all of them together see it once, whatever their number."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Share:
    """What one rank takes of every batch.

    Attributes:
        rank: its number, from 0.
        ranks: how many there are.
        passes: that a batch goes through the model in (gradient accumulation); the batch is divided into these first, so
            that a pass holds the same images however many ranks share it.
    """

    rank: int = 0
    ranks: int = 1
    passes: int = 1


WHOLE = Share()


@dataclass(frozen=True)
class Piece:
    """What one rank takes of one pass.

    Attributes:
        start, stop: in the whole batch.
        of: images of the pass, over all ranks.
        images: for how many of them this rank's count: as many as it takes, unless there are fewer than ranks. Then every
            rank takes them all, so that none is without work, and each counts for its part.
    """

    start: int
    stop: int
    of: int
    images: float

    def of_all(self) -> Piece:
        """The whole pass, as one rank would take it alone."""
        return replace(self, images=self.of)


def pieces(size: int, share: Share) -> list[Piece]:
    """The rank's pieces of a batch of ``size`` images, one a pass; passes are as large as `torch.chunk` makes them."""
    found = []
    length = -(-size // share.passes)
    for first in range(0, size, length):
        count = min(length, size - first)
        if count < share.ranks:
            found.append(Piece(first, first + count, count, count / share.ranks))
        else:
            start, stop = (first + count * rank // share.ranks for rank in (share.rank, share.rank + 1))
            found.append(Piece(start, stop, count, stop - start))
    return found


def taken(size: int, share: Share) -> list[int]:
    """Numbers, in the whole batch, of the images that the rank takes; ascending."""
    return [number for piece in pieces(size, share) for number in range(piece.start, piece.stop)]


def with_partners(numbers: list[int], size: int) -> list[int]:
    """The images, and those that Mixup and CutMix mix them with: the batch with itself in reverse, the odd last one alone.

    What comes out, mixed with itself in the same way, has the same pairs.
    """
    even = size // 2 * 2
    return sorted({*numbers, *(even - 1 - number for number in numbers if number < even)})
