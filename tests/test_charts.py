"""Charts: what they show can be drawn for any number of models, without a warning."""

from xml.etree import ElementTree

import pytest

from edgefer.data.labels import ALPHABETICAL_8
from edgefer.evaluation.metrics import Accuracy
from edgefer.report import charts
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
