"""Whether a file is a program for an Android device, whole and for its processor."""

from __future__ import annotations

import struct
from dataclasses import dataclass

ABIS = {
    "arm64-v8a": (64, 183),
    "armeabi-v7a": (32, 40),
    "x86_64": (64, 62),
    "x86": (32, 3),
    "riscv64": (64, 243),
}
"""Android's names: the bits, and the machine's number in an ELF header (elf.h, EM_…)."""

_MACHINES = {number: abi for abi, (_, number) in ABIS.items()}

_IDENTIFICATION = struct.Struct("<4s3B9x2HI")
_LITTLE_ENDIAN = 1


@dataclass(frozen=True)
class _Layout:
    """Where a header of this width has what tells the file's length."""

    header: struct.Struct
    """From the entry point on: program headers' place, sections' place, then sizes and counts."""
    segment: struct.Struct
    """A program header's place in the file and length there."""


_LAYOUTS = {
    1: _Layout(struct.Struct("<24x4xII4x2x5H"), struct.Struct("<4xI8xI12x")),
    2: _Layout(struct.Struct("<24x8xQQ4x2x5H"), struct.Struct("<8xQ16xQ16x")),
}
"""By the header's class: 1 is 32 bits, 2 is 64. Tool Interface Standard, ELF 1.2, and ELF-64."""


def require_program_for(abi: str, content: bytes) -> None:
    """Raise ValueError, which says why, unless `content` is a whole program for `abi`."""
    try:
        magic, width, order, _, _, machine, _ = _IDENTIFICATION.unpack_from(content)
    except struct.error:
        magic = b""
    if magic != b"\x7fELF":
        raise ValueError(f"is not a program: it begins with {content[:16]!r}")
    bits = {1: 32, 2: 64}.get(width)
    if (bits, machine) != ABIS[abi] or order != _LITTLE_ENDIAN:
        found = _MACHINES.get(machine, f"machine {machine}")
        raise ValueError(f"is a {bits}-bit program for {found}, not for {abi}")
    try:
        length = _length(content, _LAYOUTS[width])
    except struct.error as exc:
        raise ValueError("ends in its header") from exc
    if length > len(content):
        raise ValueError(f"ends after {len(content):,} of at least {length:,} bytes")


def _length(content: bytes, layout: _Layout) -> int:
    """Return how long the file is at least, by its table of sections and its segments."""
    segments_at, sections_at, segment_size, segments, section_size, sections, _ = (
        layout.header.unpack_from(content)
    )
    ends: list[int] = [sections_at + section_size * sections]
    for number in range(segments):
        place, length = layout.segment.unpack_from(content, segments_at + segment_size * number)
        ends.append(place + length)
    return max(ends)
