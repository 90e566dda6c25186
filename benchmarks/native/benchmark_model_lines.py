"""Lines as benchmark_model prints them: what stands before them taken off, numbers read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from edgefer.benchmarks.foreign_text import shown
from edgefer.errors import EdgeferError

NUMBER = r"-?\d{1,15}(?:\.\d{1,15})?(?:e[+-]?\d{1,2})?"
"""As C++ prints a number: 12, 10981.2, 2.95e+06. Always finite as a float."""

# Nothing (up to TensorFlow 2.11), `INFO: ` (from 2.12 on), `INFO: [file.h:12] ` (LiteRT), and all
# that after logcat's own beginning, in its formats threadtime and time.
_PREFIX = re.compile(
    r"(?:\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} +"
    r"(?:\d+ +\d+ (?P<threadtime>[VDIWEF]) \S+ *: ?|(?P<time>[VDIWEF])/\S+ *\( *\d+\): ?))?"
    r"(?:(?P<word>VERBOSE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL):(?: |$))?"
    r"(?:\[[\w.-]+:\d+\](?: |$))?"
)
_SEVERE = ("ERROR", "FATAL", "E", "F")


class UnknownFormError(EdgeferError):
    """benchmark_model printed what is in no known form; the message shows the line."""

    def __init__(self, problem: str, line: str | None = None) -> None:
        super().__init__(problem if line is None else f"{problem}: {shown(line)!r}")


@dataclass(frozen=True)
class Line:
    """A line without its prefix; `severe` where that called it an error."""

    text: str
    severe: bool = False


def split(output: str) -> tuple[Line, ...]:
    """Return the lines of an output, each without its prefix and the blanks at its end."""
    return tuple(_line(line.rstrip()) for line in output.split("\n"))


def matches(
    lines: Iterable[Line], beginning: str, pattern: re.Pattern[str]
) -> tuple[re.Match[str], ...]:
    """Read the lines that have this beginning; UnknownFormError where `pattern` doesn't fit one."""
    return tuple(read(pattern, line.text) for line in lines if line.text.startswith(beginning))


def read(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    """Read a whole line; UnknownFormError where `pattern` doesn't fit it."""
    match = pattern.fullmatch(text)
    if match is None:
        raise UnknownFormError("prints a line in an unknown form", text)
    return match


def _line(raw: str) -> Line:
    prefix = _PREFIX.match(raw)
    if prefix is None:
        return Line(raw)
    severities = (prefix["threadtime"], prefix["time"], prefix["word"])
    return Line(raw[prefix.end() :], severe=any(severity in _SEVERE for severity in severities))
