"""The backbones. A line says all that planning needs; a test compares it with the built model."""

from methods.api import BackboneCard


def vit(
    *, image_size: int, patch_size: int, channels: int, width: int, attention_heads: int, summary: str
) -> BackboneCard:
    """The card of a plain 12-block Vision Transformer with one class token."""
    depth = 12
    return BackboneCard(
        target="methods.backbones.vit:build",
        summary=summary,
        depth=depth,
        dims=(width,) * depth,
        grids=(image_size // patch_size,) * depth,
        prefix_tokens=1,
        image_size=image_size,
        channels=channels,
        architecture={
            "img_size": image_size,
            "patch_size": patch_size,
            "in_chans": channels,
            "embed_dim": width,
            "depth": depth,
            "num_heads": attention_heads,
        },
    )


BACKBONES: dict[str, BackboneCard] = {
    "vit_nano_patch4_28": vit(
        image_size=28,
        patch_size=4,
        channels=1,
        width=32,
        attention_heads=2,
        summary="ViT, 12 blocks of width 32, 7x7 patches of a 28x28 grey image: CPU-sized",
    ),
}
