"""What a warning about a measurement is: what was found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class WarningKind(StrEnum):
    """Why a figure may not be what it seems."""

    EMULATED = "emulated"
    BITS_32 = "32-bit system"
    GOVERNOR = "governor not performance"
    THROTTLED = "throttled"
    UNDER_VOLTAGE = "under-voltage"
    BACKGROUND_LOAD = "background load"
    BATTERY_LOW = "battery low"
    CORES_NOT_BOUND = "cores not bound"
    LITTLE_CORES = "little cores used"
    UNSTABLE_RUNS = "runs differ"
    UNSTABLE_PROCESSES = "processes differ"
    SLOW_FIRST_RUN = "slow first run"
    NOT_STEADY = "not steady after the warm-up"
    NOTHING_DELEGATED = "nothing delegated"
    MANY_PARTITIONS = "many partitions"
    THREADS_WITHOUT_EFFECT = "threads without effect"
    INT8_NOT_FASTER = "int8 not faster than expected"


@dataclass(frozen=True, kw_only=True)
class BenchWarning:
    """One warning; `model` and `threads` are None where it is about the whole device."""

    kind: WarningKind
    finding: str
    """What was measured, with the figure."""
    hint: str
    """What to do, given what the user already did."""
    model: str | None = None
    threads: int | None = None

    @property
    def text(self) -> str:
        """The warning as one line."""
        if self.model is None:
            return f"{self.finding}; {self.hint}"
        return f"{self.model}, {thread_count(self.threads)}: {self.finding}; {self.hint}"


def thread_count(threads: int | None) -> str:
    """Return a number of threads in words."""
    return "1 thread" if threads == 1 else f"{threads} threads"


def milliseconds(time_us: float) -> str:
    """Return a time in ms with three digits."""
    time_ms = time_us / 1000
    digits = 2 if time_ms < 10 else 1 if time_ms < 100 else 0
    return f"{time_ms:.{digits}f} ms"
