"""What belongs together in two benchmarks: the same model, on the same device and threads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgefer.benchmarks.comparison.same_circumstances import (
    device_facts,
    differences,
    measurement_facts,
)
from edgefer.benchmarks.measured import used_clusters
from edgefer.benchmarks.result import BenchResult, DeviceResult, Measurement
from edgefer.benchmarks.statistics import LatencyStatistics, latency_statistics
from edgefer.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Key:
    """What a measurement is found again by."""

    model: str
    precision: str
    threads: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A measurement with at least one finished run."""

    measurement: Measurement
    statistics: LatencyStatistics


Side = dict[Key, Measured]


@dataclass(frozen=True, kw_only=True)
class DevicePair:
    """One device in both benchmarks; a side that lacks it, or a model, lacks the keys."""

    address: str
    """The new benchmark's, where that has the device."""
    old: Side
    new: Side
    differences: tuple[str, ...]
    """Of the circumstances in which the common keys were measured."""

    @property
    def common(self) -> list[Key]:
        """What both sides measured."""
        return [key for key in self.old if key in self.new]


def device_pairs(old: BenchResult, new: BenchResult) -> list[DevicePair]:
    """Return all devices of both benchmarks.

    They are the same by their address; one that is left over on each side is taken for the same
    too, so that a board with a new address can be compared. Raises UsageError where one side has
    two models of the same name, precision and threads on a device.
    """
    return [_pair(before, now) for before, now in _matched(old, new)]


def _matched(old: BenchResult, new: BenchResult) -> Iterator[tuple[DeviceResult, DeviceResult]]:
    before = {device.address: device for device in old.devices}
    now = {device.address: device for device in new.devices}
    only_before = [device for device in old.devices if device.address not in now]
    only_now = [device for device in new.devices if device.address not in before]
    yield from ((device, now[address]) for address, device in before.items() if address in now)
    if len(only_before) == len(only_now) == 1:
        yield only_before[0], only_now[0]
        return
    yield from ((device, DeviceResult(address=device.address)) for device in only_before)
    yield from ((DeviceResult(address=device.address), device) for device in only_now)


def _pair(old: DeviceResult, new: DeviceResult) -> DevicePair:
    before, now = _side(old), _side(new)
    return DevicePair(
        address=new.address,
        old=before,
        new=now,
        differences=tuple(f"{new.address}: {text}" for text in _differences(old, new, before, now)),
    )


def _side(device: DeviceResult) -> Side:
    found: Side = {}
    for measurement in device.measurements:
        statistics = latency_statistics(measurement)
        if statistics is None:
            continue
        key = Key(
            model=measurement.model.name,
            precision=measurement.model.precision,
            threads=measurement.threads,
        )
        if key in found:
            raise UsageError(
                f"{device.address} has two models called {key.model}; "
                "measure them in benchmarks of their own to compare them"
            )
        found[key] = Measured(measurement=measurement, statistics=statistics)
    return found


def _differences(old: DeviceResult, new: DeviceResult, before: Side, now: Side) -> list[str]:
    """Return in what the circumstances of common keys differ, each once."""
    common = [key for key in before if key in now]
    if not common:
        return []
    found = list(differences(device_facts(old), device_facts(new)))
    for key in common:
        facts = (
            measurement_facts(side[key].measurement, used_clusters(device))
            for side, device in ((before, old), (now, new))
        )
        found += differences(*facts)
    return list(dict.fromkeys(found))
