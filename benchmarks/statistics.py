"""Statistics of a measurement's latencies: pure functions on its processes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from edgefer.benchmarks.early_stopping import early_stopping_percentile
from edgefer.benchmarks.intervals import latency_limits, ratio_limits
from edgefer.benchmarks.result import Measurement, ProcessRun, Summary


class Figure(StrEnum):
    """What stands for a measurement's latency."""

    MEDIAN = "median"
    MEAN = "mean"
    """Where benchmark_model printed no median."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A 95% interval."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A ratio of two latencies; the interval is None where either has a single process."""

    value: float
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class LatencyStatistics:
    """What a measurement's runs and processes say; times of runs are in microseconds.

    `median_us`, `mad_us` and the percentiles are None where the tool gave no single runs and
    did not print them either.
    """

    runs: int
    process_us: tuple[float, ...]
    """Each process's median, or its mean where `figure` says so."""
    median_us: float | None
    interval_us: Interval | None
    """Of the median, or of the mean where `figure` says so; None for a single process."""
    minimum_us: float
    mean_us: float
    std_us: float
    """Sample standard deviation; 0 for a single run."""
    mad_us: float | None
    """Median absolute deviation from the median, not scaled to a standard deviation."""
    p90_us: float | None
    """With 99% confidence, 90% of all runs take no longer; None under 64 runs."""
    p99_us: float | None
    """With 99% confidence, 99% of all runs take no longer; None under 662 runs."""
    cold_load_ms: float | None
    """This and the next two are medians over processes."""
    warm_load_ms: float | None
    first_inference_us: float

    @property
    def processes(self) -> int:
        """How many processes were measured."""
        return len(self.process_us)

    @property
    def figure(self) -> Figure:
        """What `latency_us`, `interval_us` and `process_us` are."""
        return Figure.MEAN if self.median_us is None else Figure.MEDIAN

    @property
    def latency_us(self) -> float:
        """The median of all runs, or their mean where there is no median."""
        return self.mean_us if self.median_us is None else self.median_us

    @property
    def frames_per_second(self) -> float:
        """How many runs fit in a second, one after the other, by `latency_us`."""
        return 1e6 / self.latency_us


def latency_statistics(measurement: Measurement) -> LatencyStatistics | None:
    """Return a measurement's statistics; None where no process finished a run."""
    with_runs = [process for process in measurement.processes if process.latencies_us]
    if with_runs:
        return _of_runs(with_runs)
    with_summary = [
        (process, process.summary)
        for process in measurement.processes
        if process.summary is not None and process.summary.count > 0
    ]
    return _of_summaries(with_summary) if with_summary else None


def ratio(numerator: LatencyStatistics, denominator: LatencyStatistics) -> Ratio:
    """Return how many times the denominator's latency the numerator's is."""
    value = numerator.latency_us / denominator.latency_us
    if min(numerator.processes, denominator.processes) < 2:
        return Ratio(value=value, interval=None)
    low, high = ratio_limits(value, numerator.process_us, denominator.process_us)
    return Ratio(value=value, interval=Interval(low=low, high=high))


def _of_runs(processes: Sequence[ProcessRun]) -> LatencyStatistics:
    from scipy.stats import median_abs_deviation

    single = [np.asarray(process.latencies_us) for process in processes]
    ordered = np.sort(np.concatenate(single))
    middle = float(np.median(ordered))
    process_us = tuple(float(np.median(runs)) for runs in single)
    return LatencyStatistics(
        runs=len(ordered),
        process_us=process_us,
        median_us=middle,
        interval_us=_interval(middle, process_us),
        minimum_us=float(ordered[0]),
        mean_us=float(ordered.mean()),
        std_us=float(ordered.std(ddof=1)) if len(ordered) > 1 else 0.0,
        mad_us=float(median_abs_deviation(ordered)),
        p90_us=early_stopping_percentile(ordered, 0.90),
        p99_us=early_stopping_percentile(ordered, 0.99),
        cold_load_ms=_median(process.cold_load_ms for process in processes),
        warm_load_ms=_median(process.warm_load_ms for process in processes),
        first_inference_us=float(np.median([p.first_inference_us for p in processes])),
    )


def _of_summaries(measured: Sequence[tuple[ProcessRun, Summary]]) -> LatencyStatistics:
    """Combine the tool's figures; the median is the processes' median, if all printed one."""
    processes, summaries = zip(*measured, strict=True)
    medians = tuple(s.median_us for s in summaries if s.median_us is not None)
    middle = float(np.median(medians)) if len(medians) == len(summaries) else None
    process_us = tuple(s.mean_us for s in summaries) if middle is None else medians
    mean, std = _combined(summaries)
    return LatencyStatistics(
        runs=sum(summary.count for summary in summaries),
        process_us=process_us,
        median_us=middle,
        interval_us=_interval(mean if middle is None else middle, process_us),
        minimum_us=min(summary.minimum_us for summary in summaries),
        mean_us=mean,
        std_us=std,
        mad_us=None,
        p90_us=None,
        p99_us=None,
        cold_load_ms=_median(process.cold_load_ms for process in processes),
        warm_load_ms=_median(process.warm_load_ms for process in processes),
        first_inference_us=float(np.median([p.first_inference_us for p in processes])),
    )


def _combined(summaries: Sequence[Summary]) -> tuple[float, float]:
    """Return the mean and sample standard deviation of all processes' runs together.

    benchmark_model divides by the number of runs in its own (tsl/util/stats_calculator.h).
    """
    runs = sum(summary.count for summary in summaries)
    mean = sum(summary.count * summary.mean_us for summary in summaries) / runs
    squares = sum(s.count * (s.std_us**2 + (s.mean_us - mean) ** 2) for s in summaries)
    return mean, math.sqrt(squares / (runs - 1)) if runs > 1 else 0.0


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _interval(value: float, process_us: Sequence[float]) -> Interval | None:
    if len(process_us) < 2:
        return None
    low, high = latency_limits(value, process_us)
    return Interval(low=low, high=high)
