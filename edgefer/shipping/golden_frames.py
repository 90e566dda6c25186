"""Camera frames for golden files, in every layout that cameras give."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgefer.data.preprocessing import UInt8Array
from edgefer.shipping.camera_frames import Plane, upright_from_bgra, upright_from_yuv
from edgefer.shipping.golden_format import (
    GoldenBgraFrame,
    GoldenFrame,
    GoldenPlane,
    GoldenYuvFrame,
    Rotation,
)
from edgefer.shipping.golden_pictures import resized

SIZE = (64, 48)
ODD_SIZE = (37, 29)
PADDING = 11
BGRA_PADDING = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class MadeFrame:
    """A frame of golden.json, and its files by name."""

    record: GoldenFrame
    files: Mapping[str, bytes]


def make_frames(picture: UInt8Array) -> list[MadeFrame]:
    """Return frames that show an RGB picture, and one of noise, which reaches all colours."""
    even, odd = (resized(picture, width=width, height=height) for width, height in (SIZE, ODD_SIZE))
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3)).astype(np.uint8)
    return [
        _yuv(0, "planar", _planar(_to_yuv(even), padding=0), SIZE, rotation=0),
        _yuv(1, "planar, padded", _planar(_to_yuv(odd), padding=PADDING), ODD_SIZE, rotation=90),
        _yuv(2, "U and V in turns", _in_turns(_to_yuv(even), "uv"), SIZE, rotation=180),
        _yuv(3, "V and U in turns", _in_turns(_to_yuv(odd), "vu"), ODD_SIZE, rotation=270),
        _yuv(4, "noise", _planar(noise, padding=PADDING), SIZE, rotation=0),
        _bgra(5, "BGRA", even, padding=0, rotation=0),
        _bgra(6, "BGRA, padded", odd, padding=BGRA_PADDING, rotation=90),
        _bgra(7, "BGRA, upside down", even, padding=BGRA_PADDING, rotation=180),
        _bgra(8, "BGRA, turned left", odd, padding=0, rotation=270),
    ]


def _yuv(
    number: int, name: str, planes: list[Plane], size: tuple[int, int], *, rotation: Rotation
) -> MadeFrame:
    width, height = size
    upright = upright_from_yuv(planes, width=width, height=height, rotation=rotation)
    names = [f"frame-{number}-{letter}.bin" for letter in "yuv"]
    y, u, v = (
        GoldenPlane(file=file, row_stride=plane.row_stride, pixel_stride=plane.pixel_stride)
        for file, plane in zip(names, planes, strict=True)
    )
    record = GoldenYuvFrame(
        name=name,
        format="yuv_420_888",
        width=width,
        height=height,
        rotation=rotation,
        planes=(y, u, v),
        upright=f"frame-{number}.rgb",
        upright_width=upright.shape[1],
        upright_height=upright.shape[0],
    )
    files = {file: plane.content.tobytes() for file, plane in zip(names, planes, strict=True)}
    return MadeFrame(record=record, files={**files, record.upright: upright.tobytes()})


def _bgra(
    number: int, name: str, picture: UInt8Array, *, padding: int, rotation: Rotation
) -> MadeFrame:
    height, width = picture.shape[:2]
    alpha = np.full((height, width, 1), 255, np.uint8)
    pixels = np.concatenate([picture[:, :, ::-1], alpha], axis=2).reshape(height, 4 * width)
    plane = _laid_out(pixels, padding=padding, pixel_stride=4)
    upright = upright_from_bgra(plane, width=width, height=height, rotation=rotation)
    record = GoldenBgraFrame(
        name=name,
        format="bgra",
        file=f"frame-{number}-bgra.bin",
        row_stride=plane.row_stride,
        width=width,
        height=height,
        rotation=rotation,
        upright=f"frame-{number}.rgb",
        upright_width=upright.shape[1],
        upright_height=upright.shape[0],
    )
    files = {record.file: plane.content.tobytes(), record.upright: upright.tobytes()}
    return MadeFrame(record=record, files=files)


def _to_yuv(picture: UInt8Array) -> UInt8Array:
    """Return Y, U and V of each pixel, full-range BT.601."""
    red, green, blue = (picture[:, :, channel].astype(float) for channel in range(3))
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    yuv = np.stack([y, (blue - y) / 1.772 + 128, (red - y) / 1.402 + 128], axis=2)
    return np.clip(np.round(yuv), 0, 255).astype(np.uint8)


def _planar(yuv: UInt8Array, *, padding: int) -> list[Plane]:
    """Lay Y, U and V out one after the other, the latter two at every second pixel."""
    y, u, v = yuv[:, :, 0], yuv[::2, ::2, 1], yuv[::2, ::2, 2]
    return [_laid_out(plane, padding=padding, pixel_stride=1) for plane in (y, u, v)]


def _in_turns(yuv: UInt8Array, order: Literal["uv", "vu"]) -> list[Plane]:
    """Lay U and V out in turns, so that their planes share the bytes, from the first on."""
    pairs = yuv[::2, ::2, ["yuv".index(letter) for letter in order]]
    together = _laid_out(pairs.reshape(len(pairs), -1), padding=PADDING, pixel_stride=2)
    planes = {
        letter: dataclasses.replace(together, content=together.content[offset:])
        for offset, letter in enumerate(order)
    }
    luma = _laid_out(yuv[:, :, 0], padding=PADDING, pixel_stride=1)
    return [luma, planes["u"], planes["v"]]


def _laid_out(rows: UInt8Array, *, padding: int, pixel_stride: int) -> Plane:
    """Put `padding` bytes behind each row but the last, as cameras do."""
    height, width = rows.shape
    padded = np.zeros((height, width + padding), np.uint8)
    padded[:, :width] = rows
    content = padded.reshape(-1)[: padded.size - padding]
    return Plane(content=content, row_stride=width + padding, pixel_stride=pixel_stride)
