"""Sees to it that a device has what agent.py needs: Python, a runtime and numpy."""

from __future__ import annotations

from edgefer.benchmarks.foreign_text import last_line
from edgefer.benchmarks.installing.runtime_installation import (
    SHORT_TIMEOUT_S,
    Installation,
    Progress,
    installed_python,
)
from edgefer.benchmarks.installing.runtimes import (
    ASK_PYTHON,
    RUNTIMES,
    DevicePython,
    machine_of,
    platform_of,
    runtime_for,
)
from edgefer.benchmarks.result import DeviceDescription
from edgefer.benchmarks.targets.target import Target
from edgefer.errors import DeviceError
from edgefer.records import InvalidRecordError, from_json


def find_python(target: Target) -> str | None:
    """Return the python to use on a device: what `set_up` left there, else its own, else None."""
    for runtime in dict.fromkeys(RUNTIMES.values()):
        python = installed_python(target, runtime)
        if python is not None:
            return python
    own = target.run(["python3", "-c", ""], timeout_s=SHORT_TIMEOUT_S)
    return "python3" if own.returncode == 0 else None


def set_up(
    target: Target,
    description: DeviceDescription,
    *,
    progress: Progress = lambda _: None,
) -> str:
    """Install a runtime and numpy in ~/.cache/edgefer on a device; return its python there.

    They come from the network where the device has one with a package index, else as wheels that
    this machine fetches and sends. What is installed already is not touched. Raises DeviceError,
    and leaves nothing half-made.
    """
    machine = machine_of(description)
    runtime = runtime_for(machine, target.address)
    progress("looking for what is installed")
    installed = installed_python(target, runtime)
    if installed is not None:
        return installed
    platform = platform_of(machine, _ask_python(target), target.address)
    return Installation(target, runtime, platform, progress).run()


def _ask_python(target: Target) -> DevicePython:
    answer = target.run(["python3", "-c", ASK_PYTHON], timeout_s=SHORT_TIMEOUT_S)
    if answer.returncode in (126, 127):
        raise DeviceError(target.address, "has no python3; there: sudo apt install python3")
    try:
        return from_json(DevicePython, answer.stdout)
    except InvalidRecordError as exc:
        said = last_line(answer.stderr.decode(errors="replace"))
        raise DeviceError(target.address, f"its python3 does not work: {said or exc}") from exc
