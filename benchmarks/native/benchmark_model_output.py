"""What benchmark_model says of a model, read from what it prints.

Two tools have that name: TensorFlow Lite's, since 2018, and LiteRT's, which is what Google
publishes today. Both print, for the warm-up and then for the runs that count,

    Running benchmark for at least 50 iterations and at least 1 seconds …
    count=50 first=11221 curr=10865 min=10698 max=12049 avg=10981.2 std=240 p5=… median=… p95=…

and differ in the summaries that follow. What is said here of their forms comes from their source,
tflite/tools/benchmark and litert/tools, and from TensorFlow's stats_calculator.h. A line that
begins like one that matters and is in none of these forms is an error; other lines are remarks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgefer.benchmarks.foreign_text import shown
from edgefer.benchmarks.native import benchmark_model_lines as tool_lines
from edgefer.benchmarks.native.benchmark_model_delegates import Delegation, read_delegations
from edgefer.benchmarks.native.benchmark_model_lines import (
    NUMBER,
    Line,
    UnknownFormError,
    matches,
    read,
)
from edgefer.benchmarks.native.benchmark_model_profile import OperatorRow, operator_rows
from edgefer.benchmarks.native.benchmark_model_statistics import RunStatistics, read_statistics
from edgefer.records import STRICT

_SECTION = re.compile(r"Running benchmark for (?:at least )?\d+ iterations\b.*")
_INIT = re.compile(rf"Initialized session in ({NUMBER})ms\.?")
_BYTES_PER_MB = 1024 * 1024

_SUMMARIES = (
    (
        "Inference timings in us:",
        re.compile(
            rf"Inference timings in us: Init: {NUMBER}, First inference: {NUMBER}, "
            rf"Warmup \(avg\): {NUMBER}, Inference \(avg\): (?P<us>{NUMBER})"
        ),
    ),
    (
        "Average inference timings in us:",
        re.compile(
            rf"Average inference timings in us: Warmup: {NUMBER}, Init: {NUMBER}, "
            rf"(?:no stats|Inference): (?P<us>{NUMBER})"
        ),
    ),
    (
        "Inference (avg):",
        re.compile(rf"Inference \(avg\): +(?P<ms>{NUMBER}) ms \(\d+ runs\)"),
    ),
)
_LITERT_SUMMARY = "BENCHMARK RESULTS"

_GROWTH = re.compile(
    r"(?:Memory footprint delta from the start of the tool|Peak memory footprint) \(MB\): "
    rf"init=({NUMBER}) overall=({NUMBER})"
)
_PEAK = re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: ({NUMBER})")
_LITERT_MEMORY = re.compile(rf"(?:Init footprint|Overall footprint|Peak memory): +({NUMBER}) MB")

_UNCONSUMED = re.compile(r"Unconsumed cmdline flags: (.*)")
_FAILED = "Benchmarking failed."


@STRICT
@dataclass(frozen=True, kw_only=True)
class MemoryGrowth:
    """By how much the most that the process ever had in memory grew since its start, bytes."""

    init_bytes: int
    overall_bytes: int
    peak_bytes: int | None
    """That most itself, where the tool was asked to watch it."""


@STRICT
@dataclass(frozen=True, kw_only=True)
class ToolReport:
    """Everything that one run of benchmark_model said."""

    init_us: float | None
    warmup: RunStatistics | None
    """None where the tool was told not to warm up."""
    inference: RunStatistics
    memory: MemoryGrowth | None
    delegations: tuple[Delegation, ...]
    operators: tuple[OperatorRow, ...]
    counts_all_runs: bool
    """Whether `calls` of the operators are those of all runs, warm-up included, not of one."""
    unconsumed_flags: tuple[str, ...]
    """What the tool doesn't know of its command line."""


def parse(output: str) -> ToolReport:
    """Read the whole output, stdout and stderr together, of a run that succeeded.

    Raises UnknownFormError, which shows the line, where something is in no known form.
    """
    lines = tool_lines.split(output)
    warmup, inference = _sections(lines)
    if inference is None:
        raise UnknownFormError("measured nothing")
    _require_same_mean(lines, inference)
    init = matches(lines, "Initialized session in", _INIT)
    return ToolReport(
        init_us=float(init[0][1]) * 1000 if init else None,
        warmup=warmup,
        inference=inference,
        memory=_memory(lines),
        delegations=read_delegations(lines),
        operators=operator_rows(lines),
        counts_all_runs=any(line.text.strip("= ") == _LITERT_SUMMARY for line in lines),
        unconsumed_flags=tuple(
            flag
            for match in matches(lines, "Unconsumed cmdline flags:", _UNCONSUMED)
            for flag in match[1].split()
        ),
    )


def failure_reason(output: str) -> str:
    """Return what the tool says of its failure: its first error, else its last words."""
    lines = [line for line in tool_lines.split(output) if line.text.strip()]
    told = [line.text for line in lines if line.severe and line.text != _FAILED]
    words = [line.text for line in lines if line.text != _FAILED]
    return shown((told or words[-1:] or [""])[0])


def _sections(lines: Sequence[Line]) -> tuple[RunStatistics | None, RunStatistics | None]:
    """Return the statistics of the warm-up and of the runs that count; None where it was no run."""
    told = [line.text for line in lines if line.text.startswith(("Running benchmark", "count="))]
    if len(told) != 4:
        raise UnknownFormError(
            "prints no statistics of warm-up and inference", told[-1] if told else None
        )
    for section in (told[0], told[2]):
        read(_SECTION, section)
    return read_statistics(told[1]), read_statistics(told[3])


def _require_same_mean(lines: Sequence[Line], inference: RunStatistics) -> None:
    """Raise UnknownFormError unless the summary tells the same mean, as far as it is printed."""
    for beginning, pattern in _SUMMARIES:
        for match in matches(lines, beginning, pattern):
            told = match.groupdict()
            mean_us = float(told["us"]) if "us" in told else float(told["ms"]) * 1000
            rounding_us = 1e-5 * inference.mean_us + (0 if "us" in told else 5)
            if abs(mean_us - inference.mean_us) > rounding_us:
                raise UnknownFormError("contradicts its own statistics", match[0])


def _memory(lines: Sequence[Line]) -> MemoryGrowth | None:
    growth = [
        *matches(lines, "Memory footprint delta", _GROWTH),
        *matches(lines, "Peak memory footprint", _GROWTH),
    ]
    peak = matches(lines, "Overall peak memory", _PEAK)
    if growth:
        return MemoryGrowth(
            init_bytes=_bytes(growth[0][1]),
            overall_bytes=_bytes(growth[0][2]),
            peak_bytes=_bytes(peak[0][1]) if peak else None,
        )
    init = matches(lines, "Init footprint:", _LITERT_MEMORY)
    overall = matches(lines, "Overall footprint:", _LITERT_MEMORY)
    peak = matches(lines, "Peak memory:", _LITERT_MEMORY)
    if not (init and overall):
        return None
    return MemoryGrowth(
        init_bytes=_bytes(init[0][1]),
        overall_bytes=_bytes(overall[0][1]),
        peak_bytes=_bytes(peak[0][1]) if peak else None,
    )


def _bytes(megabytes: str) -> int:
    return round(float(megabytes) * _BYTES_PER_MB)
