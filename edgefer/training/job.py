"""From a dataset on disk to trained weights: what `edgefer train` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgefer.data.faces import LabelledFaces
from edgefer.data.protocols import Protocol
from edgefer.data.reading import has_splits, read_faces
from edgefer.errors import MissingExtraError, UsageError
from edgefer.models import checkpoints
from edgefer.models.patt_lite import Attention, PattLite
from edgefer.training import starting_weights
from edgefer.training.recipes import SOFT, Recipe
from edgefer.training.records import TrainingProgress, TrainingResult

HELD_OUT_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """What to train, on what, from where, and where the results go.

    `backbone` is `imagenet` or an .npz of MobileNetV1 weights; `start` a checkpoint to go on
    from instead, of any input size. `training_data` (by default the data's file name) and
    `licence` are noted in the weights. With `force` a state in `output` is not resumed but
    replaced.
    """

    data: Path
    output: Path
    recipe: Recipe = SOFT
    input_size: int = 112
    attention: Attention = Attention.IDENTITY
    backbone: str = starting_weights.IMAGENET
    start: Path | None = None
    training_data: str | None = None
    licence: str = ""
    force: bool = False


def train(
    job: TrainingJob, *, progress: Callable[[TrainingProgress], None] | None = None
) -> TrainingResult:
    """Read the faces, train, and leave `best.safetensors` and `training.csv` in the output."""
    try:
        from edgefer.training.fit import fit
    except ImportError as exc:
        raise MissingExtraError("training", "convert") from exc
    training, validation = training_faces(job.data, soft=job.recipe.soft_labels)
    labels = tuple(sorted(name for name in training.class_names))
    try:
        network = PattLite(labels=labels, input_size=job.input_size, attention=job.attention)
    except ValueError as exc:
        raise UsageError(str(exc)) from exc
    if job.start is not None:
        initial = checkpoints.load(job.start).weights
    else:
        initial = starting_weights.backbone(job.backbone)
    return fit(
        network,
        job.recipe,
        training,
        validation,
        job.output,
        initial=initial,
        resume=not job.force,
        training_data=job.training_data or job.data.name,
        licence=job.licence,
        progress=progress,
    )


def training_faces(path: Path, *, soft: bool) -> tuple[LabelledFaces, LabelledFaces]:
    """Return the faces to train on and those to validate on.

    A dataset with splits gives its own; from a plain folder of classes every tenth face of a
    class is held out. Soft targets also use faces without a majority, validation never does.
    """
    if not has_splits(path):
        return held_out(read_faces(path))
    protocol = Protocol.ARGMAX if soft else Protocol.MAJORITY
    return (
        read_faces(path, split="train", protocol=protocol),
        read_faces(path, split="valid", protocol=Protocol.MAJORITY),
    )


def held_out(faces: LabelledFaces, seed: int = 0) -> tuple[LabelledFaces, LabelledFaces]:
    """Part the faces in two, with the same share of each class and at least one on both sides."""
    generator = np.random.default_rng(seed)
    kept: list[int] = []
    held: list[int] = []
    for label in np.unique(faces.labels):
        rows = generator.permutation(np.flatnonzero(faces.labels == label))
        count = max(1, round(len(rows) * HELD_OUT_SHARE))
        held.extend(rows[:count].tolist())
        kept.extend(rows[count:].tolist())
    return faces.select(sorted(kept)), faces.select(sorted(held))
