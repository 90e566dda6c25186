"""A float model and its int8 conversion side by side on faces, operator by operator.

Shows where quantization hurts, as ai-edge tools' debuggers and AIMET's layer output comparison do:
the tensors of both graphs have the same names, so that what each operator of the int8 model puts
out can be held against what the float model has there. Errors add up from operator to operator;
`edgefer.converters.insight.sensitivity` tells what one operator does alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgefer import runtime
from edgefer.converters import graph
from edgefer.converters.graph import Graph, Operator, Tensor
from edgefer.converters.operator_plan import CONVERSIONS
from edgefer.errors import ModelError
from edgefer.progress import Progress
from edgefer.tensor import Tensor as Input

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

_STEPS = {"int8": 256, "uint8": 256, "int16": 65536}


@dataclass(frozen=True, kw_only=True)
class OperatorComparison:
    """What one operator puts out in both models; `position` is the one in the float model.

    `sqnr_db` is the power of the float values over that of the differences, in decibels: infinite
    where there is none. `cosine` is that of the angle between both. `range_use` is the share of
    the integer type's steps between the smallest and the largest value that was seen, and
    `saturation` the share of float values beyond what the type can hold; both are None where the
    operator puts out floats.
    """

    position: int
    kind: str
    tensor: str
    dtype: str
    sqnr_db: float
    cosine: float
    range_use: float | None
    saturation: float | None


@dataclass
class _Sums:
    """What is added up over faces for one tensor."""

    signal: float = 0.0
    noise: float = 0.0
    quantized: float = 0.0
    product: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    beyond: int = 0
    values: int = 0


@dataclass
class _Pair:
    """An operator of the int8 model, its output there and the same tensor in the float model.

    `position` is that of the float model's operator.
    """

    position: int
    operator: Operator
    ours: Tensor
    theirs: Tensor
    sums: _Sums = field(default_factory=_Sums)


def compare(
    float_tflite: bytes,
    quantized_tflite: bytes,
    inputs: Float32Array,
    *,
    source: Path | str = "the reference",
    progress: Progress | None = None,
) -> list[OperatorComparison]:
    """Run both models on `inputs`, float32 (n, h, w, channels), normalised; in the int8 order.

    Operators whose output the float model, from `source`, does not have, such as conversions at
    the ends, are left out. Raises ModelError where both have no tensor in common.
    """
    exact, rounded = graph.read(float_tflite), graph.read(quantized_tflite)
    pairs = _pairs(exact, rounded)
    if not pairs:
        raise ModelError(
            source, "has no tensor in common with the model; give the float model it was made from"
        )
    interpreters = [
        runtime.open_with_all_tensors(tflite) for tflite in (float_tflite, quantized_tflite)
    ]
    images = [Input.from_details(one.get_input_details()[0]) for one in interpreters]
    for done, face in enumerate(inputs, start=1):
        for interpreter, image in zip(interpreters, images, strict=True):
            interpreter.set_tensor(image.index, image.quantize(face[None]))
            interpreter.invoke()
        for pair in pairs:
            _add(
                pair,
                interpreters[0].get_tensor(pair.theirs.index),
                interpreters[1].get_tensor(pair.ours.index),
            )
        if progress:
            progress(done, len(inputs))
    return [_result(pair) for pair in pairs]


def _pairs(exact: Graph, rounded: Graph) -> list[_Pair]:
    """Pair outputs of the same name; the last operator that writes it counts."""
    known = {tensor.name: tensor for tensor in exact.tensors if tensor.dtype == "float32"}
    writers = {index: operator.index for operator in exact.operators for index in operator.outputs}
    pairs = {}
    for operator in rounded.operators:
        ours = rounded.tensors[operator.outputs[0]]
        theirs = known.get(ours.name)
        if theirs is None or theirs.index not in writers or _sizes(theirs) != _sizes(ours):
            continue
        if operator.kind not in CONVERSIONS:
            pairs[ours.name] = _Pair(writers[theirs.index], operator, ours, theirs)
    return list(pairs.values())


def _sizes(tensor: Tensor) -> tuple[int, ...]:
    """Return a tensor's shape at a batch of 1, which a free dimension stands for."""
    return tuple(1 if size == -1 else size for size in tensor.shape)


def _add(pair: _Pair, exact: Float32Array, stored: npt.NDArray[np.generic]) -> None:
    sums = pair.sums
    real = _real(stored, pair.ours)
    wanted = exact.astype(np.float64)
    sums.signal += float(np.sum(wanted**2))
    sums.quantized += float(np.sum(real**2))
    sums.noise += float(np.sum((wanted - real) ** 2))
    sums.product += float(np.sum(wanted * real))
    sums.values += stored.size
    if pair.ours.dtype in _STEPS:
        sums.low = min(sums.low, float(stored.min()))
        sums.high = max(sums.high, float(stored.max()))
        lowest, highest, step = _holdable(pair.ours)
        sums.beyond += int(np.count_nonzero((wanted < lowest - step) | (wanted > highest + step)))


def _result(pair: _Pair) -> OperatorComparison:
    sums = pair.sums
    is_integer = pair.ours.dtype in _STEPS
    lengths = math.sqrt(sums.signal * sums.quantized)
    return OperatorComparison(
        position=pair.position,
        kind=pair.operator.kind,
        tensor=pair.ours.name,
        dtype=pair.ours.dtype,
        sqnr_db=_decibels(sums.signal, sums.noise),
        cosine=sums.product / lengths if lengths else 1.0,
        range_use=(sums.high - sums.low + 1) / _STEPS[pair.ours.dtype] if is_integer else None,
        saturation=sums.beyond / sums.values if is_integer else None,
    )


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def _real(stored: npt.NDArray[np.generic], tensor: Tensor) -> Float64Array:
    values = stored.astype(np.float64)
    if tensor.quantization is None or tensor.is_float:
        return values
    return (values - int(tensor.quantization.zero_points[0])) * float(tensor.quantization.scales[0])


def _holdable(tensor: Tensor) -> tuple[float, float, float]:
    """Return the smallest and the largest value that a tensor can hold, and half a step."""
    limits = np.iinfo(tensor.dtype)
    ends = _real(np.array([limits.min, limits.max]), tensor)
    return float(ends[0]), float(ends[1]), float(ends[1] - ends[0]) / (_STEPS[tensor.dtype] - 1) / 2
