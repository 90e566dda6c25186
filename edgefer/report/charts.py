"""Charts as SVG text, to stand inside a page or beside a result."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgefer.errors import MissingExtraError
from edgefer.evaluation.metrics import Accuracy
from edgefer.training.records import EpochRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito 2008: told apart with any kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def accuracies(names: Sequence[str], values: Sequence[Accuracy]) -> str:
    """Draw each model's accuracy with its 95% interval, in percent."""
    figure, axes = canvas(6.4, 0.9 + 0.42 * len(names))
    for row, accuracy in enumerate(values):
        percent = 100 * accuracy.value
        below, above = percent - 100 * accuracy.low, 100 * accuracy.high - percent
        colour = COLOURS[row % len(COLOURS)]
        axes.errorbar(percent, row, xerr=[[below], [above]], fmt="o", color=colour, capsize=4)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("accuracy, % (bars: 95% interval)")
    axes.grid(axis="x", alpha=0.3)
    return svg(figure)


def recalls(
    names: Sequence[str], labels: Sequence[str], values: Sequence[Sequence[float | None]]
) -> str:
    """Draw the recall of each class as bars, one for each model; an absent class has none."""
    figure, axes = canvas(7.2, 3.2 + 0.25 * (len(names) // 3))
    width = 0.8 / len(names)
    for index, (name, recall) in enumerate(zip(names, values, strict=True)):
        places = np.arange(len(labels)) + (index - (len(names) - 1) / 2) * width
        heights = [0.0 if value is None else 100 * value for value in recall]
        axes.bar(places, heights, width, label=name, color=COLOURS[index % len(COLOURS)])
    axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right")
    axes.set_ylim(0, 100)
    axes.set_ylabel("recall, %")
    axes.grid(axis="y", alpha=0.3)
    figure.legend(frameon=False, ncols=min(len(names), 3), loc="outside upper center")
    return svg(figure)


def confusion(title: str, labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Draw a confusion matrix: a row a true class, shaded by its share of the row."""
    table = np.asarray(counts, np.float64)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    figure, axes = canvas(4.6, 4.4)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(table):
        dark = shares[row, column] > 0.5
        axes.text(
            column, row, f"{count:.0f}", ha="center", va="center", fontsize=8,
            color="white" if dark else "black",
        )  # fmt: skip
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("answer")
    axes.set_ylabel("true class")
    axes.set_title(title, fontsize=10)
    return svg(figure)


def training_curve(records: Sequence[EpochRecord]) -> str:
    """Draw training and validation accuracy and loss over all epochs."""
    figure, axes = canvas(7.2, 3.2)
    epochs = range(1, len(records) + 1)
    axes.plot(epochs, [100 * r.accuracy for r in records], color=COLOURS[0], label="training")
    validation = [100 * r.validation_accuracy for r in records]
    axes.plot(epochs, validation, color=COLOURS[1], label="validation")
    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy, %")
    axes.grid(alpha=0.3)
    losses = axes.twinx()
    losses.plot(epochs, [r.loss for r in records], color=COLOURS[0], ls=":", label="training loss")
    losses.set_ylabel("loss (dotted)")
    axes.legend(frameon=False, loc="center right")
    return svg(figure)


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty drawing of this size in inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise MissingExtraError("a chart", "convert") from exc
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def svg(figure: Figure) -> str:
    """Return the figure without the XML prolog, the same bytes for the same data."""
    import matplotlib as mpl

    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "edgefer", "svg.fonttype": "path"}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", metadata=nothing, transparent=False)
    whole = text.getvalue()
    return whole[whole.index("<svg") :]
