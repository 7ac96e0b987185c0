"""What is compared: methods. One line a registered thing.

Heads, losses, policies and backbones have tables of their own in their folders.
"""

from methods.api import Card

METHODS: dict[str, Card] = {
    "static": Card(target="methods.static:Static", summary="the backbone without exits: the yardstick of every number"),
    "truncated": Card(target="methods.static:Truncated", summary="the backbone's first blocks (depth), without exits"),
    "lgvit": Card(target="methods.lgvit:LGViT", summary="LPH at the lower half of the exits, GAH at the upper half"),
    "lgvit-official": Card(
        target="methods.lgvit:LGViTOfficial", summary="the same heads, trained as the authors' code does"
    ),
    "vanilla": Card(target="methods.vanilla:Vanilla", summary="pooler + linear classifier at every exit"),
    "homogeneous-local": Card(target="methods.homogeneous:HomogeneousLocal", summary="LPH at every exit"),
    "homogeneous-global": Card(target="methods.homogeneous:HomogeneousGlobal", summary="GAH at every exit"),
    "homogeneous-mlp": Card(target="methods.homogeneous:HomogeneousMLP", summary="a small MLP at every exit"),
    "homogeneous-convolution": Card(
        target="methods.homogeneous:HomogeneousConvolution", summary="a plain 3x3 convolution at every exit"
    ),
    "homogeneous-attention": Card(
        target="methods.homogeneous:HomogeneousAttention", summary="plain self-attention at every exit"
    ),
    "vit-ee": Card(target="methods.vit_ee:ViTEE", summary="one more transformer block before each exit's classifier"),
}
