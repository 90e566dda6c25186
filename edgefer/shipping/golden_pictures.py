"""The pictures that golden files are made of: the bundled faces in colours, or the user's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgefer import calibration_data
from edgefer.data.images import read_image
from edgefer.data.preprocessing import UInt8Array
from edgefer.errors import DataError
from edgefer.prediction.detector import FaceDetector
from edgefer.prediction.face_input import cut_out, square_around
from edgefer.prediction.inputs import files_of, is_video

BUNDLED_FACES = (
    "happiness/fer0032230.png",
    "surprise/fer0032237.png",
    "neutral/fer0032323.png",
    "anger/fer0033956.png",
)
"""Faces of the evaluation sample that are seen from the front."""

BUNDLED_TERMS = (
    "faces of FER2013 in false colours, published for research: for tests, "
    "not for what you hand to users"
)
OWN_TERMS = "yours"

LONGEST_SIDE = 400
MOST_SCENES = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """An RGB picture, uint8 (h, w, 3)."""

    name: str
    image: UInt8Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """`faces` are faces from border to border, `scenes` hold faces somewhere.

    `terms` says whose pictures they are.
    """

    faces: Sequence[Picture]
    scenes: Sequence[Picture]
    terms: str


def bundled() -> Pictures:
    """Return pictures made of the evaluation faces that edgefer brings."""
    faces = [
        Picture(name=Path(name).parent.name, image=coloured(_bundled_face(name)))
        for name in BUNDLED_FACES
    ]
    happy, surprised, neutral, angry = (face.image for face in faces)
    wide, tall = _ground(width=361, height=240), _ground(width=203, height=301)
    _put(wide, happy, left=30, top=60, side=130)
    _put(wide, surprised, left=230, top=0, side=131)
    _put(tall, neutral, left=20, top=10, side=131)
    _put(tall, angry, left=50, top=150, side=150)
    return Pictures(
        faces=faces,
        scenes=[Picture(name="wide", image=wide), Picture(name="tall", image=tall)],
        terms=BUNDLED_TERMS,
    )


def of_folder(folder: Path) -> Pictures:
    """Return the first pictures of a folder in which a face is found, shrunk where large.

    Raises DataError where no picture has a face or one cannot be read.
    """
    detector = FaceDetector()
    faces: list[Picture] = []
    scenes: list[Picture] = []
    pictures = (path for path in files_of([folder]) if not is_video(path))
    while len(scenes) < MOST_SCENES and (path := next(pictures, None)):
        image = _shrunk(_in_colours(read_image(path)))
        height, width = image.shape[:2]
        found = detector.find(image)
        if found:
            square = square_around(found[0].box, width=width, height=height)
            faces.append(Picture(name=path.stem, image=cut_out(image, square)))
            scenes.append(Picture(name=path.stem, image=image))
    if not scenes:
        raise DataError(folder, "has no picture in which a face is found; give others to --golden")
    return Pictures(faces=faces, scenes=scenes, terms=OWN_TERMS)


def coloured(face: UInt8Array) -> UInt8Array:
    """Light a gray face warmly from the left and coldly from the right, so that colours differ."""
    across = np.linspace(0, 1, face.shape[1])
    light = np.stack([1 - 0.25 * across, 0.85 + 0 * across, 0.6 + 0.35 * across], axis=1)
    return np.asarray(np.round(face[:, :, np.newaxis] * light), np.uint8)


def resized(image: UInt8Array, *, width: int, height: int) -> UInt8Array:
    """Bring a picture to another size, smoothly; not the arithmetic of a model's input."""
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def _bundled_face(name: str) -> UInt8Array:
    return read_image(calibration_data.FOLDER / "evaluation" / name)


def _ground(*, width: int, height: int) -> UInt8Array:
    """Return a picture of nothing: a gradient."""
    down = np.linspace(60, 130, height)[:, np.newaxis, np.newaxis]
    across = np.linspace(0, 60, width)[np.newaxis, :, np.newaxis]
    return np.asarray(np.round(down + across * np.array([1.0, 0.5, 0.0])), np.uint8)


def _put(scene: UInt8Array, face: UInt8Array, *, left: int, top: int, side: int) -> None:
    scene[top : top + side, left : left + side] = resized(face, width=side, height=side)


def _in_colours(image: UInt8Array) -> UInt8Array:
    return image if image.ndim == 3 else np.repeat(image[:, :, np.newaxis], 3, axis=2)


def _shrunk(image: UInt8Array) -> UInt8Array:
    height, width = image.shape[:2]
    factor = LONGEST_SIDE / max(width, height)
    if factor >= 1:
        return image
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
