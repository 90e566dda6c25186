"""One pass over faces through a float .tflite: what every range and bias correction need."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgefer import runtime
from edgefer.converters.calibration.histogram import Histogram, grid_over
from edgefer.converters.calibration.patches import corrected_layers
from edgefer.converters.graph import Graph, Tensor
from edgefer.errors import DataError, ModelError
from edgefer.progress import Progress
from edgefer.records import STRICT

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

SMOOTHING = 0.95
"""The weight of what was seen before a face in a moving average."""

_MOST_COUNTED = 2**53
_FLOAT32_MAX = float(np.finfo(np.float32).max)


@STRICT
@dataclass(frozen=True, kw_only=True)
class TensorStatistics:
    """What one float tensor held for all faces.

    `low` and `high` are the smallest and the largest value, `average_low` and `average_high`
    exponential moving averages of those of each face. `counts` are of the bins that `grid_over`
    has from `low` to `high`, without the `zeros`, the values that were exactly 0.
    """

    tensor: str
    low: float
    high: float
    average_low: float
    average_high: float
    zeros: int
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.low <= self.average_low <= self.average_high <= self.high:
            raise ValueError("low, average_low, average_high and high are not in order")
        if max(-self.low, self.high) > _FLOAT32_MAX:
            raise ValueError("low and high are no float32 values")
        if self.zeros < 0 or min(self.counts, default=0) < 0:
            raise ValueError("counts are below zero")
        if not 0 < self.zeros + sum(self.counts) <= _MOST_COUNTED:
            raise ValueError("counts add up to none or to too many values")
        expected = grid_over(self.low, self.high).size
        if len(self.counts) != expected:
            raise ValueError(f"there are {len(self.counts)} counts where the range has {expected}")


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """What a pass found: the tensors in the file's order, and layers' mean inputs by position."""

    tensors: tuple[TensorStatistics, ...]
    mean_inputs: dict[int, Float64Array]


def float_tensors(content: Graph) -> list[Tensor]:
    """Return the float32 tensors that depend on the image, it included, in the file's order."""
    computed = {*content.inputs, *(i for op in content.operators for i in op.outputs)}
    tensors = [content.tensors[index] for index in sorted(computed)]
    return [tensor for tensor in tensors if tensor.dtype == "float32"]


def gather(
    float_tflite: bytes,
    content: Graph,
    faces: Float32Array,
    *,
    source: Path | str = "model",
    progress: Progress | None = None,
) -> Statistics:
    """Run the model once on each face; `content` is its graph.

    `faces` are float32 (n, h, w, channels), normalised. They come in a fixed shuffled order:
    datasets are sorted by class, and a moving average would remember the last class alone.
    Raises DataError where a face does not fit the model or is not finite, ModelError where the
    model makes NaN or infinity of one.
    """
    _require_fitting(faces, content)
    tallies = {tensor.index: _Tally(name=tensor.name) for tensor in float_tensors(content)}
    inputs = {layer.operator.inputs[0] for layer in corrected_layers(content)}
    sums: dict[int, Float64Array] = {index: np.zeros(()) for index in inputs}
    interpreter = runtime.open_with_all_tensors(float_tflite)
    image = interpreter.get_input_details()[0]["index"]
    order = np.random.default_rng(0).permutation(len(faces))
    for done, position in enumerate(order, start=1):
        interpreter.set_tensor(image, faces[position][None])
        interpreter.invoke()
        for index, tally in tallies.items():
            tally.add(interpreter.get_tensor(index), source)
        for index in sums:
            sums[index] = sums[index] + interpreter.get_tensor(index)
        if progress:
            progress(done, len(faces))
    return Statistics(
        tensors=tuple(tally.result() for tally in tallies.values()),
        mean_inputs={index: total / len(faces) for index, total in sums.items()},
    )


@dataclass
class _Tally:
    """What is gathered of one tensor."""

    name: str
    histogram: Histogram = field(default_factory=Histogram)
    average_low: float = math.nan
    average_high: float = math.nan

    def add(self, values: Float32Array, source: Path | str) -> None:
        low, high = float(values.min()), float(values.max())
        if not math.isfinite(low) or not math.isfinite(high):
            raise ModelError(
                source, f"makes NaN or infinity of a face, in its tensor {self.name!r}; train again"
            )
        is_first = math.isnan(self.average_low)
        kept = 0.0 if is_first else SMOOTHING
        self.average_low = low if is_first else kept * self.average_low + (1 - kept) * low
        self.average_high = high if is_first else kept * self.average_high + (1 - kept) * high
        self.histogram.add(values, low, high)

    def result(self) -> TensorStatistics:
        low, high = self.histogram.low, self.histogram.high
        average_low = min(max(self.average_low, low), high)  # averages of equals may round
        return TensorStatistics(
            tensor=self.name,
            low=low,
            high=high,
            average_low=average_low,
            average_high=min(max(self.average_high, average_low), high),
            zeros=self.histogram.zeros,
            counts=tuple(self.histogram.counts.tolist()),
        )


def _require_fitting(faces: Float32Array, content: Graph) -> None:
    wanted = content.tensors[content.inputs[0]].shape[1:]
    if faces.shape[1:] != wanted:
        raise DataError(
            "the calibration faces", f"are {faces.shape[1:]}, but the model takes {wanted}"
        )
    if not len(faces):
        raise DataError("the calibration faces", "are none; give a folder of them")
    finite = np.isfinite(faces).all(axis=(1, 2, 3))
    if not finite.all():
        raise DataError(
            "the calibration faces",
            f"hold NaN or infinity, {np.count_nonzero(~finite)} of {len(faces)}, the first at "
            f"position {int(np.argmin(finite))}; check how they are read and normalised",
        )
