"""The resize gives the same bytes on every machine."""

import hashlib
import platform

import cv2
import numpy as np
import pytest

from edgefer.data.preprocessing import in_colours
from edgefer.data.resizing import UInt8Array, stretch
from edgefer.models.spec import ColourOrder, ModelSpec


def pictures(count: int) -> list[UInt8Array]:
    """Return noise of many sizes, down to a pixel, every third of it gray."""
    random = np.random.default_rng(0)
    shapes = [tuple(random.integers(1, 500, 2)) + ((3,) if n % 3 else ()) for n in range(count)]
    return [random.integers(0, 256, shape).astype(np.uint8) for shape in shapes]


def sizes(count: int) -> list[tuple[int, int]]:
    """Return as many target sizes, width and height."""
    found = np.random.default_rng(1).integers(1, 300, (count, 2))
    return [(int(width), int(height)) for width, height in found]


def test_the_bytes_are_those_of_every_other_machine() -> None:
    """The hash was the same on x86-64 and on emulated Cortex-A72 and A76."""
    found = hashlib.sha256()
    for image, (width, height) in zip(pictures(60), sizes(60), strict=True):
        found.update(stretch(image, width=width, height=height).tobytes())
    assert found.hexdigest() == ("24d90059491448274b3c3f6d69642b51470982ef850554455c708834181aa291")


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="OpenCV rounds otherwise on ARM"
)
def test_it_is_what_opencv_computes_on_x86() -> None:
    """The bundled networks were trained and measured with OpenCV's."""
    for image, size in zip(pictures(300), sizes(300), strict=True):
        ours = stretch(image, width=size[0], height=size[1])
        np.testing.assert_array_equal(ours, cv2.resize(image, size))


@pytest.mark.parametrize("side", [1, 2, 48, 500])
@pytest.mark.parametrize("value", [0, 1, 254, 255])
def test_a_face_of_one_colour_keeps_it(side: int, value: int) -> None:
    image = np.full((side, side, 3), value, np.uint8)
    np.testing.assert_array_equal(stretch(image, width=112, height=112), value)


def test_a_size_that_is_there_already_changes_nothing() -> None:
    for image in pictures(6):
        same = stretch(image, width=image.shape[1], height=image.shape[0])
        np.testing.assert_array_equal(same, image)


def test_gray_is_made_by_the_stated_integers() -> None:
    gray = ModelSpec(
        name="m", labels=("a", "b"), input_size=64, channels=1, colour_order=ColourOrder.GRAY,
        mean=(0.0,), std=(1.0,),
    )  # fmt: skip
    image = np.random.default_rng(3).integers(0, 256, (301, 511, 3)).astype(np.uint8)
    red, green, blue = np.moveaxis(image.astype(int), 2, 0)
    stated = (9798 * red + 19235 * green + 3735 * blue + 16384) >> 15
    np.testing.assert_array_equal(in_colours(image, gray), stated)
