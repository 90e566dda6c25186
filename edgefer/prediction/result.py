"""What was seen in pictures and videos."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgefer import __version__
from edgefer.data.preprocessing import Float32Array
from edgefer.prediction.boxes import Box

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Face:
    """A face and its expression.

    `box` is the detector's, `square` the part that was classified. `score` is the detector's,
    None where the whole picture was taken as a face. `number` counts from 1; in a video it stays
    with the face. `probabilities` is float32 (classes,) in the order of the model's labels.
    """

    number: int
    box: Box
    square: Box
    score: float | None
    probabilities: Float32Array

    @property
    def top(self) -> int:
        """The position of the likeliest label, the first of several."""
        return int(np.argmax(self.probabilities))

    @property
    def probability(self) -> float:
        """The likeliest label's probability."""
        return float(self.probabilities[self.top])


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureResult:
    """The faces of one picture, from left to right."""

    source: str
    width: int
    height: int
    faces: Sequence[Face]

    def all_faces(self) -> Sequence[Face]:
        """Return the faces."""
        return self.faces


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameResult:
    """The faces of a video's frame, their probabilities smoothed over time."""

    time_s: float
    faces: Sequence[Face]


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoResult:
    """What was seen in a video or by a camera, frame by frame."""

    source: str
    width: int
    height: int
    frames: Sequence[FrameResult]

    def all_faces(self) -> Sequence[Face]:
        """Return each frame's faces, one frame after the other."""
        return [face for frame in self.frames for face in frame.faces]

    def appearances(self) -> dict[int, list[tuple[float, Face]]]:
        """Return each face's times in seconds and states, by its number."""
        found: dict[int, list[tuple[float, Face]]] = {}
        for frame in self.frames:
            for face in frame.faces:
                found.setdefault(face.number, []).append((frame.time_s, face))
        return dict(sorted(found.items()))


InputResult = PictureResult | VideoResult


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What a model said of all inputs."""

    model: str
    labels: tuple[str, ...]
    inputs: Sequence[InputResult]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values; boxes and times in pixels and seconds."""
        return {
            "schema_version": SCHEMA_VERSION,
            "edgefer_version": __version__,
            "model": self.model,
            "labels": list(self.labels),
            "inputs": [self._input(result) for result in self.inputs],
        }

    def _input(self, result: InputResult) -> dict[str, Any]:
        facts = {"file": result.source, "width": result.width, "height": result.height}
        if isinstance(result, PictureResult):
            return {**facts, "kind": "image", "faces": [self._face(face) for face in result.faces]}
        frames = [
            {"time_s": frame.time_s, "faces": [self._face(face) for face in frame.faces]}
            for frame in result.frames
        ]
        return {**facts, "kind": "video", "frames": frames}

    def _face(self, face: Face) -> dict[str, Any]:
        return {
            "face": face.number,
            "label": self.labels[face.top],
            "probability": face.probability,
            "probabilities": dict(zip(self.labels, map(float, face.probabilities), strict=True)),
            "box": _corner_and_size(face.box),
            "square": _corner_and_size(face.square),
            "detection_score": face.score,
        }


def _corner_and_size(box: Box) -> dict[str, int]:
    return {"left": box.left, "top": box.top, "width": box.width, "height": box.height}
