"""Running a command: the one place where an error becomes a line on stderr and an exit code.

Exit codes: 0 done; 1 anything that has no code of its own; 2 wrong usage; 3 a budget not met;
4 a model or data file is unusable; 5 a device failed; 130 interrupted.

click and the commands are imported inside the functions, so that Ctrl-C ends in one line even
while a library is still loading.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgefer.cli import standard_output
from edgefer.cli.text import one_line
from edgefer.errors import EdgeferError

if TYPE_CHECKING:
    import click

FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130
LONGEST_FOREIGN_MESSAGE = 300


def run(arguments: Sequence[str]) -> int:
    """Run one command and report whatever goes wrong; return the exit code."""
    debug = "--debug" in arguments or os.environ.get("EDGEFER_DEBUG", "0") not in ("", "0")
    if not debug:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stdout = standard_output.install()
    code, error = 0, None
    try:
        try:
            code = dispatch(arguments)
        finally:
            if sys.stdout:
                sys.stdout.flush()
    except SystemExit:
        raise
    except BaseException as exc:  # noqa: BLE001 - the last place that can make it one line
        error = exc
    if error is None:
        return code
    if stdout is not None and stdout.failure is not None and isinstance(error, OSError):
        return report_lost_output(stdout.failure)
    return report(error, debug=debug)


def dispatch(arguments: Sequence[str]) -> int:
    """Let click parse `arguments` and invoke the command, or answer a shell's completion."""
    import click
    from click.shell_completion import shell_complete

    from edgefer.cli.group import COMPLETION_VARIABLE, PROGRAM, cli

    instruction = os.environ.get(COMPLETION_VARIABLE)
    if instruction:
        return shell_complete(cli, {}, PROGRAM, COMPLETION_VARIABLE, instruction)
    # Not cli.main(): it reports errors and Ctrl-C in words and exit codes of its own.
    try:
        with cli.make_context(PROGRAM, list(arguments)) as context:
            cli.invoke(context)
    except click.exceptions.Exit as finished:
        return finished.exit_code
    return 0


def report(error: BaseException, *, debug: bool) -> int:
    """Print one line about `error`, after its traceback where that was asked for."""
    if debug:
        traceback.print_exception(error)
    if was_interrupted(error):
        complain("interrupted")
        return INTERRUPTED
    if isinstance(error, EdgeferError):
        complain(f"error: {error}")
        return error.exit_code
    return report_foreign(error, hint="" if debug else " (--debug shows the traceback)")


def report_foreign(error: BaseException, *, hint: str) -> int:
    """Print one line about an error that is not edgefer's own: click's, or one nobody foresaw."""
    import click

    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return WRONG_USAGE
    if isinstance(error, click.ClickException):
        complain(f"error: {usage_message(error)}")
        return error.exit_code
    first_line = (str(error).strip().splitlines() or ["no message"])[0]
    if len(first_line) > LONGEST_FOREIGN_MESSAGE:
        first_line = f"{first_line[:LONGEST_FOREIGN_MESSAGE]}…"
    complain(f"error: unexpected {type(error).__name__}: {first_line}{hint}")
    return FAILED


def usage_message(error: "click.ClickException") -> str:
    """Return click's message on one line, with the command whose help explains it."""
    message = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    return message if context is None else f"{message} See '{context.command_path} --help'."


def was_interrupted(error: BaseException | None) -> bool:
    """Tell whether `error` is a Ctrl-C, or what a library made of one.

    An extension module that is interrupted while it loads raises ImportError, with the
    KeyboardInterrupt as its cause.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def report_lost_output(error: OSError) -> int:
    """Report that stdout took no more; a reader that closed the pipe wants to hear nothing."""
    if not isinstance(error, BrokenPipeError):
        complain(f"error: standard output: {error.strerror or error}")
    return FAILED


def complain(message: str) -> None:
    """Print one line on stderr, where there still is one."""
    if sys.stderr:
        with contextlib.suppress(OSError, ValueError):
            print(f"edgefer: {one_line(message)}", file=sys.stderr, flush=True)
