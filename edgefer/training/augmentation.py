"""Random changes to training faces, decided by the generator that is passed in."""

from collections.abc import Sequence

import cv2
import numpy as np

from edgefer.data.preprocessing import Float32Array, UInt8Array, in_colours, normalise
from edgefer.models.spec import ModelSpec
from edgefer.training.recipes import Augmentation


def batch_inputs(
    images: Sequence[UInt8Array],
    spec: ModelSpec,
    augmentations: Sequence[Augmentation],
    generator: np.random.Generator,
) -> Float32Array:
    """Return augmented network inputs, float32 (n, size, size, channels).

    `augmentations` has one for each image. Rotation, zoom, shift and resizing are one bilinear
    warp from the source image, with the pixel centres of cv2.resize; without any it equals
    `preprocessing.to_pixels`, up to rounding. Gray images are repeated over the spec's channels.
    """
    side = spec.input_size
    batch = np.empty((len(images), side, side, spec.channels), np.float32)
    for row, (image, augmentation) in enumerate(zip(images, augmentations, strict=True)):
        warped = _warp(in_colours(image, spec), side, augmentation, generator)
        changed = _tone(warped, augmentation, generator)
        batch[row] = changed if changed.ndim == 3 else changed[:, :, None]
    return normalise(batch, spec)


def _warp(
    image: UInt8Array, side: int, augmentation: Augmentation, generator: np.random.Generator
) -> UInt8Array:
    height, width = image.shape[:2]
    angle, zoom, right, down = generator.uniform(-1, 1, 4) * (
        np.deg2rad(augmentation.rotation_degrees),
        augmentation.zoom,
        augmentation.shift,
        augmentation.shift,
    )
    mirrored = -1.0 if augmentation.flip and generator.random() < augmentation.flip else 1.0
    scale = augmentation.magnify * (1 + zoom)
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    # From output pixel centres, relative to the middle, to source pixel centres.
    to_source = np.array([[width / side, 0], [0, height / side]]) @ np.array(
        [[mirrored * cosine, -mirrored * sine], [sine, cosine]]
    )
    middle = np.array([width * (0.5 + right), height * (0.5 + down)]) - 0.5
    offset = middle - to_source @ np.array([side / 2 - 0.5, side / 2 - 0.5])
    matrix = np.column_stack([to_source, offset])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(image, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(warped, np.uint8)


def _tone(
    image: UInt8Array, augmentation: Augmentation, generator: np.random.Generator
) -> Float32Array:
    contrast, brightness = generator.uniform(-1, 1, 2)
    mean = image.mean()
    changed = (image.astype(np.float32) - mean) * (1 + contrast * augmentation.contrast)
    changed = np.clip(changed + mean + 255 * brightness * augmentation.brightness, 0, 255)
    if generator.random() < augmentation.erase:
        side = image.shape[0]
        height, width = generator.integers(side // 10, side // 3, 2)
        top, left = generator.integers(0, side - height), generator.integers(0, side - width)
        changed[top : top + height, left : left + width] = 127.5
    return np.asarray(changed, np.float32)
