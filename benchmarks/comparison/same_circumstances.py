"""In what two benchmarks differ besides the latency, so that they cannot be compared."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict

from edgefer.benchmarks.plan import Effort
from edgefer.benchmarks.result import DeviceResult, Measurement

UNKNOWN = "unknown"

NO_PART_OF_LATENCY = ("profile_runs", "timeout_s")
"""Of the effort: what may differ between comparable benchmarks."""

Facts = Mapping[str, str]


def differences(old: Facts, new: Facts) -> Iterator[str]:
    """Yield what is not the same, as `governor was ondemand, is performance`."""
    for name, before in old.items():
        if before != new[name]:
            yield f"{name} was {before}, is {new[name]}"


def effort_facts(effort: Effort) -> Facts:
    """Return how long was measured."""
    return {
        name.replace("_", " "): f"{value:g}"
        for name, value in asdict(effort).items()
        if name not in NO_PART_OF_LATENCY
    }


def device_facts(device: DeviceResult) -> Facts:
    """Return what a device is and what ran the models there."""
    known = device.description
    return {
        "device": known.name if known else UNKNOWN,
        "SoC": (known and known.soc) or UNKNOWN,
        "architecture": known.architecture if known else UNKNOWN,
        "system": f"{known.userland_bits}-bit" if known else UNKNOWN,
        "silicon": "emulated" if known and known.emulated else "real",
        "backend": str(device.backend or UNKNOWN),
        "runtime": device.runtime or UNKNOWN,
        "benchmark_model's SHA-256": device.tool_sha256 or UNKNOWN,
    }


def measurement_facts(measurement: Measurement, used: Collection[int]) -> Facts:
    """Return the state in which a model was measured on the clusters `used`, before and after."""
    states = [state for p in measurement.processes for state in (p.before, p.after)]
    governors = {
        name
        for state in states
        for place, name in enumerate(state.governors)
        if place in used and name is not None
    }
    reasons = {reason for state in states for reason in state.throttling}
    return {
        "cores": ", ".join(map(str, measurement.cpus)) or UNKNOWN,
        "governor": ", ".join(sorted(governors)) or UNKNOWN,
        "throttling": ", ".join(sorted(reasons)) or "none",
    }
