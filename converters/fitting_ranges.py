"""Ranges of activations and weights that go together in an integer file."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgefer.converters.calibration.statistics import float_tensors
from edgefer.converters.common_ranges import Range
from edgefer.converters.graph import Graph, Tensor
from edgefer.converters.loadable_ranges import loadable_weights, with_loadable_outputs
from edgefer.converters.operator_plan import OperatorPlan
from edgefer.converters.recipes import Precision
from edgefer.converters.weights import SMALLEST_RANGE, weighted_layers

Float32Array = npt.NDArray[np.float32]

LARGEST_BIAS = 2**30
"""Half of what int32 holds, as TensorFlow's own quantizer leaves (AdjustWeightsForBiasScale in
tensorflow/lite/tools/optimize/quantization_utils.cc)."""


@dataclass(frozen=True, kw_only=True)
class FittingRanges:
    """Ranges of the tensors that become integers, and of weights, both by the tensor's name.

    `weights` are the largest ones that output channels hold, with their axes kept.
    """

    activations: Mapping[str, Range]
    weights: Mapping[str, Float32Array]


def fitting_ranges(
    content: Graph,
    plan: OperatorPlan,
    precision: Precision,
    ranges: Mapping[str, Range],
    weight_ranges: Mapping[str, Float32Array],
) -> FittingRanges:
    """Return the ranges as the file has to have them, for integer activations.

    What a concatenation joins gets one range, a layer's output and weights such as XNNPACK loads,
    and weights such that the bias fits into int32. `ranges` are of the tensors inside and of the
    input; where `weight_ranges` says nothing, each channel's largest weight counts, and the result
    says nothing either if that can stay. Raises ValueError where a range is missing.
    """
    positions = frozenset(operator.index for operator in content.operators)
    integers = positions - plan.floats - plan.rounding
    int8 = integers - plan.int16 if precision is Precision.INT8 else frozenset[int]()
    names = [tensor.name for tensor in _integer_tensors(content, integers)]
    if lacking := [name for name in names if name not in ranges]:
        raise ValueError(f"there is no range for its tensor {lacking[0]!r}")
    found = with_loadable_outputs(
        content, ranges, weight_ranges, integer_operators=integers, int8_operators=int8
    )
    activations = {name: found[name] for name in names}
    weights = dict(weight_ranges)
    weights |= loadable_weights(content, found, weights, int8_operators=int8)
    weights |= _widened_weights(content, activations, weights, precision)
    return FittingRanges(activations=activations, weights=weights)


def _integer_tensors(content: Graph, integers: frozenset[int]) -> list[Tensor]:
    """Return the computed float tensors that operators at `integers` use, which need a range."""
    needed = {*content.inputs, *content.outputs}
    for index in integers:
        needed |= {*content.operators[index].inputs, *content.operators[index].outputs}
    return [tensor for tensor in float_tensors(content) if tensor.index in needed]


def _widened_weights(
    content: Graph,
    ranges: Mapping[str, Range],
    weight_ranges: Mapping[str, Float32Array],
    precision: Precision,
) -> dict[str, Float32Array]:
    """Return ranges for weights whose bias would not fit into int32 at the scale they have.

    A channel of (nearly) zero weights has a scale so small that its bias, in units of input
    scale · weight scale, overflows, and litert-quantizer clips it to almost nothing.
    """
    widened = {}
    for layer in weighted_layers(content):
        seen = ranges.get(content.tensors[layer.operator.inputs[0]].name)
        if layer.bias is None or layer.bias.data is None or seen is None:
            continue
        given = weight_ranges.get(layer.weights.name)
        present = layer.channel_ranges() if given is None else given
        units = np.abs(layer.bias.data).reshape(present.shape) / _scale(seen, precision)
        needed = units / LARGEST_BIAS * 127
        if (needed > present).any():
            widened[layer.weights.name] = np.maximum(present, needed).astype(np.float32)
    return widened


def _scale(limits: Range, precision: Precision) -> float:
    """Return the scale that an activation's range amounts to."""
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    if precision is Precision.INT16X8:
        return max(high, -low, SMALLEST_RANGE) / 32767
    return max(high - low, SMALLEST_RANGE) / 255
