"""Division of a training batch among ranks. Together the ranks process each image once."""

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
        pass_size: number of images in the pass, over all ranks.
        weight: weight of this rank's images in the loss, as a number of images: ``stop - start``, unless the pass has fewer
            images than ranks. Then every rank processes all of them with the weight ``pass_size / ranks``, so no rank is idle.
    """

    start: int
    stop: int
    pass_size: int
    weight: float

    def with_full_weight(self) -> Piece:
        """The same range with the weight of the whole pass."""
        return replace(self, weight=self.pass_size)


def pieces(size: int, share: Share) -> list[Piece]:
    """The rank's pieces of a batch of ``size`` images, one per pass; the passes have the sizes of `torch.chunk`."""
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


def rank_indices(size: int, share: Share) -> list[int]:
    """Ascending indices, in a batch of ``size`` images, of the images that the rank processes."""
    return [index for piece in pieces(size, share) for index in range(piece.start, piece.stop)]


def with_partners(indices: list[int], size: int) -> list[int]:
    """The images and their partners in Mixup and CutMix, as sorted indices in a batch of ``size`` images.

    The batch is mixed with itself in reverse order; the last image of an odd batch is not mixed. Mixing the returned subset
    with itself in reverse order forms the same pairs.
    """
    even = size // 2 * 2
    return sorted({*indices, *(even - 1 - index for index in indices if index < even)})
