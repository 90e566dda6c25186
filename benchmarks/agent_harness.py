"""Measures by agent.py: Python, with LiteRT's wheel, on this machine or a board."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.lib.format import read_array

from edgefer.benchmarks.agent_answers import Checked, Measured, Ran, Reply, Sample, understand
from edgefer.benchmarks.harness import AnyArray
from edgefer.benchmarks.plan import Effort
from edgefer.benchmarks.probing.watched import Watched
from edgefer.benchmarks.result import (
    Backend,
    Circumstances,
    DeviceDescription,
    During,
    ProcessRun,
    Profile,
)
from edgefer.benchmarks.targets.target import Target
from edgefer.errors import DeviceError, ModelError

Result = TypeVar("Result")

AGENT_FILES = ("agent.py", "profiler.py")
INPUTS, OUTPUTS = "inputs.npy", "outputs.npy"

CHECK_TIMEOUT_S = 120.0
STARTING_S = 60.0
"""What Python and the connection may take besides: an emulated board needs ten seconds."""

NPY_ERRORS = (ValueError, TypeError, KeyError, EOFError, MemoryError, OverflowError)
"""What reading a .npy can raise that is not one."""


class AgentHarness:
    """Brings agent.py and models to a device with Python, and runs them there.

    `circumstances` asks the device for its state; `watched` are its files that the agent reads
    between runs. `python` is a command on the device. A process may take `timeout_s` for its
    work, and as long again for its turn.
    """

    def __init__(
        self,
        target: Target,
        description: DeviceDescription,
        *,
        circumstances: Callable[[], Circumstances],
        watched: Watched,
        python: str = "python3",
        timeout_s: float = Effort.timeout_s,
    ) -> None:
        self._target, self._description = target, description
        self._circumstances, self._watched = circumstances, watched
        self._python, self._timeout_s = python, timeout_s
        self._names: dict[Path, str] = {}

    @property
    def backend(self) -> Backend:
        """Which tool measures."""
        return Backend.AGENT

    @property
    def description(self) -> DeviceDescription:
        """What the device is."""
        return self._description

    @property
    def runtime(self) -> str:
        """The runtime's package and version."""
        return self.check().runtime

    @property
    def tool_sha256(self) -> None:
        """Of benchmark_model, which does not measure here."""
        return

    def check(self) -> Checked:
        """Bring the agent, and say what is installed; DeviceError where something is missing."""
        return self._checked

    def install(self, model: Path) -> None:
        """Bring a model to the device, under a name that says what is in it and nothing else."""
        self.check()
        name = f"model-{_sha256(model)[:16]}.tflite"
        if name not in self._names.values():
            self._target.push(model, name)
        self._names[model] = name

    def measure(
        self, model: Path, *, threads: int, cpus: Sequence[int], effort: Effort
    ) -> ProcessRun:
        """Measure the model's latency and memory in one process bound to `cpus`."""
        before = self._circumstances()
        measured = self._ask(
            Reply[Measured],
            "measure",
            model,
            effort.timeout_s,
            threads=threads,
            cpus=list(cpus),
            minimum_runs=effort.minimum_runs,
            minimum_seconds=effort.minimum_seconds,
            maximum_runs=effort.maximum_runs,
            warmup_seconds=effort.warmup_seconds,
            frequency_paths=self._watched.frequency_paths,
            temperature_paths=self._watched.temperature_paths,
        )
        self._require_what_was_asked(measured, cpus, effort)
        return ProcessRun(
            cold_load_ms=measured.cold_load_ms,
            warm_load_ms=measured.warm_load_ms,
            first_inference_us=measured.first_inference_us,
            warmup_us=measured.warmup_us,
            latencies_us=measured.latencies_us,
            steady=measured.steady,
            memory=measured.memory,
            before=before,
            during=during(measured.samples),
            after=self._circumstances(),
            waited_s=measured.waited_s,
        )

    def profile(self, model: Path, *, threads: int, cpus: Sequence[int], runs: int) -> Profile:
        """Profile the model's operators in one process; DeviceError where there is no profiler."""
        return self._ask(
            Reply[Profile],
            "profile",
            model,
            self._timeout_s,
            threads=threads,
            cpus=list(cpus),
            runs=runs,
        )

    def outputs(self, model: Path, inputs: AnyArray) -> AnyArray:
        """Run the model on `inputs`, its raw input values, (n, …), one at a time.

        Returns the raw values of its first output, (n, …).
        """
        with tempfile.NamedTemporaryFile(suffix=".npy") as file:
            np.save(file, inputs, allow_pickle=False)
            file.flush()
            self._target.push(Path(file.name), INPUTS)
        self._ask(
            Reply[Ran],
            "run",
            model,
            self._timeout_s,
            threads=1,
            cpus=[],
            inputs=INPUTS,
            outputs=OUTPUTS,
        )
        return self._array(self._target.pull(OUTPUTS), len(inputs))

    @cached_property
    def _checked(self) -> Checked:
        for name in AGENT_FILES:
            self._target.push(Path(__file__).with_name(name), name)
        return self._ask(Reply[Checked], "check", None, CHECK_TIMEOUT_S)

    def _ask(
        self,
        kind: type[Reply[Result]],
        action: str,
        model: Path | None,
        timeout_s: float,
        **request: Any,
    ) -> Result:
        """Run the agent once and return its answer."""
        request |= {"action": action, "timeout_s": timeout_s, "stdin_stays_open": True}
        if model is not None:
            request["model"] = self._names[model]
        answer = self._target.run(
            [self._python, "-B", "agent.py"],
            stdin=json.dumps(request).encode() + b"\n",
            stdin_stays_open=True,
            timeout_s=2 * timeout_s + STARTING_S,
        )
        return understand(
            kind, answer, device=self._target.address, model=model, timeout_s=timeout_s
        )

    def _require_what_was_asked(
        self, measured: Measured, cpus: Sequence[int], effort: Effort
    ) -> None:
        runs = len(measured.latencies_us)
        if not effort.minimum_runs <= runs <= effort.maximum_runs:
            raise self._failure(f"it answered {runs} runs, at least {effort.minimum_runs} needed")
        clusters = len(self._watched.frequency_paths)
        if any(len(sample.khz) != clusters for sample in measured.samples):
            raise self._failure(f"it did not answer a frequency for each of {clusters} clusters")
        # An emulated processor's cores are not those of the machine beneath.
        if self._description.emulated is None and set(measured.cpus) != set(cpus or measured.cpus):
            raise self._failure(
                f"it may use only cores {list(measured.cpus)} of {list(cpus)}; "
                "choose cores with --cores"
            )

    def _array(self, npy: bytes, count: int) -> AnyArray:
        try:
            outputs: AnyArray = read_array(io.BytesIO(npy), allow_pickle=False)
        except NPY_ERRORS as exc:
            raise self._failure("the outputs that it stored cannot be read") from exc
        if outputs.ndim == 0 or len(outputs) != count:
            raise self._failure(f"it stored outputs {outputs.shape} of {count} inputs")
        return outputs

    def _failure(self, problem: str) -> DeviceError:
        return DeviceError(self._target.address, problem)


def during(samples: Sequence[Sample]) -> During | None:
    """Return the extremes of what was read between runs; None where nothing could be."""
    khz = list(zip(*(sample.khz for sample in samples), strict=True))
    lowest = tuple(min(_known(cluster), default=None) for cluster in khz)
    millicelsius = _known(value for sample in samples for value in sample.millicelsius)
    if not millicelsius and all(frequency is None for frequency in lowest):
        return None
    return During(
        lowest_khz=lowest,
        highest_temperature_c=max(millicelsius) / 1000 if millicelsius else None,
    )


def _known(values: Iterable[int | None]) -> list[int]:
    return [value for value in values if value is not None]


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise ModelError(path, f"cannot be read: {exc.strerror}") from exc
