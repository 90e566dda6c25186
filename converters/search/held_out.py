"""Calibration faces in two: those that ranges are taken from, and those that candidates answer."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from edgefer import runtime
from edgefer.data.faces import LabelledFaces
from edgefer.data.labels import match
from edgefer.errors import DataError, ModelError
from edgefer.evaluation.inference import inputs_of
from edgefer.evaluation.metrics import Comparison, compare
from edgefer.models.spec import ModelSpec

Float32Array = npt.NDArray[np.float32]

MOST_CALIBRATION_FACES = 500
MOST_HELD_OUT_FACES = 2000
LEAST_HELD_OUT_FACES = 24
"""Under which a change of a probability is a matter of which faces they are."""

PARTS = 3
"""One of so many parts is held out at least."""

_BLOCK = 64
"""Faces that are normalised at once: all of them would take gigabytes at a large input."""


def split(faces: LabelledFaces) -> tuple[LabelledFaces, LabelledFaces]:
    """Part faces into those to calibrate on and those held out, both spread over the dataset.

    A third is held out, more where more than enough are left to calibrate on, and at most 2,000.
    Raises DataError where too few are left to compare on.
    """
    count = len(faces)
    held = min(max(count // PARTS, count - MOST_CALIBRATION_FACES), MOST_HELD_OUT_FACES)
    if held < LEAST_HELD_OUT_FACES:
        raise DataError(
            faces.source,
            f"has {count} faces, too few to hold some out for the search: it takes "
            f"{PARTS * LEAST_HELD_OUT_FACES} or more",
        )
    chosen = np.linspace(0, count - 1, held).astype(np.int64)
    rest = np.setdiff1d(np.arange(count), chosen)
    return faces.select(rest).spread(MOST_CALIBRATION_FACES), faces.select(chosen)


class HeldOutFaces:
    """Labelled faces, and what the float model answers to them."""

    def __init__(self, faces: LabelledFaces, spec: ModelSpec, float_tflite: bytes) -> None:
        self.truth = np.asarray(match(faces.class_names, spec.labels), np.int64)[faces.labels]
        self._faces, self._spec = faces, spec
        self._exact = self._probabilities(float_tflite)

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def correct(self) -> int:
        """How many the float model is right on."""
        return int((self._exact.argmax(axis=1) == self.truth).sum())

    def inputs(self, most: int) -> Float32Array:
        """Return at most so many of them, spread over all, as the network takes them."""
        return inputs_of(self._faces.spread(most).images, self._spec)

    def compare(self, tflite: bytes) -> Comparison:
        """Return how a conversion differs from the float model; ModelError where it fails."""
        found = self._probabilities(tflite)
        if not np.isfinite(found).all():
            raise ModelError("model.tflite", "answers with NaN or infinity")
        answers = self._exact.argmax(axis=1), found.argmax(axis=1)
        return compare(self.truth, answers, (self._exact, found))

    def _probabilities(self, tflite: bytes) -> Float32Array:
        model = runtime.open_made(tflite)
        blocks = _blocks(self._faces.images)
        return np.concatenate(
            [model.probabilities(inputs_of(images, self._spec)) for images in blocks]
        )


def _blocks(
    images: Sequence[npt.NDArray[np.uint8]],
) -> Iterator[Sequence[npt.NDArray[np.uint8]]]:
    return (images[start : start + _BLOCK] for start in range(0, len(images), _BLOCK))
