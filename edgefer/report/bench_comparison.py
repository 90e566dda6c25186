"""Two benchmarks side by side as rows of text."""

from __future__ import annotations

from collections.abc import Iterator

from edgefer.benchmarks.comparison.compare import ComparedModel, Comparison
from edgefer.report.bench import milliseconds

COLUMNS = ("model", "device", "threads", "old ms", "new ms", "change", "95% interval", "verdict")


def rows(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    """Yield a row a model, device and number of threads."""
    for model in comparison.models:
        interval = model.ratio.interval
        yield (
            model.model,
            model.device,
            str(model.threads),
            milliseconds(model.old.latency_us),
            milliseconds(model.new.latency_us),
            _change(model.ratio.value),
            f"{_change(interval.low)}…{_change(interval.high)}" if interval else "–",
            _verdict(model),
        )


def remarks(comparison: Comparison) -> list[str]:
    """Return what a reader has to know besides the table."""
    changed = [m.model for m in comparison.models if m.file_changed]
    return [
        *(f"the circumstances differ: {text}" for text in comparison.differences),
        *(f"{name} is another file than before" for name in dict.fromkeys(changed)),
        *(f"only in the old result: {name}" for name in comparison.only_old),
        *(f"only in the new result: {name}" for name in comparison.only_new),
        *(f"not compared: {text}" for text in comparison.not_compared),
    ]


def _change(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f}%"


def _verdict(model: ComparedModel) -> str:
    return f"{model.verdict}, beyond the limit" if model.regression else str(model.verdict)
