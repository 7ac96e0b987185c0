"""The registry of exit heads, the modules that map the tokens after a block to class logits."""

from methods.api import Card

HEADS: dict[str, Card] = {
    "lph": Card(
        target="methods.heads.lph:LocalPerceptionHead", summary="LGViT's convolutional head (kernel: 3, 5 or 0)"
    ),
    "gah": Card(
        target="methods.heads.gah:GlobalAggregationHead",
        code_version=2,
        summary="LGViT's attention head (stride: 1, 2, 3, ...; pool: subsample, average; residual)",
    ),
    "linear": Card(
        target="methods.heads.linear:LinearHead",
        summary="pooler + linear classifier on the class token (shared_pooler, gate)",
    ),
    "class-patch-mean": Card(
        target="methods.heads.class_patch_mean:ClassPatchMeanHead",
        summary="one linear on the class token and the mean patch token",
    ),
    "mixed-pool": Card(
        target="methods.heads.mixed_pool:MixedPoolHead",
        summary="SDN's mixture of largest and mean patch token, one linear",
    ),
    "mlp": Card(target="methods.heads.mlp:MLPHead", summary="one hidden layer on the class token (hidden_ratio)"),
    "vit-ee": Card(target="methods.heads.vit_ee:ViTEEHead", summary="one more transformer block, then the linear head"),
    "convolution": Card(
        target="methods.heads.convolution:ConvolutionHead", summary="plain 3x3 convolution over all channels"
    ),
    "ztw": Card(
        target="methods.heads.ztw:ZTWHead",
        summary="linear classifier on the class token and the logits of the exit before (cascade, layers)",
    ),
    "boosted": Card(
        target="methods.heads.boosted:BoostedHead",
        summary="another head whose logits are added to the answer of the exit before",
    ),
    "final-classifier": Card(
        target="methods.heads.final_classifier:FinalClassifierHead",
        summary="the backbone's own final norm and classifier, without weights of its own",
    ),
    "self-attention": Card(
        target="methods.heads.self_attention:SelfAttentionHead", summary="plain self-attention over all patches"
    ),
}
