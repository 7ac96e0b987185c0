"""The registry of token reductions, which run a ViT with fewer tokens."""

from methods.api import Card

REDUCTIONS: dict[str, Card] = {
    "tome": Card(
        target="methods.reductions.tome:TokenMerging",
        summary="merges similar tokens in every block (r, slope, proportional)",
    ),
    "evit": Card(
        target="methods.reductions.evit:TokenReorganisation",
        summary="keeps the tokens that the class token attends to (keep, fuse)",
    ),
    "two-resolutions": Card(
        target="methods.reductions.two_resolutions:TwoResolutions",
        summary="a pass on a smaller image before the pass on the whole image (share)",
    ),
}
