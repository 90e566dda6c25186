"""Whether a device computes what this machine computes: the same inputs, the outputs compared.

Measured with LiteRT 2.3.0 on PAtt-Lite and 16 faces, XNNPACK's kernels for SSE, AVX2, Cortex-A72
and Cortex-A76 against each other: int8 is bit-equal, float32 and float16 differ by up to 7e-7 in a
probability, since they add up in another order, and dynamic quantization by up to 0.005, since
rounding the activations to 8 bits magnifies that. XNNPACK against the built-in kernels differs by
8 steps in int8 and 0.023 with dynamic quantization, and should be noticed. So the tolerance for a
float output, which has no step, is a hundredth of the largest value.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from edgefer import calibration_data
from edgefer.benchmarks.harness import AnyArray
from edgefer.benchmarks.result import Agreement, Verification
from edgefer.errors import DeviceError
from edgefer.tensor import FLOAT_TYPES, Tensor

FLOAT_TOLERANCE = 0.01
"""Of the largest output value."""

COARSE_SIZE = 8
"""Pixels on a side of the random images that smooth ones are drawn out of."""

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float64]
"""Values of 0…255."""


def verification_inputs(tensor: Tensor, count: int, seed: int = 0) -> AnyArray:
    """Return `count` raw values of an input, (count, …), always the same for a `seed`.

    They are real faces where the input is a square image, gray or in colour, smooth random
    images where it is any other image, and noise where it is none. Pixels of 0…255 fill the range
    of an integer type, so that int8 gets pixel - 128, and -1…1 in floating point.
    """
    random = np.random.default_rng(seed)
    shape = tensor.shape[1:]
    if len(shape) == 3 and shape[0] == shape[1] and shape[2] in (1, 3):
        return _raw(_faces(shape, count, random), tensor)
    if len(shape) == 3:
        return _raw(_smooth_images(shape, count, random), tensor)
    return _raw(random.uniform(0, 255, (count, *shape)), tensor)


def compare_outputs(
    device: AnyArray, host: AnyArray, tensor: Tensor, *, name: str = "the device"
) -> Verification:
    """Compare a device's raw outputs, (n, …), with this machine's of the same inputs.

    `tensor` is the output, `name` the device's for errors. Raises DeviceError where the device's
    answer has another shape or type, or is NaN or infinite where this machine's is not.
    """
    _require_comparable(device, host, tensor, name)
    of_device, of_host = _by_input(device), _by_input(host)
    finite = np.isfinite(of_host)
    if not np.array_equal(np.isfinite(of_device), finite):
        raise DeviceError(
            name, "answers with NaN or infinity where this machine does not, or the other way"
        )
    apart = np.abs(of_device[finite] - of_host[finite])
    largest = float(apart.max(initial=0.0)) * (tensor.scale or 1.0)
    step = tensor.scale or FLOAT_TOLERANCE * float(np.abs(of_host[finite]).max(initial=0.0))
    close = Agreement.WITHIN_ONE_STEP if largest <= step else Agreement.DIFFERENT
    identical = [one.tobytes() == other.tobytes() for one, other in zip(device, host, strict=True)]
    return Verification(
        agreement=Agreement.IDENTICAL if all(identical) else close,
        inputs=len(host),
        identical=sum(identical),
        largest_difference=largest,
        step=step,
        same_top_class=int((of_device.argmax(axis=1) == of_host.argmax(axis=1)).sum()),
    )


def _require_comparable(device: AnyArray, host: AnyArray, tensor: Tensor, name: str) -> None:
    if device.shape != host.shape or device.dtype != tensor.dtype:
        raise DeviceError(
            name,
            f"answers with {device.dtype} {device.shape}, not {tensor.dtype} {host.shape}: "
            "its runtime reads the model in another way; give it the same version as this machine",
        )


def _by_input(values: AnyArray) -> npt.NDArray[np.float64]:
    """Return raw values, a row an input."""
    return values.reshape(len(values), -1).astype(np.float64)


def _faces(shape: tuple[int, ...], count: int, random: np.random.Generator) -> Pixels:
    height, width, channels = shape
    chosen = random.choice(len(_all_faces()), count, replace=count > len(_all_faces()))
    resized = [cv2.resize(_all_faces()[place], (width, height)) for place in chosen]
    return np.repeat(np.stack(resized)[..., None], channels, axis=-1).astype(np.uint8)


@cache
def _all_faces() -> tuple[npt.NDArray[np.uint8], ...]:
    return tuple(calibration_data.evaluation_faces().images)


def _smooth_images(shape: tuple[int, ...], count: int, random: np.random.Generator) -> Pixels:
    height, width, channels = shape
    coarse = random.uniform(0, 255, (count, channels, COARSE_SIZE, COARSE_SIZE))
    planes = [[cv2.resize(plane, (width, height)) for plane in image] for image in coarse]
    return np.moveaxis(np.array(planes, np.float64), 1, -1)


def _raw(pixels: Pixels, tensor: Tensor) -> AnyArray:
    if tensor.dtype in FLOAT_TYPES:
        return ((pixels - 127.5) / 127.5).astype(tensor.dtype)
    limits = np.iinfo(tensor.dtype)
    return np.round(limits.min + pixels / 255 * (limits.max - limits.min)).astype(tensor.dtype)
