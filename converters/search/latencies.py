"""How long candidates take on a device, by the harness of `edgefer bench`."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from edgefer.benchmarks import devices
from edgefer.benchmarks.plan import BenchPlan, Effort
from edgefer.benchmarks.runner import run
from edgefer.benchmarks.statistics import latency_statistics
from edgefer.errors import DeviceError
from edgefer.progress import Progress

Latencies = Callable[[Mapping[str, bytes], Progress | None], dict[str, float]]
"""Measures .tflite files by name, in turns with each other; milliseconds of one inference."""

CHOOSING = Effort(
    processes=3, minimum_runs=64, minimum_seconds=0.5, warmup_seconds=2.0, profile_runs=0
)
"""Enough to rank: what is shipped is measured with `edgefer bench on-device`."""

RANKING = replace(CHOOSING, processes=1, minimum_runs=30, minimum_seconds=0.1, warmup_seconds=0.5)
"""For what one operator more in float costs."""


def on_device(address: str, effort: Effort) -> Latencies:
    """Return what measures on a device; DeviceError where that fails."""
    return partial(_measure, address, effort)


def _measure(
    address: str, effort: Effort, models: Mapping[str, bytes], progress: Progress | None
) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for number, (name, tflite) in enumerate(models.items()):
            path = Path(folder) / f"candidate-{number}.tflite"
            path.write_bytes(tflite)
            paths[path] = name
        plan = BenchPlan(models=tuple(paths), devices=(address,), effort=effort)
        result = run(
            plan,
            open_device=partial(devices.opened, plan=plan, say=_say_nothing),
            verify=devices.verify,
            save=_save_nothing,
            report=None if progress is None else _report_to(progress),
        )
    (device,) = result.devices
    if device.problem is not None:
        raise DeviceError(address, device.problem.removeprefix(f"{address}: "))
    found = {}
    for measurement, name in zip(device.measurements, paths.values(), strict=True):
        statistics = latency_statistics(measurement)
        if statistics is None:
            raise DeviceError(address, measurement.problem or "measured nothing")
        found[name] = statistics.latency_us / 1000
    return found


def _report_to(progress: Progress) -> Callable[[str, int, int], None]:
    return lambda _device, done, total: progress(done, total)


def _say_nothing(_device: str, _text: str) -> None:
    """Tell nobody."""


def _save_nothing(_result: object) -> None:
    """Keep nothing."""
