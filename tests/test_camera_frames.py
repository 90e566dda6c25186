"""Camera frames become upright pictures in the stated integers."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer.data.preprocessing import UInt8Array
from edgefer.shipping.camera_frames import Plane, turned, upright_from_bgra, upright_from_yuv


def plane(content: Sequence[int], row_stride: int, pixel_stride: int = 1) -> Plane:
    return Plane(
        content=np.array(content, np.uint8), row_stride=row_stride, pixel_stride=pixel_stride
    )


def one_pixel(y: int, u: int, v: int) -> list[int]:
    planes = [plane([value], 1) for value in (y, u, v)]
    picture: list[int] = upright_from_yuv(planes, width=1, height=1, rotation=0)[0, 0].tolist()
    return picture


@pytest.mark.parametrize(
    ("yuv", "rgb"),
    [
        ((0, 128, 128), [0, 0, 0]),
        ((255, 128, 128), [255, 255, 255]),
        ((100, 128, 128), [100, 100, 100]),
        ((76, 85, 255), [254, 0, 0]),
        ((150, 44, 21), [0, 255, 1]),
        ((29, 255, 107), [0, 0, 254]),
        ((255, 255, 255), [255, 121, 255]),
    ],
)
def test_known_colours_are_those_of_full_range_bt601(
    yuv: tuple[int, int, int], rgb: list[int]
) -> None:
    assert one_pixel(*yuv) == rgb


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_the_integers_are_jfifs_formula_within_one(y: int, u: int, v: int) -> None:
    exact = (
        y + 1.402 * (v - 128),
        y - 0.344136 * (u - 128) - 0.714136 * (v - 128),
        y + 1.772 * (u - 128),
    )
    for value, real in zip(one_pixel(y, u, v), exact, strict=True):
        assert abs(value - min(max(real, 0), 255)) <= 0.51


def test_a_chroma_pixel_covers_four_and_padding_is_skipped() -> None:
    luma = plane([10, 20, 30, 99, 40, 50, 60, 99, 70, 80, 90], row_stride=4)
    u = plane([128, 1, 128, 77, 128, 1, 128], row_stride=4, pixel_stride=2)
    v = plane([228, 1, 128, 77, 128, 1, 28], row_stride=4, pixel_stride=2)
    picture = upright_from_yuv([luma, u, v], width=3, height=3, rotation=0)
    assert picture[:, :, 2].tolist() == [[10, 20, 30], [40, 50, 60], [70, 80, 90]]
    red_added = picture[:, :, 0].astype(int) - picture[:, :, 2]
    assert red_added.tolist() == [[140, 140, 0], [140, 140, 0], [0, 0, -90]]


def test_bgra_is_reversed_and_its_alpha_left_out() -> None:
    frame = plane(
        [1, 2, 3, 255, 4, 5, 6, 0, 9, 9, 9, 9, 7, 8, 9, 1, 10, 11, 12, 2],
        row_stride=12,
        pixel_stride=4,
    )
    picture = upright_from_bgra(frame, width=2, height=2, rotation=0)
    assert picture.tolist() == [[[3, 2, 1], [6, 5, 4]], [[9, 8, 7], [12, 11, 10]]]


@pytest.mark.parametrize(
    ("rotation", "code"),
    [
        (90, cv2.ROTATE_90_CLOCKWISE),
        (180, cv2.ROTATE_180),
        (270, cv2.ROTATE_90_COUNTERCLOCKWISE),
    ],
)
def test_a_rotation_is_clockwise(rotation: int, code: int) -> None:
    picture: UInt8Array = np.random.default_rng(0).integers(0, 256, (3, 5, 3)).astype(np.uint8)
    np.testing.assert_array_equal(turned(picture, rotation), cv2.rotate(picture, code))
    np.testing.assert_array_equal(turned(picture, 0), picture)


def test_a_plane_that_is_too_short_and_an_odd_rotation_are_errors() -> None:
    short = plane([1, 2, 3], row_stride=2)
    with pytest.raises(ValueError, match="a plane has 3 bytes, 4 are needed"):
        upright_from_yuv([short] * 3, width=2, height=2, rotation=0)
    with pytest.raises(ValueError, match="a plane has 3 bytes"):
        upright_from_bgra(short, width=1, height=2, rotation=0)
    with pytest.raises(ValueError, match="45 degrees"):
        upright_from_bgra(plane([1, 2, 3, 4], 4, 4), width=1, height=1, rotation=45)
