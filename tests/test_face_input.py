"""The square, the resize and the bytes: what a phone's code has to repeat bit for bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer.data.preprocessing import UInt8Array, normalise, to_pixels
from edgefer.models.spec import ModelSpec
from edgefer.prediction.boxes import Box
from edgefer.prediction.face_input import cut_out, input_values, square_around
from edgefer.tensor import Tensor


def box(left: int, top: int, right: int, bottom: int) -> Box:
    return Box(left=left, top=top, right=right, bottom=bottom)


@pytest.mark.parametrize(
    ("face", "square"),
    [
        (box(100, 100, 160, 160), box(95, 89, 165, 159)),
        (box(100, 100, 160, 140), box(95, 79, 165, 149)),
        (box(101, 100, 161, 161), box(95, 89, 166, 160)),
        (box(0, 0, 60, 60), box(0, 0, 70, 70)),
        (box(340, 240, 400, 300), box(330, 229, 400, 299)),
        (box(0, 0, 400, 300), box(50, 0, 350, 300)),
        (box(7, 7, 8, 8), box(7, 7, 8, 8)),
    ],
)
def test_the_square_is_the_documented_one(face: Box, square: Box) -> None:
    assert square_around(face, width=400, height=300) == square


@given(
    st.integers(1, 500), st.integers(1, 500), st.integers(0, 499), st.integers(0, 499),
    st.integers(1, 500), st.integers(1, 500),
)  # fmt: skip
def test_the_square_lies_in_the_picture_whatever_the_box(
    width: int, height: int, left: int, top: int, box_width: int, box_height: int
) -> None:
    left, top = min(left, width - 1), min(top, height - 1)
    face = box(left, top, min(left + box_width, width), min(top + box_height, height))
    square = square_around(face, width=width, height=height)
    assert square.width == square.height >= 1
    assert 0 <= square.left <= square.right <= width
    assert 0 <= square.top <= square.bottom <= height


def documented_axis(source: int, size: int) -> list[tuple[int, int, int]]:
    """Return s, a and b of the module's docstring for each target position, before any edge."""
    found = []
    for position in range(size):
        f = np.float32((position + 0.5) * (source / size) - 0.5)
        start = int(np.floor(f))
        b = round(2048 * float(np.float32(f - np.float32(start))))
        found.append((start, 2048 - b, b))
    return found


def documented_resize(image: UInt8Array, size: int) -> UInt8Array:
    """Do what the docstring of `edgefer.prediction.face_input` says, in whole numbers."""
    height, width, channels = image.shape
    result = np.empty((size, size, channels), np.uint8)
    pixels = image.astype(int)
    across = np.empty((height, size, channels), int)
    for x, (s, a, b) in enumerate(documented_axis(width, size)):
        if s < 0 or s >= width - 1:
            s, a, b = min(max(s, 0), width - 1), 2048, 0
        across[:, x] = a * pixels[:, s] + b * pixels[:, min(s + 1, width - 1)]
    for y, (s, a, b) in enumerate(documented_axis(height, size)):
        h = across[min(max(s, 0), height - 1)]
        k = across[min(max(s + 1, 0), height - 1)]
        result[y] = (a * (h // 16) // 65536 + b * (k // 16) // 65536 + 2) // 4
    return result


@pytest.mark.parametrize("size", [48, 96, 112, 224])
def test_the_resize_is_the_documented_integer_arithmetic(size: int) -> None:
    """For faces smaller and larger than the input and half of it."""
    random = np.random.default_rng(size)
    spec = ModelSpec(name="m", labels=("a", "b"), input_size=size)
    sides = [8, 13, size - 1, size, size + 1, 2 * size, *random.integers(8, 500, 12)]
    for side in map(int, sides):
        image = random.integers(0, 256, (side, side, 3)).astype(np.uint8)
        np.testing.assert_array_equal(to_pixels(image, spec), documented_resize(image, size))


def tensor(dtype: type, scale: float, zero_point: int) -> Tensor:
    return Tensor(
        name="input",
        index=0,
        shape=(1, 16, 16, 3),
        declared_shape=(1, 16, 16, 3),
        dtype=np.dtype(dtype),
        scale=scale,
        zero_point=zero_point,
    )


def test_int8_gets_pixel_minus_128_and_uint8_the_pixel(quadrant_spec: ModelSpec) -> None:
    face = np.arange(16 * 16 * 3).reshape(16, 16, 3).astype(np.uint8)
    signed = input_values(face, quadrant_spec, tensor(np.int8, 1 / 127.5, -1))
    unsigned = input_values(face, quadrant_spec, tensor(np.uint8, 1 / 127.5, 127))
    np.testing.assert_array_equal(signed[0].astype(int), face.astype(int) - 128)
    assert signed.shape == (1, 16, 16, 3)
    np.testing.assert_array_equal(unsigned[0], face)


def test_the_part_in_the_square_is_what_the_model_sees(quadrant_spec: ModelSpec) -> None:
    image = np.random.default_rng(2).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    face = cut_out(image, box(30, 20, 46, 36))
    values = input_values(face, quadrant_spec, tensor(np.float32, 0.0, 0))
    np.testing.assert_array_equal(values[0], normalise(image[20:36, 30:46], quadrant_spec))
