"""What a run is: frozen, complete, and free of torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from results.frozen import Frozen


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number, not true or false")
    return value


Number = Annotated[float, BeforeValidator(_no_bool)]  # also takes 1e-3, which YAML reads as text
Name = Annotated[str, Field(strict=True, min_length=1)]
Count = Annotated[int, Field(strict=True, ge=1)]


MAX_NESTING = 16


def _shallow(options: dict[str, Any]) -> dict[str, Any]:
    level: list[Any] = [options]
    for _ in range(MAX_NESTING):
        level = [value for part in level for value in (part.values() if isinstance(part, dict) else part)]
        level = [value for value in level if isinstance(value, dict | list | tuple)]
        if not level:
            return options
    raise ValueError(f"nested more than {MAX_NESTING} levels deep")


Options = Annotated[dict[str, Any], AfterValidator(_shallow)]
"""Options by name, as a grid writes them."""


class Recipe(Frozen):
    """How one stage trains. Each stage's key reads its own recipe only.

    Optimizer: AdamW without decay on norms, biases, positions and class tokens. Learning rate: linear warm-up from 0, then
    `schedule`, set every step.
    """

    epochs: Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
    """Passes over the train split. Fine-tuning may have 0: the given weights are then used without training."""
    batch_size: Count = 100
    """Images per optimizer step; the last step of an epoch may see fewer."""
    lr: Annotated[Number, Field(gt=0, le=10)]
    """Peak learning rate."""
    weight_decay: Annotated[Number, Field(ge=0, le=10)] = 0.05
    """Of AdamW; none on norms, biases, positions and class tokens."""
    warmup: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    """Share of all steps that warm up."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """After the warm-up: to 0 along a cosine, to 0 along a line, or constant."""
    label_smoothing: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    """Of every cross-entropy."""
    clip_grad: Annotated[Number, Field(gt=0)] | None = 1.0
    """Largest gradient norm; null for none."""
    augment: Name = "flip-shift"
    """An augmentation of datasets.augment."""
    rand_augment: Name | None = None
    """RandAugment behind the augmentation, in timm's form, such as rand-m9-mstd0.5-inc1; null for none."""
    erasing: Annotated[Number, Field(ge=0, le=1)] = 0.0
    """Probability that a rectangle of the normalised image becomes noise."""
    mixup: Annotated[Number, Field(ge=0, le=100)] = 0.0
    """Alpha of Mixup; 0 for none. With CutMix as well, every batch draws one of the two."""
    cutmix: Annotated[Number, Field(ge=0, le=100)] = 0.0
    """Alpha of CutMix; 0 for none."""
    accumulate: Count = 1
    """Forward passes that a step's images are split into, to save memory."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of products in the forward pass; in 16 bits, weights, losses and the optimizer stay in 32 (automatic mixed precision)."""


DEFAULT_RECIPES = {
    "finetune": Recipe(epochs=30, lr=3e-3, warmup=0.2),
    "joint": Recipe(epochs=30, lr=3e-3, warmup=0.2),
    "exits": Recipe(epochs=8, lr=2e-3),
}


class Recipes(Frozen):
    """One recipe a training stage."""

    finetune: Recipe = DEFAULT_RECIPES["finetune"]
    """Stage 1: backbone and final classifier."""
    joint: Recipe = DEFAULT_RECIPES["joint"]
    """Stage 1 of methods whose heads train with the backbone; without a stage 2, the epochs of ``exits`` are added."""
    exits: Recipe = DEFAULT_RECIPES["exits"]
    """Stage 2: the heads, on the frozen backbone (in the regime ``mixed``: with the backbone)."""

    def without_learning_rates(self) -> dict[str, Any]:
        """As JSON, without what a grid's ``learning_rates`` vary."""
        return self.model_dump(mode="json", exclude={"joint": {"lr"}, "exits": {"lr"}})


class Configured(Frozen):
    """A registered name with options, as a grid writes it: ``name`` or ``{name: ..., set: {...}}``."""

    name: Name
    set: Options = Field(default_factory=dict)

    @property
    def label(self) -> str:
        """``name`` or ``name(option=value, ...)``."""
        options = ", ".join(f"{key}={value}" for key, value in sorted(self.set.items()))
        return f"{self.name}({options})" if options else self.name


class Weights(Frozen):
    """What a backbone starts from."""

    source: str = "scratch"
    """``scratch``, ``timm:TAG`` or ``file:PATH``; see `benchmark.weights`."""
    sha256: str | None = None
    """Of the file; None for scratch, and while the file is not on this machine."""
    mean: tuple[float, ...] | None = None
    """Per-channel mean that images are normalised with: that of the images the weights were trained on. None: the dataset's."""
    std: tuple[float, ...] | None = None
    """Per-channel standard deviation, likewise."""


class ReplacementBackbone(Frozen):
    """A backbone that a method trains instead of the grid's, and what it starts from."""

    backbone: Name
    weights: Weights = Weights()


class TrainSpec(Frozen):
    """Everything that training and scoring read."""

    dataset: Configured
    backbone: Name
    weights: Weights = Weights()
    replacement: ReplacementBackbone | None = None
    """The backbone that the method trains instead; `backbone` is then only the one it is compared with."""
    method: Configured
    exits: tuple[int, ...]
    """1-based block numbers, ascending; empty for a method without early exits."""
    recipes: Recipes
    seed: int


class RunSpec(Frozen):
    """One run: what is trained, and what is measured on its stored scores."""

    train: TrainSpec
    scheme: str
    """How the grid named the exits; a label, no part of any key."""
    policies: tuple[Configured, ...]
    learning_rates: tuple[float, ...] = ()
    """Factors of the learning rate, of which this run tried one; results keep the best on val. Empty: none were tried."""

    @property
    def is_tuned(self) -> bool:
        """Whether the grid tries several learning rates for this run."""
        return bool(self.learning_rates)

    def with_train(self, **values: Any) -> RunSpec:
        """A copy with other fields in `train`; the values are not validated."""
        return self.model_copy(update={"train": self.train.model_copy(update=values)})
