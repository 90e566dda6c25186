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
from edgefer.converters.fitting_ranges import FittingRanges, fitting_ranges
from edgefer.converters.litert_recipe import litert_recipe
from edgefer.converters.operator_plan import OperatorPlan, operator_plan
from edgefer.converters.recipes import IoType, Precision, QuantizationRecipe
from edgefer.errors import MissingExtraError, ModelError, UsageError
from edgefer.quiet import quiet

Float32Array = npt.NDArray[np.float32]
Range = tuple[float, float]
"""The smallest and the largest value of a tensor."""


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
        stated = _stated(content, plan, ranges, recipe, input_range, weight_ranges or {})
        with quiet():
            result = quantizer.quantize(stated or None, enable_progress_report=False)
    except (ValueError, RuntimeError, KeyError, TypeError, IndexError) as exc:
        reason = (str(exc).strip().splitlines() or [type(exc).__name__])[0][:200]
        raise ModelError(source, f"cannot be quantized to {recipe.precision}: {reason}") from exc
    return graph.pack(graph.unpack(bytes(result.quantized_model), source=source))


def fitting(
    content: graph.Graph,
    plan: OperatorPlan,
    ranges: Mapping[str, Range],
    recipe: QuantizationRecipe,
    input_range: Range,
    weight_ranges: Mapping[str, Float32Array],
) -> FittingRanges:
    """Return the ranges that `quantize` gives an integer file; its arguments are as there."""
    pixels = input_quantization(input_range, recipe.input_type)
    known = {**ranges, content.tensors[content.inputs[0]].name: pixels.range}
    return fitting_ranges(content, plan, recipe.precision, known, weight_ranges)


def _stated(
    content: graph.Graph,
    plan: OperatorPlan,
    ranges: Mapping[str, Range],
    recipe: QuantizationRecipe,
    input_range: Range,
    weight_ranges: Mapping[str, Float32Array],
) -> dict[str, Any]:
    """Return all ranges as litert-quantizer keeps them."""
    if not recipe.precision.needs_calibration:
        return _symmetric(weight_ranges)
    found = fitting(content, plan, ranges, recipe, input_range, weight_ranges)
    stated = {
        tensor.name: _range(tensor, *found.activations[tensor.name])
        for tensor in content.tensors
        if tensor.name in found.activations
    }
    scores = _score_range(content, stated) if plan.floats else {}
    return {**_symmetric(found.weights), **stated, **scores}


def _symmetric(weight_ranges: Mapping[str, Float32Array]) -> dict[str, Any]:
    return {name: {"min": -wide, "max": wide} for name, wide in weight_ranges.items()}


def _range(tensor: graph.Tensor, low: float, high: float) -> dict[str, Any]:
    """Return a range as litert-quantizer keeps it, with the tensor's number of axes."""
    shape = (1,) * len(tensor.shape)
    return {"min": np.full(shape, low), "max": np.full(shape, high)}


def _score_range(content: graph.Graph, ranges: dict[str, Any]) -> dict[str, Any]:
    """Return the range of a softmax for scores that are all within 0…1, more than faces showed."""
    scores = content.tensors[content.outputs[0]]
    seen = ranges[scores.name]
    if float(np.min(seen["min"])) < 0 or float(np.max(seen["max"])) > 1:
        return {}
    return {scores.name: _range(scores, 0.0, 255 / 256)}
