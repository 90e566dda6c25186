"""Models on labelled faces: what each of them gets right, and where they differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from importlib import metadata

import cv2
import numpy as np

import edgefer
from edgefer import runtime
from edgefer.data.faces import LabelledFaces
from edgefer.data.label_order import likely_order
from edgefer.data.labels import canonical, match
from edgefer.errors import DataError, UsageError
from edgefer.evaluation import metrics
from edgefer.evaluation.metrics import IntArray
from edgefer.evaluation.pool import WorkerPool, usable_cores
from edgefer.evaluation.result import EvaluationResult, ModelResult
from edgefer.evaluation.scoring import EvaluatedModel, Report, Scores, score
from edgefer.models.checkpoints import Checkpoint
from edgefer.progress import Progress

__all__ = ["EvaluatedModel", "EvaluationResult", "Progress", "evaluate"]

LEAST_FACES_PER_WORKER = 32
"""A process takes longer to start than to classify fewer."""


def evaluate(
    models: Sequence[EvaluatedModel],
    faces: LabelledFaces,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Run every model on every face, one face at a time, and compare each with the first.

    A .tflite runs in `workers` processes, by default one for each core this process may use.
    `progress` is told the classifications done and all. Raises DataError where there are no
    faces, UsageError where a model lacks a class of theirs, ModelError where one fails.
    """
    if not models:
        raise UsageError("there is no model to evaluate")
    if not len(faces):
        raise DataError(faces.source, "has no faces")
    truths = [_truth(model, faces) for model in models]
    with WorkerPool(_worker_count(workers, models, len(faces))) as pool:
        results: list[ModelResult] = []
        for model, truth in zip(models, truths, strict=True):
            report = _part_of(progress, len(results), len(models), len(faces))
            reference = results[0] if results else None
            results.append(_result(model, truth, score(model, faces, pool, report), reference))
    return EvaluationResult(faces=faces, models=tuple(results), versions=_versions(models))


def _truth(model: EvaluatedModel, faces: LabelledFaces) -> IntArray:
    """Return each face's class as a position in the model's labels."""
    names = [canonical(label) for label in model.spec.labels]
    if len(set(names)) != len(names):
        raise UsageError(f"{model.name}: two of its labels mean the same: {', '.join(names)}")
    try:
        positions = match(faces.class_names, model.spec.labels)
    except UsageError as exc:
        raise UsageError(f"{model.name} on {faces.source}: {exc}") from exc
    return np.asarray(positions, np.int64)[faces.labels]


def _worker_count(wanted: int | None, models: Sequence[EvaluatedModel], faces: int) -> int:
    """Return how many processes are worth their start; none for checkpoints alone."""
    if wanted is not None and wanted < 1:
        raise UsageError(f"{wanted} workers cannot work")
    if all(isinstance(model.source, Checkpoint) for model in models):
        return 0
    return min(wanted or usable_cores(), max(1, faces // LEAST_FACES_PER_WORKER))


def _part_of(progress: Progress | None, position: int, models: int, faces: int) -> Report:
    """Return what reports one model's done faces as a part of all models' faces."""

    def report(done: int) -> None:
        if progress:
            progress(position * faces + done, models * faces)

    return report


def _result(
    model: EvaluatedModel,
    truth: IntArray,
    scores: Scores,
    reference: ModelResult | None,
) -> ModelResult:
    least = max(metrics.LEAST_PROBABILITY, scores.resolution / 2)
    measured = metrics.measure(truth, scores.values, least_probability=least)
    confusion = np.array(measured.confusion, np.int64)
    result = ModelResult(
        name=model.name,
        labels=model.spec.labels,
        metrics=measured,
        truth=truth,
        probabilities=scores.values,
        comparison=None,
        differing=np.empty(0, np.int64),
        permuted=likely_order(confusion, model.spec.labels),
    )
    return _compared(result, reference) if reference else result


def _compared(result: ModelResult, reference: ModelResult) -> ModelResult:
    """Return `result` with its comparison, label by label whatever either order is."""
    own = [canonical(label) for label in result.labels]
    theirs = [canonical(label) for label in reference.labels]
    columns = theirs + [label for label in own if label not in theirs]
    own_places = np.array([columns.index(label) for label in own])
    answers = reference.answers, own_places[result.answers]
    shape = len(result.truth), len(columns)
    probabilities = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    probabilities[0][:, : len(theirs)] = reference.probabilities
    probabilities[1][:, own_places] = result.probabilities
    return dataclasses.replace(
        result,
        comparison=metrics.compare(own_places[result.truth], answers, probabilities),
        differing=np.flatnonzero(answers[0] != answers[1]),
    )


def _versions(models: Sequence[EvaluatedModel]) -> dict[str, str]:
    versions = {
        "edgefer": edgefer.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "runtime": runtime.runtime_version(),
    }
    if any(isinstance(model.source, Checkpoint) for model in models):
        versions["tensorflow"] = metadata.version("tensorflow")
    return versions
