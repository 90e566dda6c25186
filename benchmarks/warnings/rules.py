"""What a reader must know before believing a device's figures, and what to do about it."""

from __future__ import annotations

from edgefer.benchmarks.result import BenchResult, DeviceResult
from edgefer.benchmarks.warnings import device as device_warnings
from edgefer.benchmarks.warnings import model as model_warnings
from edgefer.benchmarks.warnings import speed as speed_warnings
from edgefer.benchmarks.warnings import state as state_warnings
from edgefer.benchmarks.warnings.kinds import BenchWarning, WarningKind

__all__ = ["BenchWarning", "WarningKind", "warnings_of"]

ALWAYS = (
    device_warnings.emulated,
    device_warnings.bits_32,
    model_warnings.nothing_delegated,
    model_warnings.many_partitions,
)

OF_TIMES = (
    device_warnings.governor,
    device_warnings.cores,
    state_warnings.throttled,
    state_warnings.under_voltage,
    state_warnings.background_load,
    state_warnings.battery_low,
    model_warnings.unstable_runs,
    model_warnings.unstable_processes,
    model_warnings.not_steady,
    model_warnings.slow_first_run,
    speed_warnings.threads_without_effect,
    speed_warnings.int8_not_faster,
)
"""Left out for an emulated device, whose times mean nothing."""


def warnings_of(device: DeviceResult, result: BenchResult) -> tuple[BenchWarning, ...]:
    """Return the warnings about one device of a benchmark, the device's own first."""
    emulated = device.description is not None and device.description.emulated is not None
    checks = ALWAYS if emulated else (*ALWAYS, *OF_TIMES)
    found = [warning for check in checks for warning in check(device, result)]
    return tuple(sorted(found, key=lambda warning: warning.model is not None))
