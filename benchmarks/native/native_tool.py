"""benchmark_model on a device: brought there, run, and understood."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from edgefer.benchmarks.native.benchmark_model_lines import UnknownFormError
from edgefer.benchmarks.native.benchmark_model_output import ToolReport, parse
from edgefer.benchmarks.native.benchmark_tool import NAME
from edgefer.benchmarks.native.native_failures import failure
from edgefer.benchmarks.native.native_turns import run_in_turn
from edgefer.benchmarks.targets.target import Target
from edgefer.errors import DeviceError, ModelError

SHORT_TIMEOUT_S = 60.0

# Google publishes two tools under this name, and a flag that one of them doesn't know it passes
# over with a remark. These have to be known by whichever it is.
_NEEDED = ("--graph", "--num_threads", "--num_runs", "--min_secs")


class NativeTool:
    """The tool in a device's working folder, with the models that it is to run."""

    def __init__(self, target: Target, program: Path) -> None:
        self._target, self._program = target, program
        self._names: dict[Path, str] = {}

    def install(self, model: Path) -> None:
        """Bring a model to the device, and with the first one the tool."""
        if not self._names:
            self._target.push(self._program, NAME)
            self._target.run(["chmod", "700", NAME], timeout_s=SHORT_TIMEOUT_S)
        name = f"model-{hashlib.sha256(content_of(model)).hexdigest()[:16]}.tflite"
        if name not in self._names.values():
            self._target.push(model, name)
        self._names[model] = name

    def run(
        self, model: Path, *flags: str, cpus: Sequence[int], timeout_s: float
    ) -> tuple[ToolReport, int]:
        """Run the tool in one process bound to `cpus`, when no other benchmark runs there.

        Returns what it says, and how many seconds it waited for its turn. Raises ModelError where
        the model makes it fail, DeviceError where anything else does.
        """
        turn = run_in_turn(
            self._target,
            [f"./{NAME}", f"--graph={self._names[model]}", "--use_xnnpack=true", *flags],
            cpus=cpus,
            timeout_s=timeout_s,
        )
        if turn.returncode != 0:
            raise failure(turn, model=model, device=self._target.address)
        try:
            report = parse(turn.output)
        except UnknownFormError as exc:
            raise self.failure(f"{exc}; give another version of it with --tool") from exc
        if unknown := passed_over(report, _NEEDED):
            raise self.failure(f"doesn't know {unknown}; give another one with --tool")
        return report, turn.waited_s

    def failure(self, problem: str) -> DeviceError:
        """Return the error for what the tool does wrong on this device."""
        return DeviceError(self._target.address, f"its {NAME} {problem}")


def passed_over(report: ToolReport, flags: Sequence[str]) -> str:
    """Return which of these flags the tool doesn't know; empty where it knows all."""
    unknown = {flag.partition("=")[0] for flag in report.unconsumed_flags}
    return ", ".join(flag for flag in flags if flag in unknown)


def content_of(model: Path) -> bytes:
    """Read a model's file; ModelError where that fails."""
    try:
        return model.read_bytes()
    except OSError as exc:
        raise ModelError(model, f"cannot be read: {exc.strerror}") from exc
