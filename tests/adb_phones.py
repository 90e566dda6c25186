"""Attached Android devices, as fixtures: the real adb client, and adb_daemon.py for a device.

With `phone`, commands run on this machine with its own sh; with `android` by the shell and tools
that Android has, mksh and toybox. A test module has them by `pytest_plugins = ("adb_phones",)`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from adb_daemon import AdbDaemon, Attach, Behaviour, adb, adb_server, wait_until


@pytest.fixture(scope="module")
def adb_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Give the environment of an adb server that lasts as long as the module's tests."""
    require("adb")
    with adb_server(tmp_path_factory.mktemp("adb")) as environment:
        yield environment


@pytest.fixture
def attach(
    adb_environment: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Attach]:
    """Return a function that attaches a device; its keywords are those of `Behaviour`."""
    for name in ("ANDROID_ADB_SERVER_PORT", "HOME", "TMPDIR"):
        monkeypatch.setenv(name, adb_environment[name])
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    with ExitStack() as devices:

        def attach_one(**behaviour: object) -> AdbDaemon:
            folder = tmp_path / f"device-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            daemon = AdbDaemon(folder, behaviour=Behaviour(**behaviour))  # type: ignore[arg-type]
            devices.enter_context(daemon)
            adb("connect", daemon.serial, environment=adb_environment)
            wait_until(lambda: daemon.serial in adb("devices", environment=adb_environment))
            return daemon

        yield attach_one
        adb("disconnect", environment=adb_environment)


@pytest.fixture
def phone(attach: Attach) -> AdbDaemon:
    """Attach a device."""
    return attach()


@pytest.fixture
def android(attach: Attach, tmp_path: Path) -> AdbDaemon:
    """Attach a device whose commands run with the programs that Android has."""
    toybox, mksh = require("toybox"), require("mksh")
    tools = tmp_path / "toolbox"
    tools.mkdir()
    listed = subprocess.run([toybox], capture_output=True, text=True, check=True).stdout.split()
    for name in {*listed} - {"sh"}:
        (tools / name).symlink_to(toybox)
    (tools / "sh").symlink_to(mksh)
    return attach(shell=mksh, environment={"PATH": str(tools)})


def require(program: str) -> str:
    """Return where a program is; skip where it is missing, or fail in CI, which has to have it."""
    found = shutil.which(program)
    if found is None and "CI" in os.environ:
        pytest.fail(f"needs {program}: it is missing in .ci/apt-packages.txt")
    if found is None:
        pytest.skip(f"needs {program} (Debian: apt install {program})")
    return found
