"""The benchmark on emulated Raspberry Pis: a real SSH server, real aarch64 programs, no silicon."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from boards import PI_5, Board, running
from commands import edgefer

from edgefer.benchmarks import devices
from edgefer.benchmarks.agent_harness import AgentHarness
from edgefer.benchmarks.installing import runtime_setup
from edgefer.benchmarks.plan import Effort
from edgefer.benchmarks.probing import probe
from edgefer.benchmarks.result import Agreement, ProcessRun
from edgefer.benchmarks.result_files import read_result
from edgefer.benchmarks.targets.addresses import SshAddress, parse
from edgefer.benchmarks.targets.ssh import SshTarget
from edgefer.errors import DeviceError, ModelError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.emulated_board,
    pytest.mark.usefixtures("ssh_knows_boards"),
]

Models = Mapping[str, Path]

SHORT = Effort(minimum_runs=8, minimum_seconds=0.1, warmup_seconds=0.5)
ENDLESS = Effort(minimum_runs=8, minimum_seconds=3600, maximum_runs=10**9, timeout_s=180)


def reached(board: Board) -> SshTarget:
    address = parse(board.address)
    assert isinstance(address, SshAddress)
    return SshTarget(address)


@contextmanager
def measuring(board: Board, python: str = "python3") -> Iterator[AgentHarness]:
    """Measure on a board as the command line does."""
    with reached(board) as target:
        description = probe.describe(target)
        yield AgentHarness(
            target,
            description,
            circumstances=partial(probe.circumstances, target, description),
            watched=probe.watched_paths(target, description),
            python=python,
        )


def set_up(board: Board) -> str:
    with reached(board) as target:
        return runtime_setup.set_up(target, probe.describe(target))


@pytest.fixture(scope="module")
def pi5_python(pi5: Board) -> str:
    """Return the Python with LiteRT that `--setup` made on the Pi 5."""
    return set_up(pi5)


@pytest.fixture(scope="module")
def pi4_python(pi4: Board, pi5: Board, pi5_python: str) -> str:
    """Return the same of the Pi 4, whose card is a copy of the Pi 5's: making it anew is slow."""
    pi5.copy_home(pi4)
    return set_up(pi4)


@pytest.fixture(scope="module")
def pi4_harness(pi4: Board, pi4_python: str) -> Iterator[AgentHarness]:
    """Measure on the Pi 4 for several tests."""
    with measuring(pi4, pi4_python) as harness:
        yield harness


@pytest.fixture(scope="module")
def pi5_harness(pi5: Board, pi5_python: str) -> Iterator[AgentHarness]:
    """Measure on the Pi 5 for several tests."""
    with measuring(pi5, pi5_python) as harness:
        yield harness


def present(board: Board) -> list[str]:
    """Return the processes and temporary files on a board."""
    return board.processes() + board.run("ls -A /tmp").splitlines()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "waited for two minutes"
        time.sleep(0.2)


def measure(harness: AgentHarness, model: Path, effort: Effort) -> ProcessRun:
    return harness.measure(model, threads=1, cpus=cores(harness), effort=effort)


def cores(harness: AgentHarness) -> tuple[int, ...]:
    return harness.description.cpus


def locks(board: Board) -> int:
    """Return how many processes on a board have its turn, or wait for it."""
    return len(board.run("grep FLOCK /proc/locks; true").splitlines())


def kill_who_has_the_turn(board: Board) -> None:
    board.run("""kill -KILL $(awk '$2 == "FLOCK" { print $5 }' /proc/locks)""")


def is_measuring(board: Board) -> bool:
    return any("agent.py" in line for line in board.processes())


def test_board_is_an_arm64_debian_with_python(pi4: Board) -> None:
    assert pi4.run("uname -m; . /etc/os-release; echo $VERSION_CODENAME") == "aarch64\nbookworm\n"
    assert pi4.run("python3 -c 'import platform; print(platform.machine())'") == "aarch64\n"


def test_pi4_is_described_as_an_emulated_cortex_a72(pi4: Board) -> None:
    description = devices.describe(pi4.address).description
    assert description.architecture == "aarch64"
    assert [cluster.name for cluster in description.clusters] == ["Cortex-A72"]
    assert "dotprod" not in description.features
    assert description.emulated is not None
    assert "QEMU" in description.emulated


def test_pi5_is_described_as_an_emulated_cortex_a76_with_dot_product(pi5: Board) -> None:
    description = devices.describe(pi5.address).description
    assert [cluster.name for cluster in description.clusters] == ["Cortex-A76"]
    assert "dotprod" in description.features
    assert description.emulated is not None


def test_a_board_without_the_runtime_is_told_to_set_it_up(pi5: Board) -> None:
    """The system's Python knows nothing of what `--setup` installed."""
    with (
        measuring(pi5) as harness,
        pytest.raises(DeviceError, match=r"numpy is not installed.*--setup"),
    ):
        harness.check()


def test_a_board_without_python_is_told_to_set_it_up(tmp_path: Path) -> None:
    with running(PI_5, tmp_path, path="/run/tools") as board:
        board.run("PATH=/bin; cd /run; mkdir tools; ln -s /bin/* tools; rm tools/python*")
        with measuring(board) as harness, pytest.raises(DeviceError, match=r"Python.*--setup"):
            harness.check()


def test_setup_on_a_read_only_home_says_so(tmp_path: Path) -> None:
    with (
        running(PI_5, tmp_path, home="ro") as board,
        pytest.raises(DeviceError, match="read-only") as error,
    ):
        set_up(board)
    assert board.address in str(error.value)


def test_a_full_board_says_so(tmp_path: Path) -> None:
    model = tmp_path / "large.tflite"
    model.write_bytes(bytes(1 << 20))
    folder = tmp_path / "board"
    folder.mkdir()
    with running(PI_5, folder, temporary="size=64k") as board:
        with reached(board) as target, pytest.raises(DeviceError, match="no space left"):
            target.push(model, "model.tflite")
        wait_until(lambda: present(board) == [])


def test_setup_brings_a_runtime_that_uses_xnnpack(
    pi5_harness: AgentHarness, quadrant_tflites: Models
) -> None:
    """XNNPACK knows the processor, and runs the model with kernels for int8."""
    model = quadrant_tflites["int8"]
    pi5_harness.install(model)
    profile = pi5_harness.profile(model, threads=1, cpus=cores(pi5_harness), runs=5)
    assert "ai-edge-litert" in pi5_harness.runtime
    assert profile.delegate is not None
    assert "XNNPACK" in profile.delegate.upper()
    assert 0 < profile.delegated_share <= 1
    assert any("QC8" in operator.kernel for operator in profile.operators)


def test_a_model_that_crashes_the_interpreter_harms_only_itself(
    pi4: Board, pi4_harness: AgentHarness, quadrant_tflites: Models
) -> None:
    crashing, sound = quadrant_tflites["crashing"], quadrant_tflites["int8"]
    pi4_harness.install(crashing)
    pi4_harness.install(sound)
    with pytest.raises(ModelError, match="crashes the interpreter") as error:
        measure(pi4_harness, crashing, SHORT)
    assert pi4.address in str(error.value)
    process = measure(pi4_harness, sound, SHORT)
    assert len(process.latencies_us) >= SHORT.minimum_runs
    assert process.memory.peak_bytes is not None


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_outputs_on_a_board_are_those_of_this_machine(
    pi5_harness: AgentHarness, quadrant_tflites: Models, name: str
) -> None:
    pi5_harness.install(quadrant_tflites[name])
    verification = devices.verify(pi5_harness, quadrant_tflites[name])
    assert verification.agreement is not Agreement.DIFFERENT
    assert verification.same_top_class == verification.inputs > 1


def test_an_agent_that_is_killed_is_told_from_one_that_hangs(
    pi5: Board, pi5_harness: AgentHarness, quadrant_tflites: Models
) -> None:
    model = quadrant_tflites["int8"]
    pi5_harness.install(model)
    with ThreadPoolExecutor() as pool:
        killed = pool.submit(measure, pi5_harness, model, ENDLESS)
        wait_until(lambda: locks(pi5) == 1)
        kill_who_has_the_turn(pi5)
        with pytest.raises(DeviceError, match="was killed"):
            killed.result()
    with pytest.raises(DeviceError, match=r"3 s and was ended|ended after 3 s"):
        measure(pi5_harness, model, replace(ENDLESS, timeout_s=3.0))
    wait_until(lambda: not is_measuring(pi5))


def test_two_benchmarks_at_once_take_turns(
    pi4: Board, pi4_python: str, quadrant_tflites: Models
) -> None:
    """The first is killed when the second waits for it; the second then has the board."""
    model = quadrant_tflites["int8"]
    with (
        ThreadPoolExecutor() as pool,
        measuring(pi4, pi4_python) as first,
        measuring(pi4, pi4_python) as second,
    ):
        first.install(model)
        second.install(model)
        endless = pool.submit(measure, first, model, ENDLESS)
        wait_until(lambda: locks(pi4) == 1)
        short = pool.submit(measure, second, model, SHORT)
        wait_until(lambda: locks(pi4) == 2)
        kill_who_has_the_turn(pi4)
        assert short.result().waited_s > 0
        with pytest.raises(DeviceError, match="was killed"):
            endless.result()
    wait_until(lambda: not is_measuring(pi4))


def test_a_cut_connection_leaves_nothing_on_the_board(
    pi5: Board, pi5_python: str, quadrant_tflites: Models
) -> None:
    model = quadrant_tflites["int8"]
    before = present(pi5)
    with ThreadPoolExecutor() as pool, measuring(pi5, pi5_python) as harness:
        harness.install(model)
        cut = pool.submit(measure, harness, model, ENDLESS)
        wait_until(lambda: locks(pi5) == 1)
        pi5.cut()
        with pytest.raises(DeviceError, match="connection was cut"):
            cut.result()
        wait_until(lambda: not is_measuring(pi5))
    wait_until(lambda: present(pi5) == before)


def test_ctrl_c_leaves_nothing_on_the_board(
    pi5: Board, pi5_python: str, quadrant_tflites: Models
) -> None:
    model = quadrant_tflites["int8"]
    before = present(pi5)

    def press_when_it_measures() -> None:
        wait_until(lambda: locks(pi5) == 1)
        os.kill(os.getpid(), signal.SIGINT)

    def measure_until_pressed() -> None:
        with ThreadPoolExecutor() as pool, measuring(pi5, pi5_python) as harness:
            harness.install(model)
            pool.submit(press_when_it_measures)
            measure(harness, model, ENDLESS)

    with pytest.raises(KeyboardInterrupt):
        measure_until_pressed()
    wait_until(lambda: present(pi5) == before)


# The command line


@pytest.mark.usefixtures("ssh_knows_boards", "pi4_python")
def test_one_command_measures_and_verifies_two_boards_side_by_side(
    pi4: Board, pi5: Board, quadrant_tflites: Models, tmp_path: Path
) -> None:
    before = [board.run("ls -A /tmp") for board in (pi4, pi5)]
    ended = edgefer(
        "bench", "on-device", quadrant_tflites["float32"], quadrant_tflites["int8"],
        *("--device", pi4.address, "--device", pi5.address, "--setup", "--verify"),
        *("--processes", 2, "--runs", 8, "--seconds", 0, "--warmup", 0.5, "--profile-runs", 2),
        *("--output", "r.json"),
        cwd=tmp_path,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert ended.out.count("EMULATED") == 2
    assert "its times say nothing about a real one" in ended.err
    devices_measured = read_result(tmp_path / "r.json").devices
    assert [device.address for device in devices_measured] == [pi4.address, pi5.address]
    for device in devices_measured:
        for measurement in device.measurements:
            assert [len(process.latencies_us) >= 8 for process in measurement.processes] == [
                True,
                True,
            ]
            assert measurement.profile is not None
            assert measurement.verification is not None
            assert measurement.verification.same_top_class == measurement.verification.inputs
    assert pi4.processes() == pi5.processes() == []
    assert [board.run("ls -A /tmp") for board in (pi4, pi5)] == before


@pytest.mark.usefixtures("ssh_knows_boards")
def test_a_board_is_described_by_the_command_line(pi5: Board) -> None:
    ended = edgefer("bench", "devices", pi5.address)
    assert ended.code == 0, ended.err
    assert "Cortex-A76" in ended.out
    assert "dotprod" in ended.out
    assert "emulated" in ended.out


@pytest.mark.usefixtures("ssh_knows_boards")
def test_a_board_without_a_runtime_is_told_how_to_get_one(
    tmp_path: Path, quadrant_tflites: Models
) -> None:
    with running(PI_5, tmp_path) as bare:
        ended = edgefer(
            "bench", "on-device", quadrant_tflites["int8"], "-d", bare.address, cwd=tmp_path
        )
    assert ended.code == 5
    assert f"edgefer bench on-device --setup --device {bare.address}" in ended.err
