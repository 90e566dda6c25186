"""Warnings about single measurements: their spread, their first run, their delegate."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgefer.benchmarks.plan import ALL_CORES
from edgefer.benchmarks.result import BenchResult, DeviceResult, Measurement, ProcessRun
from edgefer.benchmarks.statistics import latency_statistics
from edgefer.benchmarks.warnings.kinds import BenchWarning, WarningKind, milliseconds

LARGEST_RUN_SPREAD = 0.10
"""Of the median; pyperf's limit for the standard deviation over the mean (pyperf check)."""

LARGEST_PROCESS_SPREAD = 0.05
"""MLPerf: a repeated run is within 5%."""

SLOW_FIRST_RUN = 2.0
"""First inference over the median; kernels that only fill their caches stay well under it."""

MOST_PARTITIONS = 3
"""What TensorFlow Lite's NNAPI delegate keeps by default (nnapi_delegate.h)."""

PROCESSES_BY_DEFAULT = 3

NORMAL_DECILES = 2.563
"""The normal distribution's 10th and 90th percentiles are so many standard deviations apart."""


def unstable_runs(device: DeviceResult, result: BenchResult) -> Iterator[BenchWarning]:
    """Warn where the runs of a process scatter widely."""
    for measurement in device.measurements:
        spreads = [s for p in measurement.processes if (s := _spread(p)) is not None]
        if spreads and (spread := float(np.median(spreads))) > LARGEST_RUN_SPREAD:
            kinds_of_cores = len(device.description.clusters) if device.description else 1
            yield _warning(
                measurement,
                WarningKind.UNSTABLE_RUNS,
                f"runs of a process scatter by {spread:.0%} of the median",
                "bind them to the fast cores with --cores big"
                if kinds_of_cores > 1 and result.cores == ALL_CORES
                else "end what else runs on the device, and let it cool",
            )


def unstable_processes(device: DeviceResult, result: BenchResult) -> Iterator[BenchWarning]:
    """Warn where one process is much slower than another."""
    for measurement in device.measurements:
        statistics = latency_statistics(measurement)
        if statistics is None:
            continue
        fastest, slowest = min(statistics.process_us), max(statistics.process_us)
        if slowest / fastest - 1 > LARGEST_PROCESS_SPREAD:
            yield _warning(
                measurement,
                WarningKind.UNSTABLE_PROCESSES,
                f"processes differ by {slowest / fastest - 1:.0%} "
                f"({milliseconds(fastest)} to {milliseconds(slowest)})",
                "something changes between them, heat or other programs; "
                + (
                    "--processes 10 narrows the interval"
                    if result.effort.processes <= PROCESSES_BY_DEFAULT
                    else "measure again when the device is at rest"
                ),
            )


def slow_first_run(device: DeviceResult, _: BenchResult) -> Iterator[BenchWarning]:
    """Warn where a user waits much longer for the first answer than for the others."""
    for measurement in device.measurements:
        statistics = latency_statistics(measurement)
        if statistics is None:
            continue
        times = statistics.first_inference_us / statistics.latency_us
        if times > SLOW_FIRST_RUN:
            yield _warning(
                measurement,
                WarningKind.SLOW_FIRST_RUN,
                f"the first inference takes {milliseconds(statistics.first_inference_us)}, "
                f"{times:.1f} times the later ones",
                "let the app run the model once when it starts",
            )


def not_steady(device: DeviceResult, result: BenchResult) -> Iterator[BenchWarning]:
    """Warn where runs still got faster when the warm-up's time was up."""
    for measurement in device.measurements:
        late = sum(not process.steady for process in measurement.processes)
        if late:
            yield _warning(
                measurement,
                WarningKind.NOT_STEADY,
                f"{late} of {len(measurement.processes)} processes still got faster "
                f"after {result.effort.warmup_seconds:g} s of warm-up",
                f"try --warmup {3 * result.effort.warmup_seconds or 10:g}",
            )


def nothing_delegated(device: DeviceResult, _: BenchResult) -> Iterator[BenchWarning]:
    """Warn where no operator ran in the delegate."""
    for measurement in device.measurements:
        profile = measurement.profile
        if profile and profile.delegated_share == 0:
            yield _warning(
                measurement,
                WarningKind.NOTHING_DELEGATED,
                f"no operator runs in {profile.delegate or 'a delegate'}",
                "the slow built-in kernels do: check that the device's runtime has XNNPACK, "
                "and what 'edgefer inspect' says of the model",
            )


def many_partitions(device: DeviceResult, _: BenchResult) -> Iterator[BenchWarning]:
    """Warn where operators that the delegate leaves out cut the model to pieces."""
    for measurement in device.measurements:
        profile = measurement.profile
        if profile and profile.partitions and profile.partitions > MOST_PARTITIONS:
            left_out = ", ".join(
                f"{count} {kind}" for kind, count in sorted(profile.left_out.items())
            )
            yield _warning(
                measurement,
                WarningKind.MANY_PARTITIONS,
                f"the delegate runs it in {profile.partitions} pieces"
                + (f", around {left_out}" if left_out else ""),
                "every border costs a copy and a wait: replace those operators in the network",
            )


def _warning(measurement: Measurement, kind: WarningKind, finding: str, hint: str) -> BenchWarning:
    return BenchWarning(
        kind=kind,
        finding=finding,
        hint=hint,
        model=measurement.model.name,
        threads=measurement.threads,
    )


def _spread(process: ProcessRun) -> float | None:
    """Return the runs' spread over their median, as a standard deviation.

    It is that of a normal distribution with the same 10th and 90th percentile, so that a few
    runs which the system interrupted do not count, but a tenth of the runs does. Where there are
    no single runs, it is the tool's standard deviation over its mean.
    """
    if process.latencies_us:
        low, middle, high = np.percentile(process.latencies_us, [10, 50, 90])
        return float((high - low) / NORMAL_DECILES / middle)
    if process.summary is not None:
        return process.summary.std_us / process.summary.mean_us
    return None
