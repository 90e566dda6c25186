"""From an image to a network's input: the one path that every command takes."""

import cv2
import numpy as np
import numpy.typing as npt

from edgefer.data.resizing import stretch
from edgefer.models.spec import ColourOrder, ModelSpec

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]


def to_pixels(image: UInt8Array, spec: ModelSpec) -> UInt8Array:
    """Bring one face to the spec's size and colour order.

    `image` is uint8, (h, w), (h, w, 1) or (h, w, 3) in RGB. Returns uint8 (size, size, channels).
    The image is stretched, as every mobile classifier does, by integers that are the same on
    every processor. Gray becomes RGB by repetition, RGB becomes gray by OpenCV's weights (0.299,
    0.587, 0.114).
    """
    image = in_colours(image, spec)
    side = spec.input_size
    if image.shape[:2] != (side, side):
        image = stretch(image, width=side, height=side)
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], spec.channels, axis=2)
    return np.ascontiguousarray(image)


def in_colours(image: UInt8Array, spec: ModelSpec) -> UInt8Array:
    """Return an image as (h, w), or as (h, w, 3) where it has colours and the spec sees them."""
    if image.ndim == 3 and image.shape[2] == 1:
        return image[:, :, 0]
    if spec.colour_order is ColourOrder.GRAY and image.ndim == 3:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    return image


def normalise(pixels: npt.NDArray[np.uint8] | Float32Array, spec: ModelSpec) -> Float32Array:
    """Return `(pixels - mean) / std` as float32; the last axis holds the channels."""
    mean = np.asarray(spec.mean, np.float32)
    std = np.asarray(spec.std, np.float32)
    return (pixels.astype(np.float32) - mean) / std
