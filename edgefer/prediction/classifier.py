"""Any model that edgefer reads, on one face at a time."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgefer import runtime
from edgefer.data.preprocessing import Float32Array, UInt8Array
from edgefer.errors import MissingExtraError, ModelError
from edgefer.evaluation.inference import inputs_of
from edgefer.evaluation.scoring import EvaluatedModel
from edgefer.models.checkpoints import Checkpoint
from edgefer.models.spec import ModelSpec
from edgefer.prediction.face_input import input_values


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier:
    """A model that takes a face, uint8 (h, w) or (h, w, 3) RGB, and returns float32 (classes,)."""

    name: str
    labels: tuple[str, ...]
    scores: Callable[[UInt8Array], Float32Array]

    def __call__(self, face: UInt8Array) -> Float32Array:
        """Classify one face; ModelError where the model gives NaN or infinity."""
        scores = self.scores(face)
        if not np.isfinite(scores).all():
            raise ModelError(
                self.name, "gives NaN or infinity; check the network that it was made from"
            )
        return scores


def open_classifier(model: EvaluatedModel) -> Classifier:
    """Load a .tflite, or build a checkpoint's network, for batch 1.

    Raises ModelError where it cannot be used, MissingExtraError where Keras is not installed.
    """
    spec = model.spec
    scores = (
        _keras_scores(model.source, spec)
        if isinstance(model.source, Checkpoint)
        else _tflite_scores(model.source, spec, checked=model.checked)
    )
    return Classifier(name=model.name, labels=spec.labels, scores=scores)


def _tflite_scores(
    path: Path, spec: ModelSpec, *, checked: bool
) -> Callable[[UInt8Array], Float32Array]:
    tflite = runtime.open_model(path, checked=checked)
    tflite.require_spec(spec)
    return lambda face: tflite.output.dequantize(
        tflite.scores(input_values(face, spec, tflite.input))
    )[0]


def _keras_scores(checkpoint: Checkpoint, spec: ModelSpec) -> Callable[[UInt8Array], Float32Array]:
    try:
        graph = checkpoint.build(batch_size=1)
    except ImportError as exc:
        raise MissingExtraError("running a checkpoint", "convert") from exc

    def scores(face: UInt8Array) -> Float32Array:
        with warnings.catch_warnings():  # a batch of one is what we want of such an attention
            warnings.filterwarnings("ignore", message=r"(?s).*softmax over axis")
            answers = graph.predict_on_batch(inputs_of([face], spec))
        answer: Float32Array = np.asarray(answers, np.float32)[0]
        return answer

    return scores
