"""Training recipes as data; each network brings its own."""

import math
from dataclasses import dataclass, replace
from enum import StrEnum


class Schedule(StrEnum):
    """How the learning rate moves within a stage."""

    PLATEAU = "plateau"
    """Constant, a tenth whenever what is watched has not got better for `plateau_patience`."""
    INVERSE_TIME = "inverse-time"
    """learning_rate / (1 + epoch / 80), the authors' second stage."""
    COSINE = "cosine"
    """Linear warm-up over `warmup_epochs`, then half a cosine down to zero."""


class Watched(StrEnum):
    """A figure of an epoch by which a training is steered."""

    TRAINING_ACCURACY = "training-accuracy"
    VALIDATION_ACCURACY = "validation-accuracy"
    VALIDATION_LOSS = "validation-loss"


class Parts(StrEnum):
    """What of a network a stage trains by its answers."""

    WHOLE = "whole"
    BACKBONES = "backbones"
    """Backbones alone, by classifiers of their own, which are left out afterwards."""
    BOTH = "both"


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes to a training face; ranges are symmetric around no change."""

    flip: float = 0.5
    """Probability that left and right change places."""
    rotation_degrees: float = 0.0
    magnify: float = 1.0
    """Always: 1.125 shows the middle eight ninths of each side."""
    zoom: float = 0.0
    """Relative: 0.1 scales by 0.9 to 1.1."""
    shift: float = 0.0
    """As a part of the image's side."""
    contrast: float = 0.0
    brightness: float = 0.0
    """As a part of the full range of 255."""
    erase: float = 0.0
    """Probability that a rectangle of up to a third of each side turns gray."""


FACE_CHANGES = Augmentation(
    rotation_degrees=15, zoom=0.15, shift=0.08, contrast=0.3, brightness=0.15, erase=0.25
)
"""What every network's recipe `soft` does to a face: as far as it stays the same expression."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stretch of training with an optimizer of its own.

    What of `train_backbone` and the dropouts there is, and where, is up to the network. Patience
    counts epochs in which the watched figure does not get better by its `minimum_rise`.
    """

    name: str
    epochs: int
    learning_rate: float
    schedule: Schedule
    train_backbone: bool = True
    warmup_epochs: float = 0.0
    spatial_dropout: float = 0.0
    dropout: float = 0.0
    classifier_dropout: float = 0.0
    parts: Parts = Parts.WHOLE
    plateau_patience: int = 3
    plateau_watches: Watched = Watched.VALIDATION_ACCURACY
    plateau_minimum_rise: float = 0.003
    stop_patience: int | None = None
    """None trains all epochs."""
    stop_watches: Watched = Watched.VALIDATION_ACCURACY
    stop_minimum_rise: float = 0.003


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a training besides the network and the faces.

    An epoch shows each face once with each of `augmentations`.
    """

    name: str
    stages: tuple[Stage, ...]
    augmentations: tuple[Augmentation, ...]
    batch_size: int
    soft_labels: bool
    class_weights: bool
    clip_norm: float | None = None
    weight_decay: float = 0.0
    ema_decay: float = 0.0
    ema_statistics: bool = False
    """Average the batch norms' statistics too: a network needs that whose norms are trained."""
    bfloat16: bool = False
    """Compute in bfloat16, with weights in float32: Micikevicius et al. 2018."""
    seed: int = 0


def learning_rate(stage: Stage, epoch: float, scale: float) -> float:
    """Return the learning rate `epoch` epochs (with fraction) into a stage."""
    if stage.schedule is Schedule.PLATEAU:
        return stage.learning_rate * scale
    if stage.schedule is Schedule.INVERSE_TIME:
        return stage.learning_rate / (1 + int(epoch) / 80)
    if epoch < stage.warmup_epochs:
        return stage.learning_rate * (epoch + 1e-3) / stage.warmup_epochs
    part = (epoch - stage.warmup_epochs) / max(stage.epochs - stage.warmup_epochs, 1e-9)
    return stage.learning_rate * 0.5 * (1 + math.cos(math.pi * min(part, 1.0)))


def changed(
    recipe: Recipe,
    *,
    epochs: int | None,
    learning_rate: float | None,
    seed: int,
    bfloat16: bool = False,
) -> Recipe:
    """Return the recipe with another seed, and its last stage of another length or rate."""
    *first, last = recipe.stages
    last = replace(
        last,
        epochs=last.epochs if epochs is None else epochs,
        learning_rate=last.learning_rate if learning_rate is None else learning_rate,
    )
    return replace(recipe, stages=(*first, last), seed=seed, bfloat16=bfloat16)
