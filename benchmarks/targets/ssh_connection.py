"""One connection of the system's `ssh`, which all commands on a device share."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from edgefer.benchmarks.foreign_text import last_line
from edgefer.benchmarks.targets import ssh_failures
from edgefer.benchmarks.targets.addresses import SshAddress
from edgefer.benchmarks.targets.target import Answer
from edgefer.errors import DeviceError

# No question is ever asked, since nobody may be there to answer it. A device that answers nothing
# for 15 s is given up. What the user's config may hold for other purposes stays out.
_CLIENT_OPTIONS = (
    "BatchMode=yes",
    "ConnectTimeout=10",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "LogLevel=ERROR",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "RemoteCommand=none",
    "RequestTTY=no",
)

# The client's exit code 255 means a lost connection or a command that ended with 255, and a login
# shell may print what it likes before the command. Hence these lines around the command: what
# comes before the first is not the command's, and without the last the command did not end.
_BEGIN = b"edgefer-begin\n"
_END = re.compile(rb"\nedgefer-end ([0-9]{1,3})\n")
_WRAPPER = (
    'echo edgefer-begin; echo edgefer-begin >&2; "$@"; printf "\\nedgefer-end %d\\n" "$?" >&2'
)


class SshConnection:
    """A multiplexed connection, made by the first command and remade after it was lost."""

    def __init__(self, address: SshAddress, options: Sequence[str]) -> None:
        self.address = address
        self._options = tuple(options)
        self._control_folder = Path()
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._interrupted = False

    def open(self) -> None:
        """Make ready; nothing is sent yet."""
        if shutil.which("ssh") is None:
            raise self.failure(
                "there is no ssh client on this machine; install OpenSSH's "
                "(Debian: sudo apt install openssh-client)"
            )
        # Not under $TMPDIR, which is long on some systems: a socket's path is at most 104 bytes,
        # of which ssh itself needs 17. The folder is this user's alone.
        try:
            self._control_folder = Path(tempfile.mkdtemp(prefix="edgefer-", dir="/tmp"))
        except OSError as exc:
            raise self.failure(f"ssh needs a folder in /tmp on this machine: {exc}") from exc

    def close(self) -> None:
        """End the connection, whatever state it is in."""
        self._ask_master("exit")
        shutil.rmtree(self._control_folder, ignore_errors=True)

    @property
    def alive(self) -> bool:
        """Whether the connection has been made and is not known to be lost."""
        return self._ask_master("check").returncode == 0

    def interrupt(self) -> None:
        """End the exchange that runs now, from another thread, or else the next one."""
        with self._lock:
            self._interrupted = True
            if self._process is not None:
                self._process.kill()
                # It holds the other ends of the pipes while the command runs on the device.
                self._ask_master("exit")

    def exchange(
        self,
        words: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes | BinaryIO = b"",
        stdin_stays_open: bool = False,
        interruptible: bool = True,
    ) -> Answer:
        """Run a command in the login folder; its exit code is 128 + n where signal n ended it.

        Raises TimeoutError, or DeviceError where there is no connection, or none any more. What
        runs on the device when this ends early goes on there.
        """
        remote = shlex.join(["exec", "sh", "-c", _WRAPPER, "sh", *words])
        command = ["ssh", "-T", *self._client_options(), *self.address.words, remote]
        source = subprocess.PIPE if isinstance(stdin, bytes) else stdin
        with ExitStack() as stack:
            process = stack.enter_context(_started(command, source))
            if stdin_stays_open and process.stdin is not None:
                # communicate() closes its end; with a second one the command sees no end.
                stack.callback(os.close, os.dup(process.stdin.fileno()))
            if interruptible:
                stack.enter_context(self._interruptible(process))
            try:
                stdout, stderr = process.communicate(
                    stdin if isinstance(stdin, bytes) else None, timeout_s
                )
            except BaseException as exc:
                process.kill()
                process.wait()
                if isinstance(exc, subprocess.TimeoutExpired):
                    raise TimeoutError from exc
                raise
        return self._answer(stdout, stderr, process.returncode)

    def failure(self, problem: str) -> DeviceError:
        """Return an error that names the device."""
        return DeviceError(str(self.address), problem)

    def _client_options(self) -> list[str]:
        # The first value that ssh finds for an option counts.
        settings = [
            *_CLIENT_OPTIONS,
            "ControlMaster=auto",
            "ControlPersist=60",
            f"ControlPath={self._control_folder}/control",
        ]
        return [*self._options, *(f"-o{setting}" for setting in settings)]

    @contextmanager
    def _interruptible(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """Let `interrupt` end the process, also where it was called before; DeviceError then."""
        with self._lock:
            self._process = process
            if self._interrupted:
                process.kill()
        try:
            yield
        finally:
            with self._lock:
                self._process = None
                interrupted, self._interrupted = self._interrupted, False
        if interrupted:
            raise self.failure("interrupted")

    def _answer(self, stdout: bytes, stderr: bytes, client_code: int) -> Answer:
        _, begun, output = stdout.partition(_BEGIN)
        ends = list(_END.finditer(stderr))
        if begun and ends:
            complaints = stderr[: ends[-1].start()].partition(_BEGIN)[2]
            return Answer(returncode=int(ends[-1][1]), stdout=output, stderr=complaints)
        if begun:
            raise self.failure(
                "the connection was cut while a command ran; check power and network, try again"
            )
        if client_code == 255:
            raise self.failure(ssh_failures.explain(stderr, self.address))
        said = last_line((stdout + b"\n" + stderr).decode(errors="replace"))
        raise self.failure(f"its login shell runs no commands ({said}); use another account")

    def _ask_master(self, question: str) -> subprocess.CompletedProcess[bytes]:
        command = ["ssh", "-O", question, *self._client_options(), *self.address.words]
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=False,
        )


def _started(command: list[str], stdin: int | BinaryIO) -> subprocess.Popen[bytes]:
    # In a session of its own, where the terminal's Ctrl-C does not reach it: the device is
    # cleaned through the same connection after that.
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"LC_ALL": "C"},
        start_new_session=True,
    )
