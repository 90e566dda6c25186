"""What every device can do: run a command, take and give files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command on the device did."""

    returncode: int
    stdout: bytes
    stderr: bytes


class Target(Protocol):
    """A device with a shell and a working folder, which exists only inside the `with` block.

    All methods raise DeviceError, which names the device, says what failed and what to try.
    """

    @property
    def address(self) -> str:
        """The device as the user wrote it, or more exact: adb:SERIAL."""
        ...

    @property
    def folder(self) -> str:
        """The working folder's absolute path on the device, in characters that no shell minds."""
        ...

    def __enter__(self) -> Self:
        """Connect and make the working folder."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what still runs there, remove the working folder, and disconnect.

        Also after Ctrl-C; a device that is gone by then is no second error.
        """
        ...

    def run(
        self,
        command: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes = b"",
        stdin_stays_open: bool = False,
    ) -> Answer:
        """Run a command in the working folder; each word arrives as it is, whatever is in it.

        A command that takes longer than `timeout_s` is ended there too, and is a DeviceError; so
        is a lost connection. Any exit code of the command itself is an answer. With
        `stdin_stays_open` the command's stdin ends only with the command or the connection.
        """
        ...

    def push(self, source: Path, name: str) -> None:
        """Copy a file of this machine to `name` in the working folder, whole or not at all.

        `name` is edgefer's own choice (letters, digits, dot, dash); `source` is any path.
        """
        ...

    def pull(self, name: str) -> bytes:
        """Return the content of `name` in the working folder."""
        ...

    def interrupt(self) -> None:
        """End the command that runs now, from another thread; its `run` is a DeviceError."""
        ...
