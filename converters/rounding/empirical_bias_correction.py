"""Empirical bias correction: biases under which int8 layers put out what float ones do, on average.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv
1906.04721), appendix D, and Finkelstein et al. 2019, "Fighting Quantization Bias With Bias" (arXiv
1906.03193): a layer's mean shift is measured in the quantized network, whose layers before it are
corrected already, and taken off its bias.

The shift is that before a fused activation, which no tensor holds: a layer is linear, so it
follows from the layer's mean inputs in both networks, weights and biases.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.converters import graph
from edgefer.converters.calibration.patches import CORRECTED_KINDS, mean_patch
from edgefer.converters.constants import BIAS, write_constant
from edgefer.converters.graph import Graph
from edgefer.converters.rounding.bias_correction import mean_output
from edgefer.converters.stepwise import StepwiseRun
from edgefer.converters.weights import WeightedLayer, weighted_layers
from edgefer.errors import UsageError
from edgefer.progress import Progress

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """A layer of the int8 network with an int32 bias, and the same layer in float.

    `name` is that of the tensor that both write.
    """

    name: str
    ours: WeightedLayer
    theirs: WeightedLayer


def correct_empirically(
    int8_tflite: bytes,
    float_tflite: bytes,
    mean_patches: Mapping[str, Float64Array],
    faces: Float32Array,
    *,
    progress: Progress | None = None,
) -> bytes:
    """Return the int8 model with int32 biases that make up for what quantization did before them.

    `float_tflite` is the float model with exact weights, `mean_patches` are its own
    (`calibration.patches`), by the tensor that a layer writes; `faces` are float32 (n, h, w,
    channels), normalised. Layers that compute from floats or int16 keep their biases.
    Raises UsageError where there are no others.
    """
    pairs = _pairs(graph.read(int8_tflite), graph.read(float_tflite))
    if not pairs:
        raise UsageError("no layer has int8 inputs and an int32 bias to correct; convert to int8")
    run = StepwiseRun(int8_tflite, faces)
    for number, pair in enumerate(pairs):
        exact = np.asarray(pair.theirs.weights.data, np.float64)
        wanted = pair.theirs.bias_values() + mean_output(
            pair.theirs, exact, mean_patches[pair.name]
        )
        run.advance(pair.ours.operator.index, _part(progress, number, len(pairs)))
        seen = _mean_input(pair.ours, run)
        bias = _bias(pair.ours, wanted - _without_bias(pair.ours, seen))
        write_constant(run.model, pair.ours.operator.index, BIAS, bias)
    return graph.pack(run.model)


def _pairs(ours: Graph, theirs: Graph) -> list[_Pair]:
    """Pair layers by the name of the tensor that they write."""
    known = {
        theirs.tensors[layer.operator.outputs[0]].name: layer for layer in weighted_layers(theirs)
    }
    found = []
    for layer in weighted_layers(ours):
        name = ours.tensors[layer.operator.outputs[0]].name
        is_int8 = ours.tensors[layer.operator.inputs[0]].dtype == "int8"
        has_bias = layer.bias is not None and layer.bias.dtype == "int32"
        if layer.operator.kind in CORRECTED_KINDS and is_int8 and has_bias and name in known:
            found.append(_Pair(name=name, ours=layer, theirs=known[name]))
    return found


def _mean_input(layer: WeightedLayer, run: StepwiseRun) -> Float64Array:
    """Return a layer's input averaged over faces, real."""
    index = layer.operator.inputs[0]
    image = run.content.tensors[index]
    zero_point = 0 if image.quantization is None else image.quantization.zero_points[0]
    mean = run.values(index).mean(axis=0, dtype=np.float64)
    return np.asarray((mean - zero_point) * _scales(image)[0])


def _without_bias(layer: WeightedLayer, mean_input: Float64Array) -> Float64Array:
    stored = np.asarray(layer.weights.data)
    shape = np.ones(stored.ndim, np.int64)
    shape[layer.channel_axis] = -1
    scales = _scales(layer.weights).reshape(shape)
    return mean_output(layer, stored * scales, mean_patch(layer, mean_input))


def _bias(layer: WeightedLayer, real: Float64Array) -> npt.NDArray[np.int32]:
    """Return a bias in its own units, input scale · weight scale."""
    limits = np.iinfo(np.int32)
    steps = np.rint(real / _scales(layer.bias))
    return np.clip(steps, limits.min, limits.max).astype(np.int32)


def _scales(tensor: Any) -> Float64Array:
    return np.asarray(tensor.quantization.scales, np.float64)


def _part(progress: Progress | None, number: int, runs: int) -> Progress | None:
    """Return the progress of one run over the faces, of which all together count them once."""
    if progress is None:
        return None
    return lambda done, total: progress((number * total + done) // runs, total)
