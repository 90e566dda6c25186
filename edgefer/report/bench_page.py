"""A benchmark as a page with charts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgefer.benchmarks.result import BenchResult, DeviceResult, Measurement
from edgefer.benchmarks.statistics import LatencyStatistics
from edgefer.benchmarks.warnings.kinds import thread_count
from edgefer.report import bench_charts
from edgefer.report.bench import (
    PROFILE_COLUMNS,
    by_type,
    heading,
    measured,
    milliseconds,
    problems,
    short_name,
    tables,
    warnings,
)
from edgefer.report.page import Drawing, Page, Section


def page_of(result: BenchResult) -> Page:
    """Return the benchmark as a page."""
    failed = [problem for device in result.devices for problem in problems(device)]
    fastest = min(
        (
            (statistics.latency_us, measurement, device)
            for device in result.devices
            for measurement, statistics in measured(device)
        ),
        key=lambda found: found[0],
        default=None,
    )
    verdict = "Nothing was measured."
    if fastest is not None:
        latency_us, measurement, device = fastest
        verdict = (
            f"Fastest: {measurement.model.name} on {device.address}, "
            f"{milliseconds(latency_us)} ms with {thread_count(measurement.threads)}"
        )
    return Page(
        title="Latency on devices",
        verdict=verdict,
        passed=not failed,
        warnings=(
            *failed,
            *(text for device in result.devices for text in warnings(device, result)),
        ),
        tables=tuple(section for device in result.devices for section in _sections(device)),
    )


def _sections(device: DeviceResult) -> Iterator[Section]:
    found = measured(device)
    for number, table in enumerate(tables(device)):
        figures: tuple[tuple[Drawing, ...], ...] = ()
        if number == 0 and found:
            figures = (_latency_drawings(found),)
        elif table.columns is PROFILE_COLUMNS:
            figures = (_profile_drawing(device),)
        yield Section(
            title=f"{heading(device)}: {table.title}" if number == 0 else table.title,
            columns=table.columns,
            rows=table.rows,
            figures=figures,
        )


def _latency_drawings(
    measured: Sequence[tuple[Measurement, LatencyStatistics]],
) -> tuple[Drawing, ...]:
    names = [_name(measurement) for measurement, _ in measured]
    found = [
        Drawing(
            drawing=bench_charts.medians(names, [_bar(statistics) for _, statistics in measured]),
            caption="Latency of each model.",
        )
    ]
    runs = [[process.latencies_us for process in m.processes] for m, _ in measured]
    if all(single for processes in runs for single in processes):
        found.append(
            Drawing(
                drawing=bench_charts.latencies(names, runs),
                caption="Every run in the order it was measured, process by process.",
            )
        )
    return tuple(found)


def _profile_drawing(device: DeviceResult) -> tuple[Drawing, ...]:
    first = device.measurements[0].threads
    profiled = [
        (m, m.profile) for m in device.measurements if m.profile is not None and m.threads == first
    ]
    parts = []
    for _, profile in profiled:
        rows = by_type(profile)
        whole = sum(row.total_us for row in rows) or 1.0
        parts.append({row.kind: row.total_us / whole for row in rows})
    return (
        Drawing(
            drawing=bench_charts.shares([_name(m) for m, _ in profiled], parts),
            caption="Where each model's time goes, by type of operator or kernel.",
        ),
    )


def _bar(statistics: LatencyStatistics) -> tuple[float, float, float]:
    interval = statistics.interval_us
    middle = statistics.latency_us
    low, high = (interval.low, interval.high) if interval else (middle, middle)
    return middle / 1000, low / 1000, high / 1000


def _name(measurement: Measurement) -> str:
    return f"{short_name(measurement)}, {thread_count(measurement.threads)}"
