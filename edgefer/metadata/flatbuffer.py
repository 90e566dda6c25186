"""A flatbuffer that nobody has checked, read with every position held against its size.

A field is named by its slot, its number in the schema from 0; an absent one is 0 or empty. The
layout is told at https://flatbuffers.dev/internals/.
"""

import struct
from dataclasses import dataclass
from typing import Any

Buffer = bytes | memoryview

MOST_TABLES = 200_000
"""In one vector; a hostile file could make millions of them."""


class FlatbufferError(ValueError):
    """An offset or a length in the buffer leads out of it."""


@dataclass(frozen=True)
class Table:
    """One table of a flatbuffer; reading it raises FlatbufferError where it leads out of it."""

    buffer: Buffer
    position: int

    def has(self, slot: int) -> bool:
        """Say whether a field is there."""
        return self._field(slot) is not None

    def number(self, slot: int, kind: str) -> int:
        """Return a whole number; `kind` is its format in the struct module, such as "I"."""
        position = self._field(slot)
        return 0 if position is None else _number(self.buffer, position, kind)

    def table(self, slot: int) -> "Table":
        """Return the table that a field points at; FlatbufferError where there is none."""
        position = self._field(slot)
        if position is None:
            raise FlatbufferError(f"field {slot} is missing")
        return Table(self.buffer, _target(self.buffer, position))

    def tables(self, slot: int) -> list["Table"]:
        """Return a vector of tables."""
        start, length = self._vector(slot, 4)
        if length > MOST_TABLES:
            raise FlatbufferError(f"a vector of {length:,} tables")
        entries = range(start, start + 4 * length, 4)
        return [Table(self.buffer, _target(self.buffer, entry)) for entry in entries]

    def numbers(self, slot: int, kind: str) -> tuple[Any, ...]:
        """Return a vector of numbers, whole ones or floats as `kind` says."""
        start, length = self._vector(slot, struct.calcsize(f"<{kind}"))
        return struct.unpack_from(f"<{length}{kind}", self.buffer, start)

    def content(self, slot: int) -> bytes:
        """Return a vector of bytes, or a string's."""
        start, length = self._vector(slot, 1)
        return bytes(self.buffer[start : start + length])

    def _field(self, slot: int) -> int | None:
        vtable = self.position - _number(self.buffer, self.position, "i")
        place = 4 + 2 * slot
        if place + 2 > _number(self.buffer, vtable, "H"):
            return None
        offset = _number(self.buffer, vtable + place, "H")
        return self.position + offset if offset else None

    def _vector(self, slot: int, entry_size: int) -> tuple[int, int]:
        """Return where a vector's entries start and how many they are."""
        position = self._field(slot)
        if position is None:
            return 0, 0
        start = _target(self.buffer, position)
        length = _number(self.buffer, start, "I")
        if length * entry_size > len(self.buffer) - start - 4:
            raise FlatbufferError(f"a vector of {length} entries leads out of the buffer")
        return start + 4, length


def root(buffer: Buffer, identifier: bytes) -> Table:
    """Return a flatbuffer's main table; FlatbufferError where it is of another kind of file."""
    if buffer[4:8] != identifier:
        raise FlatbufferError(f"no {identifier.decode()} at byte 4")
    return Table(buffer, _target(buffer, 0))


def _target(buffer: Buffer, position: int) -> int:
    return position + _number(buffer, position, "I")


def _number(buffer: Buffer, position: int, kind: str) -> int:
    if not 0 <= position <= len(buffer) - struct.calcsize(f"<{kind}"):
        raise FlatbufferError(f"an offset leads to {position}, out of the buffer")
    number: int = struct.unpack_from(f"<{kind}", buffer, position)[0]
    return number
