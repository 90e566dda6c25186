"""Int8 against float32: the same network on the same cores of one device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

from edgefer.benchmarks.result import DeviceResult, Measurement
from edgefer.benchmarks.statistics import Ratio, latency_statistics, ratio


@dataclass(frozen=True, kw_only=True)
class Speedup:
    """How many times faster a network is in int8 than in float32: under 1 it is slower."""

    float32: Measurement
    int8: Measurement
    ratio: Ratio


def int8_speedups(device: DeviceResult) -> Iterator[Speedup]:
    """Yield each int8 measurement of a device with that of its float32 model.

    They belong together where threads, cores and multiply-accumulates are the same; of several
    such float32 models it is the one whose name has the most in common.
    """
    for int8 in device.measurements:
        if int8.model.precision == "int8" and (float32 := _float32_of(device, int8)):
            numerator, denominator = latency_statistics(float32), latency_statistics(int8)
            if numerator and denominator and numerator.figure is denominator.figure:
                yield Speedup(float32=float32, int8=int8, ratio=ratio(numerator, denominator))


def _float32_of(device: DeviceResult, int8: Measurement) -> Measurement | None:
    candidates = [
        measurement
        for measurement in device.measurements
        if measurement.model.precision == "float32"
        and measurement.model.multiply_accumulates is not None
        and _circumstances(measurement) == _circumstances(int8)
    ]
    return max(candidates, key=lambda each: _in_common(each, int8), default=None)


def _circumstances(measurement: Measurement) -> tuple[object, ...]:
    return measurement.threads, measurement.cpus, measurement.model.multiply_accumulates


def _in_common(one: Measurement, other: Measurement) -> int:
    """Return how many characters two models' names begin with alike."""
    pairs = zip(one.model.name, other.model.name, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
