"""The script in real shells on this machine."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
from probe_answers import Command, bundle, known, target

from edgefer.benchmarks.probing import probe
from edgefer.benchmarks.targets.local import LocalTarget
from edgefer.benchmarks.targets.target import Answer, Target

TOOLS = ("cat", "od", "readlink", "uname", "getconf", "tr")


def shell_of(name: str, folder: Path) -> list[str]:
    """Return the command of a shell; `with busybox`, `folder` gets its tools, as on a device."""
    shell, _, tools = name.partition(" with ")
    program = shutil.which(shell.split()[0])
    if program is None or (tools and not shutil.which(tools)):
        pytest.skip(f"needs {name}; see .ci/apt-packages.txt")
    if tools:
        for tool in TOOLS:
            (folder / tool).symlink_to(cast(str, shutil.which(tools)))
    return [program, *shell.split()[1:]]


def on_this_machine(shell: Sequence[str], path: str | None = None) -> Target:
    environment = {**os.environ, "PATH": path} if path else None

    def answer(command: Command) -> Answer:
        assert command[0] == "sh"
        result = subprocess.run(
            [*shell, *command[1:]], env=environment, capture_output=True, check=False
        )
        return Answer(returncode=result.returncode, stdout=result.stdout, stderr=result.stderr)

    return target(answer)


SHELLS = ["sh", "bash", "dash", "busybox sh with busybox", "mksh with toybox"]


@pytest.mark.parametrize("name", SHELLS)
def test_every_shell_describes_this_machine(name: str, tmp_path: Path) -> None:
    path = str(tmp_path) if " with " in name else None
    device = on_this_machine(shell_of(name, tmp_path), path)
    description = probe.describe(device)
    assert description == probe.describe(on_this_machine(["sh"]))
    assert description.architecture == platform.machine()
    assert description.kernel == platform.release()
    assert set(os.sched_getaffinity(0)) <= set(description.cpus)
    assert description.memory_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert description.userland_bits == 8 * struct.calcsize("P")
    assert description.emulated is None


@pytest.mark.parametrize("name", SHELLS)
def test_every_shell_tells_this_machines_state(name: str, tmp_path: Path) -> None:
    path = str(tmp_path) if " with " in name else None
    device = on_this_machine(shell_of(name, tmp_path), path)
    description = probe.describe(device)
    state = probe.circumstances(device, description)
    assert state.load_1min is not None
    assert len(state.frequencies_khz) == len(description.clusters)
    watched = probe.watched_paths(device, description)
    assert len(watched.frequency_paths) == len(description.clusters)


@pytest.mark.parametrize("name", SHELLS)
def test_every_shell_asks_the_tools_that_a_device_has(name: str, tmp_path: Path) -> None:
    """Tools of the Raspberry Pi and of Android that print what the real ones do."""
    shell = shell_of(name, tmp_path)
    answers = {
        "vcgencmd": 'case $1 in get_throttled) echo throttled=0x4;; *) echo "$*" >&2;; esac',
        "dumpsys": 'test "$1" = battery && printf "  status: 3\\n  level: 50\\n  scale: 200\\n"',
        "getprop": 'test "$1" = ro.product.model && echo Phone 1; cat',
    }
    for tool, script in answers.items():
        (tmp_path / tool).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / tool).chmod(0o755)
    device = on_this_machine(shell, f"{tmp_path}:{os.environ['PATH']}")
    description = probe.describe(device)
    state = probe.circumstances(device, description)
    assert description.name == "Phone 1"
    assert state.throttling[0] == "throttled"
    assert (state.battery_percent, state.charging) == (25.0, False)


def test_a_refusing_vcgencmd_gives_way_without_a_word(tmp_path: Path) -> None:
    """A user who is not in the group video."""
    tool = tmp_path / "vcgencmd"
    tool.write_text('#!/bin/sh\necho "Can\'t open device file: /dev/vcio"\nexit 255\n')
    tool.chmod(0o755)
    device = on_this_machine(["sh"], f"{tmp_path}:{os.environ['PATH']}")
    state = probe.circumstances(device, probe.describe(device))
    assert state.throttling_since_boot == ()


def test_the_local_target_is_described_like_any_shell() -> None:
    with LocalTarget() as here:
        description = probe.describe(here)
        assert description == probe.describe(on_this_machine(["sh"]))
        assert probe.circumstances(here, description).load_1min is not None


def test_the_questions_fit_into_a_packet_of_the_first_adb() -> None:
    """Devices before Android 7 take 4096 bytes for a whole command."""
    phone = probe.describe(known("pixel-8"))
    asked: list[Command] = []

    def answer(command: Command) -> Answer:
        asked.append(command)
        return Answer(returncode=0, stdout=bundle({}), stderr=b"")

    probe.describe(target(answer))
    probe.circumstances(target(answer), phone)
    assert max(len(shlex.join(command).encode()) for command in asked) < 4000
