"""A .tflite's input or output, and the way between its values and real numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

FLOAT_TYPES = (np.dtype(np.float32), np.dtype(np.float16))
QUANTIZED_TYPES = (np.dtype(np.int8), np.dtype(np.uint8), np.dtype(np.int16))

_TIE_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or output; `scale` is 0 where the tensor is not quantized.

    A quantized value q stands for `scale * (q - zero_point)`. `declared_shape` has -1 where the
    file leaves a size open, and `shape` the size that it has now.
    """

    name: str
    index: int
    shape: tuple[int, ...]
    declared_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float
    zero_point: int

    @classmethod
    def from_details(cls, details: Mapping[str, Any]) -> Self:
        """Read what the interpreter says of one input or output."""
        scale, zero_point = details["quantization"]
        return cls(
            name=str(details["name"]),
            index=int(details["index"]),
            shape=tuple(int(size) for size in details["shape"]),
            declared_shape=tuple(int(size) for size in details["shape_signature"]),
            dtype=np.dtype(details["dtype"]),
            scale=float(scale),
            zero_point=int(zero_point),
        )

    def quantize(self, values: Float32Array) -> npt.NDArray[Any]:
        """Bring real values to the tensor's type, to the nearest step, clipped to its range.

        Ties go up. That matters: pixels normalised to (p - 127.5) / 127.5 lie exactly between
        the steps of an input that covers -1…1, and up is what makes them q = p - 128 in int8
        and q = p in uint8, the raw bytes that a device feeds. The tolerance takes up float32's
        error on such ties. Rounding half to even would merge every other pair of pixel values.
        """
        if self.dtype in FLOAT_TYPES:
            return np.asarray(values, self.dtype)
        steps = np.floor(values / np.float32(self.scale) + np.float32(0.5 + _TIE_TOLERANCE))
        limits = np.iinfo(self.dtype)
        clipped = np.clip(steps + self.zero_point, limits.min, limits.max)
        return np.asarray(clipped, self.dtype)

    def dequantize(self, values: npt.NDArray[Any]) -> Float32Array:
        """Return the real values that the tensor's values stand for."""
        if self.dtype in FLOAT_TYPES:
            return values.astype(np.float32)
        real: Float32Array = (values.astype(np.float32) - self.zero_point) * np.float32(self.scale)
        return real
