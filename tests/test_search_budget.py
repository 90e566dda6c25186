"""What a budget allows, what an interval says about it, and which candidate is taken."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models
from ai_edge_litert import schema_py_generated as schema
from searches import candidate, comparison

from edgefer.converters.insight.sensitivity import OperatorSensitivity
from edgefer.converters.search.budget import (
    Budget,
    Verdict,
    faces_needed,
    least_shown,
    require_within,
    verdict,
)
from edgefer.converters.search.choosing import choice, pareto
from edgefer.converters.search.held_out import HeldOutFaces, split
from edgefer.converters.search.precision import ordered
from edgefer.data.faces import LabelledFaces
from edgefer.errors import BudgetError, DataError, ModelError, UsageError
from edgefer.evaluation.metrics import Comparison, compare
from edgefer.evaluation.runner import evaluate
from edgefer.evaluation.scoring import EvaluatedModel
from edgefer.models.spec import ModelSpec


@pytest.mark.parametrize("points", [-0.1, math.nan, math.inf, -math.inf])
def test_a_drop_that_is_no_number_from_0_on_is_refused(points: float) -> None:
    with pytest.raises(UsageError, match="give 0 or more"):
        Budget(max_drop_points=points)


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan])
def test_a_time_limit_needs_some_time(limit: float) -> None:
    with pytest.raises(UsageError, match="time limit"):
        Budget(max_drop_points=1, time_limit_s=limit)


@pytest.mark.parametrize(
    ("drop", "half", "found"),
    [
        (0.25, 0.05, Verdict.WITHIN),
        (0.25, 0.1, Verdict.OPEN),
        (-1.0, 2.0, Verdict.OPEN),
        (0.31, 0.005, Verdict.BEYOND),
        (0.31, 0.1, Verdict.OPEN),
    ],
)
def test_the_interval_decides_and_not_the_point(drop: float, half: float, found: Verdict) -> None:
    assert verdict(comparison(drop, half), 0.3) is found


def test_an_interval_half_as_wide_takes_four_times_the_faces() -> None:
    assert faces_needed(comparison(0.25, 0.5), 0.5, 1000) == 4000
    assert faces_needed(comparison(0.3, 0.4), 0.3, 1000) is None
    assert faces_needed(comparison(0.0, 0.1), 0.0, 1000) is None


def test_that_many_faces_show_it_in_fact() -> None:
    """The same shares of faces on which just one is right, at a number said to be enough."""
    found = _measured(1000, lost=6, won=5)
    needed = faces_needed(found, 0.5, 1000)
    assert needed is not None
    assert needed > 1000
    enough = _measured(needed, lost=round(0.006 * needed), won=round(0.005 * needed))
    assert enough.drop_high_points == pytest.approx(0.5, abs=0.06)


def _measured(faces: int, lost: int, won: int) -> Comparison:
    truth = np.zeros(faces, np.int64)
    exact, rounded = np.zeros(faces, np.int64), np.zeros(faces, np.int64)
    exact[: faces // 7] = rounded[: faces // 7] = 1
    rounded[faces - lost :] = 1
    rounded[:won] = 0
    return compare(
        truth, (exact, rounded), (np.eye(2, dtype="f4")[exact], np.eye(2, dtype="f4")[rounded])
    )


def test_a_hundred_faces_show_no_drop_under_almost_four_points() -> None:
    """With no answer changed both intervals are Wilson's: z²/(n + z²) where all are right."""
    square = 1.959963984540054**2
    assert least_shown(100, 100) == pytest.approx(100 * square / (100 + square))
    assert 3 < least_shown(100, 85) < 4
    assert least_shown(2000, 1700) < 0.2


def test_a_drop_beyond_the_budget_says_by_how_much() -> None:
    with pytest.raises(BudgetError) as caught:
        require_within(comparison(2.0, 0.5), 0.3, name="m-int8.tflite", faces=1200)
    assert str(caught.value) == (
        "m-int8.tflite: loses +2.00 points (+1.50…+2.50), more than the 0.3 allowed; it is the "
        "nearest that was found"
    )


def test_faces_that_are_too_few_say_how_many_it_takes() -> None:
    with pytest.raises(BudgetError, match=r"1,200 faces do not show .* --data about 4,800, or"):
        require_within(comparison(0.25, 0.5), 0.5, name="m-int8.tflite", faces=1200)


def test_no_number_of_faces_is_promised_for_a_budget_of_nothing() -> None:
    with pytest.raises(BudgetError) as caught:
        require_within(comparison(0.0, 0.5), 0.0, name="m-int8.tflite", faces=1200)
    assert "more than" not in str(caught.value)
    assert str(caught.value).endswith("it is the nearest that was found: allow more")


def test_the_fastest_within_the_budget_is_taken() -> None:
    found = [
        candidate(name="slow", latency_ms=2.0, change=0.001),
        candidate(name="fast", latency_ms=1.0, change=0.01),
        candidate(Verdict.OPEN, name="faster", latency_ms=0.5, change=0.002),
    ]
    chosen, reason = choice(found, 0.3, 1000)
    assert found[chosen].name == "fast"
    assert reason == "the fastest whose drop is shown to be within 0.3 points"


@pytest.mark.parametrize(("latency_ms", "taken"), [(1.019, "nearer"), (1.021, "first")])
def test_within_two_percent_of_latency_the_answers_decide(latency_ms: float, taken: str) -> None:
    found = [
        candidate(name="first", latency_ms=1.0, change=0.01),
        candidate(name="nearer", latency_ms=latency_ms, change=0.005),
    ]
    assert found[choice(found, 0.3, 1000)[0]].name == taken


def test_of_equals_the_first_is_taken() -> None:
    assert choice([candidate(), candidate()], 0.3, 1000)[0] == 0


def test_without_one_within_the_nearest_answers_are_taken_of_those_that_may_be() -> None:
    """A drop by luck, a face more that is right, is not nearer than the same answers."""
    found = [
        candidate(Verdict.BEYOND, name="lost", drop=5, change=0.001),
        candidate(Verdict.OPEN, name="lucky", drop=-1.0, half=1.5, change=0.02),
        candidate(Verdict.OPEN, name="alike", drop=0.0, half=1.0, change=0.002, latency_ms=9),
    ]
    chosen, reason = choice(found, 0.5, 1000)
    assert found[chosen].name == "alike"
    assert "on the 1,000 faces held out, for which it takes about 4,000" in reason


def test_where_all_are_beyond_the_interval_that_ends_nearest_is_taken() -> None:
    found = [
        candidate(Verdict.BEYOND, name="far", drop=5, change=0.001),
        candidate(Verdict.BEYOND, name="near", drop=2, change=0.1),
    ]
    chosen, reason = choice(found, 0.3, 1000)
    assert found[chosen].name == "near"
    assert reason.startswith("all lose more than 0.3 points")


def test_what_the_device_cannot_run_is_not_taken() -> None:
    found = [candidate(latency_ms=None, change=0.001), candidate(latency_ms=3.0)]
    assert choice(found, 0.3, 1000)[0] == 1


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    found = [
        candidate(name="worse and slower", drop=1.0, latency_ms=2.0),
        candidate(name="fast", drop=0.9, latency_ms=1.0),
        candidate(name="as fast, but worse", drop=1.5, latency_ms=1.0),
        candidate(name="exact", drop=0.1, latency_ms=5.0),
        candidate(name="as good, but slower", drop=0.1, latency_ms=6.0),
        candidate(name="not measured", drop=0.0, latency_ms=None),
    ]
    front = pareto(found, [one.latency_ms for one in found])
    assert [found[i].name for i in front] == ["fast", "exact"]


def test_of_equals_the_nearer_answers_are_on_the_front() -> None:
    found = [candidate(change=0.02), candidate(change=0.01), candidate(change=0.01)]
    assert pareto(found, [1.0, 1.0, 1.0]) == [1]


@pytest.mark.parametrize(
    ("count", "calibrating", "held"),
    [(72, 48, 24), (300, 200, 100), (900, 500, 400), (2500, 500, 2000), (9000, 500, 2000)],
)
def test_faces_are_parted_and_none_is_in_both(count: int, calibrating: int, held: int) -> None:
    calibration, held_out = split(small_models.faces(count, side=2))
    assert (len(calibration), len(held_out)) == (calibrating, held)
    assert not set(calibration.names) & set(held_out.names)
    assert {held_out.names[0], held_out.names[-1]} == {"0", str(count - 1)}


def test_too_few_faces_are_refused_with_what_it_takes() -> None:
    with pytest.raises(DataError) as caught:
        split(small_models.faces(71))
    assert str(caught.value) == (
        "smooth noise: has 71 faces, too few to hold some out for the search: it takes 72 or more"
    )


@pytest.fixture
def held_out(
    quadrant_tflites: Mapping[str, Path], quadrant_spec: ModelSpec, quadrant_faces: LabelledFaces
) -> HeldOutFaces:
    return HeldOutFaces(quadrant_faces, quadrant_spec, quadrant_tflites["float32"].read_bytes())


def test_the_float_model_loses_nothing_against_itself_on_faces_held_out(
    held_out: HeldOutFaces, quadrant_tflites: Mapping[str, Path]
) -> None:
    found = held_out.compare(quadrant_tflites["float32"].read_bytes())
    assert (found.agreement, found.mean_probability_change, found.drop_points) == (1.0, 0.0, 0.0)
    rounded = held_out.compare(quadrant_tflites["int8"].read_bytes())
    assert 0 < rounded.mean_probability_change < 0.1


def test_all_faces_held_out_are_answered_in_their_order(
    held_out: HeldOutFaces,
    quadrant_tflites: Mapping[str, Path],
    quadrant_spec: ModelSpec,
    quadrant_faces: LabelledFaces,
) -> None:
    model = EvaluatedModel(
        name="float", spec=quadrant_spec, source=quadrant_tflites["float32"], checked=True
    )
    metrics = evaluate([model], quadrant_faces).models[0].metrics
    assert held_out.correct == metrics.accuracy.correct
    assert held_out.inputs(5).shape == (5, 16, 16, 3)


def test_a_conversion_that_answers_with_nan_is_no_candidate(
    held_out: HeldOutFaces, quadrant_tflites: Mapping[str, Path]
) -> None:
    def spoil(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors:
            data = model.buffers[tensor.buffer].data
            if data is not None and len(data) and tensor.type == schema.TensorType.FLOAT32:
                model.buffers[tensor.buffer].data = np.full(len(data) // 4, np.nan, "f4").view("u1")

    spoilt = small_models.patched(quadrant_tflites["float32"].read_bytes(), spoil)
    with pytest.raises(ModelError, match="NaN"):
        held_out.compare(spoilt)


def test_operators_go_back_to_float_by_what_they_cost_the_answers_for_each_millisecond() -> None:
    found = [
        _sensitivity("much, dear", 0.04),
        _sensitivity("little, cheap", 0.01),
        _sensitivity("some, faster in float", 0.002),
        _sensitivity("not to be run", 1.0),
    ]
    latency_ms = {
        "": 10.0,
        "much, dear": 20.0,
        "little, cheap": 11.0,
        "some, faster in float": 9.0,
    }
    steps = ordered(found, latency_ms)
    assert [step.tensor for step in steps] == [
        "some, faster in float",
        "little, cheap",
        "much, dear",
    ]
    assert [step.cost_ms for step in steps] == pytest.approx([0.009, 1.0, 10.0])


def _sensitivity(tensor: str, change: float) -> OperatorSensitivity:
    return OperatorSensitivity(
        position=0,
        kind="CONV_2D",
        tensor=tensor,
        alone_int8_change=change,
        alone_int8_agreement=1.0,
        left_float_change=0.0,
        left_float_agreement=1.0,
    )
