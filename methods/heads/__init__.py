"""The exit heads: what turns the tokens after a block into class logits."""

from methods.api import Card

HEADS: dict[str, Card] = {
    "lph": Card(
        target="methods.heads.lph:LocalPerceptionHead", summary="LGViT's convolutional head (kernel: 3, 5 or 0)"
    ),
    "gah": Card(target="methods.heads.gah:GlobalAggregationHead", summary="LGViT's attention head (stride: 1, 2 or 3)"),
    "linear": Card(target="methods.heads.linear:LinearHead", summary="pooler + linear classifier on the class token"),
}
