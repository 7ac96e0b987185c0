"""Division of a training batch among ranks. Together they process each image once, for any number of ranks."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Share:
    """The part of every batch that one rank processes.

    Attributes:
        rank: index of the rank, from 0.
        ranks: number of ranks.
        passes: number of forward passes per batch (gradient accumulation). The batch is divided into passes first and then
            among ranks, so the images of a pass do not depend on the number of ranks.
    """

    rank: int = 0
    ranks: int = 1
    passes: int = 1


WHOLE = Share()


@dataclass(frozen=True)
class Piece:
    """The part of one forward pass that one rank processes.

    Attributes:
        start, stop: range of its images in the whole batch.
        of: number of images in the pass, over all ranks.
        images: weight of this rank's images in the loss, as a number of images: ``stop - start``, unless the pass has fewer
            images than ranks. Then every rank processes all of them with the weight ``of / ranks``, so that no rank is idle.
    """

    start: int
    stop: int
    of: int
    images: float

    def of_all(self) -> Piece:
        """The same range with the weight of the whole pass, as for a single rank."""
        return replace(self, images=self.of)


def pieces(size: int, share: Share) -> list[Piece]:
    """The rank's pieces of a batch of ``size`` images, one per pass; passes have the sizes of `torch.chunk`'s chunks."""
    result = []
    length = -(-size // share.passes)
    for first in range(0, size, length):
        count = min(length, size - first)
        if count < share.ranks:
            result.append(Piece(first, first + count, count, count / share.ranks))
        else:
            start, stop = (first + count * rank // share.ranks for rank in (share.rank, share.rank + 1))
            result.append(Piece(start, stop, count, stop - start))
    return result


def taken(size: int, share: Share) -> list[int]:
    """Indices, in the whole batch, of the images that the rank processes; ascending."""
    return [index for piece in pieces(size, share) for index in range(piece.start, piece.stop)]


def with_partners(numbers: list[int], size: int) -> list[int]:
    """The images and their partners in Mixup and CutMix, as sorted indices in a batch of ``size`` images.

    The batch is mixed with itself in reverse order; the last image of an odd batch is not mixed. Mixing the returned subset
    with itself in reverse order forms the same pairs.
    """
    even = size // 2 * 2
    return sorted({*numbers, *(even - 1 - index for index in numbers if index < even)})
