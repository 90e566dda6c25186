"""Second moments of what layers see, measured on faces in bounded memory."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgefer.converters.activations import activations
from edgefer.converters.rounding.input_patches import sampled_patches
from edgefer.converters.weights import WeightedLayer
from edgefer.progress import Progress

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

POSITIONS = 16
"""Of a map in each face: neighbours see nearly the same."""

_FACES_AT_ONCE = 32
"""Whose patches are multiplied together, which is faster than a face at a time."""


class _Moments:
    """Sums for one layer; patches are kept until there are enough to multiply.

    What is added up are differences from the first patches' mean, so that float32 products lose
    nothing where inputs hardly vary around a large mean.
    """

    def __init__(self, layer: WeightedLayer) -> None:
        self._layer = layer
        self._random = np.random.default_rng(layer.operator.index)
        self._waiting: list[Float32Array] = []
        self._reference: Float32Array = np.zeros((), np.float32)
        self._squares: Float64Array = np.zeros(())
        self._sums: Float64Array = np.zeros(())
        self._count = 0

    def add(self, values: Float32Array) -> None:
        """Take one face's input of the layer."""
        self._waiting.append(sampled_patches(self._layer, values, POSITIONS, self._random))
        if len(self._waiting) == _FACES_AT_ONCE:
            self._multiply()

    def moments(self, *, centred: bool) -> Float64Array:
        """Return the moments of all that was added."""
        self._multiply()
        off = self._sums / self._count
        covariance = self._squares / self._count - off[:, :, None] * off[:, None]
        if centred:
            return covariance
        means = off + self._reference
        return np.asarray(covariance + means[:, :, None] * means[:, None])

    def _multiply(self) -> None:
        if not self._waiting:
            return
        patches = np.concatenate(self._waiting, axis=1)
        self._waiting = []
        if not self._count:
            self._reference = patches.mean(axis=1)
        differences = patches - self._reference[:, None]
        self._squares = self._squares + differences.transpose(0, 2, 1) @ differences
        self._sums = self._sums + differences.sum(axis=1, dtype=np.float64)
        self._count += patches.shape[1]


def second_moments(
    float_tflite: bytes,
    faces: Float32Array,
    layers: Sequence[WeightedLayer],
    *,
    centred: bool = False,
    progress: Progress | None = None,
) -> dict[int, Float64Array]:
    """Return E[x xᵀ] of each layer's input patches x, (groups, inputs, inputs), by its position.

    `centred` gives the covariance. `faces` are float32 (n, h, w, channels), normalised; of each
    face a layer's patches at 16 positions count, drawn with a fixed seed.
    """
    moments = {layer.operator.index: _Moments(layer) for layer in layers}
    inputs = sorted({layer.operator.inputs[0] for layer in layers})
    for values in activations(float_tflite, faces, inputs, progress):
        for layer in layers:
            moments[layer.operator.index].add(values[layer.operator.inputs[0]])
    return {index: one.moments(centred=centred) for index, one in moments.items()}
