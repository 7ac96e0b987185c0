"""Exits above merged tokens: token counts, MACs by hand, keys, refusals, and dynamic inference equal to the stored scores."""

from __future__ import annotations

from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from benchmark.deployment.segments import segments
from benchmark.errors import UserError
from benchmark.grid.load import load_grid
from benchmark.measure.agreement import dynamic_agreement
from benchmark.measure.finished import load_model, reference_backbone
from benchmark.measure.price import price
from benchmark.representations.gradient_agreement import gradient_refusal
from benchmark.stages.graph import run_stages
from benchmark.training.reduced import reduced
from methods import METHODS
from methods.backbones import BACKBONES
from methods.backbones.vit import ViT
from methods.boosted import Boosted
from methods.model import backbone_pass
from methods.policies.confidence import Confidence
from methods.vanilla import Vanilla
from results.store.folder import Store
from tests.grids import write_grid
from tests.trained_runs import scored_test_images, write_trained_run

NANO = "vit_nano_patch4_28"
CLASS_TOKEN_METHODS = {
    "vanilla", "homogeneous-mlp", "sdn-port", "deebert", "pabee", "pabee-port", "pcee", "pcee-port", "berxit", "berxit-port",
    "ztw", "boosted", "jei-dnn",
}  # fmt: skip


@pytest.mark.parametrize(("r", "counts"), [(8, (165, 133, 109)), (13, (145, 93, 54)), (16, (133, 69, 21))])
def test_exits_read_the_published_numbers_of_tokens(r: int, counts: tuple[int, ...]) -> None:
    """After blocks 4, 8 and 11 of a ViT with 197 tokens."""
    vit = ViT(VisionTransformer(patch_size=16, embed_dim=8, num_heads=2, num_classes=3, mlp_ratio=1).eval())
    component = Vanilla(merge=r).token_reduction(BACKBONES["vit_base_patch16_224"])
    with torch.no_grad():
        passed = backbone_pass(reduced(vit, component), torch.zeros(1, 3, 224, 224), (4, 8, 11))
    assert tuple(passed.tokens[block].values.shape[1] for block in (4, 8, 11)) == counts
    assert passed.tokens[4].class_tokens.shape == (1, 1, 8)


def test_costs_are_those_of_the_tokens_that_are_left() -> None:
    exits, merge, width, classes = (3, 7), 4, 32, 10
    counts = list(accumulate(range(12), lambda n, _: n - min(merge, (n - 1) // 2), initial=50))
    matching = [(n + 1) // 2 * (n // 2) * 16 for n in counts[:-1]]  # 16: width of an attention head
    blocks = [
        4 * n * width**2 + 2 * n**2 * width + 8 * m * width**2 + match
        for (n, m), match in zip(pairwise(counts), matching, strict=True)
    ]
    costs = price(NANO, Vanilla(merge=merge), exits, classes)
    assert list(costs.blocks) == blocks
    head = width * width + width * classes
    at_exits = [costs.stem + sum(blocks[:block]) + head * number for number, block in enumerate(exits, start=1)]
    assert costs.cumulative == (*at_exits, costs.stem + sum(blocks) + 2 * head + width * classes)
    plain = price(NANO, Vanilla(), exits, classes)
    assert (costs.heads, costs.baseline, costs.parameters) == (plain.heads, plain.baseline, plain.parameters)
    assert (costs.reduced_tokens, plain.reduced_tokens) == (True, False)


def test_the_fine_tuning_is_shared_and_the_heads_are_not(tmp_path: Path) -> None:
    methods: list[Any] = ["vanilla", *({"name": "vanilla", "set": {"merge": r}} for r in (2, 4))]
    runs = [run_stages(run) for run in load_grid(write_grid(tmp_path / "grid.yaml", methods=methods)).runs]
    assert len({stages.reference.key for stages in runs}) == 1
    for parts in (
        [s.training[-1].key for s in runs],
        [s.training[-1].shared_pass for s in runs],
        [s.cost.key for s in runs],
    ):
        assert len(set(parts)) == 3


def test_heads_that_read_patches_and_backbones_with_windows_are_refused(tmp_path: Path) -> None:
    card = BACKBONES["vit_base_patch16_224"]
    for name, method in METHODS.items():
        cls = method.load()
        if name in CLASS_TOKEN_METHODS:
            assert cls(merge=4).token_reduction(card) is not None
        elif hasattr(cls, "merge"):
            with pytest.raises(ValueError, match=r"merge .* the head \S+ reads"):
                cls(merge=4).token_reduction(card)
    with pytest.raises(ValueError, match="lph"):
        Boosted(base="lgvit", merge=4).token_reduction(card)
    with pytest.raises(ValueError, match="merge"):
        Vanilla(merge=-1)
    grid = write_grid(
        tmp_path / "grid.yaml",
        backbones=["swin_nano_patch2_window7_28"],
        methods=[{"name": "vanilla", "set": {"merge": 2}}],
    )
    with pytest.raises(UserError, match=r"merge=2.*'swin'"):
        load_grid(grid)


def test_a_finished_run_answers_as_its_scores(tmp_path: Path) -> None:
    record = write_trained_run(tmp_path, method="vanilla", samples=30, options={"merge": 5})
    store, cpu = Store(tmp_path), torch.device("cpu")
    model = load_model(store, record, cpu)
    scores, pixels = scored_test_images(store, record)
    policy = Confidence(threshold=float(scores.logits[0].softmax(-1).amax(-1).median()))
    check = dynamic_agreement(model, policy, pixels, scores)
    assert check.within()
    assert not reference_backbone(store, record, model, cpu).is_reduced
    assert "fewer tokens" in gradient_refusal(record)
    with pytest.raises(UserError, match="export"):
        segments(model, None, pixels[:1])  # type: ignore[arg-type]
