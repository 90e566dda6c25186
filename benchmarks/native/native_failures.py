"""Whose fault it is when benchmark_model fails: the device's, the tool's, or the model's."""

from __future__ import annotations

import re
from pathlib import Path

from edgefer import child
from edgefer.benchmarks.native.benchmark_model_output import failure_reason
from edgefer.benchmarks.native.native_turns import Turn
from edgefer.errors import DeviceError, EdgeferError, ModelError

_NOT_STARTED = re.compile(
    r"^(?:taskset: |CANNOT LINK EXECUTABLE|.*(?:Exec format error|not executable))", re.MULTILINE
)
"""From taskset, Android's linker, and its sh."""

_CANNOT_BE_RUN, _NOT_FOUND, _SIGNAL = 126, 127, 128
"""sh's exit codes; above the last one, a signal's number is added to it."""

_KILLED = 9


def failure(turn: Turn, *, model: Path, device: str) -> EdgeferError:
    """Return the error for a tool that ended with another exit code than 0."""
    said = failure_reason(turn.output)
    if turn.returncode in (_CANNOT_BE_RUN, _NOT_FOUND) or _NOT_STARTED.search(turn.output):
        hint = "give a benchmark_model for it with --tool"
        return DeviceError(device, f"cannot run the tool: {said}; {hint}")
    if turn.returncode <= _SIGNAL:
        return ModelError(model, f"fails in benchmark_model on {device}: {said}")
    number = turn.returncode - _SIGNAL
    guess = ", perhaps for want of memory" if number == _KILLED else ""
    return ModelError(
        model, f"crashes benchmark_model on {device} ({child.death(-number)}{guess}): {said}"
    )
