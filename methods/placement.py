"""Where exits sit: named schemes as a rule from (name, depth, count) to 1-based block numbers.

An exit reads the output of its block. The last block is never an exit: the final classifier sits there.

Only ``paper`` is the authors' (README of falcon-xu/LGViT). The block lists that their paper ablates under the other
four names are not public; these rules are the suite's own.
"""

PAPER_EXITS = {
    12: (4, 5, 6, 7, 8, 9, 10, 11),  # ViT-B, DeiT-B
    24: (4, 7, 10, 13, 16, 19, 22, 23),  # Swin-B, counted over all stages
}
PUBLISHED = "published"
# Name to rule.
SCHEMES = {
    "paper": "the authors' released 8 positions (depth 12: 4..11; depth 24: 4 7 10 13 16 19 22 23)",
    "shallow": "the first blocks (4 of 12: 1 2 3 4)",
    "middle": "consecutive blocks from (depth - count) // 2 on (4 of 12: 4 5 6 7)",
    "deep": "the last blocks before the final one (4 of 12: 8 9 10 11)",
    "uniform": "steps of depth / count, counted back from the last block before the final one (4 of 12: 2 5 8 11)",
    PUBLISHED: "where each method's own paper puts them",
}
DEFAULT_COUNT = 4


def place_exits(scheme: str, depth: int, count: int | None = None) -> tuple[int, ...]:
    """The block numbers of a scheme, ascending.

    Args:
        scheme: one of `SCHEMES` but ``published``, which asks the method (`methods.api.Method.published_exits`).
        depth: number of blocks of the backbone.
        count: number of early exits; the default is 8 for ``paper`` and `DEFAULT_COUNT` for the others.

    Raises:
        ValueError: the scheme is unknown, or does not exist for this depth and count.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"no exit scheme {scheme!r}; there are {', '.join(SCHEMES)}")
    if scheme == PUBLISHED:
        raise ValueError("the scheme 'published' is the method's; without a method it has no blocks")
    if scheme == "paper":
        if depth not in PAPER_EXITS:
            raise ValueError(f"the scheme 'paper' is known for depths 12 and 24, not {depth}; give a list of blocks")
        blocks = PAPER_EXITS[depth]
        if count not in (None, len(blocks)):
            raise ValueError(f"the scheme 'paper' has {len(blocks)} exits, not {count}")
        return blocks
    count = DEFAULT_COUNT if count is None else count
    if not 1 <= count < depth:
        raise ValueError(f"{count} exits do not fit before the last of {depth} blocks")
    if scheme == "shallow":
        return tuple(range(1, count + 1))
    if scheme == "deep":
        return tuple(range(depth - count, depth))
    if scheme == "middle":
        start = max(1, (depth - count) // 2)
        return tuple(range(start, start + count))
    return tuple(depth - 1 - (count - 1 - i) * depth // count for i in range(count))
