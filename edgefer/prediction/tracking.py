"""The same face from frame to frame, and its scores without their flicker."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgefer.data.preprocessing import Float32Array
from edgefer.prediction.boxes import Box
from edgefer.prediction.result import Face

TIME_CONSTANT_S = 0.3
FORGOTTEN_AFTER_S = 1.0
SAME_FACE_OVERLAP = 0.3


@dataclass(frozen=True, kw_only=True)
class _Track:
    number: int
    box: Box
    seen_s: float
    probabilities: Float32Array


class FaceTracker:
    """Gives each face a number that it keeps, and smooths its probabilities over time.

    A face is the one whose last box it overlaps most, by 0.3 of their union or more. Its
    probabilities move towards the new ones by 1 − exp(−dt / 0.3 s), so that the frame rate does
    not matter. A face that was not seen for a second is a new one when it comes back.
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._numbers_given = 0

    def follow(self, faces: Sequence[Face], *, time_s: float) -> list[Face]:
        """Return the faces of a frame at `time_s`, numbered and smoothed."""
        self._tracks = [
            track for track in self._tracks if time_s - track.seen_s <= FORGOTTEN_AFTER_S
        ]
        partners = _pairs(faces, self._tracks)
        followed = [
            self._continued(face, partners[position], time_s)
            if position in partners
            else self._begun(face, time_s)
            for position, face in enumerate(faces)
        ]
        seen = {track.number for track in followed}
        self._tracks = [
            *(track for track in self._tracks if track.number not in seen),
            *followed,
        ]
        return [
            dataclasses.replace(face, number=track.number, probabilities=track.probabilities)
            for face, track in zip(faces, followed, strict=True)
        ]

    def _begun(self, face: Face, time_s: float) -> _Track:
        self._numbers_given += 1
        return _Track(
            number=self._numbers_given,
            box=face.box,
            seen_s=time_s,
            probabilities=face.probabilities,
        )

    def _continued(self, face: Face, track: _Track, time_s: float) -> _Track:
        weight = np.float32(1 - math.exp(-(time_s - track.seen_s) / TIME_CONSTANT_S))
        change = face.probabilities - track.probabilities
        return _Track(
            number=track.number,
            box=face.box,
            seen_s=time_s,
            probabilities=track.probabilities + weight * change,
        )


def _pairs(faces: Sequence[Face], tracks: Sequence[_Track]) -> dict[int, _Track]:
    """Return the faces' tracks by the faces' positions, the largest overlaps first."""
    overlaps = sorted(
        (
            (face.box.overlap(track.box), position, track)
            for position, face in enumerate(faces)
            for track in tracks
        ),
        key=lambda candidate: -candidate[0],
    )
    pairs: dict[int, _Track] = {}
    taken: set[int] = set()
    for overlap, position, track in overlaps:
        if overlap >= SAME_FACE_OVERLAP and position not in pairs and track.number not in taken:
            pairs[position] = track
            taken.add(track.number)
    return pairs
