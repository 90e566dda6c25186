"""The program that is sent to a device: real processes, as a device would run them."""

import ast
import fcntl
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefer.benchmarks import agent, profiler

Models = Mapping[str, Path]
Json = dict[str, Any]

FILES = (Path(agent.__file__), Path(profiler.__file__))

ALLOWED = {"numpy", "ai_edge_litert", "tflite_runtime", "profiler"}

REQUEST: Json = {
    "action": "measure",
    "threads": 1,
    "cpus": [],
    "minimum_runs": 5,
    "minimum_seconds": 0.0,
    "maximum_runs": 1000,
    "warmup_seconds": 10.0,
    "timeout_s": 60.0,
    "frequency_paths": [None],
    "temperature_paths": [],
    "stdin_stays_open": False,
}

# C code that never returns to Python, and lets no other thread of it run.
HANG = "import ctypes\nctypes.PyDLL(None).sleep(600)\n"

SLEEPER = """
import time

class Interpreter:
    def __init__(self, **_): pass
    def allocate_tensors(self): pass
    def get_input_details(self): return []
    def invoke(self): time.sleep(0.02)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Hold what a device gets, and nothing else."""
    folder = tmp_path / "device"
    folder.mkdir()
    for file in FILES:
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def line(request: Json) -> bytes:
    return json.dumps(request).encode() + b"\n"


def start(
    folder: Path,
    *options: str,
    stdin: int = subprocess.PIPE,
    environment: Mapping[str, str] | None = None,
) -> "subprocess.Popen[bytes]":
    """Start the agent; its turn is taken in a place of the test's own."""
    return subprocess.Popen(
        [sys.executable, *options, "agent.py"],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder.parent), **(environment or {})},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def answer(
    folder: Path, *options: str, environment: Mapping[str, str] | None = None, **request: Any
) -> Json:
    """Return the whole answer to a request."""
    with start(folder, *options, environment=environment) as process:
        stdout, stderr = process.communicate(line(REQUEST | request), timeout=120)
    assert process.returncode == 0, stderr.decode()
    whole: Json = json.loads(stdout)
    return whole


def result(folder: Path, **request: Any) -> Json:
    whole = answer(folder, **request)
    assert "error" not in whole, whole
    found: Json = whole["result"]
    return found


def problem(
    folder: Path, *options: str, environment: Mapping[str, str] | None = None, **request: Any
) -> tuple[str, str]:
    """Return the kind and the message of the failure that a request meets with."""
    error = answer(folder, *options, environment=environment, **request)["error"]
    return error["kind"], error["message"]


def death(folder: Path, **request: Any) -> int:
    """Return the exit code of an agent that gives no answer."""
    with start(folder) as process:
        stdout, _ = process.communicate(line(REQUEST | request), timeout=120)
    assert stdout == b""
    return process.returncode


def install(folder: Path, interpreter: str, package: str = "ai_edge_litert") -> None:
    """Put a runtime beside the agent, where Python looks first."""
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text('__version__ = "0.1"\n', encoding="utf-8")
    (folder / package / "interpreter.py").write_text(interpreter, encoding="utf-8")


@contextmanager
def another_benchmark(folder: Path) -> Iterator[None]:
    """Hold the lock that the agent takes."""
    lock = os.open(folder.parent, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(lock)


# What is sent


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_is_sent_is_python_3_9(file: Path) -> None:
    ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 9))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_is_sent_needs_no_more_than_a_device_has(file: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module
            assert node.level == 0
            imported.add(node.module.partition(".")[0])
    assert imported - ALLOWED <= sys.stdlib_module_names


# check


def test_check_says_what_is_installed(folder: Path) -> None:
    found = result(folder, action="check")
    assert found["python"] == sys.version.split()[0]
    assert found["bits"] == 64
    assert found["machine"] == os.uname().machine
    assert found["numpy"] == np.__version__
    name, version = found["runtime"].split()
    assert name == "ai-edge-litert"
    assert version[0].isdigit()


def test_an_old_python_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 8, 10))
    monkeypatch.setattr(platform, "python_version", lambda: "3.8.10")
    with pytest.raises(agent.Failure, match=r"^its Python is 3\.8\.10; 3\.9 is the oldest$"):
        agent.require_python()


def test_a_board_with_tflite_runtime_alone_is_told_as_such(folder: Path) -> None:
    install(folder, "raise ModuleNotFoundError(name='ai_edge_litert')\n")
    install(folder, "Interpreter = object\n", package="tflite_runtime")
    assert result(folder, action="check")["runtime"] == "tflite-runtime 0.1"


def test_missing_numpy_is_told(folder: Path) -> None:
    assert problem(folder, "-S", action="check") == ("runtime", "numpy is not installed")


def test_a_missing_runtime_is_told(folder: Path, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    installed = Path(np.__file__).parents[1]
    for path in installed.glob("numpy*"):
        (packages / path.name).symlink_to(path)
    found = problem(folder, "-S", environment={"PYTHONPATH": str(packages)}, action="check")
    assert found == ("runtime", "neither ai-edge-litert nor tflite-runtime is installed")


def test_a_wheel_for_another_architecture_is_told(folder: Path) -> None:
    install(folder, "from ai_edge_litert import _pywrap_litert_interpreter_wrapper\n")
    elf_32_bit = b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x03\x00\x28\x00" + bytes(4000)
    wrapper = folder / "ai_edge_litert" / "_pywrap_litert_interpreter_wrapper.so"
    wrapper.write_bytes(elf_32_bit)
    kind, message = problem(folder, action="check")
    assert kind == "runtime"
    assert message.startswith("ai_edge_litert is installed but cannot be imported: ")
    assert "wrong ELF class" in message


def test_a_runtime_that_lacks_a_package_is_told(folder: Path) -> None:
    install(folder, "import flat_buffers_that_are_not_there\n")
    assert problem(folder, action="check") == (
        "runtime",
        "ai_edge_litert is installed but cannot be imported: "
        "No module named 'flat_buffers_that_are_not_there'",
    )


# measure


def test_every_timed_run_is_there(folder: Path, quadrant_tflites: Models) -> None:
    found = result(folder, model=str(quadrant_tflites["int8"]), minimum_runs=64)
    assert len(found["latencies_us"]) == 64
    assert all(latency > 0 for latency in found["latencies_us"])
    assert found["first_inference_us"] > 0
    assert found["steady"]
    assert len(found["warmup_us"]) >= 2 * agent.SHORTEST_WINDOW


def test_the_runs_take_as_long_as_was_asked_for(folder: Path, quadrant_tflites: Models) -> None:
    found = result(
        folder,
        model=str(quadrant_tflites["float32"]),
        minimum_seconds=0.1,
        maximum_runs=10_000_000,
    )
    assert sum(found["latencies_us"]) >= 0.1e6


def test_there_are_never_more_runs_than_allowed(folder: Path, quadrant_tflites: Models) -> None:
    found = result(
        folder, model=str(quadrant_tflites["float32"]), minimum_seconds=30.0, maximum_runs=200
    )
    assert len(found["latencies_us"]) == 200


def test_without_time_to_warm_up_nothing_is_called_steady(
    folder: Path, quadrant_tflites: Models
) -> None:
    found = result(folder, model=str(quadrant_tflites["float32"]), warmup_seconds=0.0)
    assert (found["warmup_us"], found["steady"]) == ([], False)


def test_loading_takes_time_and_memory(folder: Path, quadrant_tflites: Models) -> None:
    found = result(folder, model=str(quadrant_tflites["float32"]))
    assert 0 < found["warm_load_ms"] < 60_000
    memory = found["memory"]
    assert 1e6 < memory["before_bytes"] < memory["loaded_bytes"] <= memory["peak_bytes"]


def test_what_is_watched_is_read_between_the_runs(
    folder: Path, quadrant_tflites: Models, tmp_path: Path
) -> None:
    (tmp_path / "khz").write_text("1800000\n", encoding="ascii")
    (tmp_path / "hot").write_text("61234\n", encoding="ascii")
    (tmp_path / "odd").write_text("none\n", encoding="ascii")
    found = result(
        folder,
        model=str(quadrant_tflites["int8"]),
        frequency_paths=[str(tmp_path / "khz"), None, str(tmp_path / "missing")],
        temperature_paths=[str(tmp_path / "hot"), str(tmp_path / "odd")],
    )
    assert found["samples"] == [{"khz": [1_800_000, None, None], "millicelsius": [61_234, None]}]


def test_a_model_with_two_inputs_is_measured(folder: Path, quadrant_tflites: Models) -> None:
    assert len(result(folder, model=str(quadrant_tflites["two_inputs"]))["latencies_us"]) == 5


def test_a_file_that_is_no_model_is_the_models_failure(folder: Path) -> None:
    (folder / "text.tflite").write_text("no model")
    kind, message = problem(folder, model="text.tflite")
    assert kind == "model"
    assert message.startswith("cannot be loaded: ")


def test_a_model_that_crashes_the_interpreter_ends_the_agent_by_a_signal(
    folder: Path, quadrant_tflites: Models
) -> None:
    assert death(folder, model=str(quadrant_tflites["crashing"])) == -signal.SIGSEGV


def test_what_libraries_print_never_gets_into_the_answer(folder: Path) -> None:
    install(folder, "import os\nprint('text')\nos.write(1, b'more')\nInterpreter = object\n")
    assert result(folder, action="check")["runtime"] == "ai-edge-litert 0.1"


def test_an_error_in_any_alphabet_arrives(folder: Path) -> None:
    install(
        folder,
        "def Interpreter(**_):\n    raise ValueError('zu groß: \\U0001f642 \\udcff\\n')\n",
    )
    assert problem(folder, model="x") == ("model", "cannot be loaded: zu groß: \U0001f642 ?\n")


# Cores, turns and ends


def test_the_process_runs_on_the_cores_that_were_asked_for(
    folder: Path, quadrant_tflites: Models
) -> None:
    core = max(os.sched_getaffinity(0))
    assert result(folder, model=str(quadrant_tflites["int8"]), cpus=[core])["cpus"] == [core]
    everywhere = result(folder, model=str(quadrant_tflites["int8"]), cpus=[])["cpus"]
    assert everywhere == sorted(os.sched_getaffinity(0))


def test_the_interpreters_threads_stay_on_those_cores(
    folder: Path, quadrant_tflites: Models
) -> None:
    core = max(os.sched_getaffinity(0))
    request = {
        "model": str(quadrant_tflites["float32"]),
        "threads": 3,
        "cpus": [core],
        "minimum_seconds": 60.0,
        "maximum_runs": 10**9,
    }
    with start(folder) as process:
        assert process.stdin is not None
        process.stdin.write(line(REQUEST | request))
        process.stdin.flush()
        end = time.monotonic() + 60
        cores: list[str] = []
        while len(cores) < 3 and time.monotonic() < end and process.poll() is None:
            time.sleep(0.05)
            cores = allowed_cores(process.pid)
        process.kill()
    assert len(cores) >= 3
    assert set(cores) == {str(core)}


def allowed_cores(pid: int) -> list[str]:
    """Return what each thread of a process may run on, once it is bound."""
    found = []
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        text = status.read_text(encoding="utf-8")
        found.append(text.partition("Cpus_allowed_list:")[2].split()[0])
    return found


def test_cores_that_are_not_there_are_refused(folder: Path) -> None:
    kind, message = problem(folder, model="x", cpus=[4000])
    assert kind == "cores"
    assert message.startswith("cannot be bound to cores [4000], for it may use [")


def test_two_benchmarks_at_once_take_turns(folder: Path) -> None:
    install(folder, SLEEPER)
    with start(folder) as first, start(folder) as second:
        for process in (first, second):
            assert process.stdin is not None
            process.stdin.write(line(REQUEST | {"model": "x", "minimum_runs": 20}))
            process.stdin.flush()
        answers = [
            json.loads(process.communicate(timeout=120)[0])["result"] for process in (first, second)
        ]
    assert max(answer["waited_s"] for answer in answers) > 20 * 0.02


def test_the_wait_for_another_benchmark_is_told(folder: Path, quadrant_tflites: Models) -> None:
    with start(folder) as process:
        with another_benchmark(folder):
            assert process.stdin is not None
            process.stdin.write(line(REQUEST | {"model": str(quadrant_tflites["int8"])}))
            process.stdin.flush()
            time.sleep(2)
        stdout, _ = process.communicate(timeout=60)
    assert 0.2 < json.loads(stdout)["result"]["waited_s"] < 60


def test_another_benchmark_that_never_ends_is_told(folder: Path, quadrant_tflites: Models) -> None:
    with another_benchmark(folder):
        found = problem(folder, model=str(quadrant_tflites["int8"]), timeout_s=0.5)
    assert found == ("turn", "another benchmark has run there for 0.5 s; try later")


def test_a_check_waits_for_no_turn(folder: Path) -> None:
    with another_benchmark(folder):
        assert result(folder, action="check")


def test_taking_turns_leaves_nothing_behind(folder: Path, quadrant_tflites: Models) -> None:
    before = sorted(folder.parent.iterdir())
    result(folder, model=str(quadrant_tflites["int8"]))
    assert sorted(folder.parent.iterdir()) == before


def test_a_hang_in_c_is_ended(folder: Path) -> None:
    install(folder, HANG)
    assert death(folder, model="x", timeout_s=2.0) == -signal.SIGALRM


def test_a_model_that_never_ends_is_ended(folder: Path, quadrant_tflites: Models) -> None:
    with start(folder) as process:
        request = REQUEST | {"model": str(quadrant_tflites["endless"]), "timeout_s": 4.0}
        stdout, _ = process.communicate(line(request), timeout=120)
    refused = stdout and json.loads(stdout)["error"]["kind"] == "model"
    assert refused or process.returncode == -signal.SIGALRM


def test_the_agent_ends_with_the_connection(folder: Path) -> None:
    install(folder, "import time\ntime.sleep(600)\n")
    with start(folder) as process:
        assert process.stdin is not None
        process.stdin.write(line(REQUEST | {"model": "x", "stdin_stays_open": True}))
        process.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        process.stdin.close()
        assert process.wait(timeout=30) == 1


def test_the_agent_ends_when_it_is_told_to(folder: Path) -> None:
    install(folder, HANG)
    with start(folder) as process:
        assert process.stdin is not None
        process.stdin.write(line(REQUEST | {"model": "x"}))
        process.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        process.terminate()
        assert process.wait(timeout=30) == -signal.SIGTERM


# run


@pytest.mark.parametrize("name", ["float32", "int8", "uint8"])
def test_outputs_are_those_of_the_interpreter(
    folder: Path, quadrant_tflites: Models, name: str
) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(quadrant_tflites[name]), num_threads=1)
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()[0]
    noise = np.random.default_rng(0).integers(0, 100, (3, *details["shape"][1:]))
    inputs = noise.astype(details["dtype"])
    expected = []
    for one in inputs:
        interpreter.set_tensor(details["index"], one[None])
        interpreter.invoke()
        expected.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    np.save(folder / "inputs.npy", inputs)
    request = {"inputs": "inputs.npy", "outputs": "outputs.npy"}
    found = result(folder, action="run", model=str(quadrant_tflites[name]), **request)
    assert found == {"count": 3}
    outputs = np.load(folder / "outputs.npy")
    assert outputs.dtype == details["dtype"]
    np.testing.assert_array_equal(outputs, np.stack(expected))


def test_inputs_of_another_shape_are_refused(folder: Path, quadrant_tflites: Models) -> None:
    np.save(folder / "inputs.npy", np.zeros((2, 5, 5, 3), np.int8))
    kind, message = problem(
        folder,
        action="run",
        model=str(quadrant_tflites["int8"]),
        inputs="inputs.npy",
        outputs="outputs.npy",
    )
    assert kind == "model"
    assert message.startswith("fails on an input: ")


def test_outputs_that_cannot_be_stored_are_told(folder: Path, quadrant_tflites: Models) -> None:
    np.save(folder / "inputs.npy", np.zeros((1, 16, 16, 3), np.int8))
    kind, message = problem(
        folder,
        action="run",
        model=str(quadrant_tflites["int8"]),
        inputs="inputs.npy",
        outputs="none/outputs.npy",
    )
    assert (kind, "No such file or directory" in message) == ("files", True)


# The pieces


def test_a_model_is_warm_when_it_gets_no_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of three runs, of 30, 20, 10 and 10 ms."""
    milliseconds = [30] * 3 + [20] * 3 + [10] * 6 + [5] * 99
    monkeypatch.setattr(agent, "WINDOW_RUNS", 3)
    monkeypatch.setattr(agent, "timed", lambda _invoke, _count: [milliseconds.pop(0) * 10**6])
    runs, steady = agent.warm_up(lambda: None, 60.0)
    assert [run // 10**6 for run in runs] == [30] * 3 + [20] * 3 + [10] * 6
    assert steady


def test_one_slow_run_makes_no_difference_to_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    milliseconds = [10, 10, 900, 10, 10, 10] + [5] * 99
    monkeypatch.setattr(agent, "WINDOW_RUNS", 3)
    monkeypatch.setattr(agent, "timed", lambda _invoke, _count: [milliseconds.pop(0) * 10**6])
    assert len(agent.warm_up(lambda: None, 60.0)[0]) == 6


def test_a_warm_up_without_end_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock goes on by a second whenever it is looked at, and every run is faster."""
    runs_ns = iter(range(10**9, 0, -(10**7)))
    monkeypatch.setattr(agent, "WINDOW_RUNS", 3)
    monkeypatch.setattr(agent, "timed", lambda _invoke, _count: [next(runs_ns)])
    moments = iter(range(100))
    monkeypatch.setattr(time, "monotonic", lambda: next(moments))
    runs, steady = agent.warm_up(lambda: None, 20.0)
    assert len(runs) == 19
    assert not steady


@pytest.mark.parametrize(
    ("milliseconds", "complete"),
    [([300], False), ([300] * 3, True), ([1] * 199, False), ([1] * 200, True), ([0] * 2000, True)],
)
def test_a_window_has_enough_runs_and_time(milliseconds: list[int], complete: bool) -> None:  # noqa: FBT001
    assert agent.is_complete([run * 10**6 for run in milliseconds]) is complete


@pytest.mark.parametrize(
    ("done", "seconds", "wanted"),
    [
        (0, 0.0, 64),
        (60, 0.0, 4),
        (64, 0.0, 0),
        (0, 0.3, 300),
        (0, 3.0, 500),
        (500, 3.0, 500),
        (2999, 3.0, 1),
        (3000, 3.0, 0),
        (3990, 30.0, 10),
        (4000, 30.0, 0),
    ],
)
def test_batches_are_no_longer_than_half_a_second(done: int, seconds: float, wanted: int) -> None:
    """Of a run of one millisecond, at least 64, at most 4000."""
    request = {"minimum_runs": 64, "minimum_seconds": seconds, "maximum_runs": 4000}
    assert agent.runs_wanted([10**6] * done, 10**6, request) == wanted


@pytest.mark.parametrize(
    ("dtype", "lowest", "highest"),
    [
        ("uint8", 0, 255),
        ("int8", -128, 127),
        ("int16", -32768, 32767),
        ("float32", -1, 1),
        ("float16", -1, 1),
        ("int32", 0, 1),
        ("int64", 0, 1),
        ("bool", 0, 1),
    ],
)
def test_inputs_cover_their_range_and_are_always_the_same(
    dtype: str, lowest: float, highest: float
) -> None:
    values = agent.fixed_values((1, 200, 300, 3), dtype)
    assert values.shape == (1, 200, 300, 3)
    assert values.dtype == dtype
    assert lowest <= values.min() <= lowest + 0.01 * (highest - lowest)
    assert highest - 0.01 * (highest - lowest) <= values.max() <= highest
    np.testing.assert_array_equal(values, agent.fixed_values((1, 200, 300, 3), dtype))


def test_an_input_that_cannot_be_filled_is_the_models_failure() -> None:
    with pytest.raises(agent.Failure, match="has an input of type complex64"):
        agent.fixed_values((1, 2), "complex64")


def test_a_file_on_disk_leaves_the_cache(tmp_path: Path) -> None:
    if in_memory(tmp_path):
        pytest.skip(f"{tmp_path} is in memory")
    (tmp_path / "file").write_bytes(os.urandom(1_000_000))
    assert agent.drop_from_cache(str(tmp_path / "file"))


def test_a_file_in_memory_stays_there_and_that_is_told() -> None:
    shared = Path("/dev/shm")  # noqa: S108
    if not shared.is_dir() or not in_memory(shared):
        pytest.skip("there is no /dev/shm")
    with tempfile.NamedTemporaryFile(dir=shared) as file:
        file.write(bytes(100_000))
        file.flush()
        assert not agent.drop_from_cache(file.name)


def in_memory(folder: Path) -> bool:
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", str(folder)],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    return kind.stdout.strip() in ("tmpfs", "ramfs")


def test_a_missing_or_an_empty_file_is_not_called_cold(tmp_path: Path) -> None:
    assert not agent.drop_from_cache(str(tmp_path / "none"))
    (tmp_path / "empty").touch()
    assert not agent.drop_from_cache(str(tmp_path / "empty"))
