"""Checkpoints with the authors' parameter names: converted completely, or refused with every wrong key named."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.heads import HEADS
from methods.model import ExitHeads, MultiExitModel
from methods.official import from_official
from methods.official_config import describe
from methods.official_names import backbone_sources, head_sources
from methods.official_schema import CheckpointError, SwinConfig, ViTConfig

VIT = {
    "model_type": "deit", "backbone": "ViT", "hidden_size": 32, "num_hidden_layers": 12, "num_attention_heads": 4,
    "intermediate_size": 64, "image_size": 28, "patch_size": 4, "num_channels": 1, "qkv_bias": True, "hidden_act": "gelu",
    "layer_norm_eps": 1e-12, "num_early_exits": 8, "position_exits": "[4,5,6,7,8,9,10,11]", "highway_type": "LGViT",
    "exit_strategy": "confidence", "train_strategy": "normal", "threshold": 0.8, "homo_coefficient": 0.01,
    "hete_loss_coefficient": 0.01, "id2label": {str(i): str(i) for i in range(10)},
}  # fmt: skip
SWIN = {
    "model_type": "swin", "embed_dim": 16, "depths": [1, 2, 19, 2], "num_heads": [1, 2, 4, 8], "window_size": 7,
    "mlp_ratio": 2.0, "qkv_bias": True, "drop_path_rate": 0.1, "image_size": 56, "patch_size": 1, "num_channels": 3,
    "layer_norm_eps": 1e-5, "num_early_exits": "[0,1,6,1]", "position_exits": "[[],[2],[3,6,9,12,15,18],[1]]",
    "highway_type": "LGViT", "id2label": {str(i): str(i) for i in range(10)},
}  # fmt: skip
DEIT = VIT | {"backbone": "DeiT"}
OLD_VIT = VIT | {"token": True}
CASES = {
    "vit-197": VIT, "vit-198": OLD_VIT, "deit": DEIT, "swin": SWIN,
    **{f"{name}-{kind}": config | {"highway_type": kind} for name, config in (("vit", VIT), ("deit", DEIT))
       for kind in ("linear", "vit", "self_attention", "conv_normal", "conv1_1", "conv2_1", "attention_r2")},
    "vit-4-exits": VIT | {"num_early_exits": 4, "position_exits": "[2,5,8,11]"},
    "vit-6-exits": VIT | {"num_early_exits": 6, "position_exits": "[2,4,6,8,9,11]"},
    "swin-linear": SWIN | {"highway_type": "linear"},
}  # fmt: skip


def checkpoint(config: dict[str, Any]) -> tuple[dict[str, Tensor], MultiExitModel]:
    """A state dict with the authors' names, and the model that it describes."""
    tokens = {"deit.embeddings.distillation_token": torch.zeros(1)} if config.get("token") else {}
    described = describe(config, tokens)
    torch.manual_seed(0)
    card = described.card
    backbone = card.load()(card.architecture, described.classes)
    heads = [
        HEADS[c.name].load()(card.dims[b - 1], described.classes, card.grids[b - 1], card.class_tokens, **c.options)
        for b, c in zip(described.exits, described.heads, strict=True)
    ]
    model = MultiExitModel(backbone, ExitHeads(described.exits, heads))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    official: dict[str, Tensor] = {}

    def add(sources: dict[str, tuple[str, ...]], own: dict[str, Tensor], prefix: str = "") -> None:
        for name, parts in sources.items():
            for part, piece in zip(parts, own[name].chunk(len(parts)) if len(parts) > 1 else [own[name]], strict=True):
                official[prefix + part] = piece.clone()

    add(backbone_sources(described.family, backbone.model.state_dict(), card.stages), backbone.model.state_dict())
    for choice, place, head in zip(described.heads, described.places, heads, strict=True):
        add(head_sources(choice.name, described.family, head.state_dict()), head.state_dict(), f"{place}.")
    return official, model.eval()


@pytest.mark.parametrize("case", CASES)
def test_a_checkpoint_gives_the_logits_of_the_model(case: str) -> None:
    config = CASES[case]
    official, expected = checkpoint(config)
    if config["model_type"] == "deit":  # part of the authors' class, but unused
        official |= {f"deit.pooler.dense.{leaf}": torch.zeros(32) for leaf in ("weight", "bias")}
    model = from_official(official, json.loads(json.dumps(config)))
    images = torch.randn(2, config["num_channels"], config["image_size"], config["image_size"])
    with torch.no_grad():
        logits = model.forward_all(images).logits
        torch.testing.assert_close(logits, expected.forward_all(images).logits)
    assert logits.shape == (len(model.exit_heads.exits) + 1, 2, 10)
    assert not model.training


def test_exits_are_counted_over_swins_stages() -> None:
    assert describe(SWIN, {}).exits == (3, 6, 9, 12, 15, 18, 21, 23)
    assert describe(SWIN, {}).places[0] == "swin.encoder.layers.1.highway.0"
    assert describe(VIT, {}).exits == tuple(range(4, 12))


def test_every_wrong_key_is_named() -> None:
    official, _ = checkpoint(VIT)
    official["deit.encoder.highway.0.mlp.extra.weight"] = torch.zeros(1)
    del official["deit.encoder.layer.3.attention.attention.key.weight"]
    official["classifier.weight"] = torch.zeros(11, 32)
    with pytest.raises(CheckpointError) as error:
        from_official(official, VIT)
    message = str(error.value)
    assert "deit.encoder.highway.0.mlp.extra.weight is unknown" in message
    assert "deit.encoder.layer.3.attention.attention.key.weight is missing" in message
    assert "classifier.weight [11, 32]" in message
    assert "[10, 32]" in message


@pytest.mark.parametrize(("change", "parts"), [
    ({"backbone": "BEiT"}, ["backbone", "'BEiT'"]),
    ({"model_type": "bert"}, ["model_type", "'deit'", "'swin'", "'bert'"]),
    ({"position_exits": None}, ["'position_exits'"]),
    ({"position_exits": "__import__('os')"}, ["position_exits"]),
    ({"position_exits": "[4,5,6,7,8,9,10,12]"}, ["position_exits", "1 to 11"]),
    ({"num_early_exits": 7}, ["num_early_exits", "7"]),
    ({"num_early_exits": 3, "position_exits": "[3,6,9]"}, ["LGViT", "2, 4, 6, 8", "3"]),
    ({"highway_type": "linaer"}, ["highway_type", "'linaer'", "'linear'"]),
    ({"id2label": {}}, ["id2label", "num_labels"]),
    ({"position_exits": "x"}, ["position_exits", "'x'"]),
    ({"position_exits": [True, 2]}, ["position_exits.0", "True"]),
    ({"num_early_exits": True}, ["num_early_exits", "True"]),
    ({"qkv_bias": "no"}, ["qkv_bias", "'no'"]),
    ({"layer_norm_eps": True}, ["layer_norm_eps", "True"]),
    ({"highway_type": ["LGViT"]}, ["highway_type", "LGViT"]),
    ({"hidden_size": 30_000}, ["hidden_size", "20000", "30000"]),
    ({"id2label": "cat"}, ["id2label", "'cat'"]),
    ({"num_labels": "10", "id2label": {}}, ["num_labels", "'10'"]),
    ({"hidden_act": "relu"}, ["hidden_act", "gelu", "'relu'"]),
])  # fmt: skip
def test_an_unknown_configuration_is_an_error(change: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(CheckpointError) as error:
        describe(VIT | change, {})
    assert all(part in str(error.value) for part in parts)


WRONG_TYPES = [True, 2.5, "x", "[", "[1, true]", [True, 2], [2.5], ["a"], [[]], {}, {"a": None}]


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_a_wrong_type_of_any_field_is_named(data: st.DataObject) -> None:
    """Text, where it is allowed, must name a kind of head; so no drawn value describes a model."""
    base, schema = data.draw(st.sampled_from([(VIT, ViTConfig), (SWIN, SwinConfig)]))
    key = data.draw(st.sampled_from(sorted(schema.model_fields.keys() & base.keys())))
    wrong = data.draw(st.sampled_from(WRONG_TYPES))
    fits = {"qkv_bias": isinstance(wrong, bool), "id2label": isinstance(wrong, dict) and bool(wrong)}
    fits |= dict.fromkeys(("mlp_ratio", "drop_path_rate", "layer_norm_eps"), wrong == 2.5)
    assume(not fits.get(key, False))
    with pytest.raises(CheckpointError, match=f"num_labels|{key}") as error:
        describe(base | {key: wrong}, {})
    assert "\n" not in str(error.value)


def test_swins_layout_is_checked() -> None:
    with pytest.raises(CheckpointError, match=r"position_exits .*4 stages"):
        describe(SWIN | {"num_early_exits": "[0,1,6,2]"}, {})
    with pytest.raises(CheckpointError, match="stage 2 has blocks 1 to 2, not 3"):
        describe(SWIN | {"position_exits": "[[],[3],[3,6,9,12,15,18],[1]]"}, {})


ODD_VALUES = [None, True, -1, 0, 3, 10**6, 10**9, 10**400, 0.5, float("nan"), "", "x", "[1]", "[" * 9_999, [], [[]], [1],
              [0] * 9, [10**7] * 4, ["a"], {}, {"a": 1}]  # fmt: skip


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_any_configuration_is_converted_or_refused(data: st.DataObject) -> None:
    """No value of a configuration leads to another error, or to a model that is much larger than the checkpoint."""
    base = data.draw(st.sampled_from([VIT, SWIN]))
    keys = data.draw(st.lists(st.sampled_from(sorted(base)), min_size=1, max_size=3, unique=True))
    config = base | {key: data.draw(st.sampled_from(ODD_VALUES)) for key in keys}
    with pytest.raises(CheckpointError, match=r".+"):
        from_official({"deit.layernorm.weight": torch.zeros(1000)}, config)


@pytest.mark.parametrize(
    "change",
    [{"hidden_size": 16_384, "intermediate_size": 65_536}, {"num_hidden_layers": 900, "position_exits": "[4]"},
     {"num_hidden_layers": 10**6}],
)  # fmt: skip
def test_a_model_larger_than_its_checkpoint_is_not_built(change: dict[str, Any]) -> None:
    small, _ = checkpoint(VIT | {"highway_type": "linear"})
    with pytest.raises(CheckpointError, match=r"parameters, and the checkpoint has|num_hidden_layers|num_early_exits"):
        from_official(small, VIT | {"highway_type": "linear"} | change)
