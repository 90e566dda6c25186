"""A face keeps its number, and its answer does not flicker."""

import math

import numpy as np
import pytest

from edgefer.prediction.boxes import Box
from edgefer.prediction.result import Face
from edgefer.prediction.tracking import TIME_CONSTANT_S, FaceTracker


def face(left: int, *, sure: float = 1.0, side: int = 100) -> Face:
    box = Box(left=left, top=0, right=left + side, bottom=side)
    return Face(
        number=0,
        box=box,
        square=box,
        score=0.9,
        probabilities=np.array([sure, 1 - sure], np.float32),
    )


def test_faces_keep_their_numbers_when_they_move_and_change_places_in_the_list() -> None:
    tracker = FaceTracker()
    assert [f.number for f in tracker.follow([face(0), face(300)], time_s=0)] == [1, 2]
    assert [f.number for f in tracker.follow([face(290), face(20)], time_s=0.1)] == [2, 1]


def test_the_largest_overlap_wins_where_two_faces_claim_one() -> None:
    tracker = FaceTracker()
    tracker.follow([face(0)], time_s=0)
    assert [f.number for f in tracker.follow([face(40), face(5)], time_s=0.1)] == [2, 1]


def test_a_face_elsewhere_is_a_new_one() -> None:
    tracker = FaceTracker()
    tracker.follow([face(0)], time_s=0)
    assert [f.number for f in tracker.follow([face(60)], time_s=0.1)] == [2]


@pytest.mark.parametrize(("away_s", "number"), [(1.0, 1), (1.1, 2)])
def test_a_face_is_remembered_for_a_second(away_s: float, number: int) -> None:
    tracker = FaceTracker()
    tracker.follow([face(0)], time_s=0)
    tracker.follow([], time_s=away_s / 2)
    assert [f.number for f in tracker.follow([face(0)], time_s=away_s)] == [number]


@pytest.mark.parametrize("rate", [5, 30, 120])
def test_smoothing_depends_on_time_and_not_on_the_frame_rate(rate: int) -> None:
    tracker = FaceTracker()
    tracker.follow([face(0, sure=1.0)], time_s=0)
    for frame in range(1, rate + 1):
        (seen,) = tracker.follow([face(0, sure=0.0)], time_s=frame / rate)
    assert seen.probabilities[0] == pytest.approx(math.exp(-1 / TIME_CONSTANT_S), rel=1e-3)
    assert seen.probabilities.sum() == pytest.approx(1)


def test_one_odd_frame_does_not_change_the_answer() -> None:
    tracker = FaceTracker()
    answers = [
        tracker.follow([face(0, sure=sure)], time_s=number / 25)[0].top
        for number, sure in enumerate([0.9, 0.9, 0.0, 0.9, 0.9])
    ]
    assert answers == [0] * 5
