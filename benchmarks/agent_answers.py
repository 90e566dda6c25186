"""What agent.py answers, checked before anything is believed of it, and what its failures mean."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import PositiveFloat

from edgefer import child
from edgefer.benchmarks.foreign_text import last_line, shown
from edgefer.benchmarks.result import Memory
from edgefer.benchmarks.targets.target import Answer
from edgefer.errors import DeviceError, EdgeferError, ModelError
from edgefer.records import STRICT, InvalidRecordError, from_json

Result = TypeVar("Result")

LONGEST_ANSWER_BYTES = 64 << 20
"""A million runs are about 10 MB."""

COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE = 127, 126

CRASHES = {
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGABRT,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGTRAP,
    signal.SIGSYS,
}
"""Signals that a process brings upon itself; others come from outside."""


@STRICT
@dataclass(frozen=True, kw_only=True)
class Checked:
    """What is installed on a device."""

    python: str
    bits: int
    """Of a pointer: 64, or 32 where the runtime is slow."""
    machine: str
    """The architecture as Python names it."""
    numpy: str
    runtime: str
    """Package and version, like `ai-edge-litert 2.3.0`."""


@STRICT
@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the watched files held between two batches of runs."""

    khz: tuple[int | None, ...]
    millicelsius: tuple[int | None, ...]


@STRICT
@dataclass(frozen=True, kw_only=True)
class Measured:
    """One measuring process."""

    cpus: tuple[int, ...]
    """The cores that it ran on."""
    waited_s: float
    cold_load_ms: float | None
    warm_load_ms: float
    first_inference_us: PositiveFloat
    warmup_us: tuple[PositiveFloat, ...]
    steady: bool
    latencies_us: tuple[PositiveFloat, ...]
    memory: Memory
    samples: tuple[Sample, ...]


@STRICT
@dataclass(frozen=True, kw_only=True)
class Ran:
    """A model that was fed inputs."""

    count: int


@STRICT
@dataclass(frozen=True, kw_only=True)
class Failed:
    """Why an action could not be done."""

    kind: str
    message: str


@STRICT
@dataclass(frozen=True, kw_only=True)
class Reply(Generic[Result]):
    """The whole answer: one of the two."""

    result: Result | None = None
    error: Failed | None = None


def understand(
    kind: type[Reply[Result]], answer: Answer, *, device: str, model: Path | None, timeout_s: float
) -> Result:
    """Return what the agent answered, or raise the error that it means.

    `model` is the file that was run, of this machine. ModelError where the model is to blame,
    DeviceError for all else.
    """
    if answer.returncode != 0:
        raise _death(answer, device, model, timeout_s)
    if len(answer.stdout) > LONGEST_ANSWER_BYTES:
        raise DeviceError(device, f"its answer is too long: {len(answer.stdout)} bytes")
    try:
        reply = from_json(kind, answer.stdout)
    except InvalidRecordError as exc:
        begin = shown(answer.stdout[:60].decode(errors="replace"))
        raise DeviceError(
            device, f"its answer cannot be used ({shown(str(exc))}); it begins with: {begin}"
        ) from exc
    if reply.result is None:
        raise _failure(reply.error, device, model)
    return reply.result


def set_up(device: str) -> str:
    """Return the command that installs what a device lacks."""
    return f"install it with `edgefer bench on-device --setup --device {device} ...`"


def _failure(error: Failed | None, device: str, model: Path | None) -> EdgeferError:
    if error is None:
        return DeviceError(device, "its answer is empty")
    message = shown(error.message)
    if error.kind == "runtime":
        return DeviceError(device, f"{message}; {set_up(device)}")
    if error.kind == "model" and model is not None:
        return ModelError(model, f"on {device}: {message}")
    if error.kind == "profile":
        return DeviceError(device, f"no profile: {message}")
    return DeviceError(device, message)


def _death(answer: Answer, device: str, model: Path | None, timeout_s: float) -> EdgeferError:
    """Say why a process ended without an answer."""
    said = last_line(answer.stderr.decode(errors="replace"))
    if answer.returncode in (COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE):
        return DeviceError(device, f"Python cannot be started there ({said}); {set_up(device)}")
    number = _signal(answer.returncode)
    if number is None:
        return DeviceError(device, f"the measuring process failed: {said or 'it said nothing'}")
    name = child.death(-number)
    if number == signal.SIGALRM:
        return DeviceError(
            device, f"the measuring process took longer than {timeout_s:g} s and was ended ({name})"
        )
    if number not in CRASHES:
        return DeviceError(
            device, f"the measuring process was killed ({name}): is its memory too small?"
        )
    if model is None:
        return DeviceError(device, f"Python crashes there when it loads the runtime ({name})")
    return ModelError(model, f"crashes the interpreter on {device} ({name})")


def _signal(return_code: int) -> int | None:
    """Return the signal that ended a process: -n on this machine, 128 + n through a shell."""
    if return_code < 0:
        return -return_code
    return return_code - 128 if 128 < return_code < 128 + signal.NSIG else None
