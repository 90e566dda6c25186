"""From a camera's frame to an upright RGB picture, in whole numbers that any language repeats.

YUV_420_888, as Android gives it: full-range BT.601 (JFIF). A pixel at (x, y) has the Y at (x, y)
and the U and V at (x / 2, y / 2), rounded down. With u = U − 128, v = V − 128, shifts that round
down, and results brought to 0…255:

    R = Y + ((91881 · v + 32768) >> 16)
    G = Y − ((22554 · u + 46802 · v + 32768) >> 16)
    B = Y + ((116130 · u + 32768) >> 16)

BGRA, as iOS gives it: the first three bytes of each four, in reverse.

The picture is then turned clockwise by the frame's rotation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgefer.data.preprocessing import UInt8Array

ROTATIONS = (0, 90, 180, 270)

Int32Array = npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Plane:
    """One plane of a frame as it lies in memory; the last row may end with its last pixel."""

    content: UInt8Array
    row_stride: int
    pixel_stride: int

    def pixels(self, *, width: int, height: int, offset: int = 0) -> UInt8Array:
        """Return its pixels' bytes at `offset`, (height, width); ValueError where some lack."""
        last = (height - 1) * self.row_stride + (width - 1) * self.pixel_stride + offset
        if last >= len(self.content):
            raise ValueError(f"a plane has {len(self.content)} bytes, {last + 1} are needed")
        rows = np.arange(height)[:, np.newaxis] * self.row_stride
        pixels: UInt8Array = self.content[rows + np.arange(width) * self.pixel_stride + offset]
        return pixels


def upright_from_yuv(
    planes: Sequence[Plane], *, width: int, height: int, rotation: int
) -> UInt8Array:
    """Return the RGB picture of a YUV_420_888 frame of three planes, turned by `rotation`."""
    luma, *chroma = planes
    y = luma.pixels(width=width, height=height).astype(np.int32)
    u, v = (_chroma(plane, width=width, height=height) for plane in chroma)
    red = y + ((91881 * v + 32768) >> 16)
    green = y - ((22554 * u + 46802 * v + 32768) >> 16)
    blue = y + ((116130 * u + 32768) >> 16)
    picture = np.clip(np.stack([red, green, blue], axis=2), 0, 255).astype(np.uint8)
    return turned(picture, rotation)


def upright_from_bgra(plane: Plane, *, width: int, height: int, rotation: int) -> UInt8Array:
    """Return the RGB picture of a BGRA frame, of pixel stride 4, turned by `rotation`."""
    blue, green, red = (
        plane.pixels(width=width, height=height, offset=channel) for channel in range(3)
    )
    return turned(np.stack([red, green, blue], axis=2), rotation)


def turned(picture: UInt8Array, rotation: int) -> UInt8Array:
    """Turn a picture clockwise by 0, 90, 180 or 270 degrees."""
    if rotation not in ROTATIONS:
        raise ValueError(f"a rotation of {rotation} degrees is none of {ROTATIONS}")
    return np.ascontiguousarray(np.rot90(picture, -rotation // 90))


def _chroma(plane: Plane, *, width: int, height: int) -> Int32Array:
    """Return a plane of half the size, around 0, each pixel repeated to the full size."""
    half = plane.pixels(width=(width + 1) // 2, height=(height + 1) // 2).astype(np.int32) - 128
    return half.repeat(2, axis=0)[:height].repeat(2, axis=1)[:, :width]
