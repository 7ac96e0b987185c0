"""EENet: exit scores and an exit schedule, learned on val for a budget (Ilhan et al., WACV 2024, arXiv 2301.07099).

Written from the formulas. The authors' code was read at git-disl/EENet a5e80c8; it cannot run (an undefined name, shapes that
do not fit from the second exit on, gradients that are never cleared), so published numbers cannot be made again with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from methods.policies.eenet_net import Scheduler, features, thresholds_for
from methods.policies.policy import ExitPolicy, State, between, checked_labels, checked_logits
from methods.policies.ranges import Count, NotNegative, Positive, Seed

SHARE_TERM, COST_TERM, BATCH, PERIOD, TOLERANCE = 1e-3, 1e-2, 512, 10, 0.1
"""The authors' weights of the share and the cost term, batch size, epochs per phase, permitted error of cost."""
BUDGETS = 10


@dataclass(kw_only=True)
class EENet(ExitPolicy):
    """Exit at the first exit whose learned score reaches its threshold.

    For each budget, one half of val fits the networks (`methods.policies.eenet_net`), and the other half sets the thresholds,
    so that the scores are not those of the samples they were fitted on. Every 20 epochs of every restart give a candidate. The
    one used has the best accuracy on the first half among those whose mean cost there is within 10 % of the budget; if there is
    none, it is the one with the nearest cost.

    At inference the score of exit k costs C + k + 1 multiply-accumulates, which are not in the cost table.

    Attributes:
        budget: mean cost as a share of the MACs of the backbone without exits, as for ``budgeted``.
        assigner: last activation of the network that assigns samples to exits. ``sigmoid``, as published, keeps the share of
            every exit between 1 / (1 + (K - 1) e) and e / (e + K - 1), for K exits; ``linear`` does not.
        epochs: epochs of one fit; published: 1000.
        lr: learning rate of Adam; published: 3e-5, with which a fit on few samples hardly moves.
        weight_decay: of Adam; the published 0.01 pulls the shares towards equal ones, so that few budgets are reached.
        restarts: fits with different initial weights; published: 10.
        seed: of the halves, the initial weights and the order of the samples.
    """

    swept = "budget"
    learns = True

    budget: Positive | None = None
    assigner: Literal["sigmoid", "linear"] = "sigmoid"
    epochs: Count = 200
    lr: Positive = 0.02
    weight_decay: NotNegative = 0.01
    restarts: Count = 1
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._val: tuple[Tensor, Tensor] | None = None  # probabilities [K, N, C] and whether they are right [K, N]
        self._cost = torch.empty(0, dtype=torch.float64)  # [K]
        self._solutions: dict[float, tuple[Scheduler, Tensor]] = {}  # by budget: networks and thresholds [K - 1]

    def fit(self, logits: Tensor | np.ndarray, labels: Any = None, cost: Sequence[float] | None = None) -> Self:
        """Store val; the networks of a budget are fitted when it is first used."""
        if labels is None:
            raise ValueError("eenet: fit requires the labels of val")
        logits = checked_logits(logits)
        exits = len(logits)
        self._val = logits.double().softmax(-1), logits.argmax(-1) == checked_labels(labels, logits)
        self._cost = torch.as_tensor(np.arange(1, exits + 1) / exits if cost is None else np.asarray(cost)).double()
        self._solutions = {}
        return self

    def macs(self, exit_index: int, classes: int) -> int:
        return classes + 2 + exit_index

    def signal(self, logits: Tensor) -> Tensor:
        """The probabilities of the early exits, [K - 1, N, C]: the scores depend on the setting."""
        return logits[:-1].double().softmax(-1)

    def leave(self, signal: Tensor, setting: float) -> Tensor:
        scheduler, thresholds = self._solution(setting)
        if not len(signal):
            return torch.zeros(signal.shape[:2], dtype=torch.bool)
        return scheduler.scores(signal) >= thresholds.to(signal.device)[:, None]

    def default_grid(self, logits: Tensor | np.ndarray) -> np.ndarray:
        """Ten budgets between the costs of the first and of the last exit."""
        self._require_fit()
        return np.linspace(float(self._cost[0]), float(self._cost[-1]), BUDGETS + 2)[1:-1]

    def step(self, exit_index: int, logits: Tensor, state: State) -> Tensor:
        scheduler, thresholds = self._solution(self.required_setting())
        past = state.get("scores", logits.new_empty(len(logits), 0, dtype=torch.float64))
        score = scheduler.score(exit_index, features(logits.double().softmax(-1)), past)
        state["scores"] = torch.cat([past, score[:, None]], 1)
        return score >= thresholds[exit_index]

    def _require_fit(self) -> tuple[Tensor, Tensor]:
        if self._val is None:
            raise ValueError("eenet: call fit(logits, labels, cost=...) on val first")
        return self._val

    def _solution(self, budget: float) -> tuple[Scheduler, Tensor]:
        """Networks and thresholds [K - 1] of a budget."""
        probabilities, right = self._require_fit()
        if budget not in self._solutions:
            order = torch.randperm(right.shape[1], generator=torch.Generator().manual_seed(self.seed))
            half = (len(order) + 1) // 2
            first, second = order[:half], order[half:] if len(order) > 1 else order
            candidates = [
                candidate
                for restart in range(self.restarts)
                for candidate in self._trained(probabilities[:, first], right[:, first], budget, restart)
            ]
            weights = min(candidates, key=lambda candidate: candidate[0])[1]
            exits, _, classes = probabilities.shape
            scheduler = Scheduler(exits, classes, self.assigner)
            scheduler.load_state_dict(weights)
            scheduler.requires_grad_(False)
            scores, shares = scheduler.scores(probabilities[:, second]), scheduler.shares(probabilities[:, second])
            exact = thresholds_for(scores, shares.mean(1))[:-1]
            middles = [
                float(threshold if threshold.isinf() else between(row, threshold[None])[0])
                for row, threshold in zip(scores[:-1], exact, strict=True)
            ]
            self._solutions[budget] = scheduler, torch.tensor(middles, dtype=torch.float64)
        return self._solutions[budget]

    @torch.enable_grad()  # the first decision of a budget trains, also in dynamic inference, which runs without gradients
    def _trained(
        self, probabilities: Tensor, right: Tensor, budget: float, restart: int
    ) -> list[tuple[tuple[bool, float], dict[str, Tensor]]]:
        """One restart: after every phase, a sort key, the smaller the better, and the weights."""
        exits, samples, classes = probabilities.shape
        torch_state = torch.get_rng_state()
        torch.manual_seed(self.seed * 1000 + restart)
        scheduler = Scheduler(exits, classes, self.assigner)
        torch.set_rng_state(torch_state)
        generator = torch.Generator().manual_seed(self.seed * 1000 + restart)
        optimizer = torch.optim.Adam(scheduler.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        candidates = []
        for epoch in range(self.epochs):
            for batch in torch.randperm(samples, generator=generator).split(BATCH):
                loss = self._loss(scheduler, probabilities[:, batch], right[:, batch], budget, epoch // PERIOD % 2 == 0)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            if epoch % (2 * PERIOD) == 2 * PERIOD - 1 or epoch == self.epochs - 1:
                weights = {name: tensor.clone() for name, tensor in scheduler.state_dict().items()}
                candidates.append((self._quality(scheduler, probabilities, right, budget), weights))
        return candidates

    def _loss(self, scheduler: Scheduler, probabilities: Tensor, right: Tensor, budget: float, scoring: bool) -> Tensor:
        """The loss of a phase: fit of the scores, or shares near the scores at the cost of the budget."""
        scores = scheduler.scores(probabilities, clamped=True)
        shares = scheduler.shares(probabilities)
        if scoring:
            weights = (shares / shares.sum(1, keepdim=True)).detach()
            return (weights * F.binary_cross_entropy(scores, right.double(), reduction="none")).sum(1).mean()
        target = scores.detach().clamp(min=1e-12)
        target = target / target.sum(0)
        divergence = (target * (target.log() - shares.log())).mean()
        cost = (shares * self._cost[:, None]).sum(0).mean()
        return SHARE_TERM * divergence + COST_TERM * (cost - budget).abs() / budget

    @torch.no_grad()
    def _quality(self, scheduler: Scheduler, probabilities: Tensor, right: Tensor, budget: float) -> tuple[bool, float]:
        """Whether the mean cost misses the budget, then the error, or the error of the cost if it does."""
        scores = scheduler.scores(probabilities)
        thresholds = thresholds_for(scores, scheduler.shares(probabilities).mean(1))
        leave = scores >= thresholds[:, None]
        leave[-1] = True
        exits = leave.int().argmax(0)
        missed = float((self._cost[exits].mean() - budget).abs() / budget)
        wrong = 1 - float(right.gather(0, exits[None]).double().mean())
        return (missed >= TOLERANCE, missed if missed >= TOLERANCE else wrong)
