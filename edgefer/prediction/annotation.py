"""Boxes, labels and scores drawn into pictures."""

from collections.abc import Sequence

import cv2
import numpy as np

from edgefer.data.preprocessing import UInt8Array
from edgefer.prediction.result import Face

_BOX_COLOUR = (255, 196, 0)
_TEXT_COLOUR = (0, 0, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LEAST_FONT_SCALE = 0.4
_PICTURE_OF_SCALE_1 = 1000
"""The longer side, in pixels, of a picture on which the font has its own size."""


def annotated(image: UInt8Array, faces: Sequence[Face], labels: Sequence[str]) -> UInt8Array:
    """Return a copy of an image, as uint8 (h, w, 3) RGB, with each face's box and answer.

    OpenCV's font has ASCII alone; other characters of a label become question marks.
    """
    drawn = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image.copy()
    for face in faces:
        label = labels[face.top].encode("ascii", "replace").decode()
        _draw(drawn, face, f"{label} {face.probability:.2f}")
    return np.asarray(drawn, np.uint8)


def _draw(image: cv2.typing.MatLike, face: Face, text: str) -> None:
    scale = max(_LEAST_FONT_SCALE, max(image.shape[:2]) / _PICTURE_OF_SCALE_1)
    thickness = max(1, round(2 * scale))
    box = face.box
    cv2.rectangle(
        image, (box.left, box.top), (box.right - 1, box.bottom - 1), _BOX_COLOUR, thickness
    )
    (width, height), below = cv2.getTextSize(text, _FONT, scale, thickness)
    left = max(0, min(box.left, image.shape[1] - width))
    baseline = max(height + below, box.top - below)
    cv2.rectangle(
        image, (left, baseline - height - below), (left + width, baseline + below), _BOX_COLOUR, -1
    )
    cv2.putText(image, text, (left, baseline), _FONT, scale, _TEXT_COLOUR, thickness, cv2.LINE_AA)
