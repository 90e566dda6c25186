"""Where quantization hurts a model, as rows, sentences, JSON and a page."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

from edgefer.converters.insight.comparison import OperatorComparison
from edgefer.converters.insight.reference import Insight
from edgefer.converters.insight.sensitivity import OperatorSensitivity, Sensitivity
from edgefer.report import insight_charts
from edgefer.report.page import Drawing, Page, Section

LEAST_EXACT = "least exact"
MOST_ROWS = 15
MOST_NAMED = 3
LONGEST_NAME = 44

COLUMNS = ("operator", "output", "type", "SQNR, dB", "cosine", "range used", "beyond range")
TEXT_COLUMNS = 3
ALONE_TITLE = "One operator alone in int8"
LEFT_TITLE = "One operator alone left in float"
ALONE_COLUMNS = ("operator", "output", "mean |Δp|", "agreement")
ALONE_TEXT_COLUMNS = 2


def worst_first(operators: Iterable[OperatorComparison]) -> list[OperatorComparison]:
    """Return the operators, the least exact first."""
    return sorted(operators, key=lambda one: (one.sqnr_db, one.position))


def rows(operators: Iterable[OperatorComparison]) -> list[tuple[str, ...]]:
    """Return a row an operator."""
    return [
        (
            name(one),
            output(one),
            one.dtype,
            f"{one.sqnr_db:.1f}" if math.isfinite(one.sqnr_db) else "exact",
            f"{one.cosine:.5f}",
            _percent(one.range_use, 0),
            _percent(one.saturation, 2),
        )
        for one in operators
    ]


def worst_sentence(operators: Sequence[OperatorComparison]) -> str:
    """Name the least exact operators in one sentence."""
    found = [one for one in worst_first(operators) if one.sqnr_db < math.inf][:MOST_NAMED]
    if not found:
        return "Every operator puts out exactly what it does in float."
    named = ", ".join(f"{name(one)} ({one.sqnr_db:.1f} dB)" for one in found)
    return f"Least exact: {named}; errors add up along the graph."


def alone_rows(operators: Iterable[OperatorSensitivity]) -> list[tuple[str, ...]]:
    """Return a row an operator: what it changes alone in int8."""
    return [
        (name(one), output(one), f"{one.alone_int8_change:.5f}", f"{one.alone_int8_agreement:.2%}")
        for one in operators
    ]


def left_rows(operators: Iterable[OperatorSensitivity]) -> list[tuple[str, ...]]:
    """Return a row an operator: what is left of the change with it in float."""
    return [
        (name(one), output(one), f"{one.left_float_change:.5f}", f"{one.left_float_agreement:.2%}")
        for one in operators
    ]


def sensitivity_sentence(found: Insight, ranking: Sensitivity) -> str:
    """Say what was measured, how, and of how many operators."""
    measured, candidates = len(ranking.operators), ranking.candidates
    which = (
        f"all {measured} operators that compute in integers"
        if measured == candidates
        else f"the {measured} of {candidates} operators that add most noise, since all would take "
        "too long"
    )
    made = "the model's own recipe" if found.own_recipe else "edgefer's int8 recipe"
    return (
        f"By {made} on {ranking.faces} faces: the whole model in int8 changes a probability by "
        f"{ranking.int8_change:.5f} on average, with {ranking.int8_agreement:.2%} agreement. "
        f"Measured: {which}."
    )


def to_dict(found: Insight) -> dict[str, Any]:
    """Return everything as JSON-ready values."""
    ranking = found.sensitivity
    return {
        "reference": str(found.reference),
        "faces": found.faces,
        "faces_source": found.faces_source,
        "operators": operator_dicts(found.operators),
        "sensitivity": None if ranking is None else dataclasses.asdict(ranking),
        "sensitivity_recipe": None if found.recipe is None else found.recipe.to_dict(),
        "own_recipe": found.own_recipe,
        "notes": list(found.notes),
    }


def operator_dicts(operators: Iterable[OperatorComparison]) -> list[dict[str, Any]]:
    """Return the operators as JSON-ready values; an infinite SQNR, without noise, is None."""
    return [
        {
            **dataclasses.asdict(one),
            "sqnr_db": one.sqnr_db if math.isfinite(one.sqnr_db) else None,
        }
        for one in operators
    ]


def page_of(found: Insight) -> Page:
    """Return the insight as a page."""
    return Page(
        title=f"{found.model.name} against {found.reference.name}",
        verdict=worst_sentence(found.operators),
        passed=True,
        warnings=found.notes,
        tables=tuple(sections(found)),
    )


def sections(found: Insight) -> list[Section]:
    """Return the charts, each with a table of its worst operators, and then all of them."""
    ranking = found.sensitivity
    return [
        noise_section(found.operators, measured_on(found)),
        *([] if ranking is None else _sensitivity_sections(found, ranking)),
        Section(title="All operators", columns=COLUMNS, rows=tuple(rows(found.operators))),
    ]


def noise_section(
    operators: Sequence[OperatorComparison], measured_on: str, *, most: int = MOST_ROWS
) -> Section:
    """Return the chart of noise along the graph, with a table of the least exact operators."""
    worst = worst_first(operators)[:most]
    drawing = Drawing(
        drawing=insight_charts.noise_along_the_graph(operators),
        caption="Signal to quantization noise of what each operator puts out, against the float "
        "model: higher is better, and 6 dB are one bit. Errors add up along the graph. "
        f"Measured on {measured_on}.",
    )
    return Section(
        title=f"Operators against float32: {extent(len(worst), len(operators), LEAST_EXACT)}",
        columns=COLUMNS,
        rows=tuple(rows(worst)),
        figures=((drawing,),),
    )


def _sensitivity_sections(found: Insight, ranking: Sensitivity) -> list[Section]:
    facts = (("what was measured", sensitivity_sentence(found, ranking)),)
    measured = Section(title="Sensitivity of the output", rows=facts)
    if not ranking.operators:
        return [measured]
    return [
        measured,
        Section(
            title=ALONE_TITLE,
            columns=ALONE_COLUMNS,
            rows=tuple(alone_rows(ranking.by_alone_int8()[:MOST_ROWS])),
            figures=((_alone_drawing(ranking),),),
        ),
        Section(
            title=LEFT_TITLE,
            columns=ALONE_COLUMNS,
            rows=tuple(left_rows(ranking.by_left_float()[:MOST_ROWS])),
            figures=((_left_drawing(ranking),),),
        ),
    ]


def extent(shown: int, of: int, which: str) -> str:
    """Say how many operators are shown, such as the 15 `least exact`."""
    return f"all {of} operators" if shown == of else f"the {shown} {which} of {of} operators"


def measured_on(found: Insight) -> str:
    """Say which faces the operators were compared on."""
    return f"{found.faces} faces of {found.faces_source}"


def name(one: OperatorComparison | OperatorSensitivity) -> str:
    """Return an operator's position and kind."""
    return f"{one.position} {one.kind}"


def output(one: OperatorComparison | OperatorSensitivity) -> str:
    """Return the end of an output's name: converters join the names of what they fold."""
    short = "/".join(one.tensor.partition(";")[0].split("/")[-2:])
    return short if len(short) <= LONGEST_NAME else f"…{short[1 - LONGEST_NAME :]}"


def _alone_drawing(ranking: Sensitivity) -> Drawing:
    return Drawing(
        drawing=insight_charts.alone_in_int8(ranking),
        caption="What the output loses by one operator alone, the worst first"
        f"{_cut(ranking)}. Changes of single operators do not add up to that of all.",
    )


def _left_drawing(ranking: Sensitivity) -> Drawing:
    return Drawing(
        drawing=insight_charts.left_in_float(ranking),
        caption="What leaving one operator in float mends, the most helpful first"
        f"{_cut(ranking)}. Bars to the left of the line make the model more exact.",
    )


def _cut(ranking: Sensitivity) -> str:
    most = insight_charts.MOST_BARS
    return (
        f"; the first {most} of {len(ranking.operators)}" if len(ranking.operators) > most else ""
    )


def _percent(share: float | None, digits: int) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f}%"
