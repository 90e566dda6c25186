"""A benchmark for other programs: CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from edgefer.benchmarks.result import BenchResult, DeviceResult, Measurement
from edgefer.benchmarks.statistics import LatencyStatistics, latency_statistics
from edgefer.benchmarks.warnings.rules import warnings_of
from edgefer.records import to_dict
from edgefer.report.bench import heading, model_memory, problems, tables, warnings

CSV_COLUMNS = (
    "device", "name", "soc", "emulated", "runtime", "model", "sha256", "precision", "size_bytes",
    "multiply_accumulates", "threads", "cpus", "processes", "runs", "figure", "latency_us",
    "low_us", "high_us", "p90_us", "p99_us", "minimum_us", "mean_us", "std_us", "mad_us",
    "frames_per_second", "first_inference_us", "cold_load_ms", "warm_load_ms", "memory_bytes",
    "peak_memory_bytes", "delegated_share", "partitions", "agreement", "problem",
)  # fmt: skip


def as_csv(result: BenchResult) -> str:
    """Return a row a measurement with everything in plain units."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(summary_rows(result))
    return text.getvalue()


def summary_rows(result: BenchResult) -> list[dict[str, object]]:
    """Return a row a measurement: what it was, and its statistics in plain units."""
    return [
        _csv_row(device, measurement)
        for device in result.devices
        for measurement in device.measurements
    ]


def as_dict(result: BenchResult) -> dict[str, object]:
    """Return everything as JSON-ready values: the saved result, statistics and warnings."""
    warned = [
        {
            "device": device.address,
            "kind": str(warning.kind),
            "model": warning.model,
            "threads": warning.threads,
            "finding": warning.finding,
            "hint": warning.hint,
        }
        for device in result.devices
        for warning in warnings_of(device, result)
    ]
    return {**to_dict(result), "summary": summary_rows(result), "warnings": warned}


def as_markdown(result: BenchResult) -> str:
    """Return the tables people see, as Markdown."""
    lines: list[str] = []
    for device in result.devices:
        lines += [f"### {_markdown(heading(device))}", ""]
        for table in tables(device):
            lines += [f"{table.title}:", ""]
            aligned = ["---"] * table.text_columns + ["---:"] * (
                len(table.columns) - table.text_columns
            )
            lines += [_markdown_row(table.columns), _markdown_row(aligned)]
            lines += [_markdown_row([_markdown(cell) for cell in row]) for row in table.rows]
            lines.append("")
        lines += [f"- {_markdown(text)}" for text in [*problems(device), *warnings(device, result)]]
        lines.append("")
    return "\n".join(lines)


def _csv_row(device: DeviceResult, measurement: Measurement) -> dict[str, object]:
    known, model = device.description, measurement.model
    row: dict[str, object] = {
        "device": device.address,
        "name": known and known.name,
        "soc": known and known.soc,
        "emulated": known and known.emulated,
        "runtime": device.runtime,
        "model": model.name,
        "sha256": model.sha256,
        "precision": model.precision,
        "size_bytes": model.size_bytes,
        "multiply_accumulates": model.multiply_accumulates,
        "threads": measurement.threads,
        "cpus": " ".join(map(str, measurement.cpus)),
        "processes": len(measurement.processes),
        "memory_bytes": model_memory(measurement),
        "peak_memory_bytes": max(
            (p.memory.peak_bytes for p in measurement.processes if p.memory.peak_bytes),
            default=None,
        ),
        "delegated_share": measurement.profile and measurement.profile.delegated_share,
        "partitions": measurement.profile and measurement.profile.partitions,
        "agreement": measurement.verification and str(measurement.verification.agreement),
        "problem": measurement.problem or device.problem,
    }
    statistics = latency_statistics(measurement)
    if statistics is not None:
        row |= _csv_statistics(statistics)
    return row


def _csv_statistics(statistics: LatencyStatistics) -> dict[str, object]:
    interval = statistics.interval_us
    same = (
        "runs", "latency_us", "p90_us", "p99_us", "minimum_us", "mean_us", "std_us", "mad_us",
        "frames_per_second", "first_inference_us", "cold_load_ms", "warm_load_ms",
    )  # fmt: skip
    return {
        **{name: getattr(statistics, name) for name in same},
        "figure": str(statistics.figure),
        "low_us": interval and interval.low,
        "high_us": interval and interval.high,
    }


def _markdown(text: str) -> str:
    escaped = "".join(f"\\{c}" if c in "\\`*_{}[]<>#|!~" else c for c in text)
    return "".join(c if c.isprintable() else " " for c in escaped)


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
