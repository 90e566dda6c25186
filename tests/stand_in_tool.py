"""A stand-in for benchmark_model, which is not to be had everywhere: this is no Android program.

It loads and runs the model with the interpreter of the Python that runs it, or where that has none
takes a checksum of the file for a run, and prints what it measured in the form of the tool, of
TensorFlow Lite's or of LiteRT's. In its profile only the operators' names and the whole are real:
each gets an equal part of the time. STAND_IN_FORM and STAND_IN_FAULT say how it should be.

Like the tool it passes over flags that it doesn't know. It runs on devices: Python 3.9 and its
library alone.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import zlib
from pathlib import Path
from typing import Any, NoReturn

FORM = os.environ.get("STAND_IN_FORM", "tensorflow")
FAULT = os.environ.get("STAND_IN_FAULT", "")
LOG = os.environ.get("STAND_IN_LOG", "")

COMMON_FLAGS = {
    "graph": "", "num_threads": "1", "num_runs": "50", "min_secs": "1", "max_secs": "150",
    "warmup_runs": "1", "warmup_min_secs": "0.5", "report_peak_memory_footprint": "false",
    "memory_footprint_check_interval_ms": "50",
}  # fmt: skip
OWN_FLAGS = {
    "tensorflow": {
        "use_xnnpack": "false", "enable_op_profiling": "false", "input_layer": "",
        "input_layer_shape": "", "input_layer_value_files": "", "output_filepath": "",
    },
    "litert": {"use_profiler": "false"},
}  # fmt: skip


def say(text: str, *, litert: bool = False) -> None:
    """Print a line as the tool's log does: LiteRT's own lines go to stderr."""
    if litert:
        sys.stderr.write(f"INFO: [benchmark_litert_model.h:90] {text}\n")
    else:
        sys.stdout.write(f"INFO: {text}\n")
        sys.stdout.flush()


def fail(reason: str) -> NoReturn:
    """Fail as the tool does."""
    sys.stderr.write(f"ERROR: {reason}\nERROR: Benchmarking failed.\n")
    sys.exit(1)


def main() -> None:
    """Do what the command line says."""
    say("STARTING!")
    flags = read_flags()
    if LOG:
        with Path(LOG).open("a") as log:
            log.write(f"{sorted(os.sched_getaffinity(0))} {sys.argv[1:]}\n")
    misbehave(flags)
    begin = time.perf_counter()
    start_kb = peak_kb()
    model = load(flags["graph"], int(flags["num_threads"]))
    init_us = int((time.perf_counter() - begin) * 1e6)
    loaded_kb = peak_kb()
    say(f"Initialized session in {init_us / 1e3:g}ms.")
    feed(model, flags.get("input_layer_value_files", ""))
    warmup = section(model, flags["warmup_runs"], flags["warmup_min_secs"], flags["max_secs"])
    runs = section(model, flags["num_runs"], flags["min_secs"], flags["max_secs"])
    summary(init_us, warmup, runs)
    if flags["report_peak_memory_footprint"] == "true":
        memory(start_kb, loaded_kb, peak_kb())
    if "true" in (flags.get("enable_op_profiling"), flags.get("use_profiler")):
        profile(model, warmup, runs)
    if flags.get("output_filepath"):
        Path(flags["output_filepath"]).write_bytes(model.output())


def read_flags() -> dict[str, str]:
    """Return the flags' values, and complain of the unknown ones."""
    flags = {**COMMON_FLAGS, **OWN_FLAGS[FORM]}
    if FAULT == "no threads":
        del flags["num_threads"]
    unknown = []
    for word in sys.argv[1:]:
        name, _, value = word.lstrip("-").partition("=")
        if name in flags:
            flags[name] = value
        else:
            unknown.append(word)
    if unknown:
        sys.stdout.write(f"WARN: Unconsumed cmdline flags: {' '.join(unknown)}\n")
    flags.setdefault("num_threads", "1")
    return flags


def misbehave(flags: dict[str, str]) -> None:
    """Do what STAND_IN_FAULT wants, where that ends the tool early."""
    if FAULT == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if FAULT == "hangs":
        time.sleep(600)
    if FAULT == "unknown form":
        say("Running benchmark for at least 1 iterations\nINFO: count=often")
        sys.exit(0)
    if FAULT == "linker":
        sys.stderr.write(
            'CANNOT LINK EXECUTABLE "./benchmark_model": library "libx.so" not found\n'
        )
        sys.exit(1)
    if FAULT == "no op":
        fail("Encountered unresolved custom op: FlexAddV2.")
    say(f"Loaded model {flags['graph']}")


class Interpreted:
    """A model in LiteRT's interpreter."""

    def __init__(self, interpreter: Any) -> None:
        self.interpreter = interpreter
        operators = interpreter._get_ops_details()
        self.kinds = [operator["op_name"] for operator in operators]
        for details in interpreter.get_input_details():
            zeros = bytes(interpreter.get_tensor(details["index"]).nbytes)
            self.set(details, zeros)

    def run(self) -> None:
        """Run it ten times, so that the smallest model takes some microseconds."""
        for _ in range(10):
            self.interpreter.invoke()

    def feed(self, content: bytes) -> None:
        """Set the first input's bytes."""
        self.set(self.interpreter.get_input_details()[0], content)

    def set(self, details: Any, content: bytes) -> None:
        """Set an input's bytes."""
        import numpy as np

        values = np.frombuffer(content, details["dtype"]).reshape(details["shape"])
        self.interpreter.set_tensor(details["index"], values)

    def output(self) -> bytes:
        """Return the first output's bytes."""
        index = self.interpreter.get_output_details()[0]["index"]
        return bytes(self.interpreter.get_tensor(index).tobytes())


class Checksummed:
    """A file of which a checksum is taken."""

    def __init__(self, content: bytes) -> None:
        self.kinds = ["READ", "CHECKSUM"]
        self.content = content

    def run(self) -> None:
        """Take it once."""
        zlib.crc32(self.content)

    def feed(self, content: bytes) -> None:
        """Take another file."""
        self.content = content

    def output(self) -> bytes:
        """Return the checksum."""
        return zlib.crc32(self.content).to_bytes(4, "little")


def load(path: str, threads: int) -> Interpreted | Checksummed:
    """Return the model, or fail as the tool does."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        return Checksummed(Path(path).read_bytes())
    try:
        interpreter = Interpreter(path, num_threads=threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        fail(str(error))
    return Interpreted(interpreter)


def feed(model: Interpreted | Checksummed, files: str) -> None:
    """Set the input from what --input_layer_value_files names."""
    if files:
        model.feed(Path(files.partition(":")[2]).read_bytes())


def section(
    model: Interpreted | Checksummed, at_least_runs: str, at_least_s: str, at_most_s: str
) -> list[int]:
    """Run until both are reached, say what was measured, and return it in microseconds."""
    say(
        f"Running benchmark for at least {at_least_runs} iterations and at least {at_least_s} "
        f"seconds but terminate if exceeding {at_most_s} seconds."
    )
    times: list[int] = []
    begin = now = time.perf_counter()
    while (
        len(times) < int(at_least_runs) or now < begin + float(at_least_s)
    ) and now <= begin + float(at_most_s):
        start = time.perf_counter()
        model.run()
        now = time.perf_counter()
        times.append(0 if FAULT == "coarse clock" else int((now - start) * 1e6))
    say(statistics(times) + "\n")
    return times


def statistics(times: list[int]) -> str:
    """Return what tensorflow/core/util/stats_calculator.h prints."""
    if not times:
        return "count=0 p5=0 median=0 p95=0"
    mean = sum(times) / len(times)
    deviation = (sum((time - mean) ** 2 for time in times) / len(times)) ** 0.5
    ordered = sorted(times)
    if ordered[0] == ordered[-1]:
        text = f"count={len(times)} curr={times[-1]}" + "(all same)" * (len(times) > 1)
    else:
        text = (
            f"count={len(times)} first={times[0]} curr={times[-1]} min={ordered[0]} "
            f"max={ordered[-1]} avg={mean:g} std={int(deviation)}"
        )
    p5, median, p95 = (ordered[len(times) * percent // 100] for percent in (5, 50, 95))
    return f"{text} p5={p5} median={median} p95={p95}"


def summary(init_us: int, warmup: list[int], runs: list[int]) -> None:
    """Say the means once more."""
    first = warmup[0] if warmup else 0
    before = sum(warmup) / len(warmup) if warmup else 0
    mean = sum(runs) / len(runs)
    if FORM == "litert":
        say("\n========== BENCHMARK RESULTS ==========", litert=True)
        say(f"Model initialization: {init_us / 1000:.2f} ms", litert=True)
        say(f"Inference (avg):      {mean / 1000:.2f} ms ({len(runs)} runs)", litert=True)
    else:
        say(
            f"Inference timings in us: Init: {init_us}, First inference: {first}, "
            f"Warmup (avg): {before:g}, Inference (avg): {mean:g}"
        )


def peak_kb() -> int:
    """Return the most memory that this process ever had."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def memory(start_kb: int, loaded_kb: int, end_kb: int) -> None:
    """Say how memory grew."""
    init, overall, peak = (kb / 1024 for kb in (loaded_kb - start_kb, end_kb - start_kb, end_kb))
    if FORM == "litert":
        say(f"Init footprint:       {init:.2f} MB", litert=True)
        say(f"Overall footprint:    {overall:.2f} MB", litert=True)
        say(f"Peak memory:          {peak:.2f} MB", litert=True)
    else:
        say(
            "Memory footprint delta from the start of the tool (MB): "
            f"init={init:g} overall={overall:g}"
        )
        say(f"Overall peak memory footprint (MB) via periodic monitoring: {peak:g}")


def profile(model: Interpreted | Checksummed, warmup: list[int], runs: list[int]) -> None:
    """Print the operators, each with an equal part of the time; the last ran in no delegate."""
    kinds = model.kinds
    mean_ms = max(sum(runs) / len(runs) / len(kinds) / 1000, 0.001)
    say(
        f"Replacing {len(kinds) - 1} out of {len(kinds)} node(s) with delegate "
        "(TfLiteXNNPackDelegate) node, yielding 2 partitions for subgraph 0."
    )
    if FAULT == "no profile":
        return
    rows = []
    for position, operator in enumerate(kinds):
        delegated = position < len(kinds) - 1
        kind = f"{operator} (NC, X)" if delegated else operator
        calls, name = 1, f"Delegate/{kind}:{position}" if delegated else f"[out]:{position}"
        before = []
        if FORM == "litert":
            kind = f"Delegate/{kind}" if delegated else kind
            calls, name = len(warmup) + len(runs), f"[Delegate]:{position}"
            before = ["0.000"]
        share = f"{100 / len(kinds):.3f}%"
        cells = [*before, f"{mean_ms:.3f}", f"{mean_ms:.3f}", share, share, "0.000", str(calls)]
        rows.append("\t".join(["", kind, *cells, name]))
    start = "[start] " if FORM == "litert" else ""
    say("Operator-wise Profiling Info for Regular Benchmark Runs:")
    title = f"{'=' * 30} Run Order {'=' * 30}"
    heads = f"[node type] {start}[first] [avg ms] [%] [cdf%] [mem KB] [times called] [Name]"
    sys.stdout.write("\n".join([title, heads, *rows, "", ""]))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
