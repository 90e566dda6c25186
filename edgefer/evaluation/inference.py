"""From face images to a .tflite's scores: what every process of an evaluation does."""

from collections.abc import Sequence

import numpy as np

from edgefer.data.preprocessing import Float32Array, UInt8Array, normalise, to_pixels
from edgefer.models.spec import ModelSpec
from edgefer.runtime import TfliteModel


def inputs_of(images: Sequence[UInt8Array], spec: ModelSpec) -> Float32Array:
    """Return float32 (n, size, size, channels), normalised as `spec` says."""
    return normalise(np.stack([to_pixels(image, spec) for image in images]), spec)


def classify(model: TfliteModel, spec: ModelSpec, images: Sequence[UInt8Array]) -> Float32Array:
    """Return the scores of each image, float32 (n, classes), one image at a time."""
    return model.probabilities(inputs_of(images, spec))
