"""Weights and activations to integers, by litert-quantizer."""

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.converters import graph
from edgefer.converters.calibration.statistics import float_tensors
from edgefer.converters.common_ranges import with_common_ranges
from edgefer.converters.litert_recipe import litert_recipe
from edgefer.converters.operator_plan import OperatorPlan, operator_plan
from edgefer.converters.recipes import IoType, Precision, QuantizationRecipe
from edgefer.converters.weights import SMALLEST_RANGE, weighted_layers
from edgefer.errors import MissingExtraError, ModelError, UsageError
from edgefer.quiet import quiet

Float32Array = npt.NDArray[np.float32]
Range = tuple[float, float]
"""The smallest and the largest value of a tensor."""

_LARGEST_BIAS = 2**30
"""Half of what int32 holds, as TensorFlow's own quantizer leaves (AdjustWeightsForBiasScale in
tensorflow/lite/tools/optimize/quantization_utils.cc)."""


def require_packages() -> None:
    """Raise MissingExtraError where litert-quantizer is not installed, before long work."""
    if importlib.util.find_spec("litert_quantizer") is None:
        raise MissingExtraError("quantizing a model", "convert")


@dataclass(frozen=True, kw_only=True)
class InputQuantization:
    """The int8 input: normalised pixel = scale · (q − zero_point)."""

    scale: float
    zero_point: int

    @property
    def range(self) -> Range:
        """The values of -128 and 127."""
        return (-128 - self.zero_point) * self.scale, (127 - self.zero_point) * self.scale


def input_quantization(input_range: Range, input_type: IoType = IoType.INT8) -> InputQuantization:
    """Return the quantization of pixels whose normalised values cover `input_range`.

    For an integer input q is pixel − 128: -1…1 gives 1/127.5 and -1. A float32 input gets 254
    steps, not 255: with 255 a pixel of -1…1 lies exactly between two steps, and XNNPACK rounds
    ties to even, which merges every other pair of pixels.
    """
    low, high = input_range
    steps = 254 if input_type is IoType.FLOAT32 else 255
    scale = (high - low) / steps
    exact = 127 - steps - low / scale
    zero_point = math.ceil(exact - 0.5 - 1e-6)
    if not -128 <= zero_point <= 127:
        raise UsageError(f"normalised pixels of {low:g}…{high:g} leave out 0, which int8 needs")
    return InputQuantization(scale=scale, zero_point=zero_point)


def quantize(
    float_tflite: bytes,
    ranges: Mapping[str, Range],
    recipe: QuantizationRecipe,
    input_range: Range,
    *,
    weight_ranges: Mapping[str, Float32Array] | None = None,
    source: Path | str = "model",
) -> bytes:
    """Quantize a float .tflite; its input and output get the types that the precision has.

    `ranges` are those of the tensors inside, by name, unused where the precision needs none; what
    a concatenation joins gets one in common. `input_range` are the normalised values of the
    smallest and largest pixel: an integer input covers exactly these, so that int8 is
    pixel − 128, whatever calibration saw. `weight_ranges` are the largest weights that output
    channels hold, by the weights' tensor and with their axes kept; without, each channel's
    largest weight.
    float32 comes back as it is. Raises ModelError where the model cannot be quantized.
    """
    if recipe.precision is Precision.FLOAT32:
        return float_tflite
    content = graph.read(float_tflite, source=source)
    plan = operator_plan(content, recipe)
    try:
        from litert_quantizer import Quantizer
    except ImportError as exc:
        raise MissingExtraError("quantizing a model", "convert") from exc
    try:
        quantizer = Quantizer(float_tflite)
        quantizer.load_quantization_recipe(litert_recipe(recipe, content, plan))
        weights = weight_ranges or {}
        stated = {name: {"min": -wide, "max": wide} for name, wide in weights.items()}
        if recipe.precision.needs_calibration:
            pixels = input_quantization(input_range, recipe.input_type)
            stated.update(_stated(content, plan, ranges))
            stated.update(_input_range(content, pixels))
            stated.update(_score_range(content, stated) if plan.floats else {})
            stated.update(_widened_weights(content, stated, recipe.precision))
        with quiet():
            result = quantizer.quantize(stated or None, enable_progress_report=False)
    except (ValueError, RuntimeError, KeyError, TypeError, IndexError) as exc:
        reason = (str(exc).strip().splitlines() or [type(exc).__name__])[0][:200]
        raise ModelError(source, f"cannot be quantized to {recipe.precision}: {reason}") from exc
    return graph.pack(graph.unpack(bytes(result.quantized_model), source=source))


def _stated(
    content: graph.Graph, plan: OperatorPlan, ranges: Mapping[str, Range]
) -> dict[str, Any]:
    """Return the ranges of the tensors that become integers, as litert-quantizer keeps them."""
    positions = frozenset(operator.index for operator in content.operators)
    integers = positions - plan.floats - plan.rounding
    common = with_common_ranges(content, ranges, integer_operators=integers)
    stated = {}
    for tensor in _integer_tensors(content, integers):
        if tensor.name not in common:
            raise ValueError(f"there is no range for its tensor {tensor.name!r}")
        stated[tensor.name] = _range(tensor, *common[tensor.name])
    return stated


def _integer_tensors(content: graph.Graph, integers: frozenset[int]) -> list[graph.Tensor]:
    """Return the computed float tensors that operators at `integers` use, which need a range."""
    needed = {*content.inputs, *content.outputs}
    for index in integers:
        needed |= {*content.operators[index].inputs, *content.operators[index].outputs}
    return [tensor for tensor in float_tensors(content) if tensor.index in needed]


def _range(tensor: graph.Tensor, low: float, high: float) -> dict[str, Any]:
    """Return a range as litert-quantizer keeps it, with the tensor's number of axes."""
    shape = (1,) * len(tensor.shape)
    return {"min": np.full(shape, low), "max": np.full(shape, high)}


def _input_range(content: graph.Graph, pixels: InputQuantization) -> dict[str, Any]:
    """Return the calibration result under which the input gets exactly `pixels`."""
    image = content.tensors[content.inputs[0]]
    return {image.name: _range(image, *pixels.range)}


def _score_range(content: graph.Graph, ranges: dict[str, Any]) -> dict[str, Any]:
    """Return the range of a softmax for scores that are all within 0…1, more than faces showed."""
    scores = content.tensors[content.outputs[0]]
    seen = ranges[scores.name]
    if float(np.min(seen["min"])) < 0 or float(np.max(seen["max"])) > 1:
        return {}
    return {scores.name: _range(scores, 0.0, 255 / 256)}


def _widened_weights(
    content: graph.Graph, ranges: dict[str, Any], precision: Precision
) -> dict[str, Any]:
    """Return ranges for weights whose bias would not fit into int32 at the scale they have.

    A channel of (nearly) zero weights has a scale so small that its bias, in units of input
    scale · weight scale, overflows, and litert-quantizer clips it to almost nothing.
    """
    widened = {}
    for layer in weighted_layers(content):
        seen = ranges.get(content.tensors[layer.operator.inputs[0]].name)
        if layer.bias is None or layer.bias.data is None or seen is None:
            continue
        given = ranges.get(layer.weights.name)
        present = layer.channel_ranges() if given is None else given["max"]
        units = np.abs(layer.bias.data).reshape(present.shape) / _scale(seen, precision)
        needed = units / _LARGEST_BIAS * 127
        if (needed > present).any():
            wide = np.maximum(present, needed).astype(np.float32)
            widened[layer.weights.name] = {"min": -wide, "max": wide}
    return widened


def _scale(seen: dict[str, Any], precision: Precision) -> float:
    """Return the scale that an activation's range amounts to."""
    low, high = min(float(np.min(seen["min"])), 0.0), max(float(np.max(seen["max"])), 0.0)
    if precision is Precision.INT16X8:
        return max(high, -low, SMALLEST_RANGE) / 32767
    return max(high - low, SMALLEST_RANGE) / 255
