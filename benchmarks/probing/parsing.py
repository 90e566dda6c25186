"""What probe.sh prints, taken apart; nothing that a device can print is an error but a missing end.

    ==edgefer== begin
    ==edgefer== /proc/loadavg
    0.04 0.03 0.00 1/153 1264
    ==edgefer== vcgencmd get_throttled
    throttled=0x0
    ==edgefer== end

Whatever stands before `begin` is not the script's: a login script's greeting. The device is not to
be trusted: text loses what a terminal would obey, and numbers are numbers in a sensible range.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edgefer.benchmarks.targets.target import Answer
from edgefer.errors import DeviceError

_MARK = "==edgefer== "
_BEGIN, _END = _MARK + "begin", _MARK + "end"

_LONGEST_TEXT = 120
"""Characters of a name; no device's is longer."""


@dataclass(frozen=True)
class Bundle:
    """The parts of one answer, by the path or command that they come from."""

    parts: Mapping[str, str]

    def text(self, name: str) -> str | None:
        """Return a part that is one line for people, or None where it is absent or empty."""
        return line(self.parts.get(name, ""))

    def lines(self, name: str) -> list[str]:
        """Return a part's lines as they came; none where it is absent."""
        return self.parts.get(name, "").split("\n")

    def number(self, name: str) -> int | None:
        """Return a part that is a whole number, or None."""
        return number(self.parts.get(name, ""))

    def android_properties(self) -> dict[str, str]:
        """Return those of Android's properties that are set."""
        pairs = (text.partition("=") for text in self.lines("getprop"))
        return {name: value.strip() for name, _, value in pairs if value.strip()}

    def matching(self, pattern: str) -> Iterator[tuple[str, str]]:
        """Yield (the group in `pattern`, whole name) of every part whose whole name matches."""
        for name in self.parts:
            if match := re.fullmatch(pattern, name):
                yield match[1], name


def parse(device: str, answer: Answer) -> Bundle:
    """Take apart what probe.sh printed; DeviceError where its begin or its end is missing."""
    lines = _lines(answer.stdout)
    try:
        begin = lines.index(_BEGIN)
        end = lines.index(_END, begin)
    except ValueError as exc:
        raise DeviceError(device, _incomplete(lines, _lines(answer.stderr))) from exc
    parts: dict[str, list[str]] = {}
    part: list[str] = []
    for text in lines[begin + 1 : end]:
        if text.startswith(_MARK):
            part = parts.setdefault(text.removeprefix(_MARK), [])
        else:
            part.append(text)
    return Bundle({name: "\n".join(content).strip() for name, content in parts.items()})


def line(text: str) -> str | None:
    r"""Return the first line of `text` without what a terminal obeys; None where it is empty.

    >>> line(" Raspberry Pi 4 Model B\x1b[31m\n")
    'Raspberry Pi 4 Model B[31m'
    """
    first = text.strip().partition("\n")[0]
    printable = "".join(character for character in first if character.isprintable())
    return " ".join(printable.split())[:_LONGEST_TEXT].strip() or None


def number(text: str) -> int | None:
    """Return a whole number of at most 18 digits, or None where `text` is not one."""
    return int(text) if re.fullmatch(r"\s*-?[0-9]{1,18}\s*", text) else None


def _lines(output: bytes) -> list[str]:
    return [text.rstrip("\r") for text in output.decode(errors="replace").split("\n")]


def _incomplete(printed: list[str], complaints: list[str]) -> str:
    said = [text for text in map(line, printed + complaints) if text]
    last = said[-1].rstrip(".") if said else "nothing"
    verb = "stopped in the middle of its answer" if _BEGIN in printed else "did not answer"
    return (
        f"its shell {verb} to what it is, and said last: {last}. "
        "Try whether `sh -c 'echo hello'` prints hello there"
    )
