"""Charts of where quantization hurts a model, as SVG text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgefer.converters.insight.comparison import OperatorComparison
from edgefer.converters.insight.sensitivity import OperatorSensitivity, Sensitivity
from edgefer.report.charts import COLOURS, canvas, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BARS = 20
MOST_NUMBERED = 5
MOST_NUMBERS_ALONG = 30
OTHERS = "0.6"
MARKERS = "osD^vP"


def noise_along_the_graph(operators: Sequence[OperatorComparison]) -> str:
    """Draw the SQNR of each operator's output in dB, in the graph's order, a colour a kind.

    The least exact ones are numbered. An output without any noise has no place on the scale: it is
    left out.
    """
    shown = [one for one in operators if math.isfinite(one.sqnr_db)]
    kinds = [one.kind for one in shown]
    figure, axes = canvas(7.6, 3.9)
    places = [one.position for one in shown]
    axes.plot(places, [one.sqnr_db for one in shown], color="0.8", lw=1, zorder=1)
    for kind, (colour, marker) in _looks(kinds).items():
        points = [
            (one.position, one.sqnr_db) for one in shown if _shown_kind(one.kind, kinds) == kind
        ]
        axes.plot(*zip(*points, strict=True), marker, ms=5, color=colour, label=kind)
    _number_worst(axes, shown)
    axes.margins(y=0.15)
    axes.set_xlabel("position of the operator")
    axes.set_ylabel("SQNR of the output, dB")
    axes.grid(axis="y", alpha=0.3)
    if shown:
        figure.legend(frameon=False, ncols=4, loc="outside upper center", fontsize=8)
    return svg(figure)


def alone_in_int8(found: Sensitivity) -> str:
    """Draw what each operator alone in int8 changes, the worst first, beside the whole in int8."""
    operators = found.by_alone_int8()[:MOST_BARS]
    return _bars(
        found,
        operators,
        [one.alone_int8_change for one in operators],
        "mean |Δp| with this operator alone in int8",
    )


def left_in_float(found: Sensitivity) -> str:
    """Draw what is left of the change with each operator in float, the one that mends most first.

    Bars begin at the change of the whole model in int8: to the left is better.
    """
    operators = found.by_left_float()[:MOST_BARS]
    return _bars(
        found,
        operators,
        [one.left_float_change for one in operators],
        "mean |Δp| with this operator alone left in float",
        from_whole=True,
    )


def _bars(
    found: Sensitivity,
    operators: Sequence[OperatorSensitivity],
    changes: Sequence[float],
    label: str,
    *,
    from_whole: bool = False,
) -> str:
    figure, axes = canvas(7.6, 1.1 + 0.24 * len(operators))
    kinds = [one.kind for one in found.operators]
    looks, whole = _looks(kinds), found.int8_change
    start = whole if from_whole else 0.0
    for row, (one, change) in enumerate(zip(operators, changes, strict=True)):
        colour = looks[_shown_kind(one.kind, kinds)][0]
        axes.barh(row, change - start, left=start, height=0.7, color=colour)
    axes.axvline(whole, color="black", lw=1, ls="--", label="all operators in int8")
    axes.set_yticks(
        range(len(operators)), [f"{one.position} {one.kind}" for one in operators], fontsize=8
    )
    axes.set_ylim(len(operators) - 0.5, -0.5)
    axes.set_xlabel(label)
    axes.set_axisbelow(True)
    axes.grid(axis="x", alpha=0.3)
    figure.legend(frameon=False, loc="outside upper right", fontsize=8)
    return svg(figure)


def _looks(kinds: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return a colour and a marker for each of the commonest kinds, and gray for the others."""
    common = [kind for kind, _ in Counter(kinds).most_common(len(COLOURS))]
    looks = dict(zip(common, zip(COLOURS, MARKERS, strict=True), strict=False))
    if set(kinds) - set(common):
        looks["others"] = OTHERS, "."
    return looks


def _shown_kind(kind: str, kinds: Sequence[str]) -> str:
    return kind if kind in _looks(kinds) else "others"


def _number_worst(axes: Axes, shown: Sequence[OperatorComparison]) -> None:
    """Write the positions of the least exact operators below their points, where there is room."""
    room = max((one.position for one in shown), default=0) / MOST_NUMBERS_ALONG
    numbered: list[int] = []
    for one in sorted(shown, key=lambda one: one.sqnr_db):
        is_free = all(abs(one.position - other) > room for other in numbered)
        if len(numbered) < MOST_NUMBERED and is_free:
            numbered.append(one.position)
            axes.annotate(
                str(one.position),
                (one.position, one.sqnr_db),
                xytext=(0, -12),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
