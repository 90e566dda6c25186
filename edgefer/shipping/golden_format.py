"""What golden.json says: pictures in, and what has to come out of each step."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from edgefer.records import STRICT

FORMAT: Literal[1] = 1
TOLERANCE_STEPS: Literal[1] = 1
"""How many quantization steps another processor's arithmetic may move an output."""

Side = Annotated[int, Field(ge=1, le=8192)]
Stride = Annotated[int, Field(ge=1, le=1 << 16)]
Rotation = Literal[0, 90, 180, 270]
Corners = tuple[int, int, int, int]
"""Left, top, right, bottom; the last two lie outside."""


@STRICT
@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one face becomes: the bytes fed, the bytes that come out, and what they mean."""

    input: str
    output: str
    label: str
    probabilities: tuple[float, ...]


@STRICT
@dataclass(frozen=True, kw_only=True)
class GoldenFace(Answer):
    """A picture that is a face from border to border."""

    name: str
    picture: str
    width: Side
    height: Side


@STRICT
@dataclass(frozen=True, kw_only=True)
class SceneFace(Answer):
    """A face found in a picture, and the square that it is cut out by."""

    box: Corners
    score: float
    square: Corners


@STRICT
@dataclass(frozen=True, kw_only=True)
class GoldenScene:
    """A picture in which faces are to be found, from left to right."""

    name: str
    picture: str
    width: Side
    height: Side
    faces: tuple[SceneFace, ...]


@STRICT
@dataclass(frozen=True, kw_only=True)
class GoldenPlane:
    """A plane's file and how it is laid out."""

    file: str
    row_stride: Stride
    pixel_stride: Annotated[int, Field(ge=1, le=4)]


@STRICT
@dataclass(frozen=True, kw_only=True)
class GoldenYuvFrame:
    """A camera frame in YUV_420_888: the planes Y, U and V."""

    name: str
    format: Literal["yuv_420_888"]
    width: Side
    height: Side
    rotation: Rotation
    planes: tuple[GoldenPlane, GoldenPlane, GoldenPlane]
    upright: str
    upright_width: Side
    upright_height: Side


@STRICT
@dataclass(frozen=True, kw_only=True)
class GoldenBgraFrame:
    """A camera frame in BGRA."""

    name: str
    format: Literal["bgra"]
    file: str
    row_stride: Stride
    width: Side
    height: Side
    rotation: Rotation
    upright: str
    upright_width: Side
    upright_height: Side


GoldenFrame = Annotated[GoldenYuvFrame | GoldenBgraFrame, Field(discriminator="format")]


@STRICT
@dataclass(frozen=True, kw_only=True)
class Golden:
    """All of golden.json; the files that it names lie beside it.

    `tolerance_steps` is how many quantization steps an output may be off, `tolerance` the same
    in the output's real values.
    """

    format: Literal[1]
    tolerance_steps: Literal[1]
    tolerance: float
    faces: Annotated[tuple[GoldenFace, ...], Field(min_length=1)]
    scenes: Annotated[tuple[GoldenScene, ...], Field(min_length=1)]
    frames: Annotated[tuple[GoldenFrame, ...], Field(min_length=1)]
