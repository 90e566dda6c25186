"""Consoles, tables and progress, without a terminal and with one."""

import io
import json
import os
import pty
import subprocess
import sys
from contextlib import suppress

import pytest
from rich.console import Console

from edgefer.cli.console import SparseProgress, print_json, stages

SHOW = r"""
from edgefer.cli.console import progress_bar, result_console, table

with progress_bar("evaluating") as progress:
    progress(1, 2)
    progress(2, 2)
console = result_console()
console.print("[red]as it is[/red]", style="bold red")
console.print(table(["model", "accuracy"], [["[red]a\n", "87.5%"], ["b" * 90, "7.0%"]]))
"""

SHOWN = rf"""[red]as it is[/red]
model{" " * 85}   accuracy
{"─" * 101}
[red]a\n{" " * 82}      87.5%
{"b" * 90}       7.0%
"""


def environment(**extra: str) -> dict[str, str]:
    """Return this process's environment without what changes how a terminal is treated."""
    changing = ("CI", "COLUMNS", "FORCE_COLOR", "NO_COLOR", "TERM", "TTY_COMPATIBLE")
    kept = {name: value for name, value in os.environ.items() if name not in changing}
    return {**kept, "PYTHONUTF8": "1", **extra}


def show_in_terminal(**extra: str) -> str:
    """Return everything that SHOW writes to a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", SHOW],
        stdout=theirs,
        stderr=theirs,
        env=environment(TERM="xterm-256color", **extra),
    ) as process:
        os.close(theirs)
        written = b""
        # Linux answers with an OSError once the terminal's other end is closed.
        with suppress(OSError):
            while piece := os.read(ours, 4096):
                written += piece
        os.close(ours)
        assert process.wait() == 0
    return written.decode()


def test_a_pipe_gets_plain_uncut_text_and_no_progress() -> None:
    result = subprocess.run(
        [sys.executable, "-c", SHOW], capture_output=True, text=True, env=environment(), check=True
    )
    assert [line.rstrip() for line in result.stdout.splitlines()] == SHOWN.splitlines()
    assert result.stderr == ""


def test_a_terminal_gets_colours_and_a_bar() -> None:
    written = show_in_terminal()
    assert "\x1b[1;31m[red]as it is[/red]" in written
    assert "evaluating" in written
    assert "2/2" in written


def test_no_color_leaves_text_and_bar_without_colours() -> None:
    written = show_in_terminal(NO_COLOR="1")
    assert "[red]as it is[/red]" in written
    assert "2/2" in written
    assert "m" not in {code.lstrip("0123456789;?")[:1] for code in written.split("\x1b[")[1:]}


def test_a_stage_that_comes_again_is_shown_again(capsys: pytest.CaptureFixture[str]) -> None:
    with stages() as report:
        for stage in ("Calibrating", "Rounding weights", "Calibrating"):
            report(stage, 1, 2)
            report(stage, 2, 2)
    expected = ["Calibrating", "Rounding weights", "Calibrating"]
    assert capsys.readouterr().err.splitlines() == expected


def test_a_log_gets_a_plain_line_every_half_minute() -> None:
    now = 0.0
    stream = io.StringIO()
    progress = SparseProgress("training", Console(file=stream, width=80), clock=lambda: now)
    for step in range(40, 101):
        progress(step, 100)
        now += 2.0
    assert stream.getvalue().splitlines() == [
        "training: 55/100, 0:01:30 left",
        "training: 70/100, 0:01:00 left",
        "training: 85/100, 0:00:30 left",
        "training: 100/100, 0:00:00 left",
    ]


def test_json_is_one_document_that_every_reader_takes(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"name": "顔\udcff", "accuracy": 0.875}
    print_json(value)
    assert json.loads(capsys.readouterr().out) == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json({"accuracy": float("nan")})
