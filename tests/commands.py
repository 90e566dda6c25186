"""Running edgefer as a user does: a process with arguments, output and an exit code."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def edgefer(*arguments: object, cwd: Path | None = None, **environment: str) -> Ended:
    """Run a command to its end."""
    ended = subprocess.run(
        [sys.executable, "-m", "edgefer", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        timeout=580,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def errors(ended: Ended) -> list[str]:
    """Return the lines on stderr that are no progress of a run without a terminal."""
    stages = (
        "Reading", "Converting", "Equalizing", "Absorbing", "Calibrating", "Rounding", "Correcting",
        "Evaluating", "Comparing", "Measuring", "Inspecting", "Writing", "Training",
    )  # fmt: skip
    return [line for line in ended.err.splitlines() if not line.startswith(stages)]
