"""Wheels for another machine, fetched by this machine's pip."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgefer.benchmarks.foreign_text import last_line
from edgefer.errors import EdgeferError

TIMEOUT_S = 900.0

OLDEST_MANYLINUX = 17
"""manylinux_2_17, which is also called manylinux2014, is the oldest that packages still build."""

# PyPI has no numpy for 32-bit boards; the Raspberry Pi project's index does, and every Raspberry
# Pi OS is set up to use it.
EXTRA_INDEXES = {"armv7l": "https://www.piwheels.org/simple"}

_UNREACHABLE = re.compile(r"connection broken by|ConnectionError|ConnectTimeout|ReadTimeout")


class WheelsError(EdgeferError):
    """No wheels for the other machine; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Platform:
    """What wheels have to fit: CPython, the GNU C library, and the processor's name in wheels."""

    python: tuple[int, int]
    glibc: tuple[int, int]
    machine: str

    @property
    def tags(self) -> list[str]:
        """The platform's tags (PEP 600), newest first."""
        minors = range(self.glibc[1], OLDEST_MANYLINUX - 1, -1)
        manylinux = [f"manylinux_2_{minor}_{self.machine}" for minor in minors]
        return [*manylinux, f"manylinux2014_{self.machine}", f"linux_{self.machine}"]


@contextmanager
def fetched(requirements: Sequence[str], platform: Platform) -> Iterator[list[Path]]:
    """Yield a wheel for each requirement, without what it depends on, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="edgefer-wheels-") as folder:
        _download(requirements, platform, folder)
        yield sorted(Path(folder).glob("*.whl"))


def pip_problem(complaint: bytes) -> str:
    """Return why pip failed, from what it printed on stderr."""
    text = complaint.decode(errors="replace")
    if _UNREACHABLE.search(text):
        return "a package index cannot be reached"
    errors = [line.removeprefix("ERROR: ") for line in text.splitlines() if "ERROR: " in line]
    return last_line(errors[-1] if errors else text)


def _download(requirements: Sequence[str], platform: Platform, folder: str) -> None:
    command = [sys.executable, "-m", "pip", *_arguments(platform), "--dest", folder, *requirements]
    try:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise WheelsError(f"pip took longer than {TIMEOUT_S:g} s") from exc
    if answer.returncode != 0:
        raise WheelsError(pip_problem(answer.stderr))


def _arguments(platform: Platform) -> list[str]:
    index = EXTRA_INDEXES.get(platform.machine)
    return [
        *("download", "--quiet", "--disable-pip-version-check", "--no-input"),
        *("--timeout", "15", "--retries", "1"),
        *(("--extra-index-url", index) if index else ()),
        *("--only-binary", ":all:", "--no-deps", "--implementation", "cp"),
        *("--python-version", ".".join(map(str, platform.python))),
        *(word for tag in platform.tags for word in ("--platform", tag)),
    ]
