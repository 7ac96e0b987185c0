"""The registry of exit heads, the modules that map the tokens after a block to class logits."""

from methods.api import ALL_TASKS, HeadCard

HEADS: dict[str, HeadCard] = {
    "lph": HeadCard(
        target="methods.heads.lph:LocalPerceptionHead",
        tasks=ALL_TASKS,
        reads_patches=True,
        summary="LGViT's convolutional head (kernel: 3, 5 or 0)",
    ),
    "gah": HeadCard(
        target="methods.heads.gah:GlobalAggregationHead",
        code_version=2,
        tasks=ALL_TASKS,
        reads_patches=True,
        summary="LGViT's attention head (stride: 1, 2, 3, ...; pool: subsample, average; residual)",
    ),
    "linear": HeadCard(
        target="methods.heads.linear:LinearHead",
        tasks=ALL_TASKS,
        options_on_class_tokens=("shared_pooler", "gate"),
        options_across_exits=("shared_pooler", "gate"),
        summary="pooler + linear classifier on the class token (shared_pooler, gate)",
    ),
    "class-patch-mean": HeadCard(
        target="methods.heads.class_patch_mean:ClassPatchMeanHead",
        code_version=2,
        reads_patches=True,
        summary="one linear on the class token and the mean patch token",
    ),
    "mixed-pool": HeadCard(
        target="methods.heads.mixed_pool:MixedPoolHead",
        reads_patches=True,
        summary="SDN's mixture of largest and mean patch token, one linear",
    ),
    "mlp": HeadCard(
        target="methods.heads.mlp:MLPHead",
        tasks=ALL_TASKS,
        summary="one hidden layer on the class token (hidden_ratio)",
    ),
    "vit-ee": HeadCard(
        target="methods.heads.vit_ee:ViTEEHead",
        reads_patches=True,
        summary="one more transformer block, then the linear head",
    ),
    "convolution": HeadCard(
        target="methods.heads.convolution:ConvolutionHead",
        tasks=ALL_TASKS,
        reads_patches=True,
        summary="plain 3x3 convolution over all channels",
    ),
    "ztw": HeadCard(
        target="methods.heads.ztw:ZTWHead",
        options_across_exits=("cascade",),
        summary="linear classifier on the class token and the logits of the exit before (cascade, layers)",
    ),
    "jei": HeadCard(
        target="methods.heads.jei:JEIHead",
        reads_backbone=True,
        summary="linear classifier after the backbone's final norm, with a gate on its answer",
    ),
    "boosted": HeadCard(
        target="methods.heads.boosted:BoostedHead",
        options_across_exits=("head",),  # always set
        summary="another head whose logits are added to the answer of the exit before",
    ),
    "final-classifier": HeadCard(
        target="methods.heads.final_classifier:FinalClassifierHead",
        reads_backbone=True,
        summary="the backbone's own final norm and classifier, without weights of its own",
    ),
    "self-attention": HeadCard(
        target="methods.heads.self_attention:SelfAttentionHead",
        tasks=ALL_TASKS,
        reads_patches=True,
        summary="plain self-attention over all patches",
    ),
}
