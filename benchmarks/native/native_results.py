"""What benchmark_model says, as this project's records."""

from __future__ import annotations

from collections import Counter

from edgefer.benchmarks.native.benchmark_model_output import ToolReport
from edgefer.benchmarks.native.benchmark_model_profile import OperatorRow
from edgefer.benchmarks.native.benchmark_model_statistics import RunStatistics
from edgefer.benchmarks.result import Memory, Profile, ProfiledOperator, Summary

XNNPACK = "XNNPACK"

STILL_FASTER = 0.05
"""The runs that count may be faster than the warm-up by this share, if that was long enough."""


def summary(runs: RunStatistics) -> Summary:
    """Return the statistics of the runs that count."""
    return Summary(
        count=runs.count,
        minimum_us=runs.minimum_us,
        maximum_us=runs.maximum_us,
        mean_us=runs.mean_us,
        std_us=runs.std_us,
        median_us=runs.median_us,
        p95_us=runs.p95_us,
    )


def memory(report: ToolReport) -> Memory:
    """Return the process's memory: each is the most that it had until then.

    The tool tells growth, and from TensorFlow 2.6 on the peak, from which the start follows. Its
    Linux source is getrusage's ru_maxrss (tflite/profiling/memory_info.cc).
    """
    told = report.memory
    if told is None or told.peak_bytes is None:
        return Memory(before_bytes=None, loaded_bytes=None, peak_bytes=None)
    before_bytes = told.peak_bytes - told.overall_bytes
    return Memory(
        before_bytes=before_bytes,
        loaded_bytes=before_bytes + told.init_bytes,
        peak_bytes=told.peak_bytes,
    )


def steady(report: ToolReport) -> bool:
    """Say whether the runs that count were no faster than the warm-up after its first run."""
    warmup = report.warmup
    if warmup is None or warmup.count < 2:
        return False
    later_us = (warmup.mean_us * warmup.count - warmup.first_us) / (warmup.count - 1)
    return report.inference.mean_us >= later_us * (1 - STILL_FASTER)


def profile(report: ToolReport) -> Profile:
    """Return the profile; the report has one."""
    runs = report.inference.count
    if report.counts_all_runs:
        runs += report.warmup.count if report.warmup else 0
    operators = tuple(
        ProfiledOperator(
            position=position,
            kernel=row.kernel,
            type=_type(row),
            delegated=row.delegated,
            mean_us=row.mean_us * row.calls / (runs if report.counts_all_runs else 1),
        )
        for position, row in enumerate(report.operators)
    )
    whole_us = sum(operator.mean_us for operator in operators)
    delegated_us = sum(operator.mean_us for operator in operators if operator.delegated)
    return Profile(
        operators=operators,
        runs=runs,
        total_us=report.inference.mean_us,
        delegate=XNNPACK if any(operator.delegated for operator in operators) else None,
        partitions=_stretches(report),
        delegated_share=delegated_us / whole_us if whole_us else 0.0,
        left_out=dict(Counter(operator.type for operator in operators if not operator.delegated)),
    )


def _type(row: OperatorRow) -> str:
    """Cut off what tells a kernel from its kind, or what an operator adds to its name."""
    return row.kernel.partition(" (" if row.delegated else "/")[0]


def _stretches(report: ToolReport) -> int | None:
    """Return how many pieces of the graph XNNPACK runs.

    A tool that doesn't say so tells of how many pieces the graph consists. They are XNNPACK's and
    others in turn (PartitionGraphIntoIndependentNodeSubsets in tflite/graph_info.cc), so that half
    of them are its own, and of an odd number one more where it begins.
    """
    said = [told for told in report.delegations if XNNPACK.lower() in told.name.lower()]
    exact = [told.stretches for told in said if told.stretches is not None]
    if exact:
        return exact[-1]
    pieces = [told.partitions for told in said if told.partitions is not None]
    if not pieces:
        return None
    return (pieces[-1] + report.operators[0].delegated) // 2
