"""Calibration faces in two: those that ranges are taken from, and those that candidates answer."""

import numpy as np
import numpy.typing as npt

from edgefer import runtime
from edgefer.data.faces import LabelledFaces
from edgefer.data.labels import match
from edgefer.errors import DataError
from edgefer.evaluation.inference import inputs_of
from edgefer.evaluation.metrics import Comparison, compare
from edgefer.models.spec import ModelSpec

Float32Array = npt.NDArray[np.float32]

MOST_CALIBRATION_FACES = 500
MOST_HELD_OUT_FACES = 2000
HELD_OUT_SHARE = 1 / 3
LEAST_HELD_OUT_FACES = 24
"""Under which a change of a probability is a matter of which faces they are."""


def split(faces: LabelledFaces) -> tuple[LabelledFaces, LabelledFaces]:
    """Part faces into those to calibrate on and those held out, both spread over the dataset.

    A third is held out, more where more than enough are left to calibrate on, and at most 2,000.
    Raises DataError where too few are left to compare on.
    """
    count = len(faces)
    held = min(
        max(round(count * HELD_OUT_SHARE), count - MOST_CALIBRATION_FACES), MOST_HELD_OUT_FACES
    )
    if held < LEAST_HELD_OUT_FACES:
        raise DataError(
            faces.source,
            f"has {count} faces, too few to hold some out for the search: it takes "
            f"{round(LEAST_HELD_OUT_FACES / HELD_OUT_SHARE)} or more",
        )
    chosen = np.unique(np.linspace(0, count - 1, held).astype(np.int64))
    rest = np.setdiff1d(np.arange(count), chosen)
    return faces.select(rest).spread(MOST_CALIBRATION_FACES), faces.select(chosen)


class HeldOutFaces:
    """Labelled faces, and what the float model answers to them."""

    def __init__(self, faces: LabelledFaces, spec: ModelSpec, float_tflite: bytes) -> None:
        self.truth = np.asarray(match(faces.class_names, spec.labels), np.int64)[faces.labels]
        self.inputs = inputs_of(faces.images, spec)
        self._exact = runtime.open_made(float_tflite).probabilities(self.inputs)

    def __len__(self) -> int:
        return len(self.truth)

    def compare(self, tflite: bytes) -> Comparison:
        """Return how a conversion differs from the float model on these faces."""
        found = runtime.open_made(tflite).probabilities(self.inputs)
        answers = self._exact.argmax(axis=1), found.argmax(axis=1)
        return compare(self.truth, answers, (self._exact, found))
