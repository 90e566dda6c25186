"""An Android device through the system's adb."""

from __future__ import annotations

import hashlib
import secrets
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from edgefer.benchmarks.targets.adb_client import AdbClient
from edgefer.benchmarks.targets.adb_devices import (
    AttachedDevice,
    attached_devices,
    ready_device,
)
from edgefer.benchmarks.targets.adb_shell import AdbShell, reason
from edgefer.benchmarks.targets.target import Answer
from edgefer.errors import DeviceError

__all__ = ["AdbTarget", "AttachedDevice", "attached_devices"]

PARENT = "/data/local/tmp"
"""The one folder of an Android device where adb's user may write files and run them."""

SHORT_TIMEOUT_S = 60.0
"""For what takes a moment."""

CLEANING_TIMEOUT_S = 20.0
"""For the end, when the device may be gone or hang."""

# What runs in the working folder is found by that, whatever it is and whoever started it. Five
# rounds, because a process can start another one while its turn has not come.
_END_PROCESSES = """
for round in 1 2 3 4 5; do
    for process in /proc/[0-9]*; do
        [ "$process/cwd" -ef {folder} ] && kill -9 "${{process#/proc/}}"
    done
done 2>/dev/null
"""


class AdbTarget:
    """A device by its serial number, or the only one attached; see `Target`.

    Before Android 7 a command's stderr comes with its stdout, and what is given as stdin has no
    end there.
    """

    def __init__(self, serial: str | None) -> None:
        self._serial = serial
        self._folder = ""
        self._client = AdbClient(self.address)

    @property
    def address(self) -> str:
        """The device: adb:SERIAL once it is known."""
        return f"adb:{self._serial}" if self._serial else "adb"

    @property
    def folder(self) -> str:
        """The working folder's absolute path on the device."""
        return self._folder

    def __enter__(self) -> Self:
        """Find the device and make the working folder, under a name that nobody else has."""
        self._serial = ready_device(self._serial)
        self._client.address = self.address
        self._folder = f"{PARENT}/edgefer-{secrets.token_hex(8)}"
        try:
            self._short(f"mkdir -m 700 {self._folder}", f"make a folder in {PARENT}")
        except BaseException:
            self._clean_up()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what still runs there, and remove the working folder."""
        self._clean_up()

    def run(
        self,
        command: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes = b"",
        stdin_stays_open: bool = False,
    ) -> Answer:
        """Run a command in the working folder; see `Target`."""
        try:
            return self._shell.run(
                f"cd {self._folder} || exit\n{shlex.join(command)}",
                timeout_s=timeout_s,
                stdin=stdin,
                stdin_stays_open=stdin_stays_open,
            )
        except TimeoutError as exc:
            left = "" if self._end_processes() else ", and may still run: restart the device"
            problem = f"{command[0]} did not end within {timeout_s:g} s{left}"
            raise DeviceError(self.address, problem) from exc
        except BaseException:
            self._end_processes()
            raise

    def push(self, source: Path, name: str) -> None:
        """Copy a file to the working folder under a preliminary name, compare, and rename it."""
        try:
            digest = _digest(source.read_bytes())
        except OSError as exc:
            raise DeviceError(self.address, f"cannot be given {source}: {exc.strerror}") from exc
        part = f"{self._folder}/.{name}.part"
        self._shell.adb("push", str(source.absolute()), part)
        self._require_digest(part, digest, name)
        self._short(f"mv {part} {self._folder}/{name}", f"keep {name}")

    def pull(self, name: str) -> bytes:
        """Return the content of `name` in the working folder, compared with what is there."""
        path = f"{self._folder}/{name}"
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "pulled"
            self._shell.adb("pull", path, str(local))
            content = local.read_bytes()
        self._require_digest(path, _digest(content), name)
        return content

    def interrupt(self) -> None:
        """End the command that runs now; see `Target`."""
        self._client.interrupt()

    @property
    def _shell(self) -> AdbShell:
        return AdbShell(client=self._client, serial=self._serial or "")

    def _short(self, script: str, aim: str) -> Answer:
        """Run a script that takes a moment; DeviceError where it fails."""
        try:
            answer = self._shell.run(script, timeout_s=SHORT_TIMEOUT_S)
        except TimeoutError as exc:
            raise DeviceError(self.address, "does not answer; restart it") from exc
        if answer.returncode != 0:
            raise DeviceError(self.address, f"cannot {aim}: {reason(answer)}")
        return answer

    def _require_digest(self, path: str, expected: str, name: str) -> None:
        answer = self._short(f"md5sum {path}", f"read {name}")
        if answer.stdout.split()[:1] != [expected.encode()]:
            raise DeviceError(self.address, f"{name} was damaged on the way; try another cable")

    def _end_processes(self) -> bool:
        """End all that runs in the working folder; False where the device doesn't answer."""
        return self._last(_END_PROCESSES.format(folder=self._folder))

    def _clean_up(self) -> None:
        self._last(f"{_END_PROCESSES.format(folder=self._folder)}rm -rf {self._folder}")

    def _last(self, script: str) -> bool:
        """Run a script even after `interrupt`; False where the device is gone."""
        shell = AdbShell(client=AdbClient(self.address), serial=self._serial or "")
        try:
            shell.run(script, timeout_s=CLEANING_TIMEOUT_S)
        except (DeviceError, TimeoutError):
            return False
        return True


def _digest(content: bytes) -> str:
    """Return the MD5, the one digest that every Android can take; it is no proof against malice."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
