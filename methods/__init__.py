"""What is compared: methods. One line a registered thing.

Heads, losses, policies and backbones have tables of their own in their folders.
"""

from methods.api import Card

METHODS: dict[str, Card] = {
    "static": Card(target="methods.static:Static", summary="the backbone without exits: the yardstick of every number"),
    "truncated": Card(target="methods.static:Truncated", summary="the backbone's first blocks (depth), without exits"),
    "next-smaller": Card(
        target="methods.static:NextSmaller", summary="the next smaller backbone of the family, without exits"
    ),
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
    "vit-ee-port": Card(target="methods.vit_ee:ViTEEPort", summary="the same, trained as in the LGViT code"),
    "branchynet": Card(
        target="methods.branchynet:BranchyNet", summary="trunk, then trunk and convolutional branches; entropy"
    ),
    "sdn": Card(target="methods.sdn:SDN", summary="joint with growing weights; else the most confident answer"),
    "sdn-port": Card(target="methods.sdn:SDNPort", summary="SDN as in the LGViT code: weights by depth, confidence"),
    "deebert": Card(target="methods.deebert:DeeBERT", summary="linear exits on the frozen backbone; entropy"),
    "pabee": Card(target="methods.pabee:PABEE", summary="one pooler for all exits, weights by depth; patience"),
    "pabee-port": Card(target="methods.pabee:PABEEPort", summary="PABEE as in the LGViT code: a pooler each"),
    "pcee": Card(target="methods.pcee:PCEE", summary="trained as pabee; low entropy several times in a row"),
    "pcee-port": Card(target="methods.pcee:PCEEPort", summary="PCEE as in the LGViT code: entropy in nats"),
    "berxit": Card(
        target="methods.berxit:BERxiT", summary="steps in turns, and a learned gate that says when to leave"
    ),
    "berxit-port": Card(target="methods.berxit:BERxiTPort", summary="BERxiT as in the LGViT code: no gate, confidence"),
}
