"""Answers to the rules on mechanisms (`results.judge.mechanisms`) from the finished runs of a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from results.judge.mechanisms import (
    PREDICTORS,
    Answer,
    Effect,
    deep_semantics,
    distillation,
    exit_schemes,
    local_information,
    no_data,
)
from results.judge.one_policy import under_one_policy
from results.store.probes import BOTH, PATCH_MEAN, backbone_stage
from results.store.representations import TOKENS
from results.tables.convergence import convergence_table
from results.tables.pairing import image_identity
from results.tables.run import Run

LPH, LINEAR, LGVIT = "homogeneous-local", "vanilla", "lgvit"
"""Names of the methods that the rules compare."""
HALF = ("equal-macs", 0.5)
"""The common budget."""
DISTILLATION = {"kd_weight": 0, "feature_terms": False}
"""The options that switch distillation off."""
COLUMNS = [
    "backbone", "dataset", "train_images", "rule", "statement", "verdict", "effect", "mean", "low", "high", "seeds", "margin",
    "reason",
]  # fmt: skip


@dataclass(frozen=True)
class ScaledAnswer:
    """An answer at the scale at which its runs were made.

    Attributes:
        backbone: of the runs.
        dataset: of the runs, with the sizes that the grid set.
        train_images: number of train images.
        answer: of a rule.
    """

    backbone: str
    dataset: str
    train_images: int
    answer: Answer

    @property
    def scale(self) -> str:
        """In words."""
        return f"{self.backbone}, {self.train_images:,} train images of {self.dataset}"


def mechanism_answers(runs: list[Run]) -> list[ScaledAnswer]:
    """The answers of all rules, by backbone and dataset; without the runs that a rule needs its answer is open.

    A rule is applied to each group of runs that differ in nothing else, also not in the policy where operating points are
    compared; those without numbers are left out if another has some.
    """
    runs = [run for run in runs if run.is_classification]  # the rules are about image classifiers
    converged = _convergence(runs)
    answers = []
    for (backbone, dataset, _), own in _groups(runs, lambda run: (run.backbone, run.dataset, image_identity(run))):
        images, judged = own[0].record.data.sizes.get("train", 0), _by_policy(own)
        for rule_answers in (
            [local_information(_exits(group, converged), own[0].record.depth) for group in _alike(own, ("kernel",))],
            [deep_semantics(_blocks(group)) for group in _same_backbone(own)],
            [distillation(_runs(group, converged)) for these in judged for group in _alike(these, tuple(DISTILLATION))],
            *(
                [_schemes(group, converged, predictor) for these in judged for group in _same_count(these)]
                for predictor in PREDICTORS
            ),
        ):
            lacks_least = min(rule_answers, key=lambda answer: len(answer.reason))
            with_numbers = [answer for answer in rule_answers if answer.effects] or [lacks_least]
            answers += [ScaledAnswer(backbone, dataset, images, answer) for answer in with_numbers]
    return answers


def mechanism_table(runs: list[Run]) -> pd.DataFrame | None:
    """One row per number that decides an answer, or one without numbers; None if no answer has any and no tokens were measured.

    mean, low and high: of the effect over `seeds` training seeds, with its t interval. reason: why an answer is open.
    """
    answers = mechanism_answers(runs)
    if not any(scaled.answer.effects for scaled in answers) and not (answers and any(run.measurements for run in runs)):
        return None
    rows = [row for scaled in answers for row in _rows(scaled)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(scaled: ScaledAnswer) -> list[dict[str, object]]:
    answer = scaled.answer
    own = {
        "backbone": scaled.backbone, "dataset": scaled.dataset, "train_images": scaled.train_images, "rule": answer.rule,
        "statement": answer.statement, "verdict": answer.verdict, "margin": answer.margin, "reason": answer.reason,
    }  # fmt: skip
    effects = [
        {"effect": effect.name, "mean": effect.mean, "low": effect.low, "high": effect.high, "seeds": effect.seeds}
        for effect in answer.effects
    ]
    return [own | effect for effect in effects or [{"effect": "", "seeds": 0}]]


def effect_text(answer: Answer, effect: Effect) -> str:
    """An effect in words: differences of accuracies in points, rank correlations as they are."""
    scale, unit = (1.0, "") if answer.rule == "d" else (100.0, " points")
    interval = "" if np.isnan(effect.low) else f" [{scale * effect.low:.2f}, {scale * effect.high:.2f}]"
    seeds = f"{effect.seeds} seed{'s' if effect.seeds > 1 else ''}"
    return f"{effect.name}: {scale * effect.mean:.2f}{interval}{unit}, {seeds}".replace(" -", " −").replace("[-", "[−")


# Groups of runs that a rule compares


def _groups(runs: Iterable[Run], key: Callable[[Run], Hashable]) -> list[tuple[tuple[str, ...], list[Run]]]:
    groups: dict[object, list[Run]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return list(groups.items())  # type: ignore[arg-type]


def _by_policy(runs: list[Run]) -> list[list[Run]]:
    """Runs with exits under the policy of their method and setting, one group for each policy."""
    with_exits = [run for run in under_one_policy(runs) if run.has_exits]
    return [group for _, group in _groups(with_exits, lambda run: run.judged_policy)] or [runs]


def _alike(runs: list[Run], varied: tuple[str, ...]) -> list[list[Run]]:
    """Runs with exits of the compared methods that differ in method, seed and the varied options only."""
    compared = [run for run in runs if run.has_exits and _method(run) in (LPH, LINEAR, LGVIT)]

    def key(run: Run) -> Hashable:
        others = {name: value for name, value in _options(run).items() if name not in varied}
        return run.setting, json.dumps(others, sort_keys=True)

    return [group for _, group in _groups(compared, key)] or [runs]


def _same_backbone(runs: list[Run]) -> list[list[Run]]:
    """Runs on whole backbones that were trained alike, without exits."""
    finetuned = [
        run
        for run in runs
        if (run.has_exits or run.is_static)
        and (backbone_stage(run.record) or "").startswith("finetune-")
        and len(run.record.costs.blocks) == run.record.depth
    ]

    def key(run: Run) -> Hashable:
        train = run.record.spec.train
        return train.recipes.finetune.model_dump_json(), str(train.weights.identity)

    return [group for _, group in _groups(finetuned, key)] or [runs[:0]]


def _same_count(runs: list[Run]) -> list[list[Run]]:
    """Runs of LGViT with default options and equal numbers of exits."""
    default = [run for run in runs if _method(run) == LGVIT and not _options(run)]
    return [group for _, group in _groups(default, lambda run: (run.recipes, len(run.record.exits)))] or [[]]


def _method(run: Run) -> str:
    return run.record.spec.train.method.name


def _options(run: Run) -> dict[str, object]:
    return dict(run.record.spec.train.method.set)


# Tables that the rules read


def _convergence(runs: list[Run]) -> dict[tuple[str, int], bool]:
    """Whether each head has converged, by run id and block; empty without probes."""
    table = convergence_table(runs)
    if table is None:
        return {}
    heads = table[table["part"] == "head"]
    return {(row["run_id"], row["block"]): bool(row["converged"]) for _, row in heads.iterrows()}


def _exits(runs: list[Run], converged: dict[tuple[str, int], bool]) -> pd.DataFrame:
    """For `local_information`."""
    rows = []
    for run in runs:
        head = "linear" if _method(run) == LINEAR else None
        if _method(run) == LPH:
            kernel = _options(run).get("kernel", 3)  # a record may hold anything here
            head = "lph-3" if kernel == 3 else "lph-0" if kernel == 0 else None
        for exit_ in run.record.exits[:-1] if head else ():
            known = converged.get((run.record.run_id, exit_.block))
            rows.append((run.seed, head, exit_.block, exit_.test_accuracy, known))
    return pd.DataFrame(rows, columns=["seed", "head", "block", "accuracy", "converged"])


def _blocks(runs: list[Run]) -> pd.DataFrame:
    """For `deep_semantics`: the seeds whose backbone is probed after every block.

    A backbone that several seeds share, such as pretrained weights with 0 epochs of fine-tuning, counts once.
    """
    by_seed: dict[int, dict[int, dict[str, float]]] = {}
    for run in runs:
        probed = {block: _probe_rows(run, block) for block in range(1, run.record.depth + 1)}
        if all(probed.values()) and probed not in [other for seed, other in by_seed.items() if seed != run.seed]:
            by_seed[run.seed] = probed
    rows = [{"seed": seed, "block": block, **row} for seed, probed in by_seed.items() for block, row in probed.items()]
    return pd.DataFrame(rows, columns=["seed", "block", "probe_val", "probe_test", "mean_val", "mean_test"])


def _probe_rows(run: Run, block: int) -> dict[str, float]:
    """The accuracies after a block, on class token and patch mean, or on the latter alone where there are no class tokens."""
    probes = [probe for own in run.label_probes for kind in (BOTH, PATCH_MEAN) if (probe := own.at(block, kind))]
    both = [probe for probe in probes if probe.inputs == BOTH] or probes
    if not both:
        return {}
    probe = both[0]
    return {
        "probe_val": probe.val_accuracy, "probe_test": probe.test_accuracy, "mean_val": probe.mean_val_accuracy,
        "mean_test": probe.mean_test_accuracy,
    }  # fmt: skip


def _runs(runs: list[Run], converged: dict[tuple[str, int], bool]) -> pd.DataFrame:
    """For `distillation`."""
    rows = []
    for run in runs:
        heads = {LGVIT: "mixed", LPH: "homogeneous"}.get(_method(run))
        switched = {name: value for name, value in _options(run).items() if name in DISTILLATION}
        distilled = (
            {0: True, len(DISTILLATION): False}.get(len(switched)) if switched.items() <= DISTILLATION.items() else None
        )
        accuracy = _at_half(run)
        if heads and distilled is not None and accuracy is not None:
            rows.append((run.seed, heads, distilled, accuracy, _all_converged(run, converged)))
    return pd.DataFrame(rows, columns=["seed", "heads", "distilled", "accuracy", "converged"])


def _all_converged(run: Run, converged: dict[tuple[str, int], bool]) -> bool | None:
    """Whether all heads of a run have converged; None if that is not known of one, and no other has not."""
    states = [converged.get((run.record.run_id, exit_.block)) for exit_ in run.record.exits[:-1]]
    return False if False in states else None if None in states else True


def _schemes(runs: list[Run], converged: dict[tuple[str, int], bool], predictor: str) -> Answer:
    """Rule (d) on the runs of LGViT."""
    rows = []
    for run in runs:
        blocks = [exit_.block for exit_ in run.record.exits[:-1]]
        values = [
            _cka(run, block) if predictor == "cka" else _probe_rows(run, block).get("probe_val") for block in blocks
        ]
        known = [value for value in values if value is not None]
        accuracy = _at_half(run)
        if accuracy is not None:
            mean = sum(known) / len(known) if known and len(known) == len(values) else None
            rows.append((run.seed, run.record.spec.scheme, accuracy, mean, _all_converged(run, converged)))
    table = pd.DataFrame(rows, columns=["seed", "scheme", "accuracy", predictor, "converged"])
    answer = exit_schemes(table.dropna(subset=[predictor]), predictor)
    if not answer.effects and table[predictor].isna().any():
        return no_data("d", answer.statement, "it needs the measurements of explain on the backbones of all schemes")
    return answer


def _cka(run: Run, block: int) -> float | None:
    """CKA with the last block on val, on class token and patch mean, or on the latter alone."""
    values = {
        row.part: row.value
        for table in run.measurements
        if table.kind == TOKENS
        for row in table.rows
        if (row.measure, row.split, row.block) == ("cka", "val", block)
    }
    return values.get(BOTH, values.get(PATCH_MEAN))


def _at_half(run: Run) -> float | None:
    """Test accuracy at the common budget under the policy that judges the run."""
    point = run.point(run.judged_policy, *HALF)
    return None if point is None or point.test is None else point.test.accuracy
