"""Consoles, tables and progress bars. Colours and bars vanish where nobody would see them."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TextIO

import click
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from edgefer.cli.text import one_line
from edgefer.progress import Progress

PIPE_WIDTH = 400
"""Columns where there is no terminal: wide enough that nothing is cut or wrapped."""

SPARSE_INTERVAL_S = 30.0


def result_console() -> Console:
    """Return a console on stdout, for a command's result."""
    return _console(sys.stdout)


def message_console() -> Console:
    """Return a console on stderr, for progress and warnings."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    wide = not stream.isatty() and "COLUMNS" not in os.environ
    return Console(
        file=stream,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        width=PIPE_WIDTH if wide else None,
        highlight=False,
        markup=False,
        emoji=False,
    )


def print_json(value: Mapping[str, Any]) -> None:
    """Print `value` on stdout as JSON; NaN and infinity, which JSON lacks, are a ValueError."""
    click.echo(json.dumps(value, indent=2, allow_nan=False))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: int = 1) -> Table:
    """Return a table; the first `text_columns` columns are aligned left, the figures right.

    Cells are shown as they are: no markup, control characters escaped.
    """
    result = Table(box=box.SIMPLE, show_edge=False, pad_edge=False)
    for position, column in enumerate(columns):
        result.add_column(column, justify="left" if position < text_columns else "right")
    for row in rows:
        result.add_row(*(Text(one_line(cell)) for cell in row))
    return result


@contextmanager
def progress_bar(description: str) -> Iterator[Progress]:
    """Show progress on stderr with the time left; yields the callback to hand on.

    Without a terminal there is a plain line every half minute instead of a bar.
    """
    console = message_console()
    if not console.is_interactive:
        yield SparseProgress(description, console)
        return
    bar = _bars(console)
    task = bar.add_task(one_line(description), total=None)
    with bar:
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def parallel_bars() -> Iterator["ParallelBars"]:
    """Show work that goes on side by side, a bar each.

    Without a terminal each has a plain line every half minute.
    """
    bars = ParallelBars(message_console())
    with bars.shown():
        yield bars


class ParallelBars:
    """Bars by name, and lines of text above them; may be used from several threads."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = _bars(console)
        self._reports: dict[str, Progress] = {}

    def shown(self) -> AbstractContextManager[object]:
        """Return what keeps the bars on the terminal."""
        return self._bars if self._console.is_interactive else nullcontext()

    def report(self, name: str, done: int, total: int) -> None:
        """Move the bar called `name`."""
        if name not in self._reports:
            self._reports[name] = self._new(name)
        self._reports[name](done, total)

    def say(self, name: str, text: str) -> None:
        """Print what is being done now."""
        self._console.print(one_line(f"{name}: {text}"))

    def _new(self, name: str) -> Progress:
        if not self._console.is_interactive:
            return SparseProgress(name, self._console)
        task = self._bars.add_task(one_line(name), total=None)
        return lambda done, total: self._bars.update(task, completed=done, total=total)


def _bars(console: Console) -> RichProgress:
    return RichProgress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        speed_estimate_period=300,
    )


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """Show work of several stages; yields a callback of (stage, done, total).

    Each stage is a bar of its own on a terminal, and a plain line elsewhere; one that comes again
    is shown again.
    """
    with ExitStack() as stack:
        shown: dict[str, Progress] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in shown:
                stack.close()
                shown.clear()
                if not message_console().is_interactive:
                    message_console().print(stage)
                shown[stage] = stack.enter_context(progress_bar(stage))
            shown[stage](done, total)

        yield report


class SparseProgress:
    """Progress for a log file: a plain line every `SPARSE_INTERVAL_S` seconds."""

    def __init__(
        self, description: str, console: Console, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._description = one_line(description)
        self._console = console
        self._clock = clock
        self._last_line = clock()
        self._start: tuple[float, int] | None = None

    def __call__(self, done: int, total: int) -> None:
        """Print a line if the last one is long enough ago."""
        now = self._clock()
        if self._start is None:
            # Resumed work starts above zero; only what is done from here on tells the speed.
            self._start = (now, done)
        if now - self._last_line < SPARSE_INTERVAL_S:
            return
        self._last_line = now
        started, done_before = self._start
        left = ""
        if done > done_before:
            seconds = (now - started) / (done - done_before) * (total - done)
            left = f", {timedelta(seconds=round(seconds))} left"
        self._console.print(f"{self._description}: {done}/{total}{left}")
