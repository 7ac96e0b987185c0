"""Exit placement: named schemes that give 1-based block numbers for a depth and a number of exits.

An exit reads the output of its block. The last block has no early exit, because the final classifier follows it.

Only ``paper`` is from the authors (README of falcon-xu/LGViT). Their paper ablates four other schemes without publishing the
blocks; the rules for these names are our own.
"""

from methods.lookup import shortened

PAPER_EXITS = {
    12: (4, 5, 6, 7, 8, 9, 10, 11),  # ViT-B, DeiT-B
    24: (4, 7, 10, 13, 16, 19, 22, 23),  # Swin-B, counted over all stages
}
PUBLISHED = "published"
# Descriptions by name.
SCHEMES = {
    "paper": "the authors' released 8 positions (depth 12: 4..11; depth 24: 4 7 10 13 16 19 22 23)",
    "shallow": "the first blocks (4 of 12: 1 2 3 4)",
    "middle": "consecutive blocks from (depth - count) // 2 on (4 of 12: 4 5 6 7)",
    "deep": "the last blocks before the final one (4 of 12: 8 9 10 11)",
    "uniform": "steps of depth / count, counted back from the last block before the final one (4 of 12: 2 5 8 11)",
    PUBLISHED: "the positions of each method's own paper",
}
DEFAULT_COUNT = 4


def place_exits(scheme: str, depth: int, count: int | None = None) -> tuple[int, ...]:
    """The block numbers of a scheme, ascending.

    Args:
        scheme: one of `SCHEMES` except ``published``, whose blocks the method gives (`methods.api.Method.published_exits`).
        depth: number of blocks of the backbone.
        count: number of early exits; the default is 8 for ``paper`` and `DEFAULT_COUNT` for the others.

    Raises:
        ValueError: the scheme is unknown, or does not exist for this depth and count.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"unknown exit scheme {scheme!r}; there are: {', '.join(SCHEMES)}")
    if scheme == PUBLISHED:
        raise ValueError("the blocks of the scheme 'published' depend on the method")
    if scheme == "paper":
        if depth not in PAPER_EXITS:
            raise ValueError(f"the scheme 'paper' exists for depths 12 and 24, not {depth}; list the blocks instead")
        blocks = PAPER_EXITS[depth]
        if count not in (None, len(blocks)):
            raise ValueError(f"the scheme 'paper' has {len(blocks)} exits, not {shortened(count)}")
        return blocks
    count = DEFAULT_COUNT if count is None else count
    if not 1 <= count < depth:
        raise ValueError(f"{shortened(count)} early exits: a backbone of {depth} blocks has 1 to {depth - 1}")
    if scheme == "shallow":
        return tuple(range(1, count + 1))
    if scheme == "deep":
        return tuple(range(depth - count, depth))
    if scheme == "middle":
        start = max(1, (depth - count) // 2)
        return tuple(range(start, start + count))
    return tuple(depth - 1 - (count - 1 - i) * depth // count for i in range(count))
