"""Measures by benchmark_model, the native command-line tool: Android, which has no Python."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edgefer.benchmarks.harness import AnyArray
from edgefer.benchmarks.native import native_results
from edgefer.benchmarks.native.benchmark_tool import NAME as TOOL
from edgefer.benchmarks.native.benchmark_tool import Tool
from edgefer.benchmarks.native.native_tool import NativeTool, content_of, passed_over
from edgefer.benchmarks.plan import Effort
from edgefer.benchmarks.result import (
    Backend,
    Circumstances,
    DeviceDescription,
    ProcessRun,
    Profile,
)
from edgefer.benchmarks.targets.target import Target
from edgefer.converters import graph
from edgefer.errors import ModelError

OUTPUT_TIMEOUT_S = 120.0

WARMUP_RUNS = 3
WARMUP_SHARE = 0.2
"""Of the longest warm-up; the tool does not notice that runs no longer get faster."""

MEMORY_INTERVAL_MS = 500
"""What is read is the most ever used, so that a glance suffices; each one disturbs a little."""

INPUT = "input.bin"

NEEDED_TO_VERIFY = ("--input_layer_value_files", "--output_filepath")


class NativeHarness:
    """Brings benchmark_model and models to a device, and runs them there.

    The tool tells statistics instead of single runs. What it calls its initialization, loading,
    delegating and allocating, is the warm load, for the file has just been written; there is no
    cold one. `circumstances` asks the device for its state.
    """

    def __init__(
        self,
        target: Target,
        description: DeviceDescription,
        tool: Tool,
        *,
        circumstances: Callable[[], Circumstances],
    ) -> None:
        self._target, self._description, self._published = target, description, tool
        self._circumstances = circumstances
        self._tool = NativeTool(target, tool.path)

    @property
    def backend(self) -> Backend:
        """Which tool measures."""
        return Backend.BENCHMARK_MODEL

    @property
    def description(self) -> DeviceDescription:
        """What the device is."""
        return self._description

    @property
    def runtime(self) -> str:
        """The tool and its version, or the beginning of its hash where that is not known."""
        return f"{TOOL} {self._published.version or self._published.sha256[:12]}"

    @property
    def tool_sha256(self) -> str:
        """Of benchmark_model."""
        return self._published.sha256

    def install(self, model: Path) -> None:
        """Bring a model to the device, and with the first one the tool."""
        self._tool.install(model)

    def measure(
        self, model: Path, *, threads: int, cpus: Sequence[int], effort: Effort
    ) -> ProcessRun:
        """Measure the model's latency and memory in one process bound to `cpus`.

        The tool knows no largest number of runs: it goes on until the smallest number and the
        time are reached, and ends before that where it takes half of `effort.timeout_s`.
        """
        before = self._circumstances()
        report, waited_s = self._tool.run(
            model,
            f"--num_threads={threads}",
            f"--num_runs={effort.minimum_runs}",
            f"--min_secs={effort.minimum_seconds:g}",
            f"--max_secs={effort.timeout_s / 2:g}",
            f"--warmup_runs={WARMUP_RUNS}",
            f"--warmup_min_secs={effort.warmup_seconds * WARMUP_SHARE:g}",
            "--report_peak_memory_footprint=true",
            f"--memory_footprint_check_interval_ms={MEMORY_INTERVAL_MS}",
            cpus=cpus,
            timeout_s=effort.timeout_s,
        )
        typical = (report.inference.mean_us, report.inference.median_us)
        if any(run_us is not None and run_us < 1 for run_us in typical):
            raise ModelError(model, f"is too fast for {TOOL}, which counts whole microseconds")
        return ProcessRun(
            cold_load_ms=None,
            warm_load_ms=None if report.init_us is None else report.init_us / 1000,
            first_inference_us=(report.warmup or report.inference).first_us,
            warmup_us=(),
            latencies_us=(),
            summary=native_results.summary(report.inference),
            steady=native_results.steady(report),
            memory=native_results.memory(report),
            before=before,
            during=None,
            after=self._circumstances(),
            waited_s=float(waited_s),
        )

    def profile(self, model: Path, *, threads: int, cpus: Sequence[int], runs: int) -> Profile:
        """Profile the model's operators in one process; DeviceError where the tool cannot."""
        report, _ = self._tool.run(
            model,
            f"--num_threads={threads}",
            f"--num_runs={runs}",
            "--min_secs=0",
            f"--warmup_runs={WARMUP_RUNS}",
            "--warmup_min_secs=0",
            "--enable_op_profiling=true",
            "--use_profiler=true",  # LiteRT's tool calls it so
            cpus=cpus,
            timeout_s=Effort.timeout_s,
        )
        if not report.operators:
            raise self._tool.failure("prints no profile; give another version of it with --tool")
        return native_results.profile(report)

    def outputs(self, model: Path, inputs: AnyArray) -> AnyArray:
        """Run the model on `inputs`, its raw input values, (n, …), one at a time.

        Returns the raw values of its first output, (n, …). TensorFlow Lite's tool can do that
        from 2.12 on; LiteRT's cannot, which is a DeviceError.
        """
        outputs = [
            self._outputs_of_one(model, values, f"output-{number}.bin")
            for number, values in enumerate(inputs)
        ]
        return np.concatenate(outputs)

    def _outputs_of_one(self, model: Path, values: AnyArray, name: str) -> AnyArray:
        with tempfile.NamedTemporaryFile(suffix=".bin") as file:
            file.write(values.tobytes())
            file.flush()
            self._target.push(Path(file.name), INPUT)
        report, _ = self._tool.run(
            model,
            "--num_threads=1",
            "--num_runs=1",
            "--min_secs=0",
            "--warmup_runs=0",
            "--warmup_min_secs=0",
            "--input_layer=input",  # a remark, no more, where the model calls it otherwise
            f"--input_layer_shape={','.join(map(str, (1, *values.shape)))}",
            f"--input_layer_value_files=input:{INPUT}",
            f"--output_filepath={name}",
            cpus=self._description.cpus,
            timeout_s=OUTPUT_TIMEOUT_S,
        )
        if passed_over(report, NEEDED_TO_VERIFY):
            raise self._tool.failure(
                "takes no inputs and gives no outputs, so that nothing can be verified; give "
                f"TensorFlow Lite's, //tflite/tools/benchmark:{TOOL}, with --tool"
            )
        return self._first_output(model, self._target.pull(name))

    def _first_output(self, model: Path, content: bytes) -> AnyArray:
        """Read the outputs' bytes, which the tool writes one after the other."""
        parsed = graph.read(content_of(model), source=model)
        output = parsed.tensors[parsed.outputs[0]]
        dtype = np.dtype(output.dtype)
        shape = (1, *output.shape[1:])
        size = dtype.itemsize * int(np.prod(shape))
        if not 0 < size <= len(content):
            raise self._tool.failure(f"gives outputs of {len(content)} bytes, not {size}")
        return np.frombuffer(content[:size], dtype).reshape(shape)
