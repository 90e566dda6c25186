"""Bilinear resizing in stated integers, the same on every processor.

OpenCV's INTER_LINEAR on bytes is this arithmetic on x86-64 only: on ARM its wheels hand the work
to Carotene and KleidiCV, which round in other places, and a Raspberry Pi would feed other bytes
than the desk on which a model was measured. `edgefer.prediction.face_input` states it in words.
"""

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Int32Array = npt.NDArray[np.int32]
IndexArray = npt.NDArray[np.intp]

ONE = 2048
"""The weights of two neighbours sum to this."""


def stretch(image: UInt8Array, *, width: int, height: int) -> UInt8Array:
    """Return an image, uint8 (h, w) or (h, w, channels), of another size, without antialiasing."""
    rows, below = _neighbours(image.shape[0], height)
    upper, lower = (row.clip(0, image.shape[0] - 1) for row in (rows, rows + 1))
    if image.shape[0] > 2 * height:  # most rows are skipped
        image = image[np.stack([upper, lower], axis=1).ravel()]
        upper = np.arange(0, 2 * height, 2)
        lower = upper + 1
    across = _across(image, width) >> 4
    below = _along_axis(below, 0, image.ndim)
    blended = (across[upper] * (ONE - below) >> 16) + (across[lower] * below >> 16)
    return np.asarray((blended + 2) >> 2, np.uint8)


def _across(image: UInt8Array, width: int) -> Int32Array:
    """Blend each pixel of a row with its right neighbour; the sums are ONE times a pixel."""
    last = image.shape[1] - 1
    columns, right = _neighbours(image.shape[1], width)
    right[(columns < 0) | (columns >= last)] = 0
    right = _along_axis(right, 1, image.ndim)
    left_pixels = np.take(image, columns.clip(0, last), axis=1)
    right_pixels = np.take(image, (columns + 1).clip(0, last), axis=1)
    return left_pixels * (ONE - right) + right_pixels * right


def _neighbours(source: int, size: int) -> tuple[IndexArray, Int32Array]:
    """Return for each target position the first of its two neighbours and the second's weight."""
    exact = ((np.arange(size) + 0.5) * (source / size) - 0.5).astype(np.float32)
    first = np.floor(exact)
    weights = np.rint(np.float32(ONE) * (exact - first))
    return first.astype(np.intp), weights.astype(np.int32)


def _along_axis(values: Int32Array, axis: int, dimensions: int) -> Int32Array:
    """Return a vector such that it broadcasts along one axis."""
    return np.expand_dims(values, [other for other in range(dimensions) if other != axis])
