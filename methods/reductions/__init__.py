"""The registry of token reductions, which run a ViT with fewer tokens."""

from methods.api import ALL_TASKS, SEGMENTATION, ReductionCard

REDUCTIONS: dict[str, ReductionCard] = {
    "tome": ReductionCard(
        target="methods.reductions.tome:TokenMerging",
        summary="merges similar tokens in every block (r, slope, proportional)",
    ),
    "evit": ReductionCard(
        target="methods.reductions.evit:TokenReorganisation",
        summary="keeps the tokens that the class token attends to (keep, fuse)",
    ),
    "two-resolutions": ReductionCard(
        target="methods.reductions.two_resolutions:TwoResolutions",
        summary="a pass on a smaller image before the pass on the whole image (share)",
    ),
    "lower-resolution": ReductionCard(
        target="methods.reductions.lower_resolution:LowerResolution",
        summary="a smaller copy of the image (share)",
        tasks=ALL_TASKS,
    ),
    "token-exit": ReductionCard(
        target="methods.reductions.token_exit:TokenExit",
        summary="confident tokens leave at exits with heads on each token (threshold, keep, agreement)",
        code_version=2,
        tasks=(SEGMENTATION,),
    ),
}
