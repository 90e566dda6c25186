"""A board reached by the system's `ssh`, so that the user's keys, config and known_hosts apply."""

from __future__ import annotations

import math
import os
import re
import secrets
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from edgefer.benchmarks.foreign_text import last_line, shown
from edgefer.benchmarks.targets.addresses import SshAddress
from edgefer.benchmarks.targets.ssh_connection import SshConnection
from edgefer.benchmarks.targets.storage import storage_problem
from edgefer.benchmarks.targets.target import Answer
from edgefer.errors import DeviceError, ModelError

CONNECT_TIMEOUT_S = 60.0
CLEANING_TIMEOUT_S = 30.0
TRANSFER_TIMEOUT_S = 60.0
SLOWEST_BYTES_PER_SECOND = 50_000
"""A file takes this much longer at most than `TRANSFER_TIMEOUT_S`."""

# A $TMPDIR with characters that a shell minds is passed over.
_PLACE = """
export LC_ALL=C
place=${TMPDIR:-/tmp}
case $place in [!/]* | *[!A-Za-z0-9/._-]*) place=/tmp ;; esac
"""

# The name comes from here, not from mktemp there, so that after a Ctrl-C at any moment it is known
# what has to be removed.
_MAKE_FOLDER = _PLACE + 'cd "$place" && mkdir -m 700 "$1" && cd "$1" && pwd -P'

# Every command carries the working folder's name in its environment, and so does all that it
# starts, in whatever process group. Three rounds, because it may start more in the meantime.
_END_COMMANDS = """
for attempt in 1 2 3; do
    running=$(grep -ls "EDGEFER_WORK=$1" /proc/[0-9]*/environ | cut -d/ -f3)
    [ -n "$running" ] || break
    kill -KILL $running 2>/dev/null
done
"""
_CLEAN = _PLACE + _END_COMMANDS + 'rm -rf "$place/$1"'

# `timeout` ends a command on the device should the connection be lost for good.
_RUN = """
cd "$1" || exit
export LC_ALL=C EDGEFER_WORK="$2"
limit=$3
shift 3
exec timeout -s KILL "$limit" "$@"
"""

# A stream into `cat` rather than scp: it needs no sftp-server on the device, has no rules of its
# own for the names of files, and appears under its name only when it is all there.
_PUSH = """
cat >"./$1.part" &&
    { [ "$(wc -c <"./$1.part")" -eq "$2" ] || { echo "only a part arrived" >&2; false; }; } &&
    mv "./$1.part" "./$1" && exit
rm -f "./$1.part"
exit 1
"""


class SshTarget:
    """A device with an SSH server, a POSIX shell, coreutils (or busybox) and /proc.

    `options` are further arguments of the ssh client. The exit code of a command that signal n
    ended is 128 + n.
    """

    def __init__(self, address: SshAddress, *, options: Sequence[str] = ()) -> None:
        self._connection = SshConnection(address, options)
        self._name = ""
        self._folder = ""

    @property
    def address(self) -> str:
        """The device as the user wrote it."""
        return str(self._connection.address)

    @property
    def folder(self) -> str:
        """The working folder's absolute path on the device."""
        return self._folder

    def __enter__(self) -> Self:
        """Connect and make the working folder."""
        self._name = f"edgefer-{secrets.token_hex(8)}"
        self._connection.open()
        try:
            self._folder = self._make_folder()
        except BaseException:
            self._leave(clean=self._connection.alive)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what still runs there, remove the working folder, and disconnect."""
        self._leave(clean=True)

    def run(
        self,
        command: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes = b"",
        stdin_stays_open: bool = False,
    ) -> Answer:
        """Run a command in the working folder."""
        return self._run(command, timeout_s, stdin, stdin_stays_open=stdin_stays_open)

    def push(self, source: Path, name: str) -> None:
        """Copy a file of this machine to `name` in the working folder, whole or not at all.

        Raises ModelError, which names the file, where `source` cannot be read.
        """
        try:
            content = source.open("rb")
        except OSError as exc:
            raise ModelError(source, f"cannot be read: {exc.strerror}") from exc
        with content:
            self._push(content, name)

    def pull(self, name: str) -> bytes:
        """Return the content of `name` in the working folder."""
        answer = self._run(["cat", f"./{name}"], TRANSFER_TIMEOUT_S)
        if answer.returncode != 0:
            raise self._failure(f"{name} cannot be fetched: {_complaint(answer)}")
        return answer.stdout

    def interrupt(self) -> None:
        """End the command that runs now, from another thread, or else the next one."""
        self._connection.interrupt()

    def _make_folder(self) -> str:
        answer = self._shell(_MAKE_FOLDER, timeout_s=CONNECT_TIMEOUT_S, interruptible=True)
        folder = answer.stdout.decode(errors="replace").removesuffix("\n")
        if answer.returncode != 0:
            problem = storage_problem(answer.stderr) or _complaint(answer)
            raise self._failure(
                f"no working folder can be made there: {problem}; mend that, or set TMPDIR on the "
                "device to another folder"
            )
        if not re.fullmatch(r"/[A-Za-z0-9/._-]+", folder):
            raise self._failure(f"its working folder has a path that cannot be used: {folder!r}")
        return folder

    def _push(self, content: BinaryIO, name: str) -> None:
        size_bytes = os.fstat(content.fileno()).st_size
        answer = self._run(
            ["sh", "-c", _PUSH, "sh", name, str(size_bytes)],
            TRANSFER_TIMEOUT_S + size_bytes / SLOWEST_BYTES_PER_SECOND,
            content,
        )
        if answer.returncode != 0:
            problem = storage_problem(answer.stderr) or _complaint(answer)
            raise self._failure(
                f"{name} ({size_bytes / 1e6:.1f} MB) cannot be stored in {self.folder}: {problem}; "
                "mend that, or set TMPDIR on the device to another folder"
            )

    def _run(
        self,
        command: Sequence[str],
        timeout_s: float,
        stdin: bytes | BinaryIO = b"",
        *,
        stdin_stays_open: bool = False,
    ) -> Answer:
        limit_s = math.ceil(timeout_s) + CLEANING_TIMEOUT_S
        words = ["sh", "-c", _RUN, "sh", self.folder, self._name, f"{limit_s:.0f}", *command]
        try:
            return self._connection.exchange(
                words, timeout_s=timeout_s, stdin=stdin, stdin_stays_open=stdin_stays_open
            )
        except (TimeoutError, DeviceError) as exc:
            self._clean(_END_COMMANDS)
            if isinstance(exc, DeviceError):
                raise
            raise self._failure(
                f"`{shown(shlex.join(command), 60)}` took longer than {timeout_s:g} s and was ended"
            ) from exc

    def _shell(self, script: str, *, timeout_s: float, interruptible: bool) -> Answer:
        """Run a script whose argument is the working folder's name, outside of that folder."""
        try:
            return self._connection.exchange(
                ["sh", "-c", script, "sh", self._name],
                timeout_s=timeout_s,
                interruptible=interruptible,
            )
        except TimeoutError as exc:
            raise self._failure(
                f"did not answer within {timeout_s:g} s; see whether `ssh` works there"
            ) from exc

    def _clean(self, script: str) -> None:
        # A device that is gone by now is no second error.
        with suppress(DeviceError):
            self._shell(script, timeout_s=CLEANING_TIMEOUT_S, interruptible=False)

    def _leave(self, *, clean: bool) -> None:
        try:
            if clean:
                self._clean(_CLEAN)
        finally:
            self._connection.close()

    def _failure(self, problem: str) -> DeviceError:
        return self._connection.failure(problem)


def _complaint(answer: Answer) -> str:
    return last_line(answer.stderr.decode(errors="replace"))
