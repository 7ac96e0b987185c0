"""Token exit: after some blocks, tokens whose class is certain leave; the others go on (DToP, Tang et al., ICCV 2023).

Written from the paper (arXiv 2308.01045) and from the description of its code (zbwxp/Dynamic-Token-Pruning, commit 2baefff).
As there, a token keeps the answer of the exit where it left, and some confident tokens of each class stay as context.
Differences: the heads are linear, and the score is the largest softmax probability, in place of a decoder with learned queries;
thresholds can be chosen on val; batches run in padded form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from methods.backbones.backbone import BlockBackbone, FinalNorm
from methods.backbones.map_classifier import MapClassifier
from methods.backbones.vit import ViT
from methods.heads.map_readout import LinearMapHead
from methods.reductions.reduction import Reduction, check_plain_blocks, gathered
from methods.tokens import PADDING, Tokens, written

if TYPE_CHECKING:
    from methods.model import ExitHeads


@dataclass(frozen=True, kw_only=True)
class TokenExit(Reduction):
    """Tokens leave at the exits; `methods.token_exit.TokenExit` describes the options."""

    threshold: float
    keep: int
    agreement: float | None = None

    def reduce(self, backbone: BlockBackbone, heads: ExitHeads | None = None) -> BlockBackbone:
        if heads is None:
            raise ValueError("tokens leave by the answers of exit heads, and there are none")
        return TokenExitViT(backbone, heads, self.threshold, self.keep, self.agreement)


class TokenExitViT(BlockBackbone):
    """A ViT that labels every patch, some of them before the last block. Class tokens and registers never leave.

    In a batch, images with fewer tokens than others are padded; the attention leaves the padding out. It can be trained;
    gradients do not flow through the choice of the tokens.

    Args:
        backbone: labels every patch; its modules are used, not copied.
        heads: the trained heads, one linear layer on each token.
        threshold: tokens with a larger score are confident.
        keep: number of confident tokens of each class that stay.
        agreement: if set, the thresholds are chosen on val instead; until then no token leaves.

    Attributes:
        thresholds: of each exit.

    Raises:
        ValueError: the backbone is no ViT of plain blocks that labels patches, or a head reads several tokens at once.
    """

    is_reduced = True

    def __init__(
        self, backbone: BlockBackbone, heads: ExitHeads, threshold: float, keep: int, agreement: float | None = None
    ) -> None:
        super().__init__()
        vit = backbone.whole if isinstance(backbone, MapClassifier) else backbone
        if not isinstance(backbone, MapClassifier) or type(vit) is not ViT:
            raise ValueError(f"tokens can leave a ViT or DeiT that labels every patch, not {type(vit).__name__}")
        check_plain_blocks(vit)
        for head in heads.in_order:
            if not isinstance(head, LinearMapHead):
                raise ValueError(f"tokens leave one by one, and {type(head).__name__} reads several of them at once")
        self.model, self.depth, self.grid = backbone.model, backbone.depth, vit.grid
        self.readout, self.exit_heads, self.exits = backbone.readout, heads, heads.exits
        self.keep, self.agreement = keep, agreement
        self.thresholds = [threshold if agreement is None else 1.0] * len(self.exits)
        self._whole = (backbone,)  # in a tuple, so that its modules are registered once
        self.train(backbone.training)

    def embed(self, images: Tensor) -> Tokens:
        tokens = self._whole[0].embed(images)
        lengths = torch.empty(len(images), 0, dtype=torch.int32, device=images.device)
        left = torch.full((len(images), self.grid**2), len(self.exits), dtype=torch.uint8, device=images.device)
        return replace(tokens, lengths=lengths, left=left)

    def block(self, number: int, tokens: Tokens) -> Tokens:
        assert tokens.lengths is not None
        values, mask = tokens.values, None
        lengths = torch.full((len(values), 1), values.shape[1], dtype=torch.int32, device=values.device)
        if tokens.positions is not None and len(values) > 1:
            padding = tokens.positions == PADDING
            lengths -= padding.sum(1, keepdim=True, dtype=torch.int32)
            mask = values.new_zeros(len(values), 1, 1, values.shape[1])
            mask[:, 0, 0, tokens.prefix :].masked_fill_(padding, -torch.inf)
        values = self.model.blocks[number - 1](values, attn_mask=mask)
        tokens = replace(tokens, values=values, lengths=torch.cat([tokens.lengths, lengths], 1))
        return self._leave(self.exits.index(number), tokens) if number in self.exits else tokens

    def _leave(self, exit_: int, tokens: Tokens) -> Tokens:
        """Write the answers of the tokens that leave at an exit on the canvas, and remove these tokens."""
        logits, score, classes = self._read(exit_, tokens)
        positions = self._positions(tokens)
        running = positions != PADDING
        leaves = leaving(score.masked_fill(~running, 0.0), classes, self.thresholds[exit_], self.keep)
        stays = running & ~leaves
        counts = stays.sum(1)
        most = int(counts.max())  # synchronises with the device
        if tokens.positions is None and most == positions.shape[1] and bool(stays.all()):
            return tokens
        order = torch.argsort(leaves | ~running, dim=1, stable=True)[:, :most]
        padding = torch.arange(most, device=counts.device) >= counts[:, None]
        front, patches = tokens.values[:, : tokens.prefix], tokens.patches
        return replace(
            tokens,
            values=torch.cat([front, gathered(patches, order)], 1),
            grid=0,
            positions=positions.gather(1, order).masked_fill(padding, PADDING),
            canvas=written(self._canvas(tokens, logits), positions, logits, leaves),
            left=_marked(tokens, positions, leaves, exit_),
        )

    def _read(self, exit_: int, tokens: Tokens) -> tuple[Tensor, Tensor, Tensor]:
        """The answer of an exit to each token: logits (B, N, C), largest probability and class (B, N)."""
        logits = self.exit_heads.in_order[exit_].each(tokens.patches)  # type: ignore[operator]
        score, classes = logits.float().softmax(-1).max(-1)
        return logits, score, classes

    def _positions(self, tokens: Tokens) -> Tensor:
        if tokens.positions is not None:
            return tokens.positions
        return torch.arange(self.grid**2, device=tokens.values.device).expand(len(tokens.values), -1)

    def _canvas(self, tokens: Tokens, logits: Tensor) -> Tensor:
        if tokens.canvas is not None:
            return tokens.canvas
        return logits.new_full((len(logits), self.grid**2, logits.shape[-1]), torch.nan)

    def classify(self, tokens: Tokens, norm: FinalNorm = "final") -> Tensor:
        """The logits (B, C, g, g) of all patches, each from where its token left or from the final classifier."""
        return tokens.completed(self.readout(self._whole[0].normalised(tokens, norm).patches))

    @torch.no_grad()
    def choose_on_val(self, batches: Callable[[], Iterable[Tensor]]) -> dict[str, Tensor]:
        """With ``agreement``: ``thresholds``, exit by exit, each with the tokens that the exits before have left to it."""
        if self.agreement is None:
            return {}
        whole = [self._whole[0](images).argmax(1).flatten(1) for images in batches()]
        self.thresholds = [1.0] * len(self.exits)
        for exit_, last in enumerate(self.exits):
            scores, agree = [], []
            for images, full in zip(batches(), whole, strict=True):
                tokens = self.embed(images)
                for number in range(1, last + 1):
                    tokens = self.block(number, tokens)
                _, score, classes = self._read(exit_, tokens)
                positions = self._positions(tokens)
                running = positions != PADDING
                scores.append(score[running])
                agree.append((classes == full.gather(1, positions.clamp(min=0)))[running])
            self.thresholds[exit_] = agreeing_threshold(torch.cat(scores), torch.cat(agree), self.agreement)
        return {"thresholds": torch.tensor(self.thresholds, dtype=torch.float64)}

    def load_chosen(self, chosen: Mapping[str, Tensor]) -> None:
        self.thresholds = chosen["thresholds"].tolist()

    def stage_end(self, number: int) -> int:
        return self.depth

    def block_names(self) -> list[tuple[str, ...]]:
        return [(f"backbone.model.blocks.{i}",) for i in range(self.depth)]

    def classifier_names(self) -> list[str]:
        return ["backbone.model.norm", "backbone.readout"]


def leaving(score: Tensor, classes: Tensor, threshold: float, keep: int) -> Tensor:
    """Which tokens leave: the confident ones, except for the ``keep`` best of each class in each image; a bool mask (B, N).

    Args:
        score: (B, N); above the threshold, a token is confident.
        classes: its predicted class, int64 (B, N).
        threshold: of the score.
        keep: of tokens with equal scores, the earlier ones are kept.
    """
    none = torch.iinfo(classes.dtype).max
    by_score = torch.argsort(score, dim=1, descending=True, stable=True)
    groups = classes.masked_fill(score <= threshold, none).gather(1, by_score)
    groups, by_class = torch.sort(groups, dim=1, stable=True)
    rank = torch.arange(groups.shape[1], device=groups.device) - torch.searchsorted(groups, groups)
    leaves = (rank >= keep) & (groups != none)
    return torch.zeros_like(leaves).scatter(1, by_score.gather(1, by_class), leaves)


def agreeing_threshold(score: Tensor, agrees: Tensor, agreement: float) -> float:
    """The lowest threshold for which at least the share ``agreement`` of the tokens above it agrees; 1 if there is none.

    Args:
        score: of M tokens, (M,).
        agrees: whether the class of each is that of the final classifier of the backbone with all tokens, bool (M,).
        agreement: in (0, 1].
    """
    if not len(score):
        return 1.0
    score, order = score.double().sort(descending=True)
    share = agrees[order].double().cumsum(0) / torch.arange(1, len(score) + 1, device=score.device)
    ends = torch.cat([score[1:] < score[:-1], score.new_ones(1, dtype=torch.bool)])  # equal scores are on one side
    fits = ((share >= agreement) & ends).nonzero()
    if not len(fits):
        return 1.0
    last = int(fits[-1])
    return float(score[last + 1]) if last + 1 < len(score) else 0.0


def _marked(tokens: Tokens, positions: Tensor, leaves: Tensor, exit_: int) -> Tensor:
    """`Tokens.left` with the number of the exit at which tokens leave now."""
    assert tokens.left is not None
    image, token = leaves.nonzero(as_tuple=True)
    return tokens.left.index_put((image, positions[image, token]), tokens.left.new_tensor(exit_))
