"""What to measure: models, devices, and how long."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgefer.errors import UsageError
from edgefer.records import STRICT

ALL_CORES = "all"
BIG_CORES = "big"
LITTLE_CORES = "little"


@STRICT
@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long each configuration is measured.

    64 runs are the fewest from which MLPerf's early stopping gives a p90 at confidence 0.99
    (MLPerf Inference rules, appendix on early stopping); three processes the fewest that show
    how much one process differs from the next.
    """

    processes: int = 3
    minimum_runs: int = 64
    minimum_seconds: float = 3.0
    maximum_runs: int = 20_000
    warmup_seconds: float = 10.0
    """Longest warm-up; it ends sooner when the last runs no longer get faster."""
    profile_runs: int = 20
    """0 leaves the profile out."""
    timeout_s: float = 600.0
    """For one process on the device; one that takes longer is ended."""

    def __post_init__(self) -> None:
        if min(self.processes, self.minimum_runs, self.maximum_runs) < 1:
            raise UsageError("processes and runs are at least 1")
        if self.minimum_runs > self.maximum_runs or self.profile_runs < 0:
            raise UsageError("the numbers of runs contradict each other")


@dataclass(frozen=True, kw_only=True)
class BenchPlan:
    """Everything that decides a benchmark.

    `devices` are addresses as the user writes them: `local`, `ssh://user@host:port`, `adb`,
    `adb:serial`, `adb:all`. `cores` is `all`, `big`, `little` or a hexadecimal mask like `0xf0`.
    `verify` compares the device's outputs with this machine's.
    """

    models: tuple[Path, ...]
    devices: tuple[str, ...] = ("local",)
    threads: tuple[int, ...] = (1,)
    cores: str = ALL_CORES
    effort: Effort = field(default_factory=Effort)
    verify: bool = False
    setup: bool = False
    tool: Path | None = None
    """LiteRT's benchmark_model for an Android device; downloaded where it is not given."""
