"""An Android device for the real adb client, without Android: adb's protocol on loopback.

It speaks what `adb` 29 needs of a device: the handshake with and without authorization, streams,
`shell:` with and without shell protocol 2, and `sync:` (adb_services.py). Commands run with this
machine's programs or those of another root, and a private folder stands for /data/local/tmp: that
path is replaced in commands and in the names of transferred files.

    host                                    device
    CNXN version, largest message      →
                                       ←    AUTH token, until a key is trusted
    AUTH public key                    →
                                       ←    CNXN banner with model and features
    OPEN id, "shell,v2,raw:command"    →
                                       ←    OKAY id, id
    WRTE, answered by OKAY            ←→    one at a time in each direction
    CLSE                              ←→

After protocol.txt and SERVICES.TXT of the Android Open Source Project.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from queue import Empty, SimpleQueue

from adb_services import Service, Shell, Sync

HEADER = struct.Struct("<4s5I")
VERSION = 0x01000001
"""From this version on messages carry no checksum."""
LARGEST_MESSAGE = 256 * 1024
ANDROIDS_FOLDER = "/data/local/tmp"
TOKEN, SIGNATURE, PUBLIC_KEY = 1, 2, 3


class Trouble(Enum):
    """What a device does wrong, until it is told otherwise."""

    NONE = "none"
    UNAUTHORIZED = "unauthorized"
    """Nobody accepts the computer's key."""
    MUTE = "mute"
    """The connection is accepted, and then nothing is ever said."""
    HANGING = "hanging"
    """A new stream is never answered."""
    UNPLUGGED = "unplugged"
    """No connection is accepted."""


@dataclass(kw_only=True)
class Behaviour:
    """How the device is, and how it misbehaves; read anew for everything it does."""

    model: str = "Pixel 8"
    shell_protocol: bool = True
    """Without, exit codes are not reported and stderr goes to stdout, as before Android 7."""
    asks: bool = False
    """Whether the computer's key has to be accepted; it is, unless UNAUTHORIZED."""
    trouble: Trouble = Trouble.NONE
    room_bytes: int | None = None
    """How much of a pushed file there is room for."""
    unplug_after_bytes: int | None = None
    """The connection ends when this much of a stream's data has arrived."""
    unplug_at: bytes | None = None
    """The connection ends when a command prints this."""
    spoil: bool = False
    """Whether a byte of every pushed file is changed on the way."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """For commands, which know PATH alone without it."""
    shell: str = "/bin/sh"


class Connection:
    """One host's connection: reads messages, and hands them to the streams."""

    def __init__(self, daemon: AdbDaemon, connection: socket.socket) -> None:
        self.daemon = daemon
        self._socket = connection
        self._sending = threading.Lock()
        self._streams: dict[int, Stream] = {}
        self._next_id = 1

    def serve(self) -> None:
        """Answer the host until it goes."""
        try:
            while True:
                self._handle(*self._receive())
        except (OSError, EOFError, struct.error):
            pass  # the host is gone, or the device was unplugged
        finally:
            self.close()

    def close(self) -> None:
        """Cut the connection, as if the cable were pulled."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for stream in list(self._streams.values()):
            stream.end()

    def send(self, command: bytes, first: int, second: int, data: bytes = b"") -> None:
        """Send one message."""
        magic = int.from_bytes(command, "little") ^ 0xFFFFFFFF
        header = HEADER.pack(command, first, second, len(data), 0, magic)
        with self._sending:
            self._socket.sendall(header + data)

    def _receive(self) -> tuple[bytes, int, int, bytes]:
        command, first, second, length, _, _ = HEADER.unpack(self._exactly(HEADER.size))
        return command, first, second, self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        content = bytearray()
        while len(content) < size:
            piece = self._socket.recv(min(size - len(content), LARGEST_MESSAGE))
            if not piece:
                raise EOFError
            content += piece
        return bytes(content)

    def _handle(self, command: bytes, first: int, second: int, data: bytes) -> None:
        behaviour = self.daemon.behaviour
        if command == b"CNXN":
            self._greet(behaviour)
        elif command == b"AUTH":
            self._authorize(first, behaviour)
        elif command == b"OPEN" and behaviour.trouble is not Trouble.HANGING:
            self._open(first, data.rstrip(b"\0").decode(errors="surrogateescape"), behaviour)
        elif stream := self._streams.get(second):
            if command == b"WRTE":
                self.send(b"OKAY", stream.id, stream.host_id)
                stream.receive(data)
            elif command == b"OKAY":
                stream.acknowledged.release()
            elif command == b"CLSE":
                stream.end()

    def _greet(self, behaviour: Behaviour) -> None:
        if behaviour.trouble is Trouble.MUTE:
            return
        if behaviour.asks or behaviour.trouble is Trouble.UNAUTHORIZED:
            self.send(b"AUTH", TOKEN, 0, os.urandom(20))
        else:
            self._welcome(behaviour)

    def _authorize(self, kind: int, behaviour: Behaviour) -> None:
        if kind == SIGNATURE:
            self.send(b"AUTH", TOKEN, 0, os.urandom(20))  # by a key that this device doesn't know
        elif kind == PUBLIC_KEY and behaviour.trouble is not Trouble.UNAUTHORIZED:
            self._welcome(behaviour)

    def _welcome(self, behaviour: Behaviour) -> None:
        name = behaviour.model.replace(" ", "_")
        features = ["cmd", "stat_v2", *["shell_v2"] * behaviour.shell_protocol]
        banner = (
            f"device::ro.product.name={name};ro.product.model={behaviour.model};"
            f"ro.product.device={name};features={','.join(features)}"
        )
        self.send(b"CNXN", VERSION, LARGEST_MESSAGE, banner.encode())

    def _open(self, host_id: int, destination: str, behaviour: Behaviour) -> None:
        service = self.daemon.service(destination, behaviour)
        if service is None:
            self.send(b"CLSE", 0, host_id)
            return
        stream = Stream(self, self._next_id, host_id)
        self._streams[stream.id] = stream
        self._next_id += 1
        self.send(b"OKAY", stream.id, host_id)
        threading.Thread(target=stream.run, args=(service,), daemon=True).start()

    def forget(self, stream: Stream) -> None:
        """Drop a stream that is over, and tell the host."""
        if self._streams.pop(stream.id, None):
            with suppress(OSError):
                self.send(b"CLSE", stream.id, stream.host_id)


class Stream:
    """A two-way flow of bytes between the host and one service."""

    def __init__(self, connection: Connection, own_id: int, host_id: int) -> None:
        self.id, self.host_id = own_id, host_id
        self.acknowledged = threading.Semaphore(1)
        self.ended = threading.Event()
        self._connection = connection
        self._incoming: SimpleQueue[bytes] = SimpleQueue()
        self._buffer = bytearray()
        self._received_bytes = 0

    def run(self, service: Service) -> None:
        """Serve until one side ends it."""
        with suppress(OSError, EOFError):
            service.serve(self)
        self.end()
        self._connection.forget(self)

    def receive(self, data: bytes) -> None:
        """Take what the host sent."""
        self._received_bytes += len(data)
        limit = self._connection.daemon.behaviour.unplug_after_bytes
        if limit is not None and self._received_bytes >= limit:
            raise EOFError
        self._incoming.put(data)

    def read(self) -> bytes:
        """Return the next bytes from the host; EOFError when it has closed the stream."""
        while True:
            with suppress(Empty):
                return self._incoming.get(timeout=0.05)
            if self.ended.is_set():
                raise EOFError

    def exactly(self, size: int) -> bytes:
        """Return exactly `size` bytes from the host."""
        while len(self._buffer) < size:
            self._buffer += self.read()
        content = bytes(self._buffer[:size])
        del self._buffer[:size]
        return content

    def write(self, data: bytes) -> None:
        """Send bytes to the host, each message after the one before was acknowledged."""
        marker = self._connection.daemon.behaviour.unplug_at
        if marker is not None and marker in data:
            self._connection.daemon.unplug()
        for start in range(0, len(data), LARGEST_MESSAGE):
            while not self.acknowledged.acquire(timeout=0.05):
                if self.ended.is_set():
                    raise EOFError
            piece = data[start : start + LARGEST_MESSAGE]
            self._connection.send(b"WRTE", self.id, self.host_id, piece)

    def end(self) -> None:
        """Note that the host is gone."""
        self.ended.set()


@contextmanager
def adb_server(folder: Path) -> Iterator[dict[str, str]]:
    """Give the environment in which adb has a server, keys and a log of its own; end the server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    own = {"ANDROID_ADB_SERVER_PORT": str(port), "HOME": str(folder), "TMPDIR": str(folder)}
    environment = {**os.environ, **own}
    environment.pop("ANDROID_SERIAL", None)
    try:
        yield environment
    finally:
        adb("kill-server", environment=environment)


def adb(*words: str, environment: Mapping[str, str]) -> str:
    """Run the real adb, and return what it prints."""
    command = [shutil.which("adb") or "adb", *words]
    answer = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return answer.stdout


class AdbDaemon:
    """A device on loopback at `port`; use as a context manager.

    `folder` stands for /data/local/tmp. Commands are started by the words `enter`, which may lead
    into another root (`chroot FOLDER`), where that folder is called `inside`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        inside: str | None = None,
        enter: Sequence[str] = (),
        behaviour: Behaviour | None = None,
    ) -> None:
        self.folder, self.inside, self.enter = folder, inside or str(folder), enter
        self.behaviour = behaviour or Behaviour()
        self._connections: list[Connection] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    @property
    def serial(self) -> str:
        """What adb calls the device."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> AdbDaemon:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        for connection in self._connections:
            connection.close()

    def unplug(self) -> None:
        """Cut all connections and accept no more."""
        self.behaviour.trouble = Trouble.UNPLUGGED
        for connection in self._connections:
            connection.close()

    def service(self, destination: str, behaviour: Behaviour) -> Service | None:
        """Return what answers a stream to `destination`; None where the device has no such."""
        kind, _, command = destination.partition(":")
        if kind == "sync":
            return Sync(self._path_here, behaviour.room_bytes, spoil=behaviour.spoil)
        name, *options = kind.split(",")
        if name not in ("shell", "exec"):
            return None
        return Shell(
            [*self.enter, behaviour.shell, "-c", command.replace(ANDROIDS_FOLDER, self.inside)],
            protocol="v2" in options,
            environment=behaviour.environment,
        )

    def _path_here(self, name: str) -> Path:
        return Path(name.replace(ANDROIDS_FOLDER, str(self.folder)))

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            if self.behaviour.trouble is Trouble.UNPLUGGED:
                accepted.close()
                continue
            connection = Connection(self, accepted)
            self._connections.append(connection)
            threading.Thread(target=connection.serve, daemon=True).start()


Attach = Callable[..., AdbDaemon]
"""Attaches a device that behaves as the keywords say; see adb_phones.py."""


def wait_until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    """Wait for something to become true; it is an error of the test when it doesn't."""
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit, "waited too long"
        time.sleep(0.02)


def processes_in(folder: Path) -> list[int]:
    """Return the processes whose working folder is below `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                place = (entry / "cwd").readlink()
            except OSError:
                continue
            if place.is_relative_to(folder):
                found.append(int(entry.name))
    return found


def assert_clean(device: AdbDaemon) -> None:
    """Hold that nothing runs on the device any more, and nothing was left there."""
    wait_until(lambda: not processes_in(device.folder))
    assert list(device.folder.iterdir()) == []
