"""How ARBEx is trained: the authors' recipe, and one for crowd labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgefer.models.arbex import importing
from edgefer.models.arbex.network import Arbex
from edgefer.models.formats import state_dicts
from edgefer.models.network import Kind, Start, Weights
from edgefer.training.recipes import FACE_CHANGES, Augmentation, Parts, Recipe, Schedule, Stage

AUTHORS = Recipe(
    # The authors' training script. It gives no learning rates that train (all are 1 unless set),
    # and lowers them every 100 steps without progress instead of epochs; the rate is POSTER++'s.
    name="authors",
    stages=(
        Stage(
            name="all",
            epochs=100,
            learning_rate=3.5e-5,
            schedule=Schedule.PLATEAU,
            dropout=0.25,
            classifier_dropout=0.5,
        ),
    ),
    augmentations=(Augmentation(magnify=1.1, shift=0.05),),
    batch_size=256,
    soft_labels=False,
    class_weights=True,
)

SOFT = Recipe(
    # As PAtt-Lite's recipe of this name: Barsoum et al. 2016 (FER+). Gradients are not clipped by
    # their norm: the anchors' spread grows without bound, and would take the step from the rest.
    name="soft",
    stages=(
        Stage(
            name="backbones",
            epochs=5,
            learning_rate=5e-4,
            schedule=Schedule.COSINE,
            warmup_epochs=0.1,
            parts=Parts.BACKBONES,
        ),
        Stage(
            name="all",
            epochs=10,
            learning_rate=3e-4,
            schedule=Schedule.COSINE,
            warmup_epochs=0.1,
            dropout=0.1,
            classifier_dropout=0.2,
            parts=Parts.BOTH,
        ),
    ),
    augmentations=(FACE_CHANGES,),
    batch_size=32,
    soft_labels=True,
    class_weights=False,
    weight_decay=0.02,
    ema_decay=0.998,
    ema_statistics=True,
)

NONE = "none"


def _starting(place: Callable[..., Weights]) -> Callable[[str], Weights]:
    """Return what reads a backbone's file; `none` starts from random weights."""

    def read(source: str) -> Weights:
        if source == NONE:
            return {}
        from edgefer.models import checkpoints

        path = Path(source)
        states = state_dicts.read(path)
        return place(path, states, checkpoints.expected_shapes(Arbex(input_size=112).build()))

    return read


KIND = Kind(
    network=Arbex,
    recipes=(SOFT, AUTHORS),
    torch_importer=importing,
    parts=importing.PARTS,
    starts=(
        Start(
            option="ir50",
            metavar="none|FILE",
            help="The image branch's weights: ir50.pth of ARBEx, POSTER++ or ArcFace.",
            default=NONE,
            read=_starting(importing.ir50),
        ),
        Start(
            option="mobilefacenet",
            metavar="none|FILE",
            help="The landmark branch's weights: mobilefacenet.pth of ARBEx or POSTER++.",
            default=NONE,
            read=_starting(importing.mobilefacenet),
        ),
    ),
)
