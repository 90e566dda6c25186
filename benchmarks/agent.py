"""What edgefer runs on a device: one process, one action, one answer.

    python3 agent.py < request > answer

It reads one line of JSON from stdin and writes one JSON document to stdout; whatever libraries
print goes to stderr. It opens no connection, needs no privileges, reads the model beside it and
figures under /sys and /proc, and writes nothing but the outputs that it is asked for, in the
folder that it runs in. It locks the folder for temporary files, by which benchmarks take turns,
and leaves nothing there. Python 3.9 or newer; standard library, numpy, ai_edge_litert or
tflite_runtime.

Actions: `check` says what is installed; `measure` times a model; `profile` asks LiteRT where the
time goes (profiler.py); `run` feeds it given inputs and stores its outputs.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import importlib
import json
import math
import mmap
import os
import platform
import random
import resource
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:  # a Python before 3.9 would stop here, and not say why
    Request = dict[str, Any]

RUNTIMES = ("ai_edge_litert", "tflite_runtime")

WINDOW_NS, WINDOW_RUNS, SHORTEST_WINDOW = 200_000_000, 2000, 3
"""A window of the warm-up ends after that time or those runs, and has at least three runs.

0.2 s is longer than a processor's governor takes to react.
"""

FASTER = 0.98
"""Runs still get faster while a window's median is under this share of the one before."""

BATCH_NS = 500_000_000
"""Between batches of runs of about this length, frequencies and temperatures are read."""

MODEL_ERRORS = (ValueError, RuntimeError, TypeError, MemoryError)
"""What the interpreter raises for a model that it cannot load or run."""


class Failure(Exception):  # noqa: N818 - not every failure is this program's error
    """Why nothing was done; `kind` is python, runtime, cores, turn, model, profile or files."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


# Actions


def check(_request: Request) -> dict[str, Any]:
    """Say what is installed, and prove that it can be imported."""
    answer = {
        "python": platform.python_version(),
        "bits": 8 * ctypes.sizeof(ctypes.c_void_p),
        "machine": platform.machine(),
    }
    package, _ = runtime()
    name = package.replace("_", "-")
    return {**answer, "numpy": version("numpy"), "runtime": f"{name} {version(package)}"}


def measure(request: Request) -> dict[str, Any]:
    """Load a model, run it until it no longer gets faster, then time single runs."""
    cores, waited_s = prepare(request)
    _, interpreter_class = runtime()
    before = memory_bytes(b"VmRSS")
    is_cold = drop_from_cache(request["model"])
    interpreter, first_load_ms = load(interpreter_class, request)
    loaded = memory_bytes(b"VmRSS")
    fill_inputs(interpreter)
    gc.collect()
    gc.disable()
    with blaming_the_model("fails to run"):
        (first_ns,) = timed(interpreter.invoke, 1)
        warmup_ns, is_steady = warm_up(interpreter.invoke, request["warmup_seconds"])
        shortest_ns = min([first_ns, *warmup_ns])
        latencies_ns, samples = timed_batches(interpreter.invoke, shortest_ns, request)
    peak = memory_bytes(b"VmHWM")
    _, warm_load_ms = load(interpreter_class, request)  # last, for it takes memory of its own
    return {
        "cpus": cores,
        "waited_s": waited_s,
        "cold_load_ms": first_load_ms if is_cold else None,
        "warm_load_ms": warm_load_ms,
        "first_inference_us": first_ns / 1000,
        "warmup_us": [nanoseconds / 1000 for nanoseconds in warmup_ns],
        "steady": is_steady,
        "latencies_us": [nanoseconds / 1000 for nanoseconds in latencies_ns],
        "memory": {"before_bytes": before, "loaded_bytes": loaded, "peak_bytes": peak},
        "samples": samples,
    }


def profile(request: Request) -> dict[str, Any]:
    """Say where the time goes, operator by operator."""
    prepare(request)
    runtime()
    import profiler  # type: ignore[import-not-found]  # lies beside this file on the device

    try:
        found: dict[str, Any] = profiler.profile(
            request["model"], request["threads"], request["runs"], fixed_values
        )
    except profiler.NoProfileError as error:
        raise Failure("profile", str(error)) from None
    return found


def run(request: Request) -> dict[str, Any]:
    """Run a model on each of the stored inputs and store its first output's raw values."""
    prepare(request)
    _, interpreter_class = runtime()
    interpreter, _ = load(interpreter_class, request)
    import numpy as np

    inputs = np.load(request["inputs"], allow_pickle=False)
    first_input = interpreter.get_input_details()[0]["index"]
    first_output = interpreter.get_output_details()[0]["index"]
    outputs = []
    with blaming_the_model("fails on an input"):
        for position in range(len(inputs)):
            interpreter.set_tensor(first_input, inputs[position : position + 1])
            interpreter.invoke()
            outputs.append(interpreter.get_tensor(first_output))
    np.save(request["outputs"], np.concatenate(outputs), allow_pickle=False)
    return {"count": len(outputs)}


ACTIONS = {"check": check, "measure": measure, "profile": profile, "run": run}


# What measuring is made of


def timed(invoke: Callable[[], object], count: int) -> list[int]:
    """Return the nanoseconds of each of `count` runs; only the run lies between two stamps."""
    nanoseconds = [0] * count
    clock = time.perf_counter_ns
    for position in range(count):
        begin = clock()
        invoke()
        nanoseconds[position] = clock() - begin
    return nanoseconds


def warm_up(invoke: Callable[[], object], seconds: float) -> tuple[list[int], bool]:
    """Run until a window's median is no longer under that of the window before, or time is up.

    Returns the nanoseconds of the runs, and whether it ended because they got no faster.
    """
    end = time.monotonic() + seconds
    latencies: list[int] = []
    median = float("inf")
    while True:
        window: list[int] = []
        while not is_complete(window):
            if time.monotonic() >= end:
                return latencies + window, False
            window += timed(invoke, 1)
        latencies += window
        previous, median = median, statistics.median(window)
        if median >= FASTER * previous:
            return latencies, True


def is_complete(window: Sequence[int]) -> bool:
    """Say whether a window of the warm-up has enough runs."""
    long_enough = sum(window) >= WINDOW_NS or len(window) >= WINDOW_RUNS
    return long_enough and len(window) >= SHORTEST_WINDOW


def timed_batches(
    invoke: Callable[[], object], shortest_ns: int, request: Request
) -> tuple[list[int], list[dict[str, Any]]]:
    """Time runs until both minima are met, or the maximum; look at the device between batches.

    `shortest_ns` is the shortest run so far. Returns the nanoseconds of the runs, and what was
    read of the device.
    """
    latencies: list[int] = []
    samples: list[dict[str, Any]] = []
    while True:
        count = runs_wanted(latencies, shortest_ns, request)
        if count <= 0:
            return latencies, samples
        latencies += timed(invoke, count)
        samples.append(sample(request))
        shortest_ns = min(shortest_ns, *latencies[-count:])


def runs_wanted(latencies: Sequence[int], shortest_ns: int, request: Request) -> int:
    """Return how many runs the next batch has; none when there are enough."""
    missing_ns: float = 1e9 * request["minimum_seconds"] - sum(latencies)
    missing_runs: int = max(
        request["minimum_runs"] - len(latencies), math.ceil(missing_ns / shortest_ns)
    )
    allowed: int = request["maximum_runs"] - len(latencies)
    return min(missing_runs, allowed, math.ceil(BATCH_NS / shortest_ns))


def sample(request: Request) -> dict[str, Any]:
    """Read the watched files: kilohertz, and thousandths of a degree."""
    return {
        "khz": [number_in(path) for path in request["frequency_paths"]],
        "millicelsius": [number_in(path) for path in request["temperature_paths"]],
    }


def number_in(path: str | None) -> int | None:
    """Return the number that a file of /sys holds, if it does."""
    if path is None:
        return None
    try:
        return int(Path(path).read_bytes())
    except (OSError, ValueError):
        return None


def memory_bytes(field: bytes) -> int | None:
    """Return this process's VmRSS (resident) or VmHWM (the most that ever was)."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_bytes().splitlines():
            if line.startswith(field):
                return 1024 * int(line.split()[1])
    return None


# The model and its inputs


def runtime() -> tuple[str, Any]:
    """Return the package that runs models here, and its Interpreter."""
    if imported("numpy") is None:
        raise Failure("runtime", "numpy is not installed")
    for package in RUNTIMES:
        module = imported(f"{package}.interpreter")
        if module is not None:
            return package, module.Interpreter
    raise Failure("runtime", "neither ai-edge-litert nor tflite-runtime is installed")


def imported(name: str) -> Any:
    """Return a module, or None where its package is not installed."""
    package = name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == package:
            return None
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - a wheel for another system raises anything
        reason = str(error).rpartition("Original error was:")[2]  # numpy buries it in advice
    raise Failure("runtime", f"{package} is installed but cannot be imported: {reason}")


def version(package: str) -> str:
    """Return the version of an imported package."""
    from importlib import metadata

    known = getattr(importlib.import_module(package), "__version__", None)
    return str(known or metadata.version(package))


def load(interpreter_class: Any, request: Request) -> tuple[Any, float]:
    """Return a model that is ready to run, and the milliseconds of loading and allocating."""
    begin = time.perf_counter_ns()
    with blaming_the_model("cannot be loaded"):
        interpreter = interpreter_class(model_path=request["model"], num_threads=request["threads"])
        interpreter.allocate_tensors()
    return interpreter, (time.perf_counter_ns() - begin) / 1e6


@contextmanager
def blaming_the_model(problem: str) -> Iterator[None]:
    """Turn what the interpreter raises into a failure of the model."""
    try:
        yield
    except MODEL_ERRORS as error:
        reason = str(error) or type(error).__name__  # a MemoryError says nothing
        raise Failure("model", f"{problem}: {reason}") from None


def fill_inputs(interpreter: Any) -> None:
    """Give every input its fixed values."""
    for details in interpreter.get_input_details():
        values = fixed_values(details["shape"], details["dtype"])
        interpreter.set_tensor(details["index"], values)


def fixed_values(shape: Sequence[int], dtype: Any) -> Any:
    """Return the same noise every time: the whole range of bytes, or -1 to 1 in floats.

    Of wider integers 0 and 1 alone, which are valid as indexes too.
    """
    import numpy as np

    noise = np.frombuffer(random.Random(0).randbytes(1 << 16), np.uint8)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        values = (noise / 127.5 - 1).astype(dtype)
    elif dtype.kind in "iu" and dtype.itemsize <= 2:
        values = noise.view(dtype)
    elif dtype.kind in "iub":
        values = (noise & 1).astype(dtype)
    else:
        raise Failure("model", f"has an input of type {dtype}, which edgefer cannot fill")
    return np.resize(values, tuple(shape))


def drop_from_cache(path: str) -> bool:
    """Make a file come from the disk when it is read next; False where that cannot be had.

    A file in memory (tmpfs) stays there, and so do pages that another process has mapped.
    """
    libc = ctypes.CDLL(None)
    try:
        with Path(path).open("rb") as file:
            os.fsync(file.fileno())  # what is not on the disk yet would stay
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapping:
                pages = (ctypes.c_ubyte * -(-len(mapping) // mmap.PAGESIZE))()
                start = ctypes.c_char.from_buffer(mapping)
                size = ctypes.c_size_t(len(mapping))
                unknown = libc.mincore(ctypes.byref(start), size, pages)
                del start  # or the mapping could not be closed
    except (OSError, ValueError):
        return False
    return not unknown and not any(page & 1 for page in pages)


# This process


def prepare(request: Request) -> tuple[list[int], float]:
    """Bind this process to its cores and wait for its turn, before anything large is loaded.

    Returns the cores and the seconds waited.
    """
    cores = bind(request["cpus"])
    waited_s = take_turn(request["timeout_s"])
    die_after(request["timeout_s"])
    return cores, waited_s


def bind(cores: Sequence[int]) -> list[int]:
    """Keep this process, and the threads that it will start, on these cores; all if empty.

    Returns those that it may use now: fewer where some are switched off or kept from it.
    """
    try:
        if cores:
            os.sched_setaffinity(0, cores)
    except (OSError, ValueError) as error:
        allowed = sorted(os.sched_getaffinity(0))
        raise Failure(
            "cores", f"cannot be bound to cores {cores}, for it may use {allowed}: {error}"
        ) from None
    return sorted(os.sched_getaffinity(0))


def take_turn(longest_s: float) -> float:
    """Wait until no other benchmark runs on this device; returns the seconds waited.

    What is locked is a folder that is always there, and open to all users. The turn ends with
    this process, however that ends: then the system releases the lock.
    """
    folder = tempfile.gettempdir()
    begin = time.monotonic()

    def give_up(_number: int, _frame: object) -> NoReturn:
        raise Failure("turn", f"another benchmark has run there for {longest_s:g} s; try later")

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, longest_s)
    try:
        fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX)
    except OSError as error:
        raise Failure("turn", f"{folder} cannot be locked there: {error.strerror}") from None
    return time.monotonic() - begin


def die_after(seconds: float) -> None:
    """Let the system end this process then, whatever it hangs in."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def die_with_the_connection() -> None:
    """End this process when stdin ends, which says that nobody waits for the answer any more."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def require_python() -> None:
    """Refuse a Python that is older than this program."""
    if sys.version_info < (3, 9):  # noqa: UP036 - the device's is not edgefer's
        raise Failure("python", f"its Python is {platform.python_version()}; 3.9 is the oldest")


def be_no_burden() -> None:
    """Leave no core dump, and be the first to be ended when memory runs out."""
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(b"1000")


def main() -> None:
    """Do what the request asks for and answer."""
    answer_to = os.dup(1)
    os.dup2(2, 1)
    be_no_burden()
    request = json.loads(sys.stdin.buffer.readline())
    die_after(request["timeout_s"])
    if request["stdin_stays_open"]:
        die_with_the_connection()
    try:
        require_python()
        answer = {"result": ACTIONS[request["action"]](request)}
    except Failure as failure:
        answer = {"error": {"kind": failure.kind, "message": printable(str(failure))}}
    except OSError as error:
        answer = {"error": {"kind": "files", "message": printable(str(error))}}
    with os.fdopen(answer_to, "w", encoding="ascii") as file:
        json.dump(answer, file, allow_nan=False)


def printable(text: str) -> str:
    """Return a text without what JSON has no way to carry: bytes of a file name in no encoding."""
    return text.encode("utf-8", "replace").decode()


if __name__ == "__main__":
    main()
