"""NativeHarness on devices behind the real adb client, and what it makes of the tool's answers.

The tool there is stand_in_tool.py, which runs the models with this machine's LiteRT.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from adb_daemon import AdbDaemon, Attach, adb, adb_server, assert_clean, processes_in, wait_until
from boards import FOLDER, Board

from edgefer import runtime
from edgefer.benchmarks.fake_harness import BOARD, CALM
from edgefer.benchmarks.native import native_results
from edgefer.benchmarks.native.benchmark_model_output import parse
from edgefer.benchmarks.native.benchmark_tool import Tool
from edgefer.benchmarks.native.native_harness import NativeHarness
from edgefer.benchmarks.plan import Effort
from edgefer.benchmarks.result import Backend, Cluster, Memory, ProfiledOperator
from edgefer.benchmarks.targets.adb import AdbTarget
from edgefer.errors import DeviceError, ModelError

pytest_plugins = ("adb_phones",)

SAMPLES = Path(__file__).parent / "golden" / "benchmark_model"
MB = 1024 * 1024
CPUS = tuple(sorted(os.sched_getaffinity(0)))
SHORT = Effort(minimum_runs=5, minimum_seconds=0.05, warmup_seconds=0.1, timeout_s=60)


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    return stand_in(tmp_path, sys.executable)


def stand_in(folder: Path, python: str) -> Tool:
    """Write the stand-in as a program that `python` runs."""
    source = Path(__file__).with_name("stand_in_tool.py").read_text(encoding="utf-8")
    path = folder / "stand-in"
    path.write_text(f"#!{python} -B\n{source}", encoding="utf-8")
    return Tool(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), version="2.3.0")


def harness(target: AdbTarget, tool: Tool) -> NativeHarness:
    description = replace(BOARD, clusters=(Cluster(cpus=CPUS),))
    return NativeHarness(target, description, tool, circumstances=lambda: CALM)


@pytest.mark.parametrize("kind", ["phone", "android"])
@pytest.mark.parametrize("form", ["tensorflow", "litert"])
def test_a_model_is_measured(
    kind: str,
    form: str,
    request: pytest.FixtureRequest,
    tool: Tool,
    quadrant_tflites: Mapping[str, Path],
) -> None:
    device: AdbDaemon = request.getfixturevalue(kind)
    device.behaviour.environment = {**device.behaviour.environment, "STAND_IN_FORM": form}
    with AdbTarget(device.serial) as target:
        native = harness(target, tool)
        native.install(quadrant_tflites["int8"])
        run = native.measure(quadrant_tflites["int8"], threads=1, cpus=CPUS[:1], effort=SHORT)
    assert run.summary is not None
    assert run.summary.count >= 5
    assert 0 < run.summary.minimum_us <= run.summary.mean_us <= run.summary.maximum_us
    assert run.summary.median_us is not None
    assert run.first_inference_us > 0
    assert run.warm_load_ms is not None
    assert run.warm_load_ms > 0
    assert (run.cold_load_ms, run.latencies_us, run.warmup_us, run.waited_s) == (None, (), (), 0)
    assert run.memory.before_bytes is not None
    assert run.memory.loaded_bytes is not None
    assert run.memory.peak_bytes is not None
    assert MB < run.memory.before_bytes < run.memory.loaded_bytes <= run.memory.peak_bytes
    assert (run.before, run.during, run.after) == (CALM, None, CALM)
    assert_clean(device)


def test_the_tool_is_told_what_was_asked_and_bound_to_the_cores(
    phone: AdbDaemon, tool: Tool, tmp_path: Path, quadrant_tflites: Mapping[str, Path]
) -> None:
    log = tmp_path / "log"
    phone.behaviour.environment = {"STAND_IN_LOG": str(log)}
    model = quadrant_tflites["int8"]
    with AdbTarget(phone.serial) as target:
        native = harness(target, tool)
        native.install(model)
        native.measure(model, threads=2, cpus=CPUS[-1:], effort=SHORT)
        native.profile(model, threads=1, cpus=CPUS, runs=7)
    measured, profiled = log.read_text().splitlines()
    assert measured.startswith(f"[{CPUS[-1]}] ")
    assert profiled.startswith(f"{list(CPUS)} ")
    for flag in (
        "--num_threads=2", "--num_runs=5", "--min_secs=0.05", "--max_secs=30", "--warmup_runs=3",
        "--warmup_min_secs=0.02", "--report_peak_memory_footprint=true", "--use_xnnpack=true",
    ):  # fmt: skip
        assert f"'{flag}'" in measured
    for flag in (
        "--num_threads=1", "--num_runs=7", "--min_secs=0", "--warmup_runs=3",
        "--enable_op_profiling=true", "--use_profiler=true",
    ):  # fmt: skip
        assert f"'{flag}'" in profiled


def test_the_tool_and_equal_models_are_brought_once(
    phone: AdbDaemon, tool: Tool, tmp_path: Path, quadrant_tflites: Mapping[str, Path]
) -> None:
    twin = tmp_path / "it's a $(twin)\n.tflite"
    twin.write_bytes(quadrant_tflites["int8"].read_bytes())
    with AdbTarget(phone.serial) as target:
        native = harness(target, tool)
        for model in (quadrant_tflites["int8"], twin, quadrant_tflites["float32"]):
            native.install(model)
        listed = target.run(["ls"], timeout_s=60).stdout.decode().split()
        assert len(listed) == 3
        assert "benchmark_model" in listed
        run = native.measure(twin, threads=1, cpus=CPUS, effort=SHORT)
    assert run.summary is not None


def test_it_says_which_tool_measures(phone: AdbDaemon, tool: Tool) -> None:
    target = AdbTarget(phone.serial)
    native = harness(target, tool)
    assert native.backend is Backend.BENCHMARK_MODEL
    assert native.runtime == "benchmark_model 2.3.0"
    assert native.tool_sha256 == tool.sha256
    unknown = NativeHarness(target, BOARD, replace(tool, version=None), circumstances=lambda: CALM)
    assert unknown.runtime == f"benchmark_model {tool.sha256[:12]}"


@pytest.mark.parametrize("form", ["tensorflow", "litert"])
def test_a_model_is_profiled(
    form: str, phone: AdbDaemon, tool: Tool, quadrant_tflites: Mapping[str, Path]
) -> None:
    phone.behaviour.environment = {"STAND_IN_FORM": form}
    model = quadrant_tflites["int8"]
    with AdbTarget(phone.serial) as target:
        native = harness(target, tool)
        native.install(model)
        profile = native.profile(model, threads=1, cpus=CPUS, runs=9)
    assert profile.runs == (9 if form == "tensorflow" else 12)
    assert profile.delegate == "XNNPACK"
    assert profile.partitions == 1
    assert [operator.position for operator in profile.operators] == list(
        range(len(profile.operators))
    )
    *delegated, last = profile.operators
    assert delegated
    assert all(operator.delegated for operator in delegated)
    assert not last.delegated
    assert profile.left_out == {last.type: 1}
    share = len(delegated) / len(profile.operators)
    assert profile.delegated_share == pytest.approx(share, abs=0.01)
    whole_us = sum(operator.mean_us for operator in profile.operators)
    assert whole_us == pytest.approx(profile.total_us, abs=len(profile.operators))


@pytest.mark.parametrize("name", ["int8", "uint8", "float32"])
def test_outputs_are_those_of_this_machine(
    name: str, phone: AdbDaemon, tool: Tool, quadrant_tflites: Mapping[str, Path]
) -> None:
    model = quadrant_tflites[name]
    here = runtime.open_model(model, checked=True)
    random = np.random.default_rng(5)
    inputs = random.integers(0, 100, (3, *here.input.shape[1:])).astype(here.input.dtype)
    with AdbTarget(phone.serial) as target:
        native = harness(target, tool)
        native.install(model)
        outputs = native.outputs(model, inputs)
    assert outputs.dtype == here.output.dtype
    np.testing.assert_array_equal(outputs, here.scores(inputs))


def test_a_tool_that_gives_no_outputs_is_named(
    phone: AdbDaemon, tool: Tool, quadrant_tflites: Mapping[str, Path]
) -> None:
    phone.behaviour.environment = {"STAND_IN_FORM": "litert"}
    model = quadrant_tflites["int8"]
    with AdbTarget(phone.serial) as target:
        native = harness(target, tool)
        native.install(model)
        with pytest.raises(DeviceError) as caught:
            native.outputs(model, np.zeros((1, 16, 16, 3), np.int8))
    assert str(caught.value) == (
        f"adb:{phone.serial}: its benchmark_model takes no inputs and gives no outputs, so that "
        "nothing can be verified; give TensorFlow Lite's, //tflite/tools/benchmark:"
        "benchmark_model, with --tool"
    )


def attempt(
    phone: AdbDaemon, tool: Tool, model: Path, *, fault: str = "", effort: Effort = SHORT
) -> str:
    """Measure, and return the error's message."""
    phone.behaviour.environment = {"STAND_IN_FAULT": fault}
    with AdbTarget(phone.serial) as target:
        native = harness(target, tool)
        native.install(model)
        with pytest.raises((DeviceError, ModelError)) as caught:
            native.measure(model, threads=1, cpus=CPUS, effort=effort)
    assert_clean(phone)
    kind = "device" if isinstance(caught.value, DeviceError) else "model"
    return f"{kind}: {caught.value}"


def test_a_model_that_crashes_the_tool_is_named_with_the_signal(
    phone: AdbDaemon, tool: Tool, quadrant_tflites: Mapping[str, Path]
) -> None:
    model = quadrant_tflites["crashing"]
    message = attempt(phone, tool, model)
    assert message.startswith(f"model: {model}: crashes benchmark_model on adb:{phone.serial} (SIG")


def test_a_model_that_the_tool_refuses_is_told_in_its_words(
    phone: AdbDaemon, tool: Tool, tmp_path: Path
) -> None:
    model = tmp_path / "broken.tflite"
    model.write_bytes(b"not a model")
    message = attempt(phone, tool, model)
    assert message.startswith(f"model: {model}: fails in benchmark_model on adb:{phone.serial}: ")
    assert "flatbuffer" in message.lower()


@pytest.mark.parametrize(
    ("fault", "kind", "problem"),
    [
        (
            "killed",
            "model",
            "crashes benchmark_model on {device} (SIGKILL, perhaps for want of memory): Killed",
        ),
        (
            "no op",
            "model",
            "fails in benchmark_model on {device}: Encountered unresolved custom op: FlexAddV2.",
        ),
        (
            "linker",
            "device",
            'cannot run the tool: CANNOT LINK EXECUTABLE "./benchmark_model": library "libx.so" '
            "not found; give a benchmark_model for it with --tool",
        ),
        (
            "unknown form",
            "device",
            "its benchmark_model prints no statistics of warm-up and inference: 'count=often'; "
            "give another version of it with --tool",
        ),
        (
            "no threads",
            "device",
            "its benchmark_model doesn't know --num_threads; give another one with --tool",
        ),
    ],
)
def test_a_tool_that_fails_is_told_apart(
    fault: str,
    kind: str,
    problem: str,
    phone: AdbDaemon,
    tool: Tool,
    quadrant_tflites: Mapping[str, Path],
) -> None:
    model = quadrant_tflites["int8"]
    device = f"adb:{phone.serial}"
    named = device if kind == "device" else str(model)
    message = attempt(phone, tool, model, fault=fault)
    assert message == f"{kind}: {named}: {problem.format(device=device)}"


def test_a_tool_for_another_processor_is_told_apart(
    phone: AdbDaemon, tmp_path: Path, quadrant_tflites: Mapping[str, Path]
) -> None:
    """A header of a program for a machine that doesn't exist."""
    path = tmp_path / "foreign"
    path.write_bytes(b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + b"\xfe\xfe" + bytes(100))
    foreign = Tool(path=path, sha256="0" * 64, version=None)
    message = attempt(phone, foreign, quadrant_tflites["int8"])
    assert message.startswith(f"device: adb:{phone.serial}: cannot run the tool: ")
    assert message.endswith("; give a benchmark_model for it with --tool")


def test_a_model_that_is_too_fast_for_the_tools_clock_is_named(
    phone: AdbDaemon, tool: Tool, quadrant_tflites: Mapping[str, Path]
) -> None:
    """It counts whole microseconds; zeros would make every statistic wrong."""
    model = quadrant_tflites["int8"]
    message = attempt(phone, tool, model, fault="coarse clock")
    assert message == (
        f"model: {model}: is too fast for benchmark_model, which counts whole microseconds"
    )


def test_a_tool_that_hangs_is_ended(
    phone: AdbDaemon, tool: Tool, quadrant_tflites: Mapping[str, Path]
) -> None:
    effort = replace(SHORT, timeout_s=1.0)
    message = attempt(phone, tool, quadrant_tflites["int8"], fault="hangs", effort=effort)
    assert message == f"device: adb:{phone.serial}: sh did not end within 2 s"


def test_a_tool_without_a_profile_is_named(
    phone: AdbDaemon, tool: Tool, quadrant_tflites: Mapping[str, Path]
) -> None:
    phone.behaviour.environment = {"STAND_IN_FAULT": "no profile"}
    model = quadrant_tflites["int8"]
    with AdbTarget(phone.serial) as target:
        native = harness(target, tool)
        native.install(model)
        with pytest.raises(DeviceError, match="its benchmark_model prints no profile"):
            native.profile(model, threads=1, cpus=CPUS, runs=5)


def test_a_model_that_cannot_be_read_is_named(phone: AdbDaemon, tool: Tool) -> None:
    with (
        AdbTarget(phone.serial) as target,
        pytest.raises(ModelError, match=r"missing\.tflite: cannot be read: No such file"),
    ):
        harness(target, tool).install(Path("missing.tflite"))


@pytest.fixture
def occupied() -> Iterator[Callable[[Path], Callable[[], None]]]:
    """Return a function that does what another benchmark does, and one that ends it."""
    handles = []

    def occupy(folder: Path) -> Callable[[], None]:
        handle = os.open(folder, os.O_RDONLY)
        handles.append(handle)
        fcntl.flock(handle, fcntl.LOCK_EX)
        return lambda: fcntl.flock(handle, fcntl.LOCK_UN)

    yield occupy
    for handle in handles:
        os.close(handle)


@pytest.mark.parametrize("kind", ["phone", "android"])
def test_two_benchmarks_on_a_device_take_turns(
    kind: str,
    request: pytest.FixtureRequest,
    tool: Tool,
    quadrant_tflites: Mapping[str, Path],
    occupied: Callable[[Path], Callable[[], None]],
) -> None:
    device: AdbDaemon = request.getfixturevalue(kind)
    model = quadrant_tflites["int8"]
    with AdbTarget(device.serial) as target:
        native = harness(target, tool)
        native.install(model)
        release = occupied(device.folder)
        timer = threading.Timer(1.5, release)
        timer.start()
        run = native.measure(model, threads=1, cpus=CPUS, effort=SHORT)
        timer.join()
    assert run.waited_s >= 1


def test_the_lock_holds_while_the_tool_runs(
    phone: AdbDaemon, tool: Tool, quadrant_tflites: Mapping[str, Path]
) -> None:
    model = quadrant_tflites["int8"]
    phone.behaviour.environment = {"STAND_IN_FAULT": "hangs"}
    with AdbTarget(phone.serial) as target:
        native = harness(target, tool)
        native.install(model)

        def work() -> None:
            with pytest.raises(DeviceError, match="interrupted"):
                native.measure(model, threads=1, cpus=CPUS, effort=SHORT)

        thread = threading.Thread(target=work)
        thread.start()
        wait_until(lambda: locked(phone.folder))
        target.interrupt()
        thread.join()
    wait_until(lambda: not locked(phone.folder))
    assert_clean(phone)


def locked(folder: Path) -> bool:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def test_a_device_that_stays_busy_is_named(
    phone: AdbDaemon,
    tool: Tool,
    quadrant_tflites: Mapping[str, Path],
    occupied: Callable[[Path], Callable[[], None]],
) -> None:
    occupied(phone.folder)
    message = attempt(phone, tool, quadrant_tflites["int8"], effort=replace(SHORT, timeout_s=2.0))
    assert message == (
        f"device: adb:{phone.serial}: is still busy with another benchmark after 2 s; try again"
    )


def test_a_device_unplugged_between_two_processes_is_an_error(
    phone: AdbDaemon, tool: Tool, quadrant_tflites: Mapping[str, Path]
) -> None:
    model = quadrant_tflites["int8"]
    with AdbTarget(phone.serial) as target:
        native = harness(target, tool)
        native.install(model)
        native.measure(model, threads=1, cpus=CPUS, effort=SHORT)
        phone.unplug()
        with pytest.raises(DeviceError, match=f"adb:{phone.serial}: "):
            native.measure(model, threads=1, cpus=CPUS, effort=SHORT)


def test_two_devices_measure_side_by_side(
    attach: Attach, tool: Tool, quadrant_tflites: Mapping[str, Path]
) -> None:
    """The one that is unplugged in the middle doesn't disturb the other."""
    good, bad = attach(), attach()
    bad.behaviour.unplug_at = b"count="
    model = quadrant_tflites["int8"]
    told: dict[str, object] = {}

    def work(device: AdbDaemon) -> None:
        try:
            with AdbTarget(device.serial) as target:
                native = harness(target, tool)
                native.install(model)
                told[device.serial] = native.measure(model, threads=1, cpus=CPUS, effort=SHORT)
        except DeviceError as exc:
            told[device.serial] = exc

    threads = [threading.Thread(target=work, args=(device,)) for device in (good, bad)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert isinstance(told[bad.serial], DeviceError)
    assert not isinstance(told[good.serial], DeviceError)


def test_ctrl_c_while_the_tool_runs_leaves_the_device_clean(
    phone: AdbDaemon, tool: Tool, quadrant_tflites: Mapping[str, Path]
) -> None:
    phone.behaviour.environment = {"STAND_IN_FAULT": "hangs"}
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from edgefer.benchmarks.native.benchmark_tool import Tool\n"
        "from edgefer.benchmarks.fake_harness import BOARD, CALM\n"
        "from edgefer.benchmarks.native.native_harness import NativeHarness\n"
        "from edgefer.benchmarks.plan import Effort\n"
        "from edgefer.benchmarks.targets.adb import AdbTarget\n"
        "model, tool = map(Path, sys.argv[1:])\n"
        "with AdbTarget(None) as target:\n"
        "    native = NativeHarness(\n"
        "        target, BOARD, Tool(path=tool, sha256='', version=None),\n"
        "        circumstances=lambda: CALM)\n"
        "    native.install(model)\n"
        "    native.measure(model, threads=1, cpus=(0,), effort=Effort())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(quadrant_tflites["int8"]), str(tool.path)],
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        wait_until(lambda: locked(phone.folder), timeout_s=60)
        wait_until(lambda: bool(processes_in(phone.folder)))
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in stderr
    wait_until(lambda: not locked(phone.folder))
    assert_clean(phone)


def test_what_the_tool_says_of_memory_is_counted_from_its_peak() -> None:
    report = parse((SAMPLES / "tensorflow-2.16.txt").read_text())
    assert native_results.memory(report) == Memory(
        before_bytes=int((12.25 - 8.5) * MB),
        loaded_bytes=int((12.25 - 8.5 + 6.125) * MB),
        peak_bytes=int(12.25 * MB),
    )
    without_peak = parse((SAMPLES / "tensorflow-2.3.txt").read_text())
    nothing = Memory(before_bytes=None, loaded_bytes=None, peak_bytes=None)
    assert native_results.memory(without_peak) == nothing


def test_the_profile_names_kernels_and_their_kinds() -> None:
    profile = native_results.profile(parse((SAMPLES / "tensorflow-2.16.txt").read_text()))
    assert profile.operators[2] == ProfiledOperator(
        position=2,
        kernel="Convolution (NHWC, QC8) GEMM",
        type="Convolution",
        delegated=True,
        mean_us=302.0,
    )
    assert (profile.runs, profile.total_us, profile.partitions) == (20, 1400, 2)
    assert profile.left_out == {"SOFTMAX": 1}
    assert profile.delegated_share == pytest.approx(1 - 11 / 1375)


def test_litert_s_calls_of_all_runs_become_those_of_one() -> None:
    profile = native_results.profile(parse((SAMPLES / "litert-2.2.txt").read_text()))
    assert profile.runs == 21
    assert [operator.mean_us for operator in profile.operators] == pytest.approx(
        [98, 604, 418, 34, 11]
    )
    assert profile.left_out == {"QUANTIZE": 1, "SOFTMAX": 1}


@pytest.mark.parametrize(
    ("name", "stretches"),
    [
        ("tensorflow-1.13", None),  # it knows no delegate
        ("tensorflow-2.3", 1),  # the middle one of three pieces
        ("tensorflow-2.16", 2),  # it says so
        ("logcat", 4),  # of seven, the first being the delegate's
        ("litert-2.2", 1),  # the middle one of three
    ],
)
def test_a_delegates_stretches_are_counted(name: str, stretches: int | None) -> None:
    profile = native_results.profile(parse((SAMPLES / f"{name}.txt").read_text()))
    assert profile.partitions == stretches


@pytest.mark.parametrize(
    ("warmup", "inference", "steady"),
    [
        ("count=3 first=900 curr=100 min=100 max=900 avg=366.667 std=377", "97", True),
        ("count=3 first=900 curr=100 min=100 max=900 avg=366.667 std=377", "90", False),
        ("count=1 curr=100", "100", False),
        ("count=0", "100", False),
    ],
)
def test_the_warm_up_sufficed_when_later_runs_are_no_faster(
    warmup: str,
    inference: str,
    steady: bool,  # noqa: FBT001
) -> None:
    report = parse(
        f"Running benchmark for 1 iterations\n{warmup}\n"
        f"Running benchmark for 5 iterations\ncount=5 curr={inference}(all same)\n"
    )
    assert native_results.steady(report) is steady


@pytest.mark.emulated_board
def test_it_measures_in_an_arm64_root(
    pi5: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands run in an emulated Raspberry Pi 5's system: the stand-in, by its own Python."""
    sshd = server_of(pi5)
    inside = "/tmp/android"  # noqa: S108
    folder = Path(f"/proc/{sshd}/root{FOLDER}/root{inside}")
    folder.mkdir()
    model = tmp_path / "model.tflite"
    model.write_bytes(os.urandom(200_000))
    with (
        adb_server(tmp_path) as environment,
        AdbDaemon(
            folder,
            inside=inside,
            enter=[
                *(program("nsenter"), f"--target={sshd}", "--mount", "--pid", "--"),
                *(program("chroot"), str(FOLDER / "root")),
            ],
        ) as device,
    ):
        device.behaviour.environment = {"PATH": "/usr/bin:/bin", "QEMU_CPU": "cortex-a76"}
        for name in ("ANDROID_ADB_SERVER_PORT", "HOME"):
            monkeypatch.setenv(name, environment[name])
        adb("connect", device.serial, environment=environment)
        with AdbTarget(device.serial) as target:
            assert target.run(["uname", "-m"], timeout_s=60).stdout == b"aarch64\n"
            native = harness(target, stand_in(tmp_path, "/usr/bin/python3"))
            native.install(model)
            run = native.measure(model, threads=1, cpus=CPUS, effort=SHORT)
            profile = native.profile(model, threads=1, cpus=CPUS, runs=5)
            with pytest.raises(DeviceError, match="did not end within 2 s"):
                target.run(["sh", "-c", "trap '' HUP; sleep 600"], timeout_s=2)
        left = list(folder.iterdir())
        processes = pi5.processes()
    assert run.summary is not None
    assert run.summary.count >= 5
    assert [operator.type for operator in profile.operators] == ["READ", "CHECKSUM"]
    assert left == []
    assert not [line for line in processes if "sleep" in line]


def program(name: str) -> str:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") or name


def server_of(board: Board) -> int:
    """Return the process of this machine that is a board's SSH server."""
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # no process, or one that has just ended
        found = re.search(r"sshd .*-f (\S+sshd_config)", words)
        if found and f"Port {board.port}\n" in Path(found[1]).read_text(encoding="utf-8"):
            return int(entry.name)
    raise AssertionError("the board has no server")
