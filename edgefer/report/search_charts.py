"""Charts of what a search tried, as SVG text: drop against what it costs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgefer.converters.search.budget import Verdict
from edgefer.converters.search.candidate import Candidate, SearchResult
from edgefer.converters.search.choosing import pareto
from edgefer.report.charts import COLOURS, canvas, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS = {
    Verdict.WITHIN: (COLOURS[2], "o", "within the budget"),
    Verdict.OPEN: (COLOURS[0], "s", "open: too few faces to tell"),
    Verdict.BEYOND: (COLOURS[1], "D", "beyond the budget"),
}
MARGIN = 0.15
SIDE_BY_SIDE = 0.35
"""Of the space between two costs, what equal ones are spread over."""

LEAST_ROOM = 0.04
"""Of the whole width, which candidates of one cost get even where another cost is near."""

FAR = 3.0
"""Drops beyond so many times the budget or the end of the taken one's interval are cut off."""


def drop_against_latency(found: SearchResult) -> str:
    """Draw each measured candidate's drop with its 95% interval against its latency in ms."""
    return _scatter(found, [one.latency_ms for one in found.candidates], "latency, ms")


def drop_against_size(found: SearchResult) -> str:
    """Draw each candidate's drop with its 95% interval against its size in MB.

    Sizes of the same three digits, which differ by what files say of themselves, are the same.
    """
    sizes = [float(f"{one.size_bytes / 1e6:.3g}") for one in found.candidates]
    return _scatter(found, sizes, "size, MB")


def _scatter(found: SearchResult, costs: Sequence[float | None], label: str) -> str:
    figure, axes = canvas(5.6, 4.2)
    places = _places(costs)
    top = _top(found)
    _draw_front(axes, found, costs, places)
    for verdict in _present(found):
        colour, marker, meaning = LOOKS[verdict]
        shown = [i for i in places if found.candidates[i].verdict is verdict]
        axes.plot([], [], marker, color=colour, label=meaning)
        for position in shown:
            _draw(axes, found.candidates[position], places[position], top, colour, marker)
    if found.chosen in places:
        _ring(axes, found.choice, places[found.chosen], top)
    axes.axhline(found.max_drop_points, color="black", lw=1, ls="--", label="budget")
    axes.axhline(0, color="0.8", lw=0.8, zorder=0)
    axes.set_ylim(top=top)
    _mark_costs(axes, {cost for cost in costs if cost is not None})
    axes.set_xlabel(label)
    axes.set_ylabel("drop, points (bars: 95% interval)")
    axes.grid(alpha=0.3)
    figure.legend(frameon=False, ncols=2, loc="outside upper center", fontsize=8)
    return svg(figure)


def _draw(axes: Axes, one: Candidate, place: float, top: float, colour: str, marker: str) -> None:
    """Draw a candidate; one that loses more than there is room for is an arrow at the top."""
    lost = one.comparison
    if lost.drop_points > top:
        axes.plot(place, top, "^", color=colour, ms=7, clip_on=False)
        return
    ends = [
        [max(lost.drop_points - lost.drop_low_points, 0)],
        [max(lost.drop_high_points - lost.drop_points, 0)],
    ]
    axes.errorbar(
        place, lost.drop_points, yerr=ends, fmt=marker, ms=5, color=colour, capsize=2, lw=1
    )


def _ring(axes: Axes, one: Candidate, place: float, top: float) -> None:
    height = min(one.comparison.drop_points, top)
    axes.plot(
        place, height, "o", ms=13, mfc="none", mec="black", mew=1.5, ls="", label="taken", zorder=5
    )


def _draw_front(
    axes: Axes, found: SearchResult, costs: Sequence[float | None], places: dict[int, float]
) -> None:
    """Draw the front through the upper ends of its intervals, by which it is one."""
    front = pareto(found.candidates, costs)
    ends = [found.candidates[i].comparison.drop_high_points for i in front]
    axes.plot(
        [places[i] for i in front],
        ends,
        ":",
        color="0.35",
        lw=1.5,
        marker="_",
        label="Pareto front",
    )


def _mark_costs(axes: Axes, costs: set[float]) -> None:
    """Label the costs that there are, where there is room, and leave some at both ends."""
    known = sorted(costs)
    margin = MARGIN * ((known[-1] - known[0]) or known[-1])
    axes.set_xlim(known[0] - margin, known[-1] + margin)
    steps = [after - before for before, after in itertools.pairwise(known)]
    if min(steps, default=margin) >= margin / 2:
        axes.set_xticks(known, [f"{cost:.3g}" for cost in known])


def _present(found: SearchResult) -> list[Verdict]:
    return [one for one in Verdict if any(c.verdict is one for c in found.candidates)]


def _places(costs: Sequence[float | None]) -> dict[int, float]:
    """Return where candidates stand: equal costs side by side, in the order they were tried."""
    known = sorted({cost for cost in costs if cost is not None})
    steps = [after - before for before, after in itertools.pairwise(known)]
    room = SIDE_BY_SIDE * min(steps, default=MARGIN * max(known, default=1.0))
    if steps:
        room = max(room, LEAST_ROOM * (known[-1] - known[0]))
    places = {}
    for cost in known:
        equal = [i for i, one in enumerate(costs) if one == cost]
        for number, position in enumerate(equal):
            places[position] = cost + room * ((number + 0.5) / len(equal) - 0.5)
    return places


def _top(found: SearchResult) -> float:
    """Return the largest drop that is drawn at its own height."""
    ends = [one.comparison.drop_high_points for one in found.candidates]
    far = FAR * max(found.max_drop_points, found.choice.comparison.drop_high_points)
    return 1.05 * min(max(*ends, found.max_drop_points), max(far, 0.1))
