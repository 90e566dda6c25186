"""What was measured: records that go to JSON and come back. Times are as the device gave them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import PositiveFloat

from edgefer.benchmarks.plan import Effort
from edgefer.records import STRICT

SCHEMA_VERSION = 1


class Backend(StrEnum):
    """What ran the model on the device."""

    AGENT = "agent"
    """agent.py: Python with ai-edge-litert's or tflite-runtime's interpreter."""
    BENCHMARK_MODEL = "benchmark_model"
    """LiteRT's native command-line tool."""


@STRICT
@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Cores of one kind. `name` is the core's, like Cortex-A76, where it is known."""

    cpus: tuple[int, ...]
    name: str | None = None
    maximum_khz: int | None = None


@STRICT
@dataclass(frozen=True, kw_only=True)
class DeviceDescription:
    """What a device is; None where it doesn't say."""

    name: str
    """Its model (Raspberry Pi 4 Model B Rev 1.4, Pixel 8), else the processor's name."""
    soc: str | None
    system: str
    """Debian GNU/Linux 12 (bookworm), Android 14, …"""
    kernel: str
    architecture: str
    """As `uname -m` gives it."""
    userland_bits: int
    clusters: tuple[Cluster, ...]
    """Slowest first."""
    features: tuple[str, ...]
    """Of those that matter to int8 and float16 kernels: dotprod, i8mm, fp16, avx2, avx512_vnni …"""
    memory_bytes: int | None
    emulated: str | None
    """How it is known that no real silicon ran (QEMU user mode, Android emulator), or None."""

    @property
    def cpus(self) -> tuple[int, ...]:
        """All cores' numbers."""
        return tuple(sorted(cpu for cluster in self.clusters for cpu in cluster.cpus))


@STRICT
@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """A device's state at one moment; None, or empty, where it doesn't say."""

    frequencies_khz: tuple[int | None, ...]
    """Now, a figure a cluster, in the description's order."""
    governors: tuple[str | None, ...]
    """A name a cluster."""
    temperatures_c: dict[str, float]
    """By thermal zone."""
    throttling: tuple[str, ...]
    """Reasons in force now: 'under-voltage', 'frequency capped', 'throttled', 'soft temperature
    limit', 'thermal status moderate' …"""
    throttling_since_boot: tuple[str, ...]
    load_1min: float | None
    battery_percent: float | None
    charging: bool | None


@STRICT
@dataclass(frozen=True, kw_only=True)
class During:
    """What was seen between the runs of one process."""

    lowest_khz: tuple[int | None, ...]
    """A figure a cluster, in the description's order."""
    highest_temperature_c: float | None


@STRICT
@dataclass(frozen=True, kw_only=True)
class Memory:
    """Resident memory of the measuring process, bytes. What the model takes is the difference."""

    before_bytes: int | None
    loaded_bytes: int | None
    peak_bytes: int | None


@STRICT
@dataclass(frozen=True, kw_only=True)
class Summary:
    """benchmark_model's own statistics of its runs, microseconds."""

    count: int
    minimum_us: float
    maximum_us: float
    mean_us: PositiveFloat
    std_us: float
    median_us: PositiveFloat | None = None
    p95_us: float | None = None


@STRICT
@dataclass(frozen=True, kw_only=True)
class ProcessRun:
    """One process: the model loaded, warmed up and run until the effort was spent.

    `latencies_us` are single runs after the warm-up, in order. benchmark_model gives no single
    runs: then it is empty, and `summary` holds what the tool printed.
    """

    cold_load_ms: float | None
    """Load and allocate with the file out of the page cache, where the device allows that."""
    warm_load_ms: float | None
    first_inference_us: float
    warmup_us: tuple[float, ...]
    latencies_us: tuple[PositiveFloat, ...]
    summary: Summary | None = None
    steady: bool = True
    """Whether the warm-up ended because runs no longer got faster, not because time was up."""
    memory: Memory
    before: Circumstances
    during: During | None
    after: Circumstances
    waited_s: float = 0.0
    """Waited for another benchmark on the same device."""


@STRICT
@dataclass(frozen=True, kw_only=True)
class ProfiledOperator:
    """One operator or kernel of the profile, in the order of execution."""

    position: int
    kernel: str
    """The kernel's own name: Convolution (NHWC, QC8) IGEMM; CONV_2D where no delegate ran it."""
    type: str
    """What the name has in common with its kind: Convolution, Fully Connected, CONV_2D."""
    delegated: bool
    mean_us: float


@STRICT
@dataclass(frozen=True, kw_only=True)
class Profile:
    """Where the time of a run goes. Profiling itself costs time: shares matter, not the total."""

    operators: tuple[ProfiledOperator, ...]
    runs: int
    total_us: float
    """Mean of a whole run with the profiler on, by the profiler's own clock."""
    delegate: str | None
    partitions: int | None
    """How many stretches the delegate took; 1 is best."""
    delegated_share: float
    """Of the operators' time, 0…1."""
    left_out: dict[str, int]
    """Operators that the delegate did not take, by type."""


class Agreement(StrEnum):
    """How a device's outputs compare with this machine's."""

    IDENTICAL = "identical"
    WITHIN_ONE_STEP = "within one quantization step"
    DIFFERENT = "different"


@STRICT
@dataclass(frozen=True, kw_only=True)
class Verification:
    """The same inputs on the device and here."""

    agreement: Agreement
    inputs: int
    identical: int
    """Inputs whose outputs are bit-equal."""
    largest_difference: float
    """Between two output values, in real numbers."""
    step: float
    """The output's quantization step; for a float output the tolerance that was used."""
    same_top_class: int
    """Inputs with the same top class on both."""


@STRICT
@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """Which file was measured."""

    name: str
    sha256: str
    size_bytes: int
    precision: str
    """int8, float32, … : the type of most weights and activations."""
    multiply_accumulates: int | None


@STRICT
@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One model at one number of threads on one device."""

    model: ModelIdentity
    threads: int
    cpus: tuple[int, ...]
    """The cores that it was bound to."""
    processes: tuple[ProcessRun, ...] = ()
    profile: Profile | None = None
    profile_problem: str | None = None
    """Why there is no profile although one was asked for."""
    verification: Verification | None = None
    problem: str | None = None
    """What ended this measurement early; what was measured until then is kept."""


@STRICT
@dataclass(frozen=True, kw_only=True)
class DeviceResult:
    """Everything measured on one device."""

    address: str
    backend: Backend | None = None
    description: DeviceDescription | None = None
    runtime: str | None = None
    """Package and version that ran the models, like `ai-edge-litert 2.3.0`."""
    tool_sha256: str | None = None
    """Of benchmark_model, where that was used."""
    measurements: tuple[Measurement, ...] = ()
    problem: str | None = None
    """What ended the work on this device early."""


@STRICT
@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """A whole benchmark."""

    schema_version: int = SCHEMA_VERSION
    edgefer_version: str
    created: str
    """ISO 8601, UTC."""
    effort: Effort
    cores: str
    devices: tuple[DeviceResult, ...] = field(default=())
