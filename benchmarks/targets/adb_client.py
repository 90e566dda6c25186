"""Calls of the system's adb."""

from __future__ import annotations

import shutil
import subprocess
import threading
from contextlib import suppress
from typing import IO

from edgefer.benchmarks.targets.target import Answer
from edgefer.errors import DeviceError

ADB = "adb"


class AdbClient:
    """Calls adb, one call at a time; another thread can end the call.

    The user's environment applies: ANDROIDADB_SERVER_PORT, ANDROID_SERIAL, HOME for the keys.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._process: subprocess.Popen[bytes] | None = None
        self._interrupted = False
        self._lock = threading.Lock()

    def call(
        self, *words: str, timeout_s: float, stdin: bytes = b"", stdin_stays_open: bool = False
    ) -> Answer:
        """Run `adb` with these words; TimeoutError where it takes longer than `timeout_s`.

        Raises DeviceError where adb is missing, or `interrupt` was called.
        """
        process = self._start(words)
        over = threading.Event()
        feeder = _feeder(process, stdin, over if stdin_stays_open else None)
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as exc:
            raise TimeoutError from exc
        finally:
            _end(process)
            over.set()
            feeder.join()
        if self._interrupted:
            raise DeviceError(self.address, "interrupted")
        return Answer(returncode=process.returncode, stdout=stdout, stderr=stderr)

    def interrupt(self) -> None:
        """End the call that is under way, and refuse all that follow."""
        with self._lock:
            self._interrupted = True
            if self._process is not None:
                self._process.kill()

    def _start(self, words: tuple[str, ...]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._interrupted:
                raise DeviceError(self.address, "interrupted")
            try:
                self._process = subprocess.Popen(
                    [_executable(), *words],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C is for edgefer, which still has to clean up
                )
            except OSError as exc:
                raise DeviceError(ADB, f"cannot be run: {exc.strerror}") from exc
            return self._process


def _executable() -> str:
    found = shutil.which(ADB)
    if found is None:
        raise DeviceError(
            ADB, "is not installed: install Android's platform tools (Debian: apt install adb)"
        )
    return found


def _feeder(
    process: subprocess.Popen[bytes], content: bytes, closes_after: threading.Event | None
) -> threading.Thread:
    """Start a thread that writes `content` to the process, and closes its stdin then."""
    pipe, process.stdin = process.stdin, None  # or communicate() would close it

    thread = threading.Thread(target=_feed, args=(pipe, content, closes_after), daemon=True)
    thread.start()
    return thread


def _feed(pipe: IO[bytes], content: bytes, closes_after: threading.Event | None) -> None:
    with suppress(BrokenPipeError), pipe:
        pipe.write(content)
        pipe.flush()
        if closes_after is not None:
            closes_after.wait()


def _end(process: subprocess.Popen[bytes]) -> None:
    with process:
        if process.poll() is None:
            process.kill()
