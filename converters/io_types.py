"""Give a quantized model the input and output types that were asked for."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgefer.converters import graph
from edgefer.converters.quantize import InputQuantization
from edgefer.converters.recipes import IoType
from edgefer.errors import UsageError

Parameters = tuple[float, int]
"""Scale and zero point."""

PROBABILITIES: Parameters = (1 / 256, -128)
"""What LiteRT's int8 softmax writes."""

_PROBABILITY_KINDS = frozenset({"SOFTMAX", "LOGISTIC"})


def with_io_types(
    tflite: bytes, input_type: IoType, output_type: IoType, pixels: InputQuantization
) -> bytes:
    """Return the model with QUANTIZE or DEQUANTIZE at its ends where its types differ.

    `pixels` is the int8 input's quantization. Raises UsageError for an integer output where the
    scores are floats of an unknown range.
    """
    model = graph.unpack(tflite, source="model")
    _set_input(model, input_type, pixels)
    _set_output(model, output_type)
    return graph.pack(model)


def _set_input(model: Any, wanted: IoType, pixels: InputQuantization) -> None:
    inner = int(model.subgraphs[0].inputs[0])
    steps = [wanted.value, *_path(wanted.value, _dtype(model, inner))]
    for dtype in reversed(steps[:-1]):
        outer = _add_like(model, inner, dtype, _pixel_parameters(dtype, pixels))
        _connect(model, outer, inner, first=True)
        inner = outer
    model.subgraphs[0].inputs = [inner]
    for signature in model.signatureDefs or []:
        signature.inputs[0].tensorIndex = inner


def _set_output(model: Any, wanted: IoType) -> None:
    inner = int(model.subgraphs[0].outputs[0])
    is_probability = _producer_kind(model, inner) in _PROBABILITY_KINDS
    for dtype in _path(_dtype(model, inner), wanted.value):
        parameters = _score_parameters(model, inner, dtype, is_probability=is_probability)
        outer = _add_like(model, inner, dtype, parameters)
        _connect(model, inner, outer, first=False)
        inner = outer
    model.subgraphs[0].outputs = [inner]
    for signature in model.signatureDefs or []:
        signature.outputs[0].tensorIndex = inner


def _path(start: str, end: str) -> list[str]:
    """Return the types after `start` up to `end`; QUANTIZE cannot go from uint8 to int16."""
    if start == end:
        return []
    return ["int8", end] if {start, end} == {"uint8", "int16"} else [end]


def _pixel_parameters(dtype: str, pixels: InputQuantization) -> Parameters | None:
    if dtype == "float32":
        return None
    return pixels.scale, pixels.zero_point + (128 if dtype == "uint8" else 0)


def _score_parameters(
    model: Any, inner: int, dtype: str, *, is_probability: bool
) -> Parameters | None:
    if dtype == "float32":
        return None
    scale, zero_point = PROBABILITIES
    if not is_probability:
        scale, zero_point = _int8_parameters(model, inner)
    return scale, zero_point + (128 if dtype == "uint8" else 0)


def _int8_parameters(model: Any, index: int) -> Parameters:
    """Return int8 parameters that cover the range of an integer tensor."""
    tensor = model.subgraphs[0].tensors[index]
    dtype = _dtype(model, index)
    if dtype == "float32":
        raise UsageError("the scores are no probabilities; give --output-type float32")
    scale, zero_point = float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
    return (scale * 256, 0) if dtype == "int16" else (scale, zero_point)


def _connect(model: Any, read: int, written: int, *, first: bool) -> None:
    kind = "DEQUANTIZE" if _dtype(model, written) == "float32" else "QUANTIZE"
    graph.add_operator(model, kind, [read], [written], first=first)


def _producer_kind(model: Any, index: int) -> str | None:
    for operator in model.subgraphs[0].operators:
        if index in operator.outputs:
            return graph.operator_kind(model, operator)
    return None


def _dtype(model: Any, index: int) -> str:
    return graph.TENSOR_TYPES[model.subgraphs[0].tensors[index].type].lower()


def _add_like(model: Any, index: int, dtype: str, parameters: Parameters | None) -> int:
    template = model.subgraphs[0].tensors[index]
    quantization = None
    if parameters is not None:
        quantization = schema.QuantizationParametersT(
            scale=np.array(parameters[:1], np.float32), zeroPoint=np.array(parameters[1:], np.int64)
        )
    return graph.add_tensor(
        model,
        template,
        name=template.name + f"_{dtype}".encode(),
        type=getattr(schema.TensorType, dtype.upper()),
        quantization=quantization,
    )
