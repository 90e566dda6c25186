"""How PAtt-Lite is trained: the authors' recipe, one that does better, and what both start from."""

from edgefer.models.network import Kind, Start
from edgefer.models.patt_lite import importing
from edgefer.models.patt_lite.network import PattLite
from edgefer.training import starting_weights
from edgefer.training.recipes import FACE_CHANGES, Augmentation, Recipe, Schedule, Stage, Watched

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
            spatial_dropout=0.2,
            dropout=0.2,
            classifier_dropout=0.2,
            stop_patience=20,
            stop_watches=Watched.TRAINING_ACCURACY,
        ),
    ),
    augmentations=(Augmentation(contrast=0.3),),
    batch_size=8,
    soft_labels=False,
    class_weights=True,
    clip_norm=3.0,
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
            warmup_epochs=0.5,
            spatial_dropout=0.1,
            dropout=0.2,
        ),
    ),
    augmentations=(FACE_CHANGES,),
    batch_size=64,
    soft_labels=True,
    class_weights=False,
    clip_norm=3.0,
    weight_decay=0.01,
    ema_decay=0.998,
)

KIND = Kind(
    network=PattLite,
    keras_importer=importing,
    recipes=(SOFT, AUTHORS),
    starts=(
        Start(
            option="backbone",
            metavar="imagenet|FILE",
            help="MobileNetV1 weights: Keras's download, or an .npz file.",
            default=starting_weights.IMAGENET,
            read=starting_weights.backbone,
        ),
    ),
)
