"""Calibration and evaluation faces are told apart by content."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgefer.data.disjoint import content_hash, require_disjoint
from edgefer.data.faces import LabelledFaces
from edgefer.data.images import read_image
from edgefer.errors import DataError

IMAGES = arrays.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6)))


def faces(source: str, images: list[np.ndarray]) -> LabelledFaces:
    return LabelledFaces(
        source=source,
        images=images,
        labels=np.zeros(len(images), np.int64),
        class_names=("anger", "fear"),
        names=[f"{source}-{index}" for index in range(len(images))],
    )


@given(IMAGES, IMAGES)
def test_hashes_are_equal_exactly_where_images_are(one: np.ndarray, other: np.ndarray) -> None:
    assert (content_hash(one) == content_hash(other)) == np.array_equal(one, other)


@given(IMAGES)
def test_gray_stored_as_rgb_is_the_same_face(image: np.ndarray) -> None:
    assert content_hash(np.repeat(image[:, :, None], 3, axis=2)) == content_hash(image)


def test_pixels_in_another_shape_are_another_face() -> None:
    pixels = np.arange(24, dtype=np.uint8)
    assert content_hash(pixels.reshape(4, 6)) != content_hash(pixels.reshape(6, 4))


def test_memory_layout_makes_no_difference() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(4, 6)
    assert content_hash(np.asfortranarray(image)) == content_hash(image)


def test_file_format_makes_no_difference(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 12), dtype=np.uint8)
    for name in ("face.png", "face.bmp"):
        cv2.imwrite(str(tmp_path / name), image)
    hashes = {content_hash(read_image(tmp_path / name)) for name in ("face.png", "face.bmp")}
    assert hashes == {content_hash(image)}


def test_different_faces_pass() -> None:
    images = [np.full((8, 8), value, np.uint8) for value in range(4)]
    require_disjoint(faces("calibration", images[:2]), faces("evaluation", images[2:]))


def test_shared_faces_are_counted_and_named() -> None:
    images = [np.full((8, 8), value, np.uint8) for value in range(20)]
    expected = (
        "evaluation: 10 of its faces are also among the calibration faces of calibration: "
        "'evaluation-0', 'evaluation-1', 'evaluation-2', 'evaluation-3', 'evaluation-4', "
        "'evaluation-5' and 4 more; calibrate on other faces"
    )
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        require_disjoint(faces("calibration", images[:15]), faces("evaluation", images[5:]))
