"""Charts: what they show can be drawn for any number of models, without a warning."""

import dataclasses
import itertools
import math
from typing import Any
from xml.etree import ElementTree

import pytest

from edgefer.converters.insight.comparison import OperatorComparison
from edgefer.converters.insight.sensitivity import OperatorSensitivity, Sensitivity
from edgefer.data.labels import ALPHABETICAL_8
from edgefer.evaluation.metrics import Accuracy
from edgefer.report import charts, insight_charts
from edgefer.report.page import Drawing, Page, Section, render
from edgefer.training.records import EpochRecord


def names(count: int) -> list[str]:
    return [f"a-model-with-a-long-name-{index}.tflite" for index in range(count)]


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_charts_of_any_number_of_models_are_whole_svgs(count: int) -> None:
    accuracy = Accuracy(correct=8, total=10, value=0.8, low=0.5, high=0.9)
    recall = [0.5, None, *[0.9] * 6]
    for drawing in (
        charts.accuracies(names(count), [accuracy] * count),
        charts.recalls(names(count), ALPHABETICAL_8, [recall] * count),
    ):
        assert ElementTree.fromstring(drawing).tag.endswith("svg")  # noqa: S314 - our own


def test_the_same_data_gives_the_same_bytes() -> None:
    counts = [[3, 1], [0, 4]]
    first, second = (charts.confusion("model", ("a", "b"), counts) for _ in range(2))
    assert first == second


def test_a_training_curve_has_a_line_for_training_and_one_for_validation() -> None:
    record = EpochRecord(
        stage="all",
        epoch=1,
        learning_rate=1e-3,
        loss=1.0,
        accuracy=0.5,
        validation_loss=1.1,
        validation_accuracy=0.4,
        seconds=1.0,
    )
    assert charts.COLOURS[1].lower() in charts.training_curve([record, record]).lower()


def test_text_from_outside_cannot_become_markup() -> None:
    drawing = Drawing(drawing="<svg></svg>", caption="<b>caption</b>")
    section = Section(title="<i>", rows=(("<script>alert(1)</script>",),), figures=((drawing,),))
    page = Page(title="<x>", verdict="&", passed=True, warnings=("<y>",), tables=(section,))
    html = render(page)
    for tag in ("<x>", "<y>", "<i>", "<b>", "<script>"):
        assert tag not in html
    assert "<svg></svg>" in html


def compared(count: int) -> list[OperatorComparison]:
    """Return operators of many kinds, one without noise among them."""
    return [
        OperatorComparison(
            position=index,
            kind=f"KIND_{index % 9}",
            tensor=f"tensor {index}",
            dtype="int8",
            sqnr_db=math.inf if index == 1 else 20.0 + index % 7,
            cosine=1.0,
            range_use=1.0,
            saturation=0.0,
        )
        for index in range(count)
    ]


def ranking(count: int) -> Sensitivity:
    """Return operators of which the last hurts most alone, and the first mends most."""
    operators = [
        OperatorSensitivity(
            position=index,
            kind=f"KIND_{index % 9}",
            tensor=f"tensor {index}",
            alone_int8_change=0.001 * index,
            alone_int8_agreement=1.0,
            left_float_change=0.001 * index,
            left_float_agreement=1.0,
        )
        for index in range(count)
    ]
    return Sensitivity(
        faces=8,
        candidates=count,
        int8_change=0.01,
        int8_agreement=0.9,
        operators=tuple(operators),
    )


def test_a_model_without_any_noise_has_an_empty_chart() -> None:
    exact = [dataclasses.replace(one, sqnr_db=math.inf) for one in compared(3)]
    drawing = insight_charts.noise_along_the_graph(exact)
    assert ElementTree.fromstring(drawing).tag.endswith("svg")  # noqa: S314 - our own


@pytest.mark.parametrize("count", [1, 2, 27, 400])
def test_charts_of_any_number_of_operators_are_whole_svgs(count: int) -> None:
    for drawing in (
        insight_charts.noise_along_the_graph(compared(count)),
        insight_charts.alone_in_int8(ranking(count)),
        insight_charts.left_in_float(ranking(count)),
    ):
        assert ElementTree.fromstring(drawing).tag.endswith("svg")  # noqa: S314 - our own


def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return where figures go from now on instead of becoming drawings."""
    figures: list[Any] = []

    def keep(figure: Any) -> str:
        figures.append(figure)
        return ""

    monkeypatch.setattr(insight_charts, "svg", keep)
    return figures


def test_a_chart_of_many_operators_shows_the_first_of_a_ranking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Text is drawn as outlines, so the labels are read before that."""
    figures = drawn(monkeypatch)
    insight_charts.alone_in_int8(ranking(83))
    insight_charts.left_in_float(ranking(83))
    alone, left = ([text.get_text() for text in f.axes[0].get_yticklabels()] for f in figures)
    assert alone == [f"{index} KIND_{index % 9}" for index in range(82, 62, -1)]
    assert left == [f"{index} KIND_{index % 9}" for index in range(20)]


def test_numbers_of_the_least_exact_operators_leave_each_other_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = drawn(monkeypatch)
    operators = [
        dataclasses.replace(one, sqnr_db=10.0 + one.position if one.position < 9 else 40.0)
        for one in compared(91)
    ]
    insight_charts.noise_along_the_graph(operators)
    numbers = [int(text.get_text()) for text in figures[0].axes[0].texts]
    assert numbers[:3] == [0, 4, 8]
    gaps = [b - a for a, b in itertools.pairwise(sorted(numbers))]
    assert len(numbers) == 5
    assert min(gaps) > 3
