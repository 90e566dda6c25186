"""A device in memory, for tests: it answers at once, and fails where it is told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edgefer.benchmarks.harness import AnyArray
from edgefer.benchmarks.plan import Effort
from edgefer.benchmarks.result import (
    Backend,
    Circumstances,
    Cluster,
    DeviceDescription,
    Memory,
    ProcessRun,
    Profile,
    ProfiledOperator,
)
from edgefer.errors import DeviceError

CALM = Circumstances(
    frequencies_khz=(1_800_000,),
    governors=("performance",),
    temperatures_c={"cpu-thermal": 45.0},
    throttling=(),
    throttling_since_boot=(),
    load_1min=0.1,
    battery_percent=None,
    charging=None,
)

BOARD = DeviceDescription(
    name="Fake Board",
    soc="FK1",
    system="Fake OS 1",
    kernel="6.1",
    architecture="aarch64",
    userland_bits=64,
    clusters=(Cluster(cpus=(0, 1, 2, 3), name="Cortex-A72", maximum_khz=1_800_000),),
    features=(),
    memory_bytes=4 << 30,
    emulated=None,
)

Call = tuple[str, str, int]
"""What was asked of the device: the action, the model's file name, the threads."""


class FakeHarness:
    """Answers with latencies around `median_us` of a model's name, a little apart by process.

    `fail` is called before every action, and may raise; `calls` lists them.
    """

    def __init__(
        self,
        median_us: Mapping[str, float],
        *,
        address: str = "fake",
        description: DeviceDescription = BOARD,
        fail: Callable[[Call], None] = lambda call: None,  # noqa: ARG005
        seed: int = 0,
    ) -> None:
        self.address, self.description = address, description
        self.backend = Backend.AGENT
        self.runtime = "fake-litert 1.0"
        self.tool_sha256: str | None = None
        self.calls: list[Call] = []
        self._median_us, self._fail = median_us, fail
        self._random = np.random.default_rng(seed)
        self._interrupted = False

    def install(self, model: Path) -> None:
        """Note that the model was brought."""
        self._act("install", model, 0)

    def measure(
        self,
        model: Path,
        *,
        threads: int,
        cpus: Sequence[int],  # noqa: ARG002
        effort: Effort,
    ) -> ProcessRun:
        """Return a process of `minimum_runs` runs."""
        self._act("measure", model, threads)
        median = self._median_us[model.name] * float(self._random.normal(1, 0.002))
        runs = median * self._random.normal(1, 0.01, effort.minimum_runs)
        return ProcessRun(
            cold_load_ms=20.0,
            warm_load_ms=4.0,
            first_inference_us=2 * median,
            warmup_us=(1.5 * median, median),
            latencies_us=tuple(float(run) for run in runs),
            memory=Memory(before_bytes=30 << 20, loaded_bytes=36 << 20, peak_bytes=40 << 20),
            before=CALM,
            during=None,
            after=CALM,
        )

    def profile(
        self,
        model: Path,
        *,
        threads: int,
        cpus: Sequence[int],  # noqa: ARG002
        runs: int,
    ) -> Profile:
        """Return a profile of two operators."""
        self._act("profile", model, threads)
        median = self._median_us[model.name]
        kernels = [
            ("Convolution (NHWC, QC8) IGEMM", "Convolution", 0.8),
            ("SOFTMAX", "SOFTMAX", 0.2),
        ]
        return Profile(
            operators=tuple(
                ProfiledOperator(
                    position=position,
                    kernel=kernel,
                    type=kind,
                    delegated=kind != "SOFTMAX",
                    mean_us=share * median,
                )
                for position, (kernel, kind, share) in enumerate(kernels)
            ),
            runs=runs,
            total_us=1.05 * median,
            delegate="XNNPACK",
            partitions=1,
            delegated_share=0.8,
            left_out={"SOFTMAX": 1},
        )

    def outputs(self, model: Path, inputs: AnyArray) -> AnyArray:
        """Return zeros, one class an input."""
        self._act("outputs", model, 1)
        return np.zeros((len(inputs), 1), inputs.dtype)

    def interrupt(self) -> None:
        """Let the next action fail."""
        self._interrupted = True

    @contextmanager
    def opened(
        self,
        watch: Callable[[FakeHarness], None] = lambda device: None,  # noqa: ARG005
    ) -> Iterator[FakeHarness]:
        """Yield the device, noting when it is let go."""
        watch(self)
        try:
            yield self
        finally:
            self.calls.append(("close", "", 0))

    def _act(self, action: str, model: Path, threads: int) -> None:
        call = (action, model.name, threads)
        self.calls.append(call)
        if self._interrupted:
            raise DeviceError(self.address, "interrupted")
        self._fail(call)
