"""The machine that edgefer runs on, which may well be the board itself."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from edgefer.benchmarks.foreign_text import shown
from edgefer.benchmarks.targets.target import Answer
from edgefer.errors import DeviceError, ModelError

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""A shell's exit codes, so that a missing command is told in the same way on all devices."""


class LocalTarget:
    """The machine itself; a command that signal n ended has the exit code -n."""

    def __init__(self) -> None:
        self._folder = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._interrupted = threading.Event()

    @property
    def address(self) -> str:
        """The device as the user wrote it."""
        return "local"

    @property
    def folder(self) -> str:
        """The working folder's absolute path."""
        return self._folder

    def __enter__(self) -> Self:
        """Make the working folder."""
        try:
            self._folder = tempfile.mkdtemp(prefix="edgefer-")
        except OSError as exc:
            raise self._no_room("no working folder can be made", exc) from exc
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the working folder; what ran in it ended with its `run`."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(
        self,
        command: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes = b"",
        stdin_stays_open: bool = False,
    ) -> Answer:
        """Run a command in the working folder, and end all that it started when it ends."""
        try:
            process = self._start(command)
        except OSError as exc:
            code = NOT_FOUND if isinstance(exc, FileNotFoundError) else NOT_EXECUTABLE
            complaint = f"{exc.filename}: {exc.strerror}\n"
            return Answer(returncode=code, stdout=b"", stderr=complaint.encode(errors="replace"))
        with process, self._interruptible(process), ExitStack() as stack:
            if stdin_stays_open and process.stdin is not None:
                # communicate() closes its end; with a second one the command sees no end.
                stack.callback(os.close, os.dup(process.stdin.fileno()))
            try:
                stdout, stderr = process.communicate(stdin, timeout_s)
            except subprocess.TimeoutExpired as exc:
                raise self._failure(
                    f"`{shown(shlex.join(command), 60)}` took longer than {timeout_s:g} s "
                    "and was ended"
                ) from exc
        if self._interrupted.is_set():
            raise self._failure("interrupted")
        return Answer(returncode=process.returncode, stdout=stdout, stderr=stderr)

    def push(self, source: Path, name: str) -> None:
        """Copy a file to `name` in the working folder, whole or not at all.

        Raises ModelError, which names the file, where `source` cannot be read.
        """
        try:
            content = source.open("rb")
        except OSError as exc:
            raise ModelError(source, f"cannot be read: {exc.strerror}") from exc
        part = Path(self._folder, f"{name}.part")
        with content:
            try:
                with part.open("wb") as copy:
                    shutil.copyfileobj(content, copy)
                part.replace(Path(self._folder, name))
            except OSError as exc:
                part.unlink(missing_ok=True)
                raise self._no_room(f"{name} cannot be stored", exc) from exc

    def pull(self, name: str) -> bytes:
        """Return the content of `name` in the working folder."""
        try:
            return Path(self._folder, name).read_bytes()
        except OSError as exc:
            raise self._failure(f"{name} cannot be fetched: {exc.strerror}") from exc

    def interrupt(self) -> None:
        """End the command that runs now, from another thread, and let no other run."""
        self._interrupted.set()
        process = self._process
        if process is not None:
            _end(process)

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        # In a session of its own: a group that can be ended as one, and which the terminal's
        # Ctrl-C does not reach.
        return subprocess.Popen(
            command,
            cwd=self._folder,
            env=os.environ | {"LC_ALL": "C"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    @contextmanager
    def _interruptible(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """End the process when that is asked for, and what is left of it in any case."""
        self._process = process
        try:
            if self._interrupted.is_set():
                _end(process)
            yield
        finally:
            self._process = None
            _end(process)

    def _no_room(self, problem: str, exc: OSError) -> DeviceError:
        folder = tempfile.gettempdir()
        return self._failure(
            f"{problem} in {folder}: {exc.strerror}; mend that, or set TMPDIR to another folder"
        )

    def _failure(self, problem: str) -> DeviceError:
        return DeviceError(self.address, problem)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
