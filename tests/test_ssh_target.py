"""A device reached by ssh: the real client against a real server on loopback."""

import getpass
import os
import pwd
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_disk import mounted_disk, needs_root
from ssh_server import SshServer, make_key, running_ssh_server

from edgefer.benchmarks.targets import ssh_failures
from edgefer.benchmarks.targets.addresses import SshAddress
from edgefer.benchmarks.targets.ssh import SshTarget
from edgefer.errors import DeviceError, ModelError

NASTY = ("", " ", "a b", "'", '"', "\\", "\\\\", "$(touch x)", "`id`", "*", "-n", "ä\n\n", "!#~;&|")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """Return a server that no test harms."""
    with running_ssh_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[SshServer]:
    """Return a server for one test, which may harm it."""
    folder = tmp_path / "server"
    folder.mkdir()
    with running_ssh_server(folder) as running:
        yield running


def target_of(server: SshServer, *options: str) -> SshTarget:
    return SshTarget(server.address, options=(*options, *server.options))


def command_lines() -> list[str]:
    """Return the command lines of all that runs on this machine."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found.append((process / "cmdline").read_text(errors="replace").replace("\0", " "))
    return found


def running_for(target: SshTarget) -> list[str]:
    """Return the command lines of what runs, on this machine, for the target's working folder."""
    mark = f"EDGEFER_WORK={Path(target.folder).name}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


def names_in(folder: str) -> list[str]:
    return [path.name for path in Path(folder).iterdir()]


def wait_until(true: Callable[[], bool], *, within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.05)


def test_words_arrive_as_they_are(server: SshServer) -> None:
    with target_of(server) as target:
        answer = target.run(["printf", r"%s\0", *NASTY], timeout_s=30)
    assert answer.stdout.decode().split("\0") == [*NASTY, ""]
    assert (answer.returncode, answer.stderr) == (0, b"")


def test_commands_run_in_the_working_folder_which_is_this_users_alone(server: SshServer) -> None:
    with target_of(server) as target:
        answer = target.run(["pwd"], timeout_s=30)
        assert answer.stdout.decode() == target.folder + "\n"
        assert Path(target.folder).stat().st_mode & 0o777 == 0o700
    assert not Path(target.folder).exists()


@pytest.mark.parametrize("code", [0, 1, 127, 254, 255])
def test_exit_codes_are_the_commands_own(server: SshServer, code: int) -> None:
    """255 is also what the client ends with when the connection is lost."""
    with target_of(server) as target:
        answer = target.run(["sh", "-c", f"echo out; echo err >&2; exit {code}"], timeout_s=30)
    assert (answer.returncode, answer.stdout, answer.stderr) == (code, b"out\n", b"err\n")


def test_a_command_ended_by_a_signal_is_told_by_its_code(server: SshServer) -> None:
    with target_of(server) as target:
        assert target.run(["sh", "-c", "kill -KILL $$"], timeout_s=30).returncode == 128 + 9
        assert target.run(["sh", "-c", "kill -SEGV $$"], timeout_s=30).returncode == 128 + 11


def test_a_command_that_does_not_exist_is_told_by_its_code(server: SshServer) -> None:
    with target_of(server) as target:
        answer = target.run(["no-such-command"], timeout_s=30)
    assert answer.returncode == 127
    assert b"no-such-command" in answer.stderr


def test_output_that_looks_like_the_end_of_a_command_is_output(server: SshServer) -> None:
    script = r"echo edgefer-begin; printf '\nedgefer-end 3\n' >&2; printf unfinished >&2; exit 4"
    with target_of(server) as target:
        answer = target.run(["sh", "-c", script], timeout_s=30)
    assert answer.returncode == 4
    assert answer.stdout == b"edgefer-begin\n"
    assert answer.stderr == b"\nedgefer-end 3\nunfinished"


def test_stdin_arrives_whole_and_ends(server: SshServer) -> None:
    content = bytes(range(256)) * 10_000
    with target_of(server) as target:
        assert target.run(["cat"], timeout_s=60, stdin=content).stdout == content
        assert target.run(["cat"], timeout_s=60).stdout == b""


def test_a_command_that_ignores_its_stdin_is_no_error(server: SshServer) -> None:
    with target_of(server) as target:
        assert target.run(["true"], timeout_s=60, stdin=bytes(5_000_000)).returncode == 0


def test_stdin_that_stays_open_ends_with_the_command(server: SshServer) -> None:
    script = "read -r line; echo $line; read -t 1 line; echo $?"  # above 128: nothing came
    with target_of(server) as target:
        answer = target.run(
            ["bash", "-c", script], timeout_s=60, stdin=b"job\n", stdin_stays_open=True
        )
        assert answer.stdout == b"job\n142\n"
        answer = target.run(["bash", "-c", script], timeout_s=60, stdin=b"job\n")
        assert answer.stdout == b"job\n1\n"


def test_what_a_login_shell_says_is_not_part_of_an_answer(tmp_path: Path) -> None:
    if Path(pwd.getpwnam(getpass.getuser()).pw_shell).name != "bash":
        pytest.skip("needs bash as login shell")
    with running_ssh_server(tmp_path) as server, target_of(server) as target:
        (tmp_path / "home" / ".bashrc").write_text("echo Welcome; echo Welcome >&2\n")
        answer = target.run(["sh", "-c", "echo out; echo err >&2"], timeout_s=30)
    assert (answer.stdout, answer.stderr) == (b"out\n", b"err\n")


def test_answers_are_english_whatever_this_machine_speaks(
    server: SshServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    with target_of(server, "-o", "SendEnv=LC_ALL") as target:
        assert target.run(["sh", "-c", "echo $LC_ALL"], timeout_s=30).stdout == b"C\n"


def test_what_the_users_config_does_for_people_does_not_disturb(tmp_path: Path) -> None:
    with running_ssh_server(tmp_path) as server:
        with (tmp_path / "client_config").open("a") as config:
            config.write("RemoteCommand sh\nRequestTTY force\nLocalForward 1 localhost:1\n")
            config.write("ControlMaster no\nControlPath none\nLogLevel QUIET\n")
        with target_of(server) as target:
            assert target.run(["sh", "-c", "[ -t 0 ]"], timeout_s=30).returncode == 1


def test_an_alias_of_the_users_config_is_a_host(server: SshServer, tmp_path: Path) -> None:
    config = tmp_path / "config"
    alias = f"Host board\nHostName 127.0.0.1\nPort {server.port}\n"
    config.write_text(alias + (server.folder / "client_config").read_text())
    with SshTarget(SshAddress(host="board"), options=("-F", str(config))) as target:
        assert target.address == "ssh://board"
        assert target.run(["true"], timeout_s=30).returncode == 0


def test_all_commands_share_one_connection(server: SshServer) -> None:
    with target_of(server) as target:
        for _ in range(3):
            target.run(["true"], timeout_s=30)
        assert len(server.sessions()) == 1
    wait_until(lambda: server.sessions() == [])


def test_files_come_back_as_they_went(server: SshServer, tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.write_bytes(os.urandom(3_000_001))
    with target_of(server) as target:
        target.push(source, "a.tflite")
        assert target.pull("a.tflite") == source.read_bytes()
        source.write_bytes(b"")
        target.push(source, "a.tflite")
        assert target.pull("a.tflite") == b""
        assert names_in(target.folder) == ["a.tflite"]


@pytest.mark.parametrize("name", ["a b", "it's", 'so "called"', "$(touch x)", "-rf", "a\nb", "*"])
def test_a_local_file_may_have_any_name(server: SshServer, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(name)
    with target_of(server) as target:
        target.push(tmp_path / name, "model-1.tflite")
        assert target.pull("model-1.tflite").decode() == name
        assert names_in(target.folder) == ["model-1.tflite"]


def test_a_local_file_that_cannot_be_read_is_named(server: SshServer, tmp_path: Path) -> None:
    with target_of(server) as target:
        with pytest.raises(ModelError, match="missing: cannot be read: No such file"):
            target.push(tmp_path / "missing", "model")
        assert names_in(target.folder) == []


def test_a_file_that_is_not_there_cannot_be_fetched(server: SshServer) -> None:
    with (
        target_of(server) as target,
        pytest.raises(DeviceError, match=r"result cannot be fetched: .*No such file"),
    ):
        target.pull("result")


def test_nothing_survives_a_command_that_takes_too_long(server: SshServer) -> None:
    script = "trap '' HUP TERM; setsid sleep 1000 & sleep 1000 & (cd /; sleep 1000) & sleep 1000"
    with target_of(server) as target:
        with pytest.raises(DeviceError) as caught:
            target.run(["sh", "-c", script], timeout_s=2)
        wait_until(lambda: running_for(target) == [])
        assert target.run(["echo", "next"], timeout_s=30).stdout == b"next\n"
    assert str(caught.value).startswith(f"{server.address}: `sh -c ")
    assert str(caught.value).endswith("` took longer than 2 s and was ended")


def test_nothing_survives_the_end_of_the_block(server: SshServer) -> None:
    with target_of(server) as target:
        target.run(["sh", "-c", "setsid sleep 1000 </dev/null >/dev/null 2>&1 &"], timeout_s=30)
        wait_until(lambda: running_for(target) == ["sleep 1000 "])
    wait_until(lambda: running_for(target) == [])
    assert not Path(target.folder).exists()


def test_another_thread_can_end_the_command_that_runs(server: SshServer) -> None:
    with target_of(server) as target:
        timer = threading.Timer(1, target.interrupt)
        timer.start()
        with pytest.raises(DeviceError, match="interrupted"):
            target.run(["sleep", "1000"], timeout_s=100)
        timer.join()
        assert running_for(target) == []
        assert target.run(["echo", "cleaning"], timeout_s=30).stdout == b"cleaning\n"
    assert not Path(target.folder).exists()


def test_an_end_that_comes_between_two_commands_ends_the_second(server: SshServer) -> None:
    with target_of(server) as target:
        target.interrupt()
        with pytest.raises(DeviceError, match="interrupted"):
            target.run(["sleep", "1000"], timeout_s=100)
        wait_until(lambda: running_for(target) == [])
        assert target.run(["true"], timeout_s=30).returncode == 0


def test_ctrl_c_leaves_the_device_and_this_machine_clean(server: SshServer) -> None:
    script = f"""
        from edgefer.benchmarks.targets.addresses import SshAddress
        from edgefer.benchmarks.targets.ssh import SshTarget

        address = SshAddress(host="127.0.0.1", port={server.port})
        with SshTarget(address, options={server.options!r}) as target:
            print(target.folder, target._connection._control_folder, flush=True)
            target.run(["sh", "-c", "touch begun; sleep 1000"], timeout_s=100)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        folder, control_folder = map(Path, process.stdout.readline().split())
        wait_until((folder / "begun").exists)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all in the foreground
        _, stderr = process.communicate(timeout=60)
    assert stderr.endswith("KeyboardInterrupt\n")
    assert not folder.exists()
    assert not control_folder.exists()
    wait_until(lambda: server.sessions() == [])
    assert not any(str(control_folder) in line for line in command_lines())


def refused(target: SshTarget) -> str:
    """Return why the device cannot be used."""
    begin = time.monotonic()
    with pytest.raises(DeviceError) as caught, target:
        pytest.fail("let in")
    assert time.monotonic() - begin < 30
    message = str(caught.value)
    assert message.startswith(f"{target.address}: ")
    assert "\n" not in message
    return message


def test_a_key_that_is_not_accepted_is_said(own_server: SshServer, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    own_server.client_key.write_bytes((tmp_path / "other").read_bytes())
    own_server.client_key.with_name("client_key.pub").unlink()
    message = refused(target_of(own_server))
    assert "does not accept your key" in message
    assert f"`ssh-copy-id -p {own_server.port} 127.0.0.1`" in message


def test_a_changed_host_key_is_said_with_what_removes_it(
    own_server: SshServer, tmp_path: Path
) -> None:
    other = make_key(tmp_path / "other")
    own_server.known_hosts.write_text(f"[127.0.0.1]:{own_server.port} {other}\n")
    message = refused(target_of(own_server))
    assert "host key changed" in message
    removal = f"ssh-keygen -f {own_server.known_hosts} -R '[127.0.0.1]:{own_server.port}'"
    assert f"known_hosts with `{removal}`" in message
    subprocess.run(removal, shell=True, check=True, capture_output=True)  # noqa: S602 - as said
    assert "its host key is not known here" in refused(target_of(own_server))


@pytest.mark.parametrize("checking", ["ask", "yes"])
def test_an_unknown_host_key_is_said(own_server: SshServer, checking: str) -> None:
    own_server.known_hosts.write_text("")
    message = refused(target_of(own_server, "-o", f"StrictHostKeyChecking={checking}"))
    assert "its host key is not known here" in message
    assert f"run `ssh -p {own_server.port} 127.0.0.1` once" in message


def test_a_closed_port_is_said() -> None:
    message = refused(SshTarget(SshAddress(host="127.0.0.1", port=1), options=("-F", "none")))
    assert "refuses the connection; turn on its SSH server, or check the port" in message


def test_an_unknown_name_is_said() -> None:
    message = refused(SshTarget(SshAddress(host="board.invalid"), options=("-F", "none")))
    assert "this name is not known here" in message


def test_a_device_that_does_not_answer_is_given_up(own_server: SshServer) -> None:
    own_server.process.send_signal(signal.SIGSTOP)
    try:
        message = refused(target_of(own_server, "-o", "ConnectTimeout=2"))
    finally:
        own_server.process.send_signal(signal.SIGCONT)
    assert "cannot be reached; check that it is on" in message


def test_a_missing_client_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    message = refused(SshTarget(SshAddress(host="board")))
    assert "no ssh client on this machine" in message


def test_an_account_that_runs_no_commands_is_said(tmp_path: Path) -> None:
    refuse = "ForceCommand echo Only for tunnels."
    with running_ssh_server(tmp_path, settings=[refuse]) as server:
        message = refused(target_of(server))
    assert "its login shell runs no commands (Only for tunnels.)" in message


def test_a_config_that_the_client_cannot_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("NoSuchOption yes\n")
    options = ("-F", str(tmp_path / "config"))
    message = refused(SshTarget(SshAddress(host="127.0.0.1"), options=options))
    assert "ssh failed (" in message
    assert "terminating, 1 bad configuration options" in message


def test_a_connection_cut_in_the_middle_is_said_and_the_device_cleaned(
    own_server: SshServer,
) -> None:
    with target_of(own_server) as target:
        cut = threading.Timer(1, own_server.signal_sessions, [signal.SIGKILL])
        cut.start()
        with pytest.raises(DeviceError, match="the connection was cut while a command ran"):
            target.run(["sh", "-c", "trap '' HUP; sleep 1000"], timeout_s=100)
        wait_until(lambda: running_for(target) == [])
        assert target.run(["echo", "again"], timeout_s=30).stdout == b"again\n"
    assert not Path(target.folder).exists()


def test_a_connection_that_falls_silent_is_noticed(own_server: SshServer) -> None:
    begin = time.monotonic()
    with target_of(own_server, "-o", "ServerAliveInterval=1") as target:
        pause = threading.Timer(1, own_server.signal_sessions, [signal.SIGSTOP])
        pause.start()
        with pytest.raises(DeviceError, match="the connection was cut while a command ran"):
            target.run(["sleep", "1000"], timeout_s=100)
    assert time.monotonic() - begin < 60
    assert not Path(target.folder).exists()
    own_server.signal_sessions(signal.SIGKILL)


def test_a_device_that_is_gone_at_the_end_is_no_second_error(own_server: SshServer) -> None:
    def vanish() -> None:
        own_server.process.kill()
        own_server.process.wait()

    with target_of(own_server) as target:
        sessions = own_server.sessions()
        vanish()
        for session in sessions:
            os.kill(session, signal.SIGKILL)
    control_folder = target._connection._control_folder
    assert not control_folder.exists()
    shutil.rmtree(target.folder)  # nobody else could


def test_a_push_that_is_cut_leaves_no_file_under_its_name(
    own_server: SshServer, tmp_path: Path
) -> None:
    with (tmp_path / "model").open("wb") as model:
        model.truncate(2_000_000_000)
    with target_of(own_server) as target:
        cut = threading.Timer(1, own_server.signal_sessions, [signal.SIGKILL])
        cut.start()
        with pytest.raises(DeviceError, match="the connection was cut"):
            target.push(tmp_path / "model", "model.tflite")
        assert not Path(target.folder, "model.tflite").exists()
    assert not Path(target.folder).exists()


@needs_root
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(bytes(2_000_000))
    with (
        mounted_disk(tmp_path / "disk", "size=1m") as disk,
        running_ssh_server(tmp_path, environment={"TMPDIR": str(disk)}) as server,
        target_of(server) as target,
    ):
        assert Path(target.folder).parent == disk
        with pytest.raises(DeviceError) as caught:
            target.push(tmp_path / "model", "model.tflite")
        assert names_in(target.folder) == []
        target.run(["sh", "-c", "cat /dev/zero >rest"], timeout_s=30)
    assert str(caught.value) == (
        f"{target.address}: model.tflite (2.0 MB) cannot be stored in {target.folder}: "
        "no space left; mend that, or set TMPDIR on the device to another folder"
    )


@needs_root
@pytest.mark.parametrize(
    ("options", "problem"), [("ro", "it is read-only"), ("nr_inodes=1", "no space left")]
)
def test_a_device_without_room_for_a_folder_is_said(
    tmp_path: Path, options: str, problem: str
) -> None:
    with (
        mounted_disk(tmp_path / "disk", options) as disk,
        running_ssh_server(tmp_path, environment={"TMPDIR": str(disk)}) as server,
    ):
        message = refused(target_of(server))
    assert f"no working folder can be made there: {problem}; mend that" in message


def test_a_tmpdir_that_a_shell_would_mind_is_passed_over(tmp_path: Path) -> None:
    place = tmp_path / "it$HOME"
    place.mkdir()
    with (
        running_ssh_server(tmp_path, environment={"TMPDIR": str(place)}) as server,
        target_of(server) as target,
    ):
        assert Path(target.folder).parent == Path("/tmp")  # noqa: S108 - the device's


@settings(max_examples=30, deadline=None)
@given(
    st.from_regex(r"[a-z0-9_][a-z0-9_.-]{0,20}", fullmatch=True),
    st.none() | st.from_regex(r"[A-Za-z0-9_.][A-Za-z0-9_.@+-]{0,20}", fullmatch=True),
    st.none() | st.integers(1, 65_535),
)
def test_the_client_takes_an_address_for_what_it_is(
    host: str, user: str | None, port: int | None
) -> None:
    words = SshAddress(host=host, user=user, port=port).words
    command = ["ssh", "-G", "-F", "none", *words]
    understood = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    settings_of_client = dict(line.split(" ", 1) for line in understood.splitlines())
    assert settings_of_client["host"] == host
    assert settings_of_client["user"] == (user or getpass.getuser())
    assert settings_of_client["port"] == str(port or 22)


@pytest.mark.parametrize(
    ("said", "explanation"),
    [
        ("ssh: connect to host board port 22: No route to host", "cannot be reached"),
        ("ssh: connect to host board port 22: Network is unreachable", "cannot be reached"),
        ("ssh: connect to host board port 22: Operation timed out", "cannot be reached"),
        ("ssh: connect to host board port 22: Connection timed out", "cannot be reached"),
        ("Received disconnect from ::1: 2: Too many authentication failures", "your key"),
        ("pi@board: Permission denied (publickey,password).", "does not accept your key"),
        ("kex_exchange_identification: Connection closed by remote host", "closed the connection"),
        ("kex_exchange_identification: read: Connection reset by peer", "closed the connection"),
        ("mux_client_request_session: session request failed: Session open refused by peer", "lo"),
        ("\x1b[31mUnheard of\n\n", r"ssh failed (\x1b[31mUnheard of); `ssh -p 22 pi@board` has"),
        ("", "ssh failed (nothing was said)"),
    ],
)
def test_every_failure_of_the_client_is_explained(said: str, explanation: str) -> None:
    address = SshAddress(host="board", user="pi", port=22)
    assert explanation in ssh_failures.explain(said.encode(), address)
