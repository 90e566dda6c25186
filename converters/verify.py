"""Is a converted .tflite what was asked for? Checked before anyone gets it."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgefer import runtime
from edgefer.converters import graph
from edgefer.converters.graph import Graph, Operator, Quantization, Tensor
from edgefer.converters.operator_plan import CONVERSIONS, OperatorPlan, operator_plan
from edgefer.converters.quantize import InputQuantization
from edgefer.converters.recipes import IoType, Precision, QuantizationRecipe
from edgefer.converters.weights import CHANNEL_AXES, WeightedLayer, weighted_layers
from edgefer.errors import ModelError

Float32Array = npt.NDArray[np.float32]

WEIGHT_TYPES = {
    Precision.FLOAT32: "float32",
    Precision.FLOAT16: "float16",
    Precision.DYNAMIC: "int8",
    Precision.INT16X8: "int8",
    Precision.INT8: "int8",
}

_SUM_TOLERANCE = 0.05
"""Eight int8 probabilities in steps of 1/256 can miss 1 by 0.016, the softmax's own error aside."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What a converted file holds: `float_operators` leaves out the conversions at its ends.

    Where mixed precision was needed, `kept_in_float` counts by kind what computes in float, and
    `rounding_layers` the layers with int8 weights that round their float input in each image.
    """

    operators: Mapping[str, int]
    float_operators: int
    kept_in_float: Mapping[str, int]
    rounding_layers: int
    per_channel_layers: int
    input_type: str
    output_type: str
    size_bytes: int
    weights_bytes: int


def verify(
    tflite: bytes,
    recipe: QuantizationRecipe,
    samples: Float32Array,
    *,
    pixels: InputQuantization,
    source: Path | str = "converted model",
) -> Verification:
    """Check a converted file against its recipe, and run it on `samples`.

    `samples` are float32 (n, h, w, channels), normalised; `pixels` is the quantization of an
    integer input. Raises ModelError that says what differs from what was asked.
    """
    content = graph.read(tflite, source=source)
    layers = weighted_layers(_with_weights_in_place(content))
    plan = operator_plan(content, recipe)
    try:
        _check_ends(content, recipe, pixels)
        _check_weights(content, layers, recipe, plan)
        _check_activations(content, recipe, plan)
        _check_scores(_scores(tflite, samples), content)
    except ValueError as exc:
        raise ModelError(source, f"failed verification: {exc}") from exc
    return Verification(
        operators=dict(Counter(operator.kind for operator in content.operators)),
        float_operators=len(_float_operators(content)),
        kept_in_float=_kinds(content, plan.floats),
        rounding_layers=len(plan.rounding),
        per_channel_layers=sum(_is_per_channel(layer) for layer in layers),
        input_type=content.tensors[content.inputs[0]].dtype,
        output_type=content.tensors[content.outputs[0]].dtype,
        size_bytes=len(tflite),
        weights_bytes=sum(t.data.nbytes for t in content.tensors if t.data is not None),
    )


def _with_weights_in_place(content: Graph) -> Graph:
    """Return the graph with float16 weights where the operators read them dequantized."""
    tensors = list(content.tensors)
    for operator in content.operators:
        if operator.kind == "DEQUANTIZE" and tensors[operator.inputs[0]].data is not None:
            tensors[operator.outputs[0]] = tensors[operator.inputs[0]]
    return Graph(
        tensors=tuple(tensors),
        operators=content.operators,
        inputs=content.inputs,
        outputs=content.outputs,
    )


def _check_ends(content: Graph, recipe: QuantizationRecipe, pixels: InputQuantization) -> None:
    image, scores = content.tensors[content.inputs[0]], content.tensors[content.outputs[0]]
    if image.shape[0] != 1:
        raise ValueError(f"its batch is {image.shape[0]}, not 1")
    for name, tensor, wanted in (
        ("input", image, recipe.input_type),
        ("output", scores, recipe.output_type),
    ):
        if tensor.dtype != wanted:
            raise ValueError(f"its {name} is {tensor.dtype}, not {wanted}")
    if recipe.input_type is not IoType.FLOAT32:
        _check_pixels(image, recipe.input_type, pixels)
    if recipe.output_type is not IoType.FLOAT32 and scores.quantization is None:
        raise ValueError(f"its {scores.dtype} output has no scale")


def _check_pixels(image: Tensor, wanted: IoType, pixels: InputQuantization) -> None:
    if image.quantization is None:
        raise ValueError(f"its {wanted} input has no scale")
    scale, zero_point = _only(image.quantization)
    expected = pixels.zero_point + (128 if wanted is IoType.UINT8 else 0)
    if not np.isclose(scale, pixels.scale, rtol=1e-6) or zero_point != expected:
        raise ValueError(
            f"its input has scale {scale:.7g} and zero point {zero_point}, "
            f"not {pixels.scale:.7g} and {expected}"
        )


def _only(quantization: Quantization) -> tuple[float, int]:
    if len(quantization.scales) != 1:
        raise ValueError("its input has a scale for each channel")
    return float(quantization.scales[0]), int(quantization.zero_points[0])


def _kinds(content: Graph, positions: Iterable[int]) -> dict[str, int]:
    kinds = Counter(content.operators[index].kind for index in positions)
    return {kind: count for kind, count in kinds.most_common() if kind not in CONVERSIONS}


def _check_weights(
    content: Graph, layers: list[WeightedLayer], recipe: QuantizationRecipe, plan: OperatorPlan
) -> None:
    without = _layers_without_weights(content)
    if without and recipe.precision is not Precision.FLOAT32:
        raise ValueError(f"{without} of its layers have no constant weights")
    wanted = WEIGHT_TYPES[recipe.precision]
    for layer in layers:
        if layer.operator.index in plan.floats and layer.weights.is_float:
            continue
        name = f"{layer.operator.kind} at position {layer.operator.index}"
        if layer.weights.dtype != wanted:
            raise ValueError(f"{name} has {layer.weights.dtype} weights, not {wanted}")
        if wanted == "int8" and not _is_per_channel(layer):
            raise ValueError(f"{name} does not have a scale for each channel")


def _layers_without_weights(content: Graph) -> int:
    """Count layers whose weights the file lacks; those of an attention are computed, and lack none.

    A dense layer is also how the product of two activations is written, keys by queries.
    """
    computed = {index for operator in content.operators for index in operator.outputs}
    return sum(
        operator.kind in CHANNEL_AXES
        and operator.inputs[1] not in computed
        and content.tensors[operator.inputs[1]].data is None
        for operator in content.operators
    )


def _is_per_channel(layer: WeightedLayer) -> bool:
    quantization = layer.weights.quantization
    if quantization is None:
        return False
    channels = layer.weights.shape[layer.channel_axis]
    along = quantization.axis == layer.channel_axis or channels == 1
    return len(quantization.scales) == channels and along and not quantization.zero_points.any()


def _check_activations(content: Graph, recipe: QuantizationRecipe, plan: OperatorPlan) -> None:
    if not recipe.precision.needs_calibration:
        return
    allowed = CONVERSIONS if plan.floats or plan.int16 else frozenset[str]()
    known = plan.floats | plan.rounding
    computing = {op.kind for op in _float_operators(content) if op.index not in known}
    left = sorted(computing - allowed)
    if left:
        raise ValueError(f"{', '.join(left)} still computes in floating point")


def _float_operators(content: Graph) -> list[Operator]:
    """Return operators that read or write floats, but for conversions at the file's two ends."""
    ends = {*content.inputs, *content.outputs}
    return [
        operator
        for operator in content.operators
        if any(tensor.is_float for tensor in content.operands(operator))
        and not (operator.kind in CONVERSIONS and ends & {*operator.inputs, *operator.outputs})
    ]


def _scores(tflite: bytes, samples: Float32Array) -> Float32Array:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(tflite)
        try:
            return runtime.open_model(path, checked=True).probabilities(samples)
        except ModelError as exc:
            raise ValueError(str(exc).removeprefix(f"{path}: ")) from exc


def _check_scores(scores: Float32Array, content: Graph) -> None:
    if not np.isfinite(scores).all():
        raise ValueError("it answers with NaN or infinity")
    operator = content.producer(content.outputs[0])
    while operator is not None and operator.kind in CONVERSIONS:
        operator = content.producer(operator.inputs[0])
    if operator is None or operator.kind != "SOFTMAX":
        return
    worst = float(np.abs(scores.sum(axis=1) - 1).max())
    if worst > _SUM_TOLERANCE:
        raise ValueError(f"its probabilities sum to 1 ± {worst:.3f}")
