"""Warnings about speed that should be there and is not: of threads, and of int8."""

from __future__ import annotations

from collections.abc import Iterator

from edgefer.benchmarks.result import BenchResult, DeviceDescription, DeviceResult, Measurement
from edgefer.benchmarks.statistics import latency_statistics
from edgefer.benchmarks.warnings.kinds import (
    BenchWarning,
    WarningKind,
    milliseconds,
    thread_count,
)
from edgefer.benchmarks.warnings.sanity_bands import (
    INT8_SPEEDUP_HIGH,
    INT8_SPEEDUP_LOW,
    INT8_SPEEDUP_SUSPECT,
    expects_int8_speedup,
    published_on,
)
from edgefer.benchmarks.warnings.speedup import Speedup, int8_speedups

LEAST_GAIN_OF_THREADS = 1.05


def threads_without_effect(device: DeviceResult, _: BenchResult) -> Iterator[BenchWarning]:
    """Warn where several threads are hardly faster than one: runtimes have ignored the number."""
    alone = {each.model.sha256: each for each in device.measurements if each.threads == 1}
    for several in device.measurements:
        one = alone.get(several.model.sha256)
        if several.threads == 1 or one is None:
            continue
        before, after = latency_statistics(one), latency_statistics(several)
        if before and after and before.latency_us < LEAST_GAIN_OF_THREADS * after.latency_us:
            yield BenchWarning(
                kind=WarningKind.THREADS_WITHOUT_EFFECT,
                finding=f"it takes {milliseconds(after.latency_us)}, "
                f"with 1 thread {milliseconds(before.latency_us)}",
                hint=_why_threads_do_nothing(several),
                model=several.model.name,
                threads=several.threads,
            )


def _why_threads_do_nothing(several: Measurement) -> str:
    if len(several.cpus) < several.threads:
        cores = "1 core" if len(several.cpus) == 1 else f"{len(several.cpus)} cores"
        return f"they share {cores}: bind them to more with --cores, or use fewer"
    return "the runtime ignores the number, or the model is too small to share out: use 1 thread"


def int8_not_faster(device: DeviceResult, _: BenchResult) -> Iterator[BenchWarning]:
    """Warn where int8 gains less over float32 than was published for networks like MobileNet."""
    known = device.description
    if known is None or not expects_int8_speedup(known):
        return
    for found in int8_speedups(device):
        interval = found.ratio.interval
        most = interval.high if interval else found.ratio.value
        if found.ratio.value < INT8_SPEEDUP_SUSPECT or most < INT8_SPEEDUP_LOW:
            yield BenchWarning(
                kind=WarningKind.INT8_NOT_FASTER,
                finding=_gain(found, known),
                hint=_why_int8_gains_little(found, known),
                model=found.int8.model.name,
                threads=found.int8.threads,
            )


def _gain(found: Speedup, device: DeviceDescription) -> str:
    published = "; ".join(
        f"{each.network} on a {each.device}: {each.int8_speedup:.1f}"
        for each in published_on(device)[:1]
    )
    return (
        f"{found.ratio.value:.2f} times as fast as float32 with {thread_count(found.int8.threads)},"
        f" where {INT8_SPEEDUP_LOW} to {INT8_SPEEDUP_HIGH} is usual"
        + (f" ({published})" if published else "")
    )


def _why_int8_gains_little(found: Speedup, device: DeviceDescription) -> str:
    profile = found.int8.profile
    if profile is not None and profile.delegated_share == 0:
        return "nothing of it runs in the delegate"
    if device.userland_bits == 32:
        return "the 32-bit system is the likely cause: install a 64-bit one"
    if found.ratio.value >= INT8_SPEEDUP_SUSPECT:
        return "the profile shows which operators gain nothing"
    if profile is None:
        return "suspect the delegate or the runtime's build: measure with a profile"
    return (
        f"{profile.delegated_share:.0%} of its time is in the delegate: "
        "look for slow kernels in the profile, and try another version of the runtime"
    )
