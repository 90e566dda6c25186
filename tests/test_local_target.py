"""The machine itself as a device: real processes, and nothing left of them."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgefer.benchmarks.targets.local import LocalTarget
from edgefer.errors import DeviceError, ModelError

AWKWARD = ("two words", "$(touch spoilt)", "`id`", "'\"\\", "*", "", "line\nbreak", "-x", "größe")

STAY = "import time; print('here', flush=True); time.sleep(60)"


@pytest.fixture
def target() -> Iterator[LocalTarget]:
    with LocalTarget() as target:
        yield target


def eventually(condition: Callable[[], bool]) -> bool:
    """Say whether something becomes true within ten seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def is_running(pid: int) -> bool:
    """Say whether a process exists; one that only waits to be reaped by init does not run."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def pid_in(path: Path) -> int:
    """Wait until a process has written its number there."""
    assert eventually(lambda: path.is_file() and path.read_text().endswith("\n"))
    return int(path.read_text())


def test_each_word_of_a_command_arrives_as_it_is(target: LocalTarget) -> None:
    script = "import sys; sys.stdout.buffer.write('|'.join(sys.argv[1:]).encode())"
    answer = target.run([sys.executable, "-c", script, *AWKWARD], timeout_s=30)
    assert answer.stdout.decode() == "|".join(AWKWARD)
    assert list(Path(target.folder).iterdir()) == []


def test_a_command_runs_in_the_working_folder_and_reads_its_input(target: LocalTarget) -> None:
    answer = target.run(["sh", "-c", "pwd; cat; echo bad >&2; exit 3"], timeout_s=30, stdin=b"in")
    assert (answer.returncode, answer.stderr) == (3, b"bad\n")
    assert answer.stdout.decode() == f"{os.path.realpath(target.folder)}\nin"


def test_a_large_input_reaches_a_command_that_answers_as_much(target: LocalTarget) -> None:
    content = bytes(range(256)) * 8000
    assert target.run(["cat"], timeout_s=30, stdin=content).stdout == content


def test_a_command_that_reads_no_input_is_no_problem(target: LocalTarget) -> None:
    answer = target.run(["true"], timeout_s=30, stdin=b"x" * 1_000_000)
    assert answer.returncode == 0


def test_a_command_that_a_signal_ended_has_it_as_negative_exit_code(target: LocalTarget) -> None:
    assert target.run(["sh", "-c", "kill -SEGV $$"], timeout_s=30).returncode == -signal.SIGSEGV


def test_a_missing_command_answers_like_a_shell(target: LocalTarget) -> None:
    answer = target.run(["python-that-is-not-there"], timeout_s=30)
    assert answer.returncode == 127
    assert answer.stderr == b"python-that-is-not-there: No such file or directory\n"


def test_a_file_that_is_no_command_answers_like_a_shell(target: LocalTarget) -> None:
    Path(target.folder, "text").write_text("no program")
    assert target.run(["./text"], timeout_s=30).returncode == 126


def test_the_input_ends_after_what_was_given(target: LocalTarget) -> None:
    assert target.run(["cat"], timeout_s=30, stdin=b"all").stdout == b"all"


def test_the_input_can_stay_open_as_long_as_the_command_runs(target: LocalTarget) -> None:
    script = (
        "import select, sys; line = sys.stdin.readline(); "
        "print(line.strip(), bool(select.select([0], [], [], 0.5)[0]))"
    )
    answer = target.run(
        [sys.executable, "-c", script], timeout_s=30, stdin=b"line\n", stdin_stays_open=True
    )
    assert answer.stdout == b"line False\n"


def test_a_command_that_takes_too_long_is_ended_with_all_it_started(target: LocalTarget) -> None:
    grandchild = Path(target.folder, "pid")
    with pytest.raises(DeviceError) as raised:
        target.run(["sh", "-c", "sleep 60 & echo $! > pid; wait"], timeout_s=1)
    assert str(raised.value) == (
        "local: `sh -c 'sleep 60 & echo $! > pid; wait'` took longer than 1 s and was ended"
    )
    assert eventually(lambda: not is_running(pid_in(grandchild)))


def test_what_a_command_left_running_ends_with_it(target: LocalTarget) -> None:
    target.run(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $! > pid"], timeout_s=30)
    assert eventually(lambda: not is_running(pid_in(Path(target.folder, "pid"))))


def test_a_command_can_be_interrupted_from_another_thread(target: LocalTarget) -> None:
    started = Path(target.folder, "pid")

    def interrupt() -> None:
        pid_in(started)
        target.interrupt()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(DeviceError, match=r"^local: interrupted$"):
        target.run(["sh", "-c", "echo $$ > pid; sleep 60"], timeout_s=30)
    thread.join()
    assert not is_running(pid_in(started))


def test_after_an_interruption_nothing_new_runs(target: LocalTarget) -> None:
    target.interrupt()
    with pytest.raises(DeviceError, match=r"^local: interrupted$"):
        target.run(["sleep", "60"], timeout_s=30)


def test_ctrl_c_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    script = (
        "from edgefer.benchmarks.targets.local import LocalTarget\n"
        "with LocalTarget() as target:\n"
        "    print(target.folder, flush=True)\n"
        f"    target.run(['sh', '-c', 'echo $$ > {tmp_path}/pid; sleep 60'], timeout_s=60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().decode().strip())
        running = pid_in(tmp_path / "pid")
        assert folder.is_dir()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) != 0
    assert not folder.exists()
    assert eventually(lambda: not is_running(running))


def test_the_working_folder_is_this_users_alone_and_goes_at_the_end() -> None:
    with LocalTarget() as target:
        folder = Path(target.folder)
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").touch()
    assert not folder.exists()


def test_files_go_there_and_back_whatever_their_path(target: LocalTarget, tmp_path: Path) -> None:
    source = tmp_path / "a 'b' \"c\" $(touch spoilt)\nd.tflite"
    source.write_bytes(bytes(range(256)))
    target.push(source, "model.tflite")
    assert target.pull("model.tflite") == bytes(range(256))
    assert [path.name for path in Path(target.folder).iterdir()] == ["model.tflite"]


def test_a_source_that_cannot_be_read_is_named(target: LocalTarget, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as raised:
        target.push(tmp_path / "none.tflite", "model.tflite")
    assert str(raised.value) == (
        f"{tmp_path}/none.tflite: cannot be read: No such file or directory"
    )


def test_a_full_disk_leaves_no_half_file(
    target: LocalTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_source: object, copy: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "model").write_bytes(b"x")
    monkeypatch.setattr(shutil, "copyfileobj", fill)
    with pytest.raises(DeviceError) as raised:
        target.push(tmp_path / "model", "model.tflite")
    assert str(raised.value) == (
        f"local: model.tflite cannot be stored in {tempfile.gettempdir()}: No space left on "
        "device; mend that, or set TMPDIR to another folder"
    )
    assert list(Path(target.folder).iterdir()) == []


def test_a_file_that_is_not_there_is_named(target: LocalTarget) -> None:
    with pytest.raises(DeviceError, match=r"^local: outputs.npy cannot be fetched: No such file"):
        target.pull("outputs.npy")


def test_no_place_for_a_working_folder_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(DeviceError) as raised, LocalTarget():
        pass
    assert str(raised.value) == (
        f"local: no working folder can be made in {tmp_path}/none: No such file or directory; "
        "mend that, or set TMPDIR to another folder"
    )
