"""How LANMSFF is trained: the authors' recipe, and one that does better on crowd labels."""

from edgefer.models.lanmsff import importing
from edgefer.models.lanmsff.network import Lanmsff
from edgefer.models.network import Kind
from edgefer.training.recipes import FACE_CHANGES, Augmentation, Recipe, Schedule, Stage, Watched

AUTHORS = Recipe(
    # The LANMSFF authors' notebooks. They enlarge the dataset once to four times its size; here
    # each epoch draws anew, and what rotates into the picture is mirrored instead of black.
    name="authors",
    stages=(
        Stage(
            name="all",
            epochs=100,
            learning_rate=1e-3,
            schedule=Schedule.PLATEAU,
            dropout=0.4,
            plateau_patience=9,
            plateau_watches=Watched.VALIDATION_LOSS,
            plateau_minimum_rise=1e-4,
            stop_patience=14,
            stop_watches=Watched.VALIDATION_LOSS,
            stop_minimum_rise=0.0,
        ),
    ),
    augmentations=(
        Augmentation(flip=0.0),
        Augmentation(flip=1.0),
        Augmentation(flip=0.0, rotation_degrees=15, magnify=72 / 64),
        Augmentation(flip=0.0, magnify=72 / 64, shift=4 / 72),
    ),
    batch_size=32,
    soft_labels=False,
    class_weights=False,
)

SOFT = Recipe(
    # As PAtt-Lite's recipe of this name, from random weights: Barsoum et al. 2016 (FER+).
    name="soft",
    stages=(
        Stage(
            name="all",
            epochs=60,
            learning_rate=2e-3,
            schedule=Schedule.COSINE,
            warmup_epochs=1.0,
            dropout=0.2,
        ),
    ),
    augmentations=(FACE_CHANGES,),
    batch_size=64,
    soft_labels=True,
    class_weights=False,
    clip_norm=3.0,
    weight_decay=0.02,
    ema_decay=0.998,
    ema_statistics=True,
)

KIND = Kind(
    network=Lanmsff,
    keras_importer=importing,
    recipes=(SOFT, AUTHORS),
)
