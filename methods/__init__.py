"""The registry of methods. Heads, losses, policies and backbones are registered in their own folders.

The most common methods have the colors of Okabe and Ito's palette. The markers differ, so figures are readable in greyscale.
"""

from methods.api import MethodCard

METHODS: dict[str, MethodCard] = {
    "static": MethodCard(
        target="methods.static:Static",
        summary="the backbone without exits: the reference for speed-ups and accuracy drops",
        display_name="Backbone",
        color="#000000", marker="*", table_order=0,
    ),
    "truncated": MethodCard(
        target="methods.static:Truncated",
        summary="the backbone's first blocks (depth), without exits",
        display_name="Truncated backbone",
        color="#555555", marker="d", dashes=(2, 2), table_order=1,
    ),
    "next-smaller": MethodCard(
        target="methods.static:NextSmaller",
        summary="the next smaller backbone of the family, without exits",
        display_name="Next smaller backbone",
        color="#555555", marker="P", dashes=(2, 2), table_order=2,
    ),
    "lgvit": MethodCard(
        target="methods.lgvit:LGViT",
        summary="LPH at the lower half of the exits, GAH at the upper half",
        display_name="LGViT",
        citation="Xu et al., ACM MM 2023, arXiv 2308.00255", reference="lgvit",
        color="#D55E00", marker="o", table_order=3,
    ),
    "lgvit-official": MethodCard(
        target="methods.lgvit:LGViTOfficial",
        summary="the same heads, trained as the authors' code does",
        display_name="LGViT (official code)",
        citation="Xu et al., ACM MM 2023, arXiv 2308.00255", reference="lgvit",
        color="#8C2D04", marker="X", dashes=(5, 1.5),
    ),
    "vanilla": MethodCard(
        target="methods.vanilla:Vanilla",
        summary="pooler + linear classifier at every exit",
        display_name="Vanilla early exit",
        color="#0072B2", marker="s", dashes=(4, 1.5),
    ),
    "class-patch-mean": MethodCard(
        target="methods.homogeneous:HomogeneousClassPatchMean",
        summary="a linear classifier on class token and mean patch token at every exit",
        display_name="Linear on class token and patch mean",
        color="#117733", marker="p", dashes=(2, 1),
    ),
    "homogeneous-local": MethodCard(
        target="methods.homogeneous:HomogeneousLocal",
        summary="LPH at every exit",
        display_name="LPH at every exit",
        color="#009E73", marker="^", dashes=(1, 1),
    ),
    "homogeneous-global": MethodCard(
        target="methods.homogeneous:HomogeneousGlobal",
        summary="GAH at every exit",
        display_name="GAH at every exit",
        color="#CC79A7", marker="D", dashes=(3, 1, 1, 1),
    ),
    "homogeneous-mlp": MethodCard(
        target="methods.homogeneous:HomogeneousMLP",
        summary="a small MLP at every exit",
        display_name="MLP at every exit",
        color="#E69F00", marker="v", dashes=(7, 1.5),
    ),
    "homogeneous-convolution": MethodCard(
        target="methods.homogeneous:HomogeneousConvolution",
        summary="a plain 3x3 convolution at every exit",
        display_name="Convolution at every exit",
        color="#56B4E9", marker="P", dashes=(2, 2),
    ),
    "homogeneous-attention": MethodCard(
        target="methods.homogeneous:HomogeneousAttention",
        summary="plain self-attention at every exit",
        display_name="Self-attention at every exit",
        color="#7F7F7F", marker="X", dashes=(5, 1, 1, 1, 1, 1),
    ),
    "vit-ee": MethodCard(
        target="methods.vit_ee:ViTEE",
        summary="an additional transformer block before each exit's classifier",
        display_name="ViT-EE",
        citation="Bakhtiarnia et al., BMVC 2021", reference="vit-ee",
        color="#A6761D", marker="<", dashes=(8, 2),
    ),
    "vit-ee-port": MethodCard(
        target="methods.vit_ee:ViTEEPort",
        summary="ViT-EE as in the LGViT code: joint training, equal weights",
        display_name="ViT-EE (port)",
        citation="Bakhtiarnia et al., BMVC 2021", reference="vit-ee",
        color="#A6761D", marker=">", dashes=(1, 2),
    ),
    "branchynet": MethodCard(
        target="methods.branchynet:BranchyNet",
        summary="trains the trunk, then trunk and convolutional branches; entropy",
        display_name="BranchyNet",
        citation="Teerapittayanon et al., ICPR 2016", reference="branchynet",
        color="#332288", marker="<",
    ),
    "sdn": MethodCard(
        target="methods.sdn:SDN",
        summary="joint training with growing weights; else the most confident prediction",
        display_name="SDN",
        citation="Kaya et al., ICML 2019", reference="sdn",
        color="#1B7837", marker="d",
    ),
    "sdn-port": MethodCard(
        target="methods.sdn:SDNPort",
        summary="SDN as in the LGViT code: weights by depth, confidence",
        display_name="SDN (port)",
        citation="Kaya et al., ICML 2019", reference="sdn",
        color="#1B7837", marker="s", dashes=(1, 2),
    ),
    "deebert": MethodCard(
        target="methods.deebert:DeeBERT",
        summary="linear exits on the frozen backbone; entropy",
        display_name="DeeBERT",
        citation="Xin et al., ACL 2020", reference="deebert",
        color="#44AA99", marker=">", dashes=(6, 1),
    ),
    "pabee": MethodCard(
        target="methods.pabee:PABEE",
        summary="one pooler for all exits, losses weighted by depth; patience",
        display_name="PABEE",
        citation="Zhou et al., NeurIPS 2020", reference="pabee",
        color="#762A83", marker="v",
    ),
    "pabee-port": MethodCard(
        target="methods.pabee:PABEEPort",
        summary="PABEE as in the LGViT code: one pooler per exit",
        display_name="PABEE (port)",
        citation="Zhou et al., NeurIPS 2020", reference="pabee",
        color="#762A83", marker="^", dashes=(1, 2),
    ),
    "pcee": MethodCard(
        target="methods.pcee:PCEE",
        summary="trained as PABEE; low entropy at several exits in a row",
        display_name="PCEE",
        citation="Zhang et al., NAACL Findings 2022", reference="pcee",
        color="#999933", marker="s",
    ),
    "pcee-port": MethodCard(
        target="methods.pcee:PCEEPort",
        summary="PCEE as in the LGViT code: entropy in nats",
        display_name="PCEE (port)",
        citation="Zhang et al., NAACL Findings 2022", reference="pcee",
        color="#999933", marker="D", dashes=(1, 2),
    ),
    "berxit": MethodCard(
        target="methods.berxit:BERxiT",
        summary="alternating training, and a learned gate that decides when to exit",
        display_name="BERxiT",
        citation="Xin et al., EACL 2021", reference="berxit",
        color="#882255", marker="P", dashes=(4, 1.5),
    ),
    "berxit-port": MethodCard(
        target="methods.berxit:BERxiTPort",
        summary="BERxiT as in the LGViT code: no gate, confidence",
        display_name="BERxiT (port)",
        citation="Xin et al., EACL 2021", reference="berxit",
        color="#882255", marker="X", dashes=(1, 2),
    ),
    "ztw": MethodCard(
        target="methods.ztw:ZTW",
        summary="linear heads that also read the logits of the exit before; a fitted ensemble of the exits",
        display_name="ZTW",
        citation="Wołczyk et al., NeurIPS 2021; Neural Networks 2023", reference="ztw",
        color="#661100", marker="p",
    ),
}  # fmt: skip
