"""Training recipes as data: the authors' own, and one that does better on soft labels."""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from edgefer.errors import UsageError


class Schedule(StrEnum):
    """How the learning rate moves within a stage."""

    PLATEAU = "plateau"
    """Constant, a tenth whenever validation accuracy has not risen for `plateau_patience`."""
    INVERSE_TIME = "inverse-time"
    """learning_rate / (1 + epoch / 80), the authors' second stage."""
    COSINE = "cosine"
    """Linear warm-up over `warmup_epochs`, then half a cosine down to zero."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes to a training face; ranges are symmetric around no change."""

    flip: bool = True
    rotation_degrees: float = 0.0
    zoom: float = 0.0
    """Relative: 0.1 scales by 0.9 to 1.1."""
    shift: float = 0.0
    """As a part of the image's side."""
    contrast: float = 0.0
    brightness: float = 0.0
    """As a part of the full range of 255."""
    erase: float = 0.0
    """Probability that a rectangle of up to a third of each side turns gray."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stretch of training with an optimizer of its own."""

    name: str
    epochs: int
    learning_rate: float
    schedule: Schedule
    train_backbone: bool
    warmup_epochs: float = 0.0
    spatial_dropout: float = 0.0
    dropout: float = 0.0
    classifier_dropout: float = 0.0
    plateau_patience: int = 3
    stop_patience: int | None = None
    """Epochs without a rise of `minimum_rise` in the watched accuracy before the stage ends."""
    watch_training_accuracy: bool = False
    minimum_rise: float = 0.003


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a training besides the network and the faces."""

    name: str
    stages: tuple[Stage, ...]
    augmentation: Augmentation
    batch_size: int
    soft_labels: bool
    class_weights: bool
    clip_norm: float = 3.0
    weight_decay: float = 0.0
    ema_decay: float = 0.0
    seed: int = 0


AUTHORS = Recipe(
    # The PAtt-Lite authors' notebook: hard labels, balanced class weights, head first.
    name="authors",
    stages=(
        Stage(
            name="head",
            epochs=100,
            learning_rate=1e-3,
            schedule=Schedule.PLATEAU,
            train_backbone=False,
            dropout=0.1,
            stop_patience=5,
        ),
        Stage(
            name="finetune",
            epochs=500,
            learning_rate=1e-5,
            schedule=Schedule.INVERSE_TIME,
            train_backbone=True,
            spatial_dropout=0.2,
            dropout=0.2,
            classifier_dropout=0.2,
            stop_patience=20,
            watch_training_accuracy=True,
        ),
    ),
    augmentation=Augmentation(contrast=0.3),
    batch_size=8,
    soft_labels=False,
    class_weights=True,
)

SOFT = Recipe(
    # Barsoum et al. 2016 (FER+): the crowd's distribution as the target beats its majority.
    # Weight averaging: Polyak & Juditsky 1992; cosine: Loshchilov & Hutter 2017.
    name="soft",
    stages=(
        Stage(
            name="all",
            epochs=30,
            learning_rate=7e-4,
            schedule=Schedule.COSINE,
            train_backbone=True,
            warmup_epochs=0.5,
            spatial_dropout=0.1,
            dropout=0.2,
        ),
    ),
    augmentation=Augmentation(
        rotation_degrees=15, zoom=0.15, shift=0.08, contrast=0.3, brightness=0.15, erase=0.25
    ),
    batch_size=64,
    soft_labels=True,
    class_weights=False,
    weight_decay=0.01,
    ema_decay=0.998,
)

RECIPES = {recipe.name: recipe for recipe in (SOFT, AUTHORS)}


def named(name: str) -> Recipe:
    """Return the recipe called `name`."""
    if name not in RECIPES:
        raise UsageError(f"no recipe is called {name!r}; known are {', '.join(RECIPES)}")
    return RECIPES[name]


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
    recipe: Recipe, *, epochs: int | None, learning_rate: float | None, seed: int
) -> Recipe:
    """Return the recipe with another seed, and its last stage of another length or rate."""
    *first, last = recipe.stages
    last = replace(
        last,
        epochs=last.epochs if epochs is None else epochs,
        learning_rate=last.learning_rate if learning_rate is None else learning_rate,
    )
    return replace(recipe, stages=(*first, last), seed=seed)
