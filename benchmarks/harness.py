"""What measures on a device, whichever tool does it there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgefer.benchmarks.plan import Effort
from edgefer.benchmarks.result import Backend, DeviceDescription, ProcessRun, Profile

AnyArray = npt.NDArray[np.generic]


class Harness(Protocol):
    """Measures one model at a time, each call a fresh process on the device.

    All methods raise DeviceError where the device fails, and ModelError where the model does
    (it crashes the interpreter there, or cannot be loaded).
    """

    @property
    def backend(self) -> Backend:
        """Which tool measures."""
        ...

    @property
    def description(self) -> DeviceDescription:
        """What the device is."""
        ...

    @property
    def runtime(self) -> str:
        """The runtime's package and version."""
        ...

    @property
    def tool_sha256(self) -> str | None:
        """Of benchmark_model, where that measures."""
        ...

    def install(self, model: Path) -> None:
        """Bring a model to the device; later calls name it by the same path."""
        ...

    def measure(
        self, model: Path, *, threads: int, cpus: Sequence[int], effort: Effort
    ) -> ProcessRun:
        """Measure the model's latency and memory in one process bound to `cpus`."""
        ...

    def profile(self, model: Path, *, threads: int, cpus: Sequence[int], runs: int) -> Profile:
        """Profile the model's operators in one process."""
        ...

    def outputs(self, model: Path, inputs: AnyArray) -> AnyArray:
        """Run the model on `inputs`, its raw input values, (n, …), one at a time.

        Returns the raw values of its first output, (n, …).
        """
        ...
