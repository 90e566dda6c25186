"""Python, numpy and a runtime on a device: this machine behind a real SSH server."""

import configparser
import os
import shutil
import signal
import socket
import subprocess
import textwrap
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from small_disk import mounted_disk, needs_root
from ssh_server import SshServer, running_ssh_server

from edgefer.benchmarks.installing.runtime_setup import find_python, set_up
from edgefer.benchmarks.installing.runtimes import (
    LITERT,
    TFLITE_RUNTIME,
    DevicePython,
    machine_of,
    platform_of,
    runtime_for,
)
from edgefer.benchmarks.installing.wheels import Platform, pip_problem
from edgefer.benchmarks.result import DeviceDescription
from edgefer.benchmarks.targets.ssh import SshTarget
from edgefer.errors import DeviceError

NOWHERE = {
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_FIND_LINKS": "",
}
"""A package index on a port that nobody listens on."""


def described(architecture: str = "x86_64", *, userland_bits: int = 64) -> DeviceDescription:
    return DeviceDescription(
        name="a board",
        soc=None,
        system="Debian",
        kernel="Linux 6",
        architecture=architecture,
        userland_bits=userland_bits,
        clusters=(),
        features=(),
        memory_bytes=None,
        emulated=None,
    )


@contextmanager
def device(
    folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[SshServer, SshTarget]]:
    """Connect to a device whose home is `folder`/home, unless the environment says otherwise."""
    with (
        running_ssh_server(folder, environment=environment) as server,
        SshTarget(server.address, options=server.options) as target,
    ):
        yield server, target


@pytest.fixture
def silent_index() -> Iterator[Mapping[str, str]]:
    """Return the environment of a pip whose package index never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield NOWHERE | {"PIP_INDEX_URL": f"http://127.0.0.1:{server.getsockname()[1]}/simple"}


def cache(folder: Path) -> list[str]:
    """Return what a setup left in the device's home."""
    found = folder / "home" / ".cache" / "edgefer"
    return [path.name for path in found.iterdir()] if found.exists() else []


def path_with(folder: Path, python3: str | None) -> str:
    """Make a PATH with the system's commands, in which python3 is a script, or missing."""
    commands = folder / "bin"
    commands.mkdir()
    for place in ("/usr/bin", "/bin"):
        for command in Path(place).iterdir():
            link = commands / command.name
            if not command.name.startswith("python") and not link.exists():
                link.symlink_to(command)
    if python3 is not None:
        (commands / "python3").write_text(python3)
        (commands / "python3").chmod(0o755)
    return str(commands)


@pytest.mark.parametrize(
    ("architecture", "bits", "machine"),
    [
        ("aarch64", 64, "aarch64"),
        ("aarch64", 32, "armv7l"),
        ("armv8l", 32, "armv7l"),
        ("armv7l", 32, "armv7l"),
        ("x86_64", 64, "x86_64"),
        ("x86_64", 32, "i686"),
        ("armv6l", 32, "armv6l"),
        ("riscv64", 64, "riscv64"),
    ],
)
def test_wheels_are_for_the_system_rather_than_the_kernel(
    architecture: str, bits: int, machine: str
) -> None:
    assert machine_of(described(architecture, userland_bits=bits)) == machine


def test_64_bit_boards_get_litert_and_32_bit_boards_its_predecessor() -> None:
    assert runtime_for("aarch64", "board") is LITERT
    assert runtime_for("x86_64", "board") is LITERT
    assert runtime_for("armv7l", "board") is TFLITE_RUNTIME


def test_litert_on_devices_is_of_the_series_that_edgefer_itself_needs() -> None:
    config = configparser.ConfigParser()
    config.read(Path(__file__).parents[1] / "setup.cfg", encoding="utf-8")
    assert "ai-edge-litert >=2.3, <3" in config["options"]["install_requires"].splitlines()
    assert LITERT.requirement == "ai-edge-litert==2.3.0"


@pytest.mark.parametrize(
    ("machine", "version", "libc", "problem"),
    [
        ("aarch64", (3, 9), ("glibc", "2.31"), "its python3 is 3.9, and ai-edge-litert==2.3.0 has "
         "wheels for 3.10 to 3.14 on aarch64; install one of these as python3"),
        ("x86_64", (3, 15), ("glibc", "2.41"), "its python3 is 3.15, and"),
        ("x86_64", (4, 11), ("glibc", "2.41"), "its python3 is 4.11, and"),
        ("armv7l", (3, 13), ("glibc", "2.41"), "its python3 is 3.13, and tflite-runtime==2.14.0 "
         "has wheels for 3.9 to 3.11 on armv7l"),
        ("armv7l", (3, 9), ("glibc", "2.31"), "its C library is glibc 2.31, and "
         "tflite-runtime==2.14.0 needs glibc 2.34 or newer"),
        ("aarch64", (3, 11), ("", ""), "its C library is not glibc, and ai-edge-litert==2.3.0"),
        ("aarch64", (3, 11), ("musl", "1.2"), "its C library is musl 1.2, and"),
        ("aarch64", (3, 11), ("glibc", "new"), "its C library is glibc new, and"),
        ("riscv64", (3, 11), ("glibc", "2.36"), "there is no runtime for its processor (riscv64), "
         "only for aarch64, armv7l, x86_64"),
    ],
)  # fmt: skip
def test_a_device_that_no_wheel_fits_is_told_what_would(
    machine: str, version: tuple[int, int], libc: tuple[str, str], problem: str
) -> None:
    with pytest.raises(DeviceError) as caught:
        platform_of(machine, DevicePython(version=version, libc=libc), "ssh://board")
    assert str(caught.value).startswith(f"ssh://board: {problem}")


def test_wheels_may_be_as_new_as_the_devices_c_library() -> None:
    python = DevicePython(version=(3, 11), libc=("glibc", "2.28"))
    platform = platform_of("aarch64", python, "board")
    assert platform == Platform(python=(3, 11), glibc=(2, 28), machine="aarch64")
    assert platform.tags[:2] == ["manylinux_2_28_aarch64", "manylinux_2_27_aarch64"]
    assert platform.tags[-3:] == [
        "manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("complaint", "problem"),
    [
        (
            "WARNING: Retrying (…) after connection broken by 'NewConnectionError(…)': /simple/\n"
            "ERROR: Could not find a version that satisfies the requirement x (from versions: none)"
            "\nERROR: No matching distribution found for x",
            "a package index cannot be reached",
        ),
        (
            "ERROR: Could not find a version that satisfies the requirement x (from versions: none)"
            "\nERROR: No matching distribution found for x\n\n[notice] A new release of pip",
            "No matching distribution found for x",
        ),
        ("/usr/bin/python3: No module named pip\n", "/usr/bin/python3: No module named pip"),
        ("", ""),
    ],
)
def test_why_pip_failed_is_told_in_one_line(complaint: str, problem: str) -> None:
    assert pip_problem(complaint.encode()) == problem


def test_a_device_without_python_is_told_how_to_get_it(tmp_path: Path) -> None:
    with device(tmp_path, {"PATH": path_with(tmp_path, None)}) as (_, target):
        assert find_python(target) is None
        with pytest.raises(DeviceError, match=r"has no python3; there: sudo apt install python3"):
            set_up(target, described())


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ('echo \'{"version": [3, 7], "libc": ["glibc", "2.28"]}\'', "its python3 is 3.7, and"),
        ("echo Segmentation fault >&2; exit 139", "its python3 does not work: Segmentation fault"),
        ("echo nonsense", "its python3 does not work: the whole: Invalid JSON"),
        ('echo \'{"version": [3], "libc": []}\'', "its python3 does not work: version"),
    ],
)
def test_a_python_that_cannot_be_used_is_said(tmp_path: Path, script: str, problem: str) -> None:
    """A stand-in for the device's python3 that answers as it likes."""
    path = path_with(tmp_path, f"#!/bin/sh\n{script}\n")
    with device(tmp_path, {"PATH": path}) as (_, target):
        with pytest.raises(DeviceError) as caught:
            set_up(target, described())
        assert str(caught.value).startswith(f"{target.address}: {problem}")
    assert cache(tmp_path) == []


def test_a_processor_without_a_runtime_is_said_before_anything_is_done(tmp_path: Path) -> None:
    with (
        device(tmp_path) as (_, target),
        pytest.raises(DeviceError, match=r"no runtime for its processor \(armv6l\)"),
    ):
        set_up(target, described("armv6l", userland_bits=32))
    assert cache(tmp_path) == []


def test_a_device_and_a_machine_without_a_network_are_both_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)
    with device(tmp_path, NOWHERE) as (_, target):
        with pytest.raises(DeviceError) as caught:
            set_up(target, described())
        assert find_python(target) == "python3"
    assert str(caught.value) == (
        f"{target.address}: ai-edge-litert==2.3.0 cannot be installed: on the device, a package "
        "index cannot be reached; on this machine, a package index cannot be reached; connect one "
        "of them to the internet, or tell its pip an index"
    )
    assert cache(tmp_path) == []


@needs_root
def test_a_home_that_is_read_only_is_said(tmp_path: Path) -> None:
    with mounted_disk(tmp_path / "home", "ro"), device(tmp_path) as (_, target):
        with pytest.raises(DeviceError) as caught:
            set_up(target, described())
        assert str(caught.value) == (
            f"{target.address}: nothing can be installed in ~/.cache/edgefer: it is read-only; the "
            "home folder has to be writable, with 200 MB left"
        )


@needs_root
def test_a_home_without_room_for_an_environment_is_said(tmp_path: Path) -> None:
    with mounted_disk(tmp_path / "home", "nr_inodes=8"), device(tmp_path) as (_, target):
        with pytest.raises(DeviceError, match=r"can be made .*: no space left; the home folder"):
            set_up(target, described())
        assert cache(tmp_path) == []


def test_ctrl_c_in_the_middle_leaves_nothing_half_made(tmp_path: Path) -> None:
    def interrupted(doing: str) -> None:
        if doing.startswith("installing"):
            assert cache(tmp_path) != []
            raise KeyboardInterrupt

    with device(tmp_path, NOWHERE) as (_, target):
        with pytest.raises(KeyboardInterrupt):
            set_up(target, described(), progress=interrupted)
        assert cache(tmp_path) == []


def test_an_end_from_another_thread_leaves_nothing_half_made(
    tmp_path: Path, silent_index: Mapping[str, str]
) -> None:
    with device(tmp_path, silent_index) as (_, target):

        def interrupted(doing: str) -> None:
            if doing.startswith("installing"):
                threading.Timer(1, target.interrupt).start()

        with pytest.raises(DeviceError, match="interrupted"):
            set_up(target, described(), progress=interrupted)
        assert cache(tmp_path) == []


def test_a_connection_cut_in_the_middle_leaves_nothing_under_the_final_name(
    tmp_path: Path, silent_index: Mapping[str, str]
) -> None:
    with device(tmp_path, silent_index) as (server, target):

        def cut(doing: str) -> None:
            if doing.startswith("installing"):
                threading.Timer(1, server.signal_sessions, [signal.SIGKILL]).start()

        with pytest.raises(DeviceError, match="the connection was cut"):
            set_up(target, described(), progress=cut)
        assert find_python(target) == "python3"
        assert cache(tmp_path) == []


def test_what_a_setup_left_long_ago_is_removed_by_the_next(tmp_path: Path) -> None:
    with device(tmp_path, NOWHERE) as (_, target):
        left = tmp_path / "home" / ".cache" / "edgefer"
        for name, age in (("old.part-abcdef", "2 days ago"), ("new.part-abcdef", "now")):
            (left / name / "lib").mkdir(parents=True)
            subprocess.run(["/usr/bin/touch", "-d", age, left / name], check=True)

        def stop(doing: str) -> None:
            if doing.startswith("making"):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            set_up(target, described(), progress=stop)
        assert cache(tmp_path) == ["new.part-abcdef"]


# The ones that install: each downloads 40 MB, or finds it in pip's cache.


def require_that_it_measures(target: SshTarget, python: str, model: Path) -> None:
    """Run a model with what was installed."""
    target.push(model, "model.tflite")
    script = """
        import sys
        from ai_edge_litert.interpreter import Interpreter
        interpreter = Interpreter("model.tflite")
        interpreter.allocate_tensors()
        interpreter.invoke()
        print(sys.prefix, len(interpreter.get_output_details()))
    """
    answer = target.run([python, "-c", textwrap.dedent(script)], timeout_s=60)
    prefix = Path(python).parents[1]
    assert (answer.returncode, answer.stdout.decode()) == (0, f"{prefix} 1\n"), answer.stderr


def require_installed(
    folder: Path, target: SshTarget, python: str, quadrant_tflites: Mapping[str, Path]
) -> None:
    assert python == str(folder / "home/.cache/edgefer/ai-edge-litert-2.3.0/bin/python")
    assert cache(folder) == ["ai-edge-litert-2.3.0"]
    assert list(Path(target.folder).iterdir()) == []
    assert find_python(target) == python
    require_that_it_measures(target, python, quadrant_tflites["int8"])
    steps: list[str] = []
    assert set_up(target, described(), progress=steps.append) == python
    assert steps == ["looking for what is installed"]


@pytest.mark.slow
def test_a_device_with_a_network_installs_by_itself(
    tmp_path: Path, quadrant_tflites: Mapping[str, Path]
) -> None:
    steps: list[str] = []
    with device(tmp_path) as (_, target):
        python = set_up(target, described(), progress=steps.append)
        assert steps[-1] == "installing ai-edge-litert==2.3.0 from the device's network"
        require_installed(tmp_path, target, python, quadrant_tflites)


@pytest.mark.slow
def test_a_device_without_a_network_gets_wheels_from_this_machine(
    tmp_path: Path, quadrant_tflites: Mapping[str, Path]
) -> None:
    steps: list[str] = []
    with device(tmp_path, NOWHERE) as (_, target):
        python = set_up(target, described(), progress=steps.append)
        assert [step.partition("-")[0] for step in steps[-4:]] == [
            "sending ai_edge_litert", "sending numpy", "sending pip", "installing what was sent",
        ]  # fmt: skip
        require_installed(tmp_path, target, python, quadrant_tflites)


@pytest.mark.slow
def test_an_environment_that_stopped_working_is_made_anew(
    tmp_path: Path, quadrant_tflites: Mapping[str, Path]
) -> None:
    """As after an upgrade of the device's system to another Python."""
    with device(tmp_path) as (_, target):
        python = set_up(target, described())
        shutil.rmtree(Path(python).parents[1] / "lib")
        assert find_python(target) == "python3"
        assert set_up(target, described()) == python
        require_installed(tmp_path, target, python, quadrant_tflites)


@pytest.mark.slow
def test_two_setups_at_once_leave_one_environment(
    tmp_path: Path, quadrant_tflites: Mapping[str, Path]
) -> None:
    pythons: list[str] = []
    with device(tmp_path) as (server, target):

        def second() -> None:
            with SshTarget(server.address, options=server.options) as other:
                pythons.append(set_up(other, described()))

        thread = threading.Thread(target=second)
        thread.start()
        pythons.append(set_up(target, described()))
        thread.join()
        assert len(set(pythons)) == 1
        assert len(pythons) == 2
        require_installed(tmp_path, target, pythons[0], quadrant_tflites)


@pytest.mark.slow
@needs_root
@pytest.mark.parametrize("environment", [{}, NOWHERE], ids=["network", "wheels"])
def test_a_home_that_fills_up_is_said_and_left_empty(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    with mounted_disk(tmp_path / "home", "size=20m"), device(tmp_path, environment) as (_, target):
        with pytest.raises(DeviceError, match=r"2\.3\.0 cannot be installed: no space left"):
            set_up(target, described())
        assert cache(tmp_path) == []
        assert target.run(["true"], timeout_s=30).returncode == 0
