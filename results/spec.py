"""The specification of a run."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer

from results.frozen import Frozen


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number, not true or false")
    return value


Number = Annotated[float, BeforeValidator(_no_bool)]  # accepts 1e-3, which YAML reads as text
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
"""Options by name, as in a grid file."""


class Recipe(Frozen):
    """The training hyperparameters of one stage. The key of a stage includes only its own recipe.

    Weight decay: none on norms, biases, positions and class tokens. Learning rate: linear warm-up from 0, then `schedule`, set
    every step.
    """

    epochs: Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
    """Passes over the train split. With 0 epochs of fine-tuning, the weights are used without training."""
    batch_size: Count = 100
    """Images per optimizer step; the last step of an epoch may have fewer."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """AdamW, or Muon for weight matrices and AdamW for all other parameters."""
    lr: Annotated[Number, Field(gt=0, le=10)]
    """Peak learning rate."""
    weight_decay: Annotated[Number, Field(ge=0, le=10)] = 0.05
    """Weight decay; norms, biases, positions and class tokens have none."""
    warmup: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    """Share of the steps that belong to the warm-up."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Learning rate after the warm-up: cosine to 0, linear to 0, or constant."""
    label_smoothing: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    """Label smoothing of every cross-entropy."""
    clip_grad: Annotated[Number, Field(gt=0)] | None = 1.0
    """Largest gradient norm; null for none."""
    augment: Name = "flip-shift"
    """Augmentation of train images, drawn anew in each epoch."""
    rand_augment: Name | None = None
    """RandAugment after the augmentation, in timm's form, such as rand-m9-mstd0.5-inc1; null for none."""
    erasing: Annotated[Number, Field(ge=0, le=1)] = 0.0
    """Probability that a rectangle of the normalised image is replaced by noise."""
    mixup: Annotated[Number, Field(ge=0, le=100)] = 0.0
    """Alpha of Mixup; 0 for none. With Mixup and CutMix, one of them is drawn for each batch."""
    cutmix: Annotated[Number, Field(ge=0, le=100)] = 0.0
    """Alpha of CutMix; 0 for none."""
    accumulate: Count = 1
    """Number of forward passes per step (gradient accumulation), to save memory."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of the forward pass. bf16 and fp16 use automatic mixed precision: weights, losses and optimizer are in fp32."""

    @model_serializer(mode="wrap")
    def _without_default_optimizer(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without AdamW, so that stages made before recipes named an optimizer keep their keys."""
        return {key: value for key, value in fields(self).items() if (key, value) != ("optimizer", "adamw")}


DEFAULT_RECIPES = {
    "finetune": Recipe(epochs=30, lr=3e-3, warmup=0.2),
    "joint": Recipe(epochs=30, lr=3e-3, warmup=0.2),
    "exits": Recipe(epochs=12, lr=3e-2, weight_decay=0.0, augment="none"),
}


class Recipes(Frozen):
    """One recipe per training stage."""

    finetune: Recipe = DEFAULT_RECIPES["finetune"]
    """Stage 1: backbone and final classifier."""
    joint: Recipe = DEFAULT_RECIPES["joint"]
    """Backbone and heads together, as stage 1; without a stage 2, the epochs of ``exits`` are added. In the regime ``mixed``
    it is stage 2, with the epochs of ``exits``."""
    exits: Recipe = DEFAULT_RECIPES["exits"]
    """Stage 2: the heads, on the frozen backbone."""

    def without_learning_rates(self) -> dict[str, Any]:
        """The recipes as JSON, without the learning rates that a grid's ``learning_rates`` vary."""
        return self.model_dump(mode="json", exclude={"joint": {"lr"}, "exits": {"lr"}})


class Configured(Frozen):
    """A registered name with options. A grid file has ``name`` or ``{name: ..., set: {...}}``."""

    name: Name
    set: Options = Field(default_factory=dict)

    @property
    def label(self) -> str:
        """``name`` or ``name(option=value, ...)``."""
        options = ", ".join(f"{key}={option_text(value)}" for key, value in sorted(self.set.items()))
        return f"{self.name}({options})" if options else self.name


def option_text(value: object) -> str:
    """The value of an option in labels; the values of a mapping are joined, so {name: fog, severity: 3} is fog-3."""
    return "-".join(map(str, value.values())) if isinstance(value, dict) else str(value)


class Weights(Frozen):
    """The initial weights of a backbone."""

    source: str = "scratch"
    """``scratch``, ``timm:TAG``, ``bundled:NAME`` or ``file:PATH``; see `benchmark.weights`."""
    sha256: str | None = None
    """Hash of the file; None for scratch, and if the file is not on this machine."""
    mean: tuple[float, ...] | None = None
    """Per-channel mean for normalising images: that of the images the weights were trained on. None for the dataset's mean."""
    std: tuple[float, ...] | None = None
    """Per-channel standard deviation for normalising images; None for the dataset's."""

    @property
    def identity(self) -> str:
        """The same on every machine, unlike the path of a file."""
        return self.sha256 or self.source


class ReplacementBackbone(Frozen):
    """A backbone that a method trains instead of the grid's, with its initial weights."""

    backbone: Name
    weights: Weights = Weights()


class TrainSpec(Frozen):
    """The fields of a run that training and scoring depend on."""

    dataset: Configured
    backbone: Name
    weights: Weights = Weights()
    replacement: ReplacementBackbone | None = None
    """The backbone that the method trains instead of `backbone`, which is then only the reference."""
    method: Configured
    exits: tuple[int, ...]
    """1-based block numbers, ascending; empty for a method without early exits."""
    token_exits: tuple[int, ...] = ()
    """Blocks after which tokens leave, likewise. A run with token exits has no `exits`, because no image leaves early."""
    recipes: Recipes
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)]

    @property
    def head_blocks(self) -> tuple[int, ...]:
        """The blocks with an exit head, whether images or tokens leave there."""
        return self.exits or self.token_exits


class PrimaryEndpoint(Frozen):
    """The comparison that a grid declares before training. All other comparisons of its runs are exploratory."""

    method: Name
    """Label of a method of the grid."""
    against: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Labels of the methods that it is compared with; Holm's correction covers these comparisons alone."""
    macs: Annotated[Number, Field(gt=0, lt=1)]
    """The mean cost at which accuracies are compared, as a share of the MACs of the backbone without exits."""


class RunSpec(Frozen):
    """One run: a training, and the policies that are evaluated on its stored scores."""

    train: TrainSpec
    scheme: str
    """The grid's name for the exit positions; a label that is part of no key."""
    policies: tuple[Configured, ...]
    learning_rates: tuple[float, ...] = ()
    """Factors of the learning rate that the grid tries, one per run; the best on val is reported. Empty if none are tried."""
    primary: PrimaryEndpoint | None = None
    """As the grid declared it when the run was recorded; part of no key."""

    @property
    def is_tuned(self) -> bool:
        """Whether the grid tries several learning rates for this run."""
        return bool(self.learning_rates)

    def with_train(self, **values: Any) -> RunSpec:
        """A copy with some fields of `train` replaced, without validation."""
        return self.model_copy(update={"train": self.train.model_copy(update=values)})
