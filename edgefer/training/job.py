"""From a dataset on disk to trained weights: what `edgefer train` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgefer.data.faces import LabelledFaces
from edgefer.data.protocols import Protocol
from edgefer.data.reading import has_splits, read_faces
from edgefer.errors import MissingExtraError, UsageError
from edgefer.models import checkpoints, networks
from edgefer.models.network import Network, Weights
from edgefer.training.recipes import Recipe
from edgefer.training.records import TrainingProgress, TrainingResult

HELD_OUT_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """What to train, on what, from where, and where the results go.

    `network` is a name in `networks.NETWORKS` and `options` are that network's own, with defaults
    for what is left out. `sources` say for options of the network's `starts` where those weights
    come from; `start` is a checkpoint to go on from instead, of any input size. `training_data`
    (by default the data's file name) and `licence` are noted in the weights. With `force` a state
    in `output` is not resumed but replaced.
    """

    network: str
    data: Path
    output: Path
    recipe: Recipe
    options: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
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
    network, initial = _beginning(job, training.class_names)
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


def _beginning(job: TrainingJob, class_names: Sequence[str]) -> tuple[Network, Weights]:
    """Configure the network and read what it starts from.

    A checkpoint to go on from decides the order of the same labels, and what is no option.
    """
    kind = networks.kind(job.network)
    labels = sorted(class_names)
    if job.start is None:
        reads = (start.read(job.sources.get(start.option, start.default)) for start in kind.starts)
        initial = {key: values for weights in reads for key, values in weights.items()}
        return _configured(job, {"labels": labels, **job.options}), initial
    before = checkpoints.read(job.start)
    if networks.name_of(before.network) != job.network:
        raise UsageError(f"{job.start} holds a {before.spec.name}, not a {kind.title}")
    if sorted(before.network.labels) == labels:
        labels = list(before.network.labels)
    options = {**before.network.to_dict(), "labels": labels, **job.options}
    return _configured(job, options), before.weights


def _configured(job: TrainingJob, options: Mapping[str, Any]) -> Network:
    try:
        return networks.create(job.network, options)
    except ValueError as exc:
        raise UsageError(str(exc)) from exc


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
