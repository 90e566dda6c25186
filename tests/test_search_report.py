"""What is told of a search: rows, sentences, and charts that can be drawn for any search."""

import dataclasses
from collections.abc import Sequence
from xml.etree import ElementTree

import pytest
from searches import candidate

from edgefer.converters.search.budget import Verdict
from edgefer.converters.search.candidate import Candidate, FailedCandidate, SearchResult
from edgefer.report import search as report
from edgefer.report import search_charts


def result(candidates: Sequence[Candidate], chosen: int = 0, **changes: object) -> SearchResult:
    found = SearchResult(
        max_drop_points=0.5,
        device="local",
        faces=1000,
        least_drop_points=0.3,
        candidates=tuple(candidates),
        failures=(),
        chosen=chosen,
        reason="the fastest",
        complete=True,
        seconds=90.0,
    )
    return dataclasses.replace(found, **changes)  # type: ignore[arg-type]


def many(count: int, latency_ms: float | None = 1.0) -> list[Candidate]:
    """Return candidates of which every third is of another kind, size and latency."""
    return [
        candidate(
            list(Verdict)[number % 3],
            name=f"candidate {number}",
            drop=0.2 * number,
            change=0.001 * number,
            latency_ms=None if latency_ms is None else latency_ms + number % 3,
            size_bytes=1_000_000 + 300_000 * (number % 3),
        )
        for number in range(count)
    ]


def test_a_short_table_has_the_best_in_the_order_they_were_tried_and_the_taken_one() -> None:
    found = result(many(30), chosen=29)
    names = [row[0] for row in report.rows(found, 10)]
    within = [f"candidate {number}" for number in range(0, 27, 3)]
    assert names == [*within, "→ candidate 29"]
    assert len(report.rows(found)) == 30
    assert "All 30 are on the page and in the .json." in report.notes(found, 10)
    assert len(report.notes(result(many(9)), 10)) == 1


def test_a_row_says_what_a_candidate_is_worth() -> None:
    one = candidate(Verdict.OPEN, drop=0.25, half=0.5, latency_ms=1.23456, size_bytes=1_284_000)
    (row,) = report.rows(result([one]))
    assert row == (
        "→ one", "+0.25 (-0.25…+0.75)", "100.00%", "0.0100", "1.235", "1.28 MB", "open",
    )  # fmt: skip


def test_what_failed_is_told_with_its_reason() -> None:
    failed = FailedCandidate(name="equalization", recipe={}, reason="model: cannot be loaded")
    found = result(many(2), failures=(failed,))
    assert "3 conversions" in report.title(found)
    assert report.notes(found)[-1] == "Failed: equalization: model: cannot be loaded"
    assert ("failed", report.notes(found)[-1].removeprefix("Failed: ")) in [
        row for section in report.sections(found) for row in section.rows
    ]


def test_too_little_time_and_too_few_faces_are_warned_of() -> None:
    assert report.warnings(result(many(2))) == []
    time, faces = report.warnings(result(many(2), complete=False, least_drop_points=0.8))
    assert "goes on from there" in time
    assert faces.startswith("the 1,000 faces held out show no drop under 0.8 points")


def test_the_page_marks_the_front() -> None:
    found = result(
        [
            candidate(name="fast", drop=0.4, latency_ms=1.0),
            candidate(name="beaten", drop=0.5, latency_ms=1.0),
            candidate(name="exact", drop=0.1, latency_ms=2.0),
        ],
        chosen=2,
    )
    table = report.sections(found)[0]
    assert table.columns[-1] == "on front"
    assert [row[-1] for row in table.rows] == ["●", "", "●"]


@pytest.mark.parametrize("count", [1, 2, 3, 40])
@pytest.mark.parametrize("latency_ms", [None, 0.3])
def test_charts_of_any_search_are_whole_svgs(count: int, latency_ms: float | None) -> None:
    found = result(many(count, latency_ms), chosen=count - 1)
    (drawings,) = report.sections(found)[0].figures
    assert len(drawings) == (1 if latency_ms is None else 2)
    for drawing in drawings:
        assert ElementTree.fromstring(drawing.drawing).tag.endswith("svg")  # noqa: S314 - our own


def test_the_same_search_gives_the_same_chart() -> None:
    found = result(many(5))
    assert search_charts.drop_against_size(found) == search_charts.drop_against_size(found)


def test_a_budget_of_nothing_can_be_drawn() -> None:
    found = result([candidate(drop=0.0, half=0.0)], max_drop_points=0.0)
    assert "svg" in search_charts.drop_against_latency(found)
