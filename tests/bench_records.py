"""Records of benchmarks, made from a few figures, for tests of what is concluded from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edgefer.benchmarks.fake_harness import BOARD, CALM
from edgefer.benchmarks.plan import ALL_CORES, Effort
from edgefer.benchmarks.result import (
    Backend,
    BenchResult,
    Circumstances,
    DeviceDescription,
    DeviceResult,
    During,
    Measurement,
    Memory,
    ModelIdentity,
    ProcessRun,
    Profile,
    Summary,
)

Runs = Sequence[float] | npt.NDArray[np.float64]


def process(
    runs: Runs = (),
    *,
    summary: Summary | None = None,
    first_inference_us: float = 1000.0,
    steady: bool = True,
    before: Circumstances = CALM,
    during: During | None = None,
    after: Circumstances | None = None,
) -> ProcessRun:
    """Make a process with these runs in µs; `after` is as `before` unless given."""
    return ProcessRun(
        cold_load_ms=20.0,
        warm_load_ms=4.0,
        first_inference_us=first_inference_us,
        warmup_us=(),
        latencies_us=tuple(float(run) for run in runs),
        summary=summary,
        steady=steady,
        memory=Memory(before_bytes=None, loaded_bytes=None, peak_bytes=None),
        before=before,
        during=during,
        after=after or before,
    )


def measurement(
    *processes: ProcessRun,
    precision: str = "int8",
    name: str | None = None,
    threads: int = 1,
    cpus: tuple[int, ...] = (0, 1, 2, 3),
    sha256: str | None = None,
    profile: Profile | None = None,
) -> Measurement:
    """Make a measurement of a model called after its precision."""
    name = name or f"quadrant-{precision}.tflite"
    return Measurement(
        model=ModelIdentity(
            name=name,
            sha256=sha256 or f"sha256 of {name}",
            size_bytes=1000,
            precision=precision,
            multiply_accumulates=5000,
        ),
        threads=threads,
        cpus=cpus,
        processes=processes,
        profile=profile,
    )


def of_runs(*runs: Runs, precision: str = "int8", threads: int = 1) -> Measurement:
    """Make a measurement whose processes have these runs, in µs."""
    return measurement(*map(process, runs), precision=precision, threads=threads)


def noisy(
    random: np.random.Generator,
    *,
    median_us: float = 10_000.0,
    processes: int = 3,
    runs: int = 64,
    between: float = 0.002,
    within: float = 0.01,
) -> list[npt.NDArray[np.float64]]:
    """Draw runs whose logarithms scatter normally, between processes and within them."""
    middles = random.normal(np.log(median_us), between, processes)
    return [np.exp(random.normal(middle, within, runs)) for middle in middles]


def device(
    *measurements: Measurement,
    address: str = "ssh://board",
    description: DeviceDescription = BOARD,
) -> DeviceResult:
    """Make a device's result."""
    return DeviceResult(
        address=address,
        backend=Backend.AGENT,
        description=description,
        runtime="ai-edge-litert 2.3.0",
        measurements=measurements,
    )


def result(
    *devices: DeviceResult, effort: Effort | None = None, cores: str = ALL_CORES
) -> BenchResult:
    """Make a benchmark of these devices."""
    return BenchResult(
        edgefer_version="0",
        created="2026-01-01T00:00:00+00:00",
        effort=effort or Effort(),
        cores=cores,
        devices=devices,
    )


def with_board(**changes: object) -> DeviceDescription:
    """Return the fake board, otherwise."""
    return replace(BOARD, **changes)  # type: ignore[arg-type]


def state(**changes: object) -> Circumstances:
    """Return a calm board's circumstances, otherwise."""
    return replace(CALM, **changes)  # type: ignore[arg-type]
