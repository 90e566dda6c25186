"""Faces are where they were put, and where MediaPipe finds them."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from face_pictures import frame_of, picture

from edgefer.data.images import read_image
from edgefer.data.preprocessing import Float32Array, UInt8Array
from edgefer.prediction import blaze_face
from edgefer.prediction.blaze_face import Detection
from edgefer.prediction.boxes import Box
from edgefer.prediction.detector import MODEL, FaceDetector, detector_input, in_picture
from edgefer.prediction.face_input import square_around

GOLDEN = Path(__file__).parent / "golden" / "faces"
MEDIAPIPE = json.loads((GOLDEN / "detections.json").read_text())
PORT = json.loads((GOLDEN / "port.json").read_text())


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector()


def found_in(detector: FaceDetector, image: UInt8Array) -> list[Detection]:
    """Return the faces from left to right."""
    seen = detector.detections(detector_input(image, detector.input_size))
    return sorted(seen, key=lambda face: face.left)


def test_mediapipe_finds_the_same_faces() -> None:
    """With the model that it takes. It rounds a corner and a size down to whole pixels."""
    detector = FaceDetector(GOLDEN / "blaze_face_short_range.tflite")
    for name, expected in MEDIAPIPE.items():
        found = found_in(detector, read_image(GOLDEN / name))
        assert len(found) == len(expected) > 0
        for face, theirs in zip(found, expected, strict=True):
            corner_and_size = (face.left, face.top, face.right - face.left, face.bottom - face.top)
            past_theirs = 128 * np.array(corner_and_size) - theirs[:4]
            assert (past_theirs > -0.01).all()
            assert (past_theirs < 1.01).all()
            assert face.score == pytest.approx(theirs[4], abs=1e-4)


def test_a_port_of_mediapipe_finds_the_same_faces(detector: FaceDetector) -> None:
    for name, expected in PORT.items():
        doubled = read_image(GOLDEN / name).repeat(2, axis=0).repeat(2, axis=1)
        found = found_in(detector, doubled)
        assert len(found) == len(expected) > 0
        for face, theirs in zip(found, expected, strict=True):
            box = 256 * np.array((face.left, face.top, face.right, face.bottom))
            np.testing.assert_allclose(box, theirs[:4], atol=0.05)
            assert face.score == pytest.approx(theirs[4], abs=1e-4)


@pytest.mark.parametrize(
    ("width", "height", "side"),
    [(720, 480, 200), (480, 720, 200), (1800, 1200, 500), (1000, 1000, 180), (720, 480, 110)],
)
def test_two_faces_are_found_where_they_were_put(
    detector: FaceDetector, width: int, height: int, side: int
) -> None:
    places = [(20, 30), (width - side - 10, height - side - 20)]
    found = detector.find(picture(places, width=width, height=height, side=side))
    assert len(found) == 2
    for face, place in zip(found, places, strict=True):
        square = square_around(face.box, width=width, height=height)
        assert square.overlap(frame_of(place, side=side)) > 0.7


def test_a_gray_picture_has_the_same_faces(detector: FaceDetector) -> None:
    image = picture([(40, 40), (440, 200)])
    assert detector.find(image[:, :, 0]) == detector.find(image)


def test_no_face_is_found_where_there_is_none(detector: FaceDetector) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    assert detector.find(picture([])) == []
    assert detector.find(noise) == []


@pytest.mark.parametrize("shape", [(8, 8), (8, 4000), (4000, 8, 3), (9, 300, 3)])
def test_pictures_of_any_proportions_are_taken(
    detector: FaceDetector, shape: tuple[int, ...]
) -> None:
    assert detector.find(np.full(shape, 90, np.uint8)) == []


def test_the_picture_keeps_its_proportions_in_black() -> None:
    seen = detector_input(np.full((100, 200), 255, np.uint8), 128)
    assert seen.shape == (128, 128, 3)
    np.testing.assert_array_equal(np.unique(seen[32:96]), [1])
    np.testing.assert_array_equal(np.unique(np.delete(seen, np.s_[32:96], axis=0)), [-1])


def outputs(*boxes: tuple[int, float, float]) -> tuple[Float32Array, Float32Array]:
    """Return the network's outputs with boxes of (anchor, width in pixels, logit)."""
    regressors, logits = np.zeros((896, 16), np.float32), np.full((896, 1), -90, np.float32)
    for anchor, width, logit in boxes:
        regressors[anchor, 2:4] = width
        logits[anchor] = logit
    return regressors, logits


def test_boxes_lie_around_their_anchors() -> None:
    """The first anchor is the middle of the first of 16×16 cells, the 513th of 8×8."""
    small, large = blaze_face.decode(*outputs((0, 4, 3.0), (512, 40, 2.0)), input_size=128)
    assert (small.left * 128, small.right * 128) == pytest.approx((2, 6))
    assert (large.left * 128, large.bottom * 128) == pytest.approx((-12, 28))
    assert in_picture(large, 128, width=128, height=128) == Box(left=0, top=0, right=28, bottom=28)


def test_overlapping_boxes_are_one_face_weighted_by_score() -> None:
    (face,) = blaze_face.decode(*outputs((0, 30, 0.0), (1, 40, 80.0)), input_size=128)
    assert face.score == pytest.approx(1)
    assert (face.right - face.left) * 128 == pytest.approx((0.5 * 30 + 1.0 * 40) / 1.5)


def test_what_is_no_box_or_too_unsure_is_left_out() -> None:
    nothing = outputs((0, -4, 3.0), (5, 10, -0.1), (9, float("nan"), 3.0))
    assert blaze_face.decode(*nothing, input_size=128) == []


def test_the_model_is_the_one_that_its_notice_describes() -> None:
    notice = (MODEL.parent / "blaze_face.md").read_text(encoding="utf-8")
    assert hashlib.sha256(MODEL.read_bytes()).hexdigest() in notice
    licence = (MODEL.parent / "LICENSE.Apache-2.0").read_text(encoding="utf-8")
    assert "Apache License" in licence
