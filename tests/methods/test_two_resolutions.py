"""Two resolutions: the passes are timm's model at both sizes, MACs by hand, and dynamic inference gives the stored answers."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from timm.models.vision_transformer import VisionTransformer
from torch.nn import functional as F

from benchmark.cli.costs import command
from benchmark.errors import UserError
from benchmark.grid.load import load_grid
from benchmark.measure.agreement import dynamic_agreement
from benchmark.measure.attention import attention_kernels
from benchmark.measure.dynamic import run_dynamic
from benchmark.measure.finished import load_model, reference_backbone
from benchmark.measure.latency import time_batches
from benchmark.measure.price import price
from benchmark.registry import table
from benchmark.stages.graph import run_stages
from benchmark.training.reduced import reduced
from methods.api import SEGMENTATION, Component
from methods.backbones.vit import ViT
from methods.heads.final_classifier import FinalClassifierHead
from methods.model import ExitHeads, MultiExitModel
from methods.policies.confidence import Confidence
from methods.reductions.two_resolutions import TwoPassViT
from methods.tasks import get_task
from methods.tokens import Tokens
from methods.two_resolutions import LowerResolution, TwoResolutions
from results.store.folder import Store
from tests.trained_runs import scored_test_images, write_trained_run

NANO = "vit_nano_patch4_28"
SMALL: dict[str, Any] = {
    "img_size": 64,
    "patch_size": 16,
    "embed_dim": 16,
    "num_heads": 2,
    "depth": 3,
    "num_classes": 5,
}
CPU = torch.device("cpu")


def block_macs(tokens: int, width: int) -> int:
    return 12 * tokens * width**2 + 2 * tokens**2 * width


def pass_macs(grid: int, patch_values: int, width: int, classes: int, depth: int = 12) -> int:
    """MACs of a ViT with one class token."""
    return grid**2 * patch_values * width + depth * block_macs(grid**2 + 1, width) + classes * width


def test_both_passes_are_the_model_of_timm_at_their_size() -> None:
    torch.manual_seed(0)
    model = VisionTransformer(**SMALL).eval()
    torch.nn.init.normal_(model.pos_embed)
    resized = copy.deepcopy(model)
    resized.set_input_size(img_size=(32, 32))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    backbone = TwoPassViT(ViT(model), 0.5)
    cascade = MultiExitModel(backbone, ExitHeads((3,), [FinalClassifierHead(16, 5, 4, 1)])).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        first, second = cascade(images)
        smaller = F.interpolate(images, (32, 32), mode="bilinear", antialias=True)
        torch.testing.assert_close(first, resized(smaller))
        torch.testing.assert_close(second, model(images))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert {id(p) for p in cascade.parameters()} == {id(p) for p in model.parameters()}


def test_the_lower_resolution_alone_is_the_first_of_both_passes() -> None:
    torch.manual_seed(0)
    backbone = ViT(VisionTransformer(**SMALL).eval())
    images = torch.randn(2, 3, 64, 64)
    both = MultiExitModel(TwoPassViT(backbone, 0.5), ExitHeads((3,), [FinalClassifierHead(16, 5, 4, 1)])).eval()
    with torch.no_grad():
        assert torch.equal(reduced(backbone, Component("lower-resolution", {"share": 0.5}))(images), both(images)[0])


def test_at_the_lower_resolution_maps_have_fewer_patches_and_the_same_readout() -> None:
    torch.manual_seed(0)
    card, task = table("backbone")[NANO], get_task(SEGMENTATION)
    whole = task.backbone(card.load(), card.architecture, 3).eval()
    smaller = reduced(whole, Component("lower-resolution", {"share": 0.5}))
    images = torch.randn(2, 1, 28, 28)
    with torch.no_grad():
        tokens = smaller.embed(images)
        for number in range(1, 13):
            tokens = smaller.block(number, tokens)
        maps = smaller(images)
        assert maps.shape == (2, 3, 4, 4)
        expected = whole.readout(whole.model.norm(tokens.values)[:, 1:])  # type: ignore[operator]
        torch.testing.assert_close(maps.flatten(2).transpose(1, 2), expected)
        counts = task.counts(maps, [torch.zeros(28, 28).byte(), torch.ones(9, 11).byte()])
    assert counts[:, :, [0, 2]].sum((1, 2)).tolist() == [784, 99]
    assert smaller.is_reduced
    costs = price(NANO, LowerResolution(share=0.5), (), 3, SEGMENTATION)
    assert costs.cumulative == (16 * 16 * 32 + 12 * block_macs(17, 32) + 16 * 32 * 3,)
    assert costs.baseline == 49 * 16 * 32 + 12 * block_macs(50, 32) + 49 * 32 * 3


@pytest.mark.parametrize(("share", "grid"), [(0.5, 4), (0.4, 3)])
def test_costs_are_those_of_the_smaller_pass_and_then_of_both(share: float, grid: int) -> None:
    """The side of the smaller grid is a share of 7, rounded up."""
    costs = price(NANO, TwoResolutions(share=share), (4, 8), 10)
    small, full = pass_macs(grid, 16, 32, 10), pass_macs(7, 16, 32, 10)
    assert costs.cumulative == (small, small + full)
    assert costs.baseline == full
    assert (costs.depth, len(costs.blocks), costs.heads) == (12, 24, (320, 320))
    assert costs.blocks[12] == 49 * 16 * 32 + block_macs(50, 32)
    assert costs.cumulative[-1] == costs.stem + sum(costs.blocks) + sum(costs.heads)
    assert costs.heads_parameters == 0


def test_the_smaller_pass_of_deit_s_costs_the_published_share() -> None:
    assert round(pass_macs(7, 768, 384, 1000) / 1e9, 2) == 1.10
    assert round(pass_macs(14, 768, 384, 1000) / 1e9, 2) == 4.60


def test_a_finished_run_answers_as_its_scores_and_only_unsure_samples_run_the_second_pass(tmp_path: Path) -> None:
    record = write_trained_run(tmp_path, method="two-resolutions", exits=(12,), samples=30)
    assert [exit_.block for exit_ in record.exits] == [12, 24]
    store = Store(tmp_path)
    model = load_model(store, record, CPU)
    scores, pixels = scored_test_images(store, record)
    policy = Confidence(threshold=float(scores.logits[0].softmax(-1).amax(-1).median()))
    check = dynamic_agreement(model, policy, pixels, scores)
    assert check.within()
    rows: list[int] = []
    handle = model.backbone.steps[-1].register_forward_hook(  # type: ignore[operator, union-attr]
        lambda module, inputs, output: rows.append(len(inputs[0].values))
    )
    routed = run_dynamic(model, policy, pixels)
    handle.remove()
    assert rows == [int((routed.exits == 1).sum())]
    assert 0 < rows[0] < len(pixels)

    whole = reference_backbone(store, record, model, CPU)
    with torch.no_grad():
        torch.testing.assert_close(whole(pixels), scores.logits[1][: len(pixels)])
    timing, _ = time_batches(model, whole, policy, pixels, record.costs, 15, 0)
    shares = torch.bincount(routed.exits, minlength=2).double() / len(pixels)
    mean_macs = float(shares @ torch.tensor(record.costs.cumulative, dtype=torch.float64))
    assert timing.mac_speedup == pytest.approx(record.costs.baseline / mean_macs)
    assert attention_kernels(model, pixels)


def test_tokens_of_several_batches_are_joined_with_all_that_belongs_to_a_sample() -> None:
    parts = [Tokens(torch.rand(n, 5, 4), 2, 1, sizes=torch.rand(n, 5), images=torch.rand(n, 1, 8, 8)) for n in (2, 3)]
    joined = Tokens.joined(parts)
    assert joined.sizes is not None
    assert joined.images is not None
    assert torch.equal(joined.select(torch.arange(5) >= 2).sizes, parts[1].sizes)  # type: ignore[arg-type]
    assert torch.equal(joined.select(torch.arange(5) < 2).images, parts[0].images)  # type: ignore[arg-type]
    assert Tokens.joined([Tokens(torch.rand(1, 5, 4), 2)] * 2).sizes is None


def test_a_grid_gives_it_its_own_exit_and_no_training(tmp_path: Path) -> None:
    grid = tmp_path / "grid.yaml"
    text = "name: g\nbackbones: [{}]\ndatasets: [fashion-mnist-mini]\nmethods: [static, two-resolutions]\nexits: [[3, 6]]\n"
    grid.write_text(text.format(NANO))
    static, cascade = (run_stages(run) for run in load_grid(grid).runs)
    assert cascade.spec.train.exits == (12,)
    assert cascade.training == static.training
    assert cascade.scores != static.scores
    grid.write_text(text.format("swin_nano_patch2_window7_28"))
    with pytest.raises(UserError, match=r"two-resolutions.*'swin'"):
        load_grid(grid)


def test_mistakes_are_refused() -> None:
    for share in (0, 1, -0.5):
        with pytest.raises(ValueError, match="share"):
            TwoResolutions(share=share)
    with pytest.raises(ValueError, match="4 x 4 patches"):
        TwoPassViT(ViT(VisionTransformer(**SMALL)), 0.9)
    with pytest.raises(ValueError, match="final-classifier"):
        FinalClassifierHead(16, 5, 4, 1)(Tokens(torch.zeros(1, 17, 16), 4, 1))


def test_the_command_costs_shows_both_answers() -> None:
    shown = CliRunner().invoke(
        command, ["--backbone", NANO, "--method", "two-resolutions", "--num-classes", "10", "--format", "json"]
    )
    (counted,) = json.loads(shown.stdout)[1:]
    assert counted["exits"] == [12]
    assert counted["macs_cumulative"] == list(price(NANO, TwoResolutions(), (), 10).cumulative)
