"""A model's scores of all faces, whatever kind of model it is and however many cores there are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from edgefer.data.faces import LabelledFaces
from edgefer.data.preprocessing import Float32Array
from edgefer.errors import MissingExtraError, ModelError
from edgefer.evaluation.inference import inputs_of
from edgefer.evaluation.pool import LARGEST_CHUNK, Chunk, WorkerPool
from edgefer.models.checkpoints import Checkpoint
from edgefer.models.spec import ModelSpec
from edgefer.runtime import open_model

Report = Callable[[int], None]
"""Is told how many faces one model has done."""


@dataclass(frozen=True, kw_only=True)
class EvaluatedModel:
    """A model to evaluate: a .tflite's path or a checkpoint, with its input contract.

    `checked` says that edgefer has just written the .tflite itself, so that it needn't be tried
    in a process of its own first.
    """

    name: str
    spec: ModelSpec
    source: Path | Checkpoint
    checked: bool = False

    @classmethod
    def from_tflite(cls, path: Path, spec: ModelSpec | None = None) -> Self:
        """Describe a .tflite; without `spec` it is read from the file's own metadata."""
        from edgefer.metadata import read_spec

        spec = spec or read_spec(path)
        if spec is None:
            raise ModelError(path, "does not describe itself: give its labels and normalisation")
        return cls(name=path.name, spec=spec, source=path)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, *, name: str) -> Self:
        """Describe a checkpoint; `name` is its file's name."""
        return cls(name=name, spec=checkpoint.spec, source=checkpoint)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """Float32 (n, classes) in the order of the model's labels, and their step (0: continuous)."""

    values: Float32Array
    resolution: float


def score(model: EvaluatedModel, faces: LabelledFaces, pool: WorkerPool, report: Report) -> Scores:
    """Return a model's scores of all faces; a .tflite runs in `pool`, a checkpoint here.

    Raises ModelError where the model cannot be used or gives NaN or infinity.
    """
    if isinstance(model.source, Checkpoint):
        scores = Scores(
            values=_collect(_checkpoint_scores(model.source, faces), faces, model, report),
            resolution=0.0,
        )
    else:
        scores = _tflite_scores(model, model.source, faces, pool, report)
    _require_finite(model, faces, scores.values)
    return scores


def _tflite_scores(
    model: EvaluatedModel, path: Path, faces: LabelledFaces, pool: WorkerPool, report: Report
) -> Scores:
    opened = open_model(path, checked=model.checked)
    opened.require_spec(model.spec)
    parts = pool.scores(path, model.spec, _chunks(faces, pool.chunk_size(len(faces))))
    return Scores(values=_collect(parts, faces, model, report), resolution=opened.resolution)


def _chunks(faces: LabelledFaces, size: int) -> Iterator[Chunk]:
    """Yield the faces in pieces; an image is read when its piece is."""
    for start in range(0, len(faces), size):
        stop = min(start + size, len(faces))
        yield start, [faces.images[index] for index in range(start, stop)]


def _collect(
    parts: Iterable[tuple[int, Float32Array]],
    faces: LabelledFaces,
    model: EvaluatedModel,
    report: Report,
) -> Float32Array:
    scores = np.empty((len(faces), len(model.spec.labels)), np.float32)
    done = 0
    for start, part in parts:
        scores[start : start + len(part)] = part
        done += len(part)
        report(done)
    return scores


def _checkpoint_scores(
    checkpoint: Checkpoint, faces: LabelledFaces
) -> Iterator[tuple[int, Float32Array]]:
    """Yield the scores that Keras computes, each face's as if it were alone.

    Keras uses every core by itself. Faces of an ordinary network don't see each other, so that
    batches give the same and are quicker; a batch-coupled network gets one face at a time.
    """
    size = 1 if checkpoint.network.batch_coupled else LARGEST_CHUNK
    try:
        graph = checkpoint.build(batch_size=None)
    except ImportError as exc:
        raise MissingExtraError("evaluating a checkpoint", "convert") from exc
    for start, images in _chunks(faces, size):
        inputs = inputs_of(images, checkpoint.spec)
        with warnings.catch_warnings():  # a batch of one is what we want of such an attention
            warnings.filterwarnings("ignore", message=r"(?s).*softmax over axis")
            scores = graph.predict_on_batch(inputs)
        yield start, np.asarray(scores, np.float32)


def _require_finite(
    model: EvaluatedModel, faces: LabelledFaces, probabilities: Float32Array
) -> None:
    broken = np.flatnonzero(~np.isfinite(probabilities).all(axis=1))
    if len(broken):
        raise ModelError(
            model.source if isinstance(model.source, Path) else model.name,
            f"gives NaN or infinity on {len(broken)} faces, the first {faces.names[broken[0]]}; "
            "check the network that it was made from",
        )
