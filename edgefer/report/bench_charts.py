"""Charts of a benchmark, as SVG text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgefer.report.charts import COLOURS, canvas, svg

MOST_POINTS = 1500
"""Single runs drawn of one model; more are thinned out evenly."""

OUTLIER = 4
"""Runs that take longer than so many times the slowest model's median lie above the drawing."""


def latencies(names: Sequence[str], processes: Sequence[Sequence[Sequence[float]]]) -> str:
    """Draw every run's latency in ms in the order it was measured, a colour a model.

    `processes` holds for each name the runs of each process, in µs; a line parts two processes.
    A device that throttles shows as a step, background work as a cloud above the rest.
    """
    figure, axes = canvas(7.2, 3.4)
    for index, (name, runs) in enumerate(zip(names, processes, strict=True)):
        colour = COLOURS[index % len(COLOURS)]
        places, values = _in_order(runs)
        axes.plot(places, values, ".", ms=2, alpha=0.6, color=colour, label=name)
    for border in range(1, max(len(runs) for runs in processes)):
        axes.axvline(border, color="0.8", lw=0.8)
    axes.set_xticks([])
    axes.set_xlabel("runs in order; lines part processes")
    axes.set_ylabel("latency, ms")
    middles = [np.median([run for single in runs for run in single]) for runs in processes]
    axes.set_ylim(0, OUTLIER * max(middles) / 1000)
    axes.grid(axis="y", alpha=0.3)
    figure.legend(
        frameon=False, ncols=min(len(names), 3), loc="outside upper center", markerscale=5
    )
    return svg(figure)


def medians(names: Sequence[str], values: Sequence[tuple[float, float, float]]) -> str:
    """Draw medians in ms as bars, with their 95% intervals; `values` are (median, low, high)."""
    figure, axes = canvas(6.4, 0.9 + 0.42 * len(names))
    for row, (median, low, high) in enumerate(values):
        axes.barh(row, median, color=COLOURS[row % len(COLOURS)], height=0.6)
        axes.plot([low, high], [row, row], color="black", lw=1.5)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    # A wide interval of few processes would leave nothing to see of the bars.
    axes.set_xlim(0, 2 * max(median for median, _, _ in values))
    axes.set_xlabel("median latency, ms (line: 95% interval)")
    axes.grid(axis="x", alpha=0.3)
    return svg(figure)


def shares(names: Sequence[str], parts: Sequence[Mapping[str, float]]) -> str:
    """Draw where the time goes: for each name a bar of its operator types' shares, 0…1."""
    totals: dict[str, float] = {}
    for part in parts:
        for kind, share in part.items():
            totals[kind] = totals.get(kind, 0.0) + share
    kinds = sorted(totals, key=lambda kind: -totals[kind])
    shown = kinds[: len(COLOURS)]
    figure, axes = canvas(7.2, 1.4 + 0.42 * len(names))
    left = np.zeros(len(names))
    for index, kind in enumerate(shown):
        widths = np.array([100 * part.get(kind, 0.0) for part in parts])
        axes.barh(
            range(len(names)), widths, left=left, label=kind, color=COLOURS[index], height=0.6
        )
        left += widths
    if len(kinds) > len(shown):
        axes.barh(range(len(names)), 100 - left, left=left, label="others", color="0.7", height=0.6)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the operators' time, %")
    figure.legend(frameon=False, ncols=3, loc="outside upper center", fontsize=8)
    return svg(figure)


def _in_order(processes: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
    """Return places (process number and fraction) and ms, thinned to `MOST_POINTS`."""
    total = sum(len(runs) for runs in processes)
    step = max(1, -(-total // MOST_POINTS))
    places: list[float] = []
    values: list[float] = []
    for number, runs in enumerate(processes):
        for position in range(0, len(runs), step):
            places.append(number + (position + 0.5) / len(runs))
            values.append(runs[position] / 1000)
    return places, values
