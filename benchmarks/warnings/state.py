"""Warnings about the state a device was in while it measured."""

from __future__ import annotations

from collections.abc import Iterator

from edgefer.benchmarks.measured import processes, used_clusters
from edgefer.benchmarks.result import BenchResult, DeviceResult, ProcessRun
from edgefer.benchmarks.warnings.kinds import BenchWarning, WarningKind

UNDER_VOLTAGE = "under-voltage"

LOW_CLOCK = 0.9
"""Of the highest that a cluster can run at."""

LOW_BATTERY_PERCENT = 20
"""Around here phones begin to save power, which lowers their clock."""


def throttled(device: DeviceResult, _: BenchResult) -> Iterator[BenchWarning]:
    """Warn of a device that slowed itself down, or else of a clock that was seen low."""
    reasons = [_reasons(process) - {UNDER_VOLTAGE} for process in processes(device)]
    slowed = sum(map(bool, reasons))
    if slowed:
        named = ", ".join(sorted(set().union(*reasons)))
        yield BenchWarning(
            kind=WarningKind.THROTTLED,
            finding=f"{named} in {slowed} of {len(reasons)} processes{_hottest(device)}",
            hint="cool the device and let it rest before measuring again",
        )
    else:
        yield from _low_clock(device)


def _low_clock(device: DeviceResult) -> Iterator[BenchWarning]:
    clusters = device.description.clusters if device.description else ()
    for index in used_clusters(device):
        highest = clusters[index].maximum_khz
        seen = [
            lowest
            for process in processes(device)
            for place, lowest in enumerate(process.during.lowest_khz if process.during else ())
            if place == index and lowest
        ]
        if highest and seen and min(seen) < LOW_CLOCK * highest:
            slow = sum(lowest < LOW_CLOCK * highest for lowest in seen)
            yield BenchWarning(
                kind=WarningKind.THROTTLED,
                finding=f"the clock fell to {min(seen) // 1000} of {highest // 1000} MHz "
                f"in {slow} of {len(seen)} processes{_hottest(device)}",
                hint="set the governor to performance; if that is done, cool the device",
            )


def under_voltage(device: DeviceResult, _: BenchResult) -> Iterator[BenchWarning]:
    """Warn of a power supply that is too weak, which can halve a Raspberry Pi's clock."""
    states = [state for process in processes(device) for state in (process.before, process.after)]
    now = any(UNDER_VOLTAGE in state.throttling for state in states)
    if now or any(UNDER_VOLTAGE in state.throttling_since_boot for state in states):
        yield BenchWarning(
            kind=WarningKind.UNDER_VOLTAGE,
            finding="under-voltage " + ("while measuring" if now else "since the device booted"),
            hint="it lowers the clock: use the board's own power supply and a short cable",
        )


def background_load(device: DeviceResult, _: BenchResult) -> Iterator[BenchWarning]:
    """Warn of a device that was busy before the first process, the only one not after another."""
    load = next((process.before.load_1min for process in processes(device)), None)
    cores = len(device.description.cpus) if device.description else 0
    if load is not None and load > max(1.0, cores / 4):
        yield BenchWarning(
            kind=WarningKind.BACKGROUND_LOAD,
            finding=f"the device was busy before the measurement (load {load:.1f})",
            hint="end its other programs, or wait a minute, and measure again",
        )


def battery_low(device: DeviceResult, _: BenchResult) -> Iterator[BenchWarning]:
    """Warn of a battery so low that the device saves power."""
    lowest = min(
        (
            state.battery_percent
            for process in processes(device)
            for state in (process.before, process.after)
            if state.battery_percent is not None and state.charging is not True
        ),
        default=100.0,
    )
    if lowest < LOW_BATTERY_PERCENT:
        yield BenchWarning(
            kind=WarningKind.BATTERY_LOW,
            finding=f"the battery was at {lowest:.0f}%",
            hint="devices save power then: charge it",
        )


def _reasons(process: ProcessRun) -> set[str]:
    """Return why a device slowed down around a process, or between its start and its end."""
    before, after = process.before, process.after
    meanwhile = set(after.throttling_since_boot) - set(before.throttling_since_boot)
    return {*before.throttling, *after.throttling, *meanwhile}


def _hottest(device: DeviceResult) -> str:
    """Say what the hottest moment was, where the device has a thermometer."""
    seen: list[float] = []
    for process in processes(device):
        seen += [*process.before.temperatures_c.values(), *process.after.temperatures_c.values()]
        if process.during and process.during.highest_temperature_c is not None:
            seen.append(process.during.highest_temperature_c)
    return f", at up to {max(seen):.0f} °C" if seen else ""
