"""The command line's frame, run as a user runs it: as a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from edgefer import __version__
from edgefer.cli.group import SHORT_HELPS, cli

HELP = """\
Usage: edgefer [OPTIONS] COMMAND [ARGS]...

  Make facial-expression networks small, and know what that cost in accuracy.

Options:
  --version   Show the version and exit.
  --debug     Show the traceback of an error, and the libraries' own logs.
  -h, --help  Show this message and exit.

Commands:
  convert     Make a small, verified .tflite of a model.
  evaluate    Measure accuracy on labelled faces, and what a conversion cost.
  predict     Find faces in pictures and videos, and name their expressions.
  ship        Write a folder for an app: model, contract, proof, sample code.
  demo        Show a model at work in the browser, on this machine.
  bench       Measure latency on Raspberry Pi boards and Android devices.
  inspect     Show what is in a model file.
  train       Train a network on your own labelled faces.
  completion  Print the tab-completion script for a shell.

  Examples:
    edgefer convert --int8
    edgefer evaluate patt-lite-int8.tflite --data my-faces/
    edgefer predict patt-lite-int8.tflite photo.jpg --annotate marked.png
    edgefer ship patt-lite-int8.tflite --target android
    edgefer bench on-device patt-lite-int8.tflite --device ssh://pi@raspberrypi.local
    edgefer inspect patt-lite-int8.tflite
    edgefer train patt-lite --data my-faces/
"""

EXTRAS = {"h5py", "jinja2", "keras", "litert_quantizer", "matplotlib", "tensorflow", "torch"}
HEAVY = {*EXTRAS, "cv2", "numpy", "rich", "scipy"}

WORK_COMMAND = '''
"""A command that does what a test tells it to."""

import sys
import time
from pathlib import Path

import click

from edgefer.cli.options import debug_option
from edgefer.cli.text import examples
from edgefer.errors import BudgetError, DataError, ModelError
from edgefer.files import replacing

print("imported", file=sys.stderr, flush=True)


LINE = "edgefer work fine    # this line is not wrapped, however long it gets to be"


@click.command(epilog=examples(LINE))
@click.argument("task")
@click.argument("name", default="")
@click.option("--times", type=int, default=1)
@debug_option
def command(task: str, name: str, times: int) -> None:
    """Do the test's work."""
    match task:
        case "fine":
            for _ in range(times):
                click.echo("done")
        case "model":
            raise ModelError(name, "is not a model; try another")
        case "budget":
            raise BudgetError("dropped 1.2 points, 0.3 allowed")
        case "bug":
            raise ZeroDivisionError("first line\\nsecond line " + name)
        case "pipe":
            raise BrokenPipeError(32, "a device's pipe")
        case "write":
            with replacing(Path(name)) as temporary:
                temporary.write_text("half")
                print("working", file=sys.stderr, flush=True)
                time.sleep(60)
'''

RUN_WITH_WORK = """
from edgefer.cli.group import LazyCommand, cli
from edgefer.cli.main import main

cli.add_command(LazyCommand("work", module="work_command", short_help="Do the test's work."))
main()
"""

RUN_AND_LIST_MODULES = """
import atexit
import sys

from edgefer.cli.main import main

atexit.register(lambda: print(*sys.modules, sep="\\n", file=sys.stderr))
main()
"""


def environment(folder: Path, extra: Mapping[str, str]) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("EDGEFER_", "_EDGEFER_"))}
    return {**kept, "COLUMNS": "80", "PYTHONPATH": str(folder), **extra}


def run(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m edgefer` with `arguments` and, besides, `extra` environment variables."""
    return subprocess.run(
        [sys.executable, "-m", "edgefer", *arguments],
        capture_output=True,
        text=True,
        env=environment(Path(), extra),
        timeout=60,
        check=False,
    )


def work_command(folder: Path, source: str = WORK_COMMAND) -> Sequence[str]:
    """Write the command module into `folder` and return how to run edgefer with it."""
    (folder / "work_command.py").write_text(source)
    return [sys.executable, "-c", RUN_WITH_WORK, "work"]


def work(
    folder: Path, *arguments: str | bytes, source: str = WORK_COMMAND, **extra: str
) -> subprocess.CompletedProcess[str]:
    """Run edgefer with a lazily loaded command `work` and return what came out."""
    return subprocess.run(
        [*work_command(folder, source), *arguments],
        capture_output=True,
        text=True,
        env=environment(folder, extra),
        timeout=60,
        check=False,
    )


def error_line(result: subprocess.CompletedProcess[str]) -> str:
    """Return the one line on stderr that follows the command module's own `imported`."""
    (line,) = result.stderr.removeprefix("imported\n").splitlines()
    return line


def expected_help() -> str:
    """Return HELP without the commands whose module this version does not have."""
    missing = tuple(f"  {name} " for name in SHORT_HELPS if name not in cli.commands)
    lines = HELP.splitlines(keepends=True)
    return "".join(line for line in lines if not missing or not line.startswith(missing))


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_the_commands_in_the_order_of_use(flag: str) -> None:
    result = run(flag)
    assert (result.returncode, result.stdout, result.stderr) == (0, expected_help(), "")


def test_without_arguments_the_help_goes_to_stderr_as_wrong_usage() -> None:
    result = run()
    assert (result.returncode, result.stdout, result.stderr) == (2, "", expected_help())


def test_version_is_the_packages() -> None:
    result = run("--version")
    assert (result.returncode, result.stdout) == (0, f"edgefer {__version__}\n")


def imported_by(*arguments: str) -> set[str]:
    """Return the names of all modules that are loaded when `edgefer` with these arguments ends."""
    result = subprocess.run(
        [sys.executable, "-c", RUN_AND_LIST_MODULES, *arguments],
        capture_output=True,
        text=True,
        env=environment(Path(), {}),
        check=True,
    )
    return set(result.stderr.splitlines())


def test_help_imports_nothing_heavy_and_no_command() -> None:
    imported = imported_by("--help")
    assert "edgefer.cli.group" in imported
    assert imported.isdisjoint({*HEAVY, *(f"edgefer.cli.{name}" for name in SHORT_HELPS)})


@pytest.mark.parametrize("name", list(cli.commands))
def test_a_commands_help_needs_no_extra(name: str) -> None:
    imported = imported_by(name, "--help")
    assert f"edgefer.cli.{name}" in imported
    assert imported.isdisjoint(EXTRAS)


@pytest.mark.alone
def test_help_answers_within_half_a_second() -> None:
    def seconds() -> float:
        start = time.perf_counter()
        run("--help")
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < 0.5


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--no-such"], "error: No such option '--no-such'. See 'edgefer --help'."),
        (["conplete"], "error: No such command 'conplete'."),
        (["completion"], "error: Missing argument '{bash|zsh|fish}'. Choose from: bash, zsh, fish"),
        (["completion", "ash"], "error: Invalid value for '{bash|zsh|fish}': 'ash' is not one of"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str], line: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert error_line(result).startswith(f"edgefer: {line}")
    assert "--help'." in result.stderr


def test_a_misspelt_command_is_answered_with_the_likely_one() -> None:
    assert "Did you mean 'completion'?" in run("completoin").stderr


def test_a_command_is_imported_when_it_is_called_and_prints_on_stdout(tmp_path: Path) -> None:
    result = work(tmp_path, "fine")
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "imported\n")


def test_a_commands_examples_keep_their_lines(tmp_path: Path) -> None:
    result = work(tmp_path, "-h")
    assert result.returncode == 0
    assert result.stdout.startswith("Usage: edgefer work [OPTIONS] TASK [NAME]\n")
    assert result.stdout.endswith(
        "\n  Examples:\n"
        "    edgefer work fine    # this line is not wrapped, however long it gets to be\n"
    )


def test_wrong_usage_of_a_command_names_the_help_of_that_command(tmp_path: Path) -> None:
    result = work(tmp_path, "fine", "--times", "many")
    assert result.returncode == 2
    assert error_line(result) == (
        "edgefer: error: Invalid value for '--times': 'many' is not a valid integer. "
        "See 'edgefer work --help'."
    )


def test_an_error_is_one_line_with_its_own_exit_code(tmp_path: Path) -> None:
    model = work(tmp_path, "model", "face.tflite")
    assert (model.returncode, model.stdout) == (4, "")
    assert error_line(model) == "edgefer: error: face.tflite: is not a model; try another"
    budget = work(tmp_path, "budget")
    assert (budget.returncode, budget.stdout) == (3, "")
    assert error_line(budget) == "edgefer: error: dropped 1.2 points, 0.3 allowed"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"two\nlines", r"two\nlines"),
        (b"\x1b[2Jcleared", r"\x1b[2Jcleared"),
        (b"\xff\xfe bytes", r"\udcff\udcfe bytes"),
        ("txt.\u202egpj".encode(), r"txt.\u202egpj"),
        ("line\u2028separator".encode(), r"line\u2028separator"),
        (b"[bold]plain[/bold] %s {0}", "[bold]plain[/bold] %s {0}"),
        ("Gesicht-ü-顔".encode(), "Gesicht-ü-顔"),
    ],
)
def test_a_hostile_name_stays_one_printable_line(tmp_path: Path, name: bytes, shown: str) -> None:
    result = work(tmp_path, "model", name, PYTHONUTF8="1")
    assert result.returncode == 4
    assert error_line(result) == f"edgefer: error: {shown}: is not a model; try another"


def test_an_unforeseen_error_is_one_line_with_a_hint(tmp_path: Path) -> None:
    result = work(tmp_path, "bug")
    assert (result.returncode, result.stdout) == (1, "")
    assert error_line(result) == (
        "edgefer: error: unexpected ZeroDivisionError: first line (--debug shows the traceback)"
    )


@pytest.mark.parametrize(("arguments", "extra"), [(["--debug"], {}), ([], {"EDGEFER_DEBUG": "1"})])
def test_debug_shows_the_traceback_before_the_line(
    tmp_path: Path, arguments: list[str], extra: dict[str, str]
) -> None:
    result = work(tmp_path, "bug", *arguments, **extra)
    assert result.returncode == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.splitlines()[-1] == (
        "edgefer: error: unexpected ZeroDivisionError: first line"
    )


def test_a_broken_command_module_is_one_line_and_debug_shows_where(tmp_path: Path) -> None:
    source = "raise ImportError('libfoo.so: cannot open')"
    assert error_line(work(tmp_path, source=source)) == (
        "edgefer: error: unexpected ImportError: libfoo.so: cannot open "
        "(--debug shows the traceback)"
    )
    assert "work_command.py" in work(tmp_path, "--debug", source=source).stderr


def interrupt(
    folder: Path, *arguments: str, source: str = WORK_COMMAND, when: str
) -> tuple[int, str, list[str]]:
    """Send SIGINT to edgefer's process group once it printed `when`, as a terminal does."""
    with subprocess.Popen(
        [*work_command(folder, source), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(folder, {}),
        start_new_session=True,
        # A test run in a shell's background inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.strip() == when:
                break
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=30)
        return process.returncode, output, errors.splitlines()


def test_ctrl_c_in_the_middle_of_work_leaves_nothing_half_written(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    outcome = interrupt(tmp_path, "write", str(outputs / "model.tflite"), when="working")
    assert outcome == (130, "", ["edgefer: interrupted"])
    assert list(outputs.iterdir()) == []


SLOW_IMPORT = """
import sys
import time

print("importing", file=sys.stderr, flush=True)
time.sleep(60)
"""

SLOW_EXTENSION = """
import sys
import time

print("importing", file=sys.stderr, flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt as exc:
    raise ImportError("initialization failed") from exc
"""


@pytest.mark.parametrize("source", [SLOW_IMPORT, SLOW_EXTENSION])
def test_ctrl_c_while_a_command_is_still_importing_is_one_line(tmp_path: Path, source: str) -> None:
    """The second source does what an interrupted pybind11 extension does."""
    outcome = interrupt(tmp_path, source=source, when="importing")
    assert outcome == (130, "", ["edgefer: interrupted"])


def test_a_reader_that_closes_the_pipe_hears_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*work_command(tmp_path), "fine", "--times", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path, {}),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "done\n"
        process.stdout.close()
        assert process.stderr.read() == "imported\n"
        assert process.wait(timeout=30) == 1


def test_a_pipe_that_breaks_elsewhere_is_reported(tmp_path: Path) -> None:
    result = work(tmp_path, "pipe")
    assert result.returncode == 1
    assert "unexpected BrokenPipeError: [Errno 32] a device's pipe" in error_line(result)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_under_stdout_is_an_error(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [*work_command(tmp_path), "fine"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(tmp_path, {}),
            check=False,
        )
    assert result.returncode == 1
    assert result.stderr == ("imported\nedgefer: error: standard output: No space left on device\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str) -> None:
    result = run("completion", shell)
    assert (result.returncode, result.stderr) == (0, "")
    assert f"_EDGEFER_COMPLETE={shell}_complete" in result.stdout


def test_bash_completes_commands_without_importing_them() -> None:
    result = run(_EDGEFER_COMPLETE="bash_complete", COMP_WORDS="edgefer ", COMP_CWORD="1")
    assert result.returncode == 0
    assert result.stdout.splitlines() == [f"plain,{name}" for name in cli.commands]


def test_bash_completes_a_commands_own_arguments() -> None:
    words = {"COMP_WORDS": "edgefer completion z", "COMP_CWORD": "2"}
    result = run(_EDGEFER_COMPLETE="bash_complete", **words)
    assert (result.returncode, result.stdout) == (0, "plain,zsh\n")


def test_completion_offers_files_and_the_models_that_edgefer_brings() -> None:
    for begun, offered in (("la", ["file,la", "plain,lanmsff"]), ("", ["file,"])):
        words = {"COMP_WORDS": f"edgefer convert {begun}", "COMP_CWORD": "2"}
        result = run(_EDGEFER_COMPLETE="bash_complete", **words)
        assert result.stdout.split() == offered
