"""What a stream of adb_daemon.py leads to: a command in a shell, or the transfer of files."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
PACKET = struct.Struct("<BI")
"""Shell protocol 2: what it is, and how long."""

REQUEST = struct.Struct("<4sI")
STAT_1 = struct.Struct("<4sIII")
STAT_2 = struct.Struct("<4sI2Q4IQ3Q")
LARGEST_CHUNK = 64 * 1024


class HostSide(Protocol):
    """The stream to the host."""

    ended: threading.Event

    def exactly(self, size: int) -> bytes:
        """Return exactly `size` bytes from the host; EOFError where it is gone."""
        ...

    def read(self) -> bytes:
        """Return the next bytes from the host; EOFError where it is gone."""
        ...

    def write(self, data: bytes) -> None:
        """Send bytes to the host."""
        ...


class Service(Protocol):
    """What a stream leads to."""

    def serve(self, stream: HostSide) -> None:
        """Answer until done."""
        ...


class Shell:
    """One command; its process gets SIGHUP when the host goes, as adbd does it."""

    def __init__(
        self, command: Sequence[str], *, protocol: bool, environment: Mapping[str, str]
    ) -> None:
        self.command, self.protocol = command, protocol
        self.environment = {"PATH": os.environ["PATH"], **environment}

    def serve(self, stream: HostSide) -> None:
        """Run the command between the host's stdin and stdout."""
        with subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if self.protocol else subprocess.STDOUT,
            env=self.environment,
            cwd="/",
            start_new_session=True,
        ) as process:
            pumps = [self._pump(stream, process.stdout, STDOUT)]
            if self.protocol:
                pumps.append(self._pump(stream, process.stderr, STDERR))
            threading.Thread(target=self._feed, args=(stream, process), daemon=True).start()
            for pump in pumps:
                pump.join()
            if stream.ended.is_set():
                process.send_signal(signal.SIGHUP)
            code = process.wait()
        if self.protocol:
            exit_code = code if code >= 0 else 128 - code
            stream.write(PACKET.pack(EXIT, 1) + bytes([exit_code]))

    def _pump(self, stream: HostSide, source: IO[bytes] | None, kind: int) -> threading.Thread:
        assert source is not None

        def pump() -> None:
            with suppress(OSError, EOFError, ValueError):
                while piece := os.read(source.fileno(), LARGEST_CHUNK):
                    stream.write(self._packed(kind, piece))

        thread = threading.Thread(target=pump, daemon=True)
        thread.start()
        return thread

    def _packed(self, kind: int, data: bytes) -> bytes:
        if self.protocol:
            return PACKET.pack(kind, len(data)) + data
        return data.replace(b"\n", b"\r\n")  # what the terminal of an old device makes of it

    def _feed(self, stream: HostSide, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        try:
            with process.stdin:
                while (data := self._from_host(stream)) is not None:
                    process.stdin.write(data)
                    process.stdin.flush()
            while True:
                stream.read()
        except BrokenPipeError:
            pass  # the command takes no more
        except EOFError:
            process.send_signal(signal.SIGHUP)

    def _from_host(self, stream: HostSide) -> bytes | None:
        """Return what is for stdin; None when the host has closed it."""
        if not self.protocol:
            return stream.read()
        while True:
            kind, length = PACKET.unpack(stream.exactly(PACKET.size))
            data = stream.exactly(length)
            if kind == STDIN:
                return data
            if kind == CLOSE_STDIN:
                return None


class Sync:
    """Files to and from the device, and what they are."""

    def __init__(
        self, path_on_host: Callable[[str], Path], room_bytes: int | None, *, spoil: bool
    ) -> None:
        self.path_on_host, self.room_bytes, self.spoil = path_on_host, room_bytes, spoil

    def serve(self, stream: HostSide) -> None:
        """Answer requests until the host quits."""
        while True:
            request, length = REQUEST.unpack(stream.exactly(REQUEST.size))
            if request == b"QUIT":
                return
            name = stream.exactly(length).decode(errors="surrogateescape")
            if request in (b"STA2", b"LST2"):
                self._stat_2(stream, request, name)
            else:
                answers = {
                    b"STAT": self._stat_1,
                    b"SEND": self._send,
                    b"RECV": self._receive,
                    b"LIST": self._list,
                }
                answers[request](stream, name)

    def _stat_1(self, stream: HostSide, name: str) -> None:
        try:
            found = self.path_on_host(name).stat()
        except OSError:
            stream.write(STAT_1.pack(b"STAT", 0, 0, 0))
        else:
            mode, size, changed = found.st_mode, found.st_size, int(found.st_mtime)
            stream.write(STAT_1.pack(b"STAT", mode, size, changed))

    def _stat_2(self, stream: HostSide, request: bytes, name: str) -> None:
        try:
            found = self.path_on_host(name).stat()
        except OSError as exc:
            stream.write(STAT_2.pack(request, exc.errno or 0, *[0] * 10))
        else:
            stream.write(
                STAT_2.pack(
                    request, 0, found.st_dev, found.st_ino, found.st_mode, found.st_nlink,
                    found.st_uid, found.st_gid, found.st_size, int(found.st_atime),
                    int(found.st_mtime), int(found.st_ctime),
                )
            )  # fmt: skip

    def _send(self, stream: HostSide, name: str) -> None:
        path, _, mode = name.rpartition(",")
        content = bytearray()
        problem = None
        while True:
            kind, length = REQUEST.unpack(stream.exactly(REQUEST.size))
            if kind == b"DONE":
                break
            content += stream.exactly(length)
            if self.room_bytes is not None and len(content) > self.room_bytes:
                problem = "No space left on device"
        if self.spoil:
            content[0] ^= 1
        problem = problem or self._written(self.path_on_host(path), bytes(content), int(mode))
        if problem:
            self._fail(stream, problem)
        else:
            stream.write(REQUEST.pack(b"OKAY", 0))

    @staticmethod
    def _written(path: Path, content: bytes, mode: int) -> str | None:
        """Write the file; return what the system says against it."""
        try:
            path.write_bytes(content)
            path.chmod(mode & 0o777)
        except OSError as exc:
            return f"couldn't create file: {exc.strerror}"
        return None

    def _receive(self, stream: HostSide, name: str) -> None:
        try:
            content = self.path_on_host(name).read_bytes()
        except OSError as exc:
            self._fail(stream, f"open failed: {exc.strerror}")
            return
        for start in range(0, len(content), LARGEST_CHUNK):
            piece = content[start : start + LARGEST_CHUNK]
            stream.write(REQUEST.pack(b"DATA", len(piece)) + piece)
        stream.write(REQUEST.pack(b"DONE", 0))

    def _list(self, stream: HostSide, name: str) -> None:
        for path in sorted(self.path_on_host(name).iterdir()):
            found = path.stat()
            entry = STAT_1.pack(b"DENT", found.st_mode, found.st_size, int(found.st_mtime))
            own_name = os.fsencode(path.name)
            stream.write(entry + struct.pack("<I", len(own_name)) + own_name)
        stream.write(STAT_1.pack(b"DONE", 0, 0, 0) + struct.pack("<I", 0))

    @staticmethod
    def _fail(stream: HostSide, problem: str) -> None:
        message = problem.encode()
        stream.write(REQUEST.pack(b"FAIL", len(message)) + message)
