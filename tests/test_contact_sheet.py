"""The picture of the faces on which two models differ."""

import cv2
import numpy as np
import pytest

from edgefer.data.faces import LabelledFaces
from edgefer.data.preprocessing import UInt8Array
from edgefer.evaluation import metrics
from edgefer.evaluation.contact_sheet import (
    COLUMNS,
    FACE_SIDE,
    CaptionLine,
    contact_sheet,
    disagreements,
    to_png,
)
from edgefer.evaluation.result import EvaluationResult, ModelResult

LINE = [CaptionLine(text="true: anger")]


def plain_faces(count: int) -> LabelledFaces:
    """Faces of one shade each, gray and RGB in turn."""
    images: list[UInt8Array] = [
        np.full((48, 48) if index % 2 else (48, 48, 3), 10 * index, np.uint8)
        for index in range(count)
    ]
    return LabelledFaces(
        source="plain",
        images=images,
        labels=np.zeros(count, np.int64),
        class_names=("anger", "fear"),
        names=[str(index) for index in range(count)],
    )


def model(name: str, answers: list[int]) -> ModelResult:
    probabilities = np.array([[0.2, 0.8] if answer else [0.8, 0.2] for answer in answers])
    truth = np.zeros(len(answers), np.int64)
    scores = probabilities.astype(np.float32)
    return ModelResult(
        name=name,
        labels=("anger", "fear"),
        metrics=metrics.measure(truth, scores),
        truth=truth,
        probabilities=scores,
        comparison=None,
        differing=np.flatnonzero(answers),
        permuted=None,
    )


def colours(sheet: UInt8Array) -> set[tuple[int, ...]]:
    return {tuple(int(part) for part in pixel) for pixel in np.unique(sheet.reshape(-1, 3), axis=0)}


def test_every_face_is_in_its_place() -> None:
    faces = plain_faces(COLUMNS + 2)
    sheet = contact_sheet(faces, range(len(faces)), [[]] * len(faces))
    assert sheet.dtype == np.uint8
    for index in range(len(faces)):
        area = (sheet == 10 * index).all(axis=2).sum()
        assert area == FACE_SIDE**2
    top, left = np.argwhere((sheet == 10 * (COLUMNS + 1)).all(axis=2))[0]
    above_top, above_left = np.argwhere((sheet == 10).all(axis=2))[0]
    assert left == above_left
    assert top >= above_top + FACE_SIDE


def test_no_more_faces_than_asked_for_are_drawn() -> None:
    faces = plain_faces(20)
    some = contact_sheet(faces, range(20), [LINE] * 20, most_faces=COLUMNS)
    assert some.shape == contact_sheet(faces, range(COLUMNS), [LINE] * COLUMNS).shape


def test_no_faces_still_give_a_picture() -> None:
    assert contact_sheet(plain_faces(1), [], [], title=["no faces"]).size


def test_captions_must_fit_the_faces() -> None:
    with pytest.raises(ValueError, match="2 faces and 1 captions"):
        contact_sheet(plain_faces(2), [0, 1], [LINE])


def test_a_long_caption_stays_under_its_own_face() -> None:
    faces = plain_faces(2)
    short = contact_sheet(faces, [0, 1], [[CaptionLine(text="")]] * 2)
    long = contact_sheet(
        faces, [0, 1], [[CaptionLine(text="a label that never ends " * 9)], [CaptionLine(text="")]]
    )
    changed = np.argwhere((short != long).any(axis=2))
    assert len(changed)
    assert changed[:, 1].max() < 10 + FACE_SIDE + 2


def test_right_answers_are_green_and_wrong_ones_red() -> None:
    faces = plain_faces(1)
    for is_right, colour in ((True, (0, 120, 50)), (False, (190, 20, 30))):
        line = CaptionLine(text="A: anger", is_right=is_right)
        assert colour in colours(contact_sheet(faces, [0], [[line]]))


def test_disagreements_are_drawn_from_a_result() -> None:
    faces = plain_faces(5)
    reference, other = model("float", [0, 0, 0, 0, 0]), model("int8", [0, 1, 0, 0, 1])
    result = EvaluationResult(faces=faces, models=(reference, other), versions={})
    sheet = disagreements(result, other)
    found = colours(sheet)
    assert {(10, 10, 10), (40, 40, 40), (0, 120, 50), (190, 20, 30)} <= found
    assert (20, 20, 20) not in found
    assert disagreements(result, other, most_faces=1).shape == sheet.shape


def test_a_png_holds_the_picture() -> None:
    sheet = contact_sheet(plain_faces(3), [2], [LINE])
    decoded = cv2.imdecode(np.frombuffer(to_png(sheet), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    np.testing.assert_array_equal(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), sheet)
