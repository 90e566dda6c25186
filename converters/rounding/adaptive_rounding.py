"""Weights rounded up or down so that each layer's outputs on faces change least.

Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization" (arXiv
2004.10568), layer by layer on what layers see in the float model; `coordinate_descent` tells how
the choice is made.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from edgefer.converters import graph
from edgefer.converters.rounding.coordinate_descent import best_rounding
from edgefer.converters.rounding.input_moments import second_moments
from edgefer.converters.rounding.input_patches import (
    group_count,
    matrices_to_weights,
    weights_to_matrices,
)
from edgefer.converters.rounding.weight_rounding import (
    layers_by_weights,
    replace_weights,
    round_to_nearest,
)
from edgefer.converters.weights import SMALLEST_RANGE, WeightedLayer
from edgefer.progress import Progress

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

ADAPTED_KINDS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})

_RIDGE = 0.03
"""What is added to the moments, of their mean diagonal, since faces are few: of the values tried,
the one with the smallest error on faces that the moments had not seen."""

_LEAST_RIDGE = 1e-12
_MOST_BYTES = 2**29
"""Of moments kept at a time; more layers take another pass over the faces."""


def round_adaptively(
    float_tflite: bytes,
    faces: Float32Array,
    ranges: Mapping[str, Float32Array],
    *,
    skipped: frozenset[int] = frozenset(),
    centred: bool = False,
    progress: Progress | None = None,
) -> bytes:
    """Return the model with each weight at one of the two points of its grid around it.

    `faces` are float32 (n, h, w, channels), normalised, with n some hundred; `ranges` and
    `skipped` are as in `round_to_nearest`, which rounds layers of other kinds. `centred` leaves the
    mean of the outputs to a bias correction that follows, and makes only their spread around it
    least.
    """
    model = graph.unpack(round_to_nearest(float_tflite, ranges, skipped=skipped), source="model")
    content = graph.read(float_tflite)
    shared = layers_by_weights(model, content, ranges, skipped)
    adapted = [layers for layers in shared if layers[0].operator.kind in ADAPTED_KINDS]
    passes = list(_passes(adapted, content))
    for number, passed in enumerate(passes):
        layers = [layer for group in passed for layer in group]
        part = _part(progress, number, len(passes))
        moments = second_moments(float_tflite, faces, layers, centred=centred, progress=part)
        for group in passed:
            seen = np.sum([moments.pop(layer.operator.index) for layer in group], axis=0)
            weights = _adapted(group[0], seen, ranges[group[0].weights.name])
            replace_weights(model, group, weights)
    return graph.pack(model)


def _adapted(layer: WeightedLayer, moments: Float64Array, ranges: Float32Array) -> Float32Array:
    scales = np.maximum(ranges, np.float32(SMALLEST_RANGE)) / np.float32(127)
    steps = np.asarray(layer.weights.data, np.float32) / scales
    matrices = weights_to_matrices(layer, steps.astype(np.float64), len(moments))
    rounded = matrices_to_weights(layer, best_rounding(matrices, with_ridge(moments)))
    return np.asarray(rounded.astype(np.float32) * scales, np.float32)


def with_ridge(moments: Float64Array) -> Float64Array:
    """Return moments that are positive definite, however few the faces."""
    definite = moments.copy()
    diagonals = np.einsum("gkk->gk", definite)
    diagonals += np.maximum(_RIDGE * diagonals.mean(axis=1, keepdims=True), _LEAST_RIDGE)
    return definite


def _part(progress: Progress | None, number: int, passes: int) -> Progress | None:
    """Return the progress of one pass, of which all together count the faces once."""
    if progress is None:
        return None
    return lambda done, total: progress((number * total + done) // passes, total)


def _passes(
    groups: Sequence[list[WeightedLayer]], content: graph.Graph
) -> Iterator[list[list[WeightedLayer]]]:
    """Split the layers into as many passes over the faces as memory asks for."""
    passed: list[list[WeightedLayer]] = []
    used = 0
    for group in groups:
        needed = sum(_bytes(layer, content) for layer in group)
        if passed and used + needed > _MOST_BYTES:
            yield passed
            passed, used = [], 0
        passed.append(group)
        used += needed
    if passed:
        yield passed


def _bytes(layer: WeightedLayer, content: graph.Graph) -> int:
    """Return the size of a layer's moments: a square of what each group sees, in float64."""
    groups = group_count(layer, content.tensors[layer.operator.inputs[0]].shape[-1])
    is_depthwise = layer.operator.kind == "DEPTHWISE_CONV_2D"
    axes = layer.weights.shape[1:3] if is_depthwise else layer.weights.shape[1:]
    return 8 * groups * math.prod(axes) ** 2
