"""What the tensors inside a .tflite hold for real faces."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgefer import runtime
from edgefer.progress import Progress
from edgefer.tensor import Tensor

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ChannelStatistics:
    """What a tensor's channels, along its last axis, hold over faces: each float64 (channels,)."""

    low: Float64Array
    high: Float64Array
    mean: Float64Array
    std: Float64Array

    @property
    def largest(self) -> Float64Array:
        """The largest absolute value of each channel."""
        return np.maximum(np.abs(self.low), np.abs(self.high))


def channel_statistics(
    tflite: bytes,
    faces: Float32Array,
    tensors: Sequence[int],
    progress: Progress | None = None,
) -> dict[int, ChannelStatistics]:
    """Return what each channel of each of `tensors` holds, over all positions and faces."""
    sums = {index: _ChannelSums() for index in tensors}
    for values in activations(tflite, faces, tensors, progress):
        for index, value in values.items():
            sums[index].add(value)
    return {index: total.result() for index, total in sums.items()}


class _ChannelSums:
    """Adds up a tensor's values channel by channel; the squares around the first face's mean."""

    def __init__(self) -> None:
        self._count = 0
        self._low: Float64Array | float = np.inf
        self._high: Float64Array | float = -np.inf
        self._centre: Float64Array | float = 0.0
        self._sum: Float64Array | float = 0.0
        self._squares: Float64Array | float = 0.0

    def add(self, value: Float32Array) -> None:
        rows = value.reshape(-1, value.shape[-1]).astype(np.float64)
        if not self._count:
            self._centre = rows.mean(axis=0)
        self._low = np.minimum(self._low, rows.min(axis=0))
        self._high = np.maximum(self._high, rows.max(axis=0))
        self._sum += (rows - self._centre).sum(axis=0)
        self._squares += ((rows - self._centre) ** 2).sum(axis=0)
        self._count += len(rows)

    def result(self) -> ChannelStatistics:
        offset = np.asarray(self._sum) / self._count
        variance = np.asarray(self._squares) / self._count - offset**2
        return ChannelStatistics(
            low=np.asarray(self._low),
            high=np.asarray(self._high),
            mean=np.asarray(self._centre + offset),
            std=np.sqrt(np.maximum(variance, 0)),
        )


def activations(
    tflite: bytes, faces: Float32Array, tensors: Sequence[int], progress: Progress | None = None
) -> Iterator[dict[int, Float32Array]]:
    """Run the model on each face and yield what `tensors` then hold, integers as stored."""
    interpreter = runtime.open_with_all_tensors(tflite)
    image = Tensor.from_details(interpreter.get_input_details()[0])
    for done, face in enumerate(faces, start=1):
        interpreter.set_tensor(image.index, image.quantize(face[None]))
        interpreter.invoke()
        yield {index: interpreter.get_tensor(index) for index in tensors}
        if progress:
            progress(done, len(faces))
