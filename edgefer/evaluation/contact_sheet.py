"""The faces on which two models differ, in one picture for a person."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edgefer.data.faces import LabelledFaces
from edgefer.data.preprocessing import UInt8Array
from edgefer.evaluation.metrics import IntArray
from edgefer.evaluation.result import EvaluationResult, ModelResult

MOST_FACES = 60
FACE_SIDE = 168
COLUMNS = 6

_LINE_HEIGHT = 20
_MARGIN = 10
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_SCALE = 0.45

_BACKGROUND = (255, 255, 255)
_INK = (40, 40, 40)
_RIGHT = (0, 120, 50)
_WRONG = (190, 20, 30)


@dataclass(frozen=True, kw_only=True)
class CaptionLine:
    """A line under a face; `is_right` colours an answer, None is not an answer."""

    text: str
    is_right: bool | None = None


Caption = Sequence[CaptionLine]


def contact_sheet(
    faces: LabelledFaces,
    indices: Sequence[int] | IntArray,
    captions: Sequence[Caption],
    *,
    title: Sequence[str] = (),
    most_faces: int = MOST_FACES,
) -> UInt8Array:
    """Draw the faces at `indices` in a grid, each with its caption; uint8 (h, w, 3) RGB.

    At most `most_faces` are drawn, the first ones. Characters outside ASCII become question
    marks, since OpenCV's font has none.
    """
    if len(indices) != len(captions):
        raise ValueError(f"{len(indices)} faces and {len(captions)} captions")
    chosen = [int(index) for index in indices[:most_faces]]
    lines = max((len(caption) for caption in captions), default=0)
    width, height = FACE_SIDE + _MARGIN, FACE_SIDE + lines * _LINE_HEIGHT + 2 * _MARGIN
    top = len(title) * _LINE_HEIGHT + 2 * _MARGIN
    rows = -(-len(chosen) // COLUMNS)
    sheet = np.full(
        (top + rows * height, _MARGIN + COLUMNS * width, 3), _BACKGROUND, dtype=np.uint8
    )
    for number, line in enumerate(title):
        _write(sheet, line, _MARGIN, _MARGIN + number * _LINE_HEIGHT, _INK, sheet.shape[1])
    for place, (index, caption) in enumerate(zip(chosen, captions, strict=False)):
        row, column = divmod(place, COLUMNS)
        _draw_face(
            sheet, faces.images[index], caption, _MARGIN + column * width, top + row * height
        )
    return sheet


def disagreements(
    result: EvaluationResult, model: ModelResult, *, most_faces: int = MOST_FACES
) -> UInt8Array:
    """Draw the faces on which `model` differs from the first model of `result`.

    Each has its true label, the first model's answer (A) and the other's (B), green where it is
    right, with the probability; the title says which model is which.
    """
    faces, reference = result.faces, result.models[0]
    shown = [int(index) for index in model.differing[:most_faces]]
    captions = [
        [
            CaptionLine(text=f"true: {faces.class_names[faces.labels[index]]}"),
            _answer("A", reference, index),
            _answer("B", model, index),
        ]
        for index in shown
    ]
    title = [
        f"A: {reference.name}    B: {model.name}",
        f"{len(shown)} of the {len(model.differing)} faces on which they differ, "
        f"of {len(faces)} in all",
    ]
    return contact_sheet(faces, shown, captions, title=title, most_faces=most_faces)


def to_png(sheet: UInt8Array) -> bytes:
    """Return a picture as the bytes of a PNG file."""
    _, encoded = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    return encoded.tobytes()


def _answer(letter: str, model: ModelResult, index: int) -> CaptionLine:
    answer = model.answers[index]
    share = model.probabilities[index, answer]
    return CaptionLine(
        text=f"{letter}: {model.labels[answer]} {share:.2f}",
        is_right=bool(answer == model.truth[index]),
    )


def _draw_face(sheet: UInt8Array, image: UInt8Array, caption: Caption, x: int, y: int) -> None:
    """Draw one face, stretched to a square as the models see it, and the lines under it."""
    enlarged = cv2.resize(image, (FACE_SIDE, FACE_SIDE), interpolation=cv2.INTER_CUBIC)
    if enlarged.ndim == 2:
        enlarged = cv2.cvtColor(enlarged, cv2.COLOR_GRAY2RGB)
    sheet[y : y + FACE_SIDE, x : x + FACE_SIDE] = enlarged
    for number, line in enumerate(caption):
        colour = {None: _INK, True: _RIGHT, False: _WRONG}[line.is_right]
        _write(sheet, line.text, x, y + FACE_SIDE + number * _LINE_HEIGHT, colour, FACE_SIDE)


def _write(
    sheet: UInt8Array, text: str, x: int, y: int, colour: tuple[int, int, int], width: int
) -> None:
    """Write a line whose upper left corner is (x, y), cut to `width` pixels."""
    text = text.encode("ascii", "replace").decode()
    shortened = text
    while shortened and cv2.getTextSize(shortened, _FONT, _FONT_SCALE, 1)[0][0] > width:
        text = text[:-1]
        shortened = text + ".."
    origin = (x, y + _LINE_HEIGHT - 5)
    cv2.putText(sheet, shortened, origin, _FONT, _FONT_SCALE, colour, 1, cv2.LINE_AA)
