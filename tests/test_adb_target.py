"""Android devices through the real adb client; what it talks to is adb_daemon.py."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from adb_daemon import AdbDaemon, Attach, Trouble, assert_clean, processes_in, wait_until

from edgefer.benchmarks.targets import adb_devices
from edgefer.benchmarks.targets.adb import AdbTarget, AttachedDevice, attached_devices
from edgefer.errors import DeviceError

pytest_plugins = ("adb_phones",)

NASTY_WORDS = ("a b", "'", '"', "$(id)", "`id`", "a\nb", "*", "~", "\\", "-n", "Ä", "", ";&|<>")


def test_attached_devices_are_listed_with_state_and_model(attach: Attach) -> None:
    ready, locked = attach(model="Pixel 8"), attach(trouble=Trouble.UNAUTHORIZED)
    assert sorted(attached_devices(), key=lambda device: device.state) == [
        AttachedDevice(serial=ready.serial, state="device", model="Pixel 8"),
        AttachedDevice(serial=locked.serial, state="unauthorized", model=None),
    ]


def test_every_form_of_a_listed_device_is_read() -> None:
    text = (
        "* daemon not running; starting now at tcp:5037\n"
        "* daemon started successfully\n"
        "List of devices attached\n"
        "emulator-5554          device product:sdk model:sdk_gphone64 device:emu transport_id:1\n"
        "????????????           no permissions (missing udev rules? user is in the plugdev group);"
        " see [http://developer.android.com/tools/device.html] usb:1-4 transport_id:2\n"
        "R58M                   offline usb:1-2\n"
        "0123                   recovery product:x model:Galaxy_S9 device:y\r\n"
        "\n"
    )
    assert adb_devices.listed(text) == (
        AttachedDevice(serial="emulator-5554", state="device", model="sdk gphone64"),
        AttachedDevice(serial="????????????", state="no permissions", model=None),
        AttachedDevice(serial="R58M", state="offline", model=None),
        AttachedDevice(serial="0123", state="recovery", model="Galaxy S9"),
    )


def test_without_adb_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DeviceError) as caught:
        attached_devices()
    assert str(caught.value) == (
        "adb: is not installed: install Android's platform tools (Debian: apt install adb)"
    )


@pytest.mark.usefixtures("attach")
def test_with_nothing_attached_it_says_what_to_switch_on() -> None:
    with pytest.raises(DeviceError) as caught, AdbTarget(None):
        pass
    assert str(caught.value) == (
        "adb: no device is attached: switch on “USB debugging” in the phone's developer options, "
        "and plug it in"
    )


def test_the_only_device_needs_no_serial_number(phone: AdbDaemon) -> None:
    with AdbTarget(None) as target:
        assert target.address == f"adb:{phone.serial}"


def test_of_several_devices_one_has_to_be_chosen(attach: Attach) -> None:
    first, second = attach(), attach(model="Galaxy")
    with pytest.raises(DeviceError) as caught, AdbTarget(None):
        pass
    message = str(caught.value)
    assert message.startswith("adb: several devices are attached: ")
    assert f"{first.serial} (Pixel 8)" in message
    assert f"{second.serial} (Galaxy)" in message
    assert message.endswith("; choose by adb:SERIAL, or adb:all")


def test_the_users_android_serial_chooses(attach: Attach, monkeypatch: pytest.MonkeyPatch) -> None:
    attach()
    second = attach()
    monkeypatch.setenv("ANDROID_SERIAL", second.serial)
    with AdbTarget(None) as target:
        assert target.address == f"adb:{second.serial}"


def test_a_device_that_is_not_attached_is_named(phone: AdbDaemon) -> None:
    with pytest.raises(DeviceError) as caught, AdbTarget("10.0.0.7:5555"):
        pass
    assert str(caught.value) == (
        "adb:10.0.0.7:5555: is not attached; run `adb connect 10.0.0.7:5555` first "
        f"(attached: {phone.serial} (Pixel 8))"
    )


def test_a_locked_device_says_to_accept_the_computer(attach: Attach) -> None:
    device = attach(trouble=Trouble.UNAUTHORIZED)
    with pytest.raises(DeviceError) as caught, AdbTarget(device.serial):
        pass
    assert str(caught.value) == (
        f"adb:{device.serial}: has not allowed this computer in: unlock the phone, accept “Allow "
        "USB debugging?” on it, and try again"
    )


def test_a_device_that_accepts_the_computers_key_works(attach: Attach) -> None:
    device = attach(asks=True)
    with AdbTarget(device.serial) as target:
        assert target.run(["echo", "yes"], timeout_s=60).stdout == b"yes\n"


def test_an_offline_device_says_to_plug_it_in_again(phone: AdbDaemon) -> None:
    phone.unplug()
    wait_until(lambda: attached_devices()[0].state == "offline")
    with pytest.raises(DeviceError, match=r"is offline: unplug it and plug it in again") as caught:
        AdbTarget(phone.serial).__enter__()
    assert str(caught.value).startswith(f"adb:{phone.serial}: ")


def test_a_server_of_another_version_that_stays_is_named(
    attach: Attach, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        threading.Thread(target=answer_as_version_64, args=(other,), daemon=True).start()
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(other.getsockname()[1]))
        with pytest.raises(DeviceError) as caught:
            attached_devices()
        other.shutdown(socket.SHUT_RDWR)
    assert str(caught.value) == (
        "adb: cannot be reached: an adb server of another version runs and does not make room; "
        "end it with its own `adb kill-server`"
    )


def answer_as_version_64(server: socket.socket) -> None:
    """Answer `host:version` with hexadecimal 40, and stay when asked to go."""
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        with client:
            client.recv(100)
            client.sendall(b"OKAY00040040")


@pytest.mark.parametrize("kind", ["phone", "android"])
def test_words_arrive_as_they_are(kind: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(kind)
    with AdbTarget(None) as target:
        for word in NASTY_WORDS:
            answer = target.run(["printf", "%s|", word, word], timeout_s=60)
            assert answer.stdout.decode() == f"{word}|{word}|"


@pytest.mark.parametrize("kind", ["phone", "android"])
def test_exit_code_and_both_outputs_come_back(kind: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(kind)
    with AdbTarget(None) as target:
        answer = target.run(["sh", "-c", "echo out; echo err >&2; exit 7"], timeout_s=60)
    assert (answer.returncode, answer.stdout, answer.stderr) == (7, b"out\n", b"err\n")


def test_binary_output_of_any_size_is_unchanged(phone: AdbDaemon) -> None:
    content = os.urandom(1_500_000)
    (phone.folder / "random").write_bytes(content)
    with AdbTarget(phone.serial) as target:
        assert target.run(["cat", "../random"], timeout_s=60).stdout == content


def test_a_device_older_than_android_7_gives_the_same_answers(attach: Attach) -> None:
    device = attach(shell_protocol=False)
    with AdbTarget(device.serial) as target:
        answer = target.run(["sh", "-c", "echo one; echo two >&2; exit 7"], timeout_s=60)
        assert (answer.returncode, answer.stdout, answer.stderr) == (7, b"one\ntwo\n", b"")
        assert target.run(["cat"], timeout_s=60).stdout == b""
    assert_clean(device)


@pytest.mark.parametrize("kind", ["phone", "android"])
def test_stdin_arrives_and_ends(kind: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(kind)
    with AdbTarget(None) as target:
        assert target.run(["cat"], timeout_s=60).stdout == b""
        assert target.run(["cat"], timeout_s=60, stdin=b"a\n" * 9000).stdout == b"a\n" * 9000


def test_stdin_can_stay_open_until_the_command_ends(phone: AdbDaemon) -> None:
    script = "read -r line; echo $line; read -t 0.3 -r more; echo $?"
    with AdbTarget(phone.serial) as target:
        answer = target.run(
            ["bash", "-c", script], timeout_s=60, stdin=b"hello\n", stdin_stays_open=True
        )
    # Above 128 says that bash's read ran out of time; 1 would be the end of stdin.
    assert answer.stdout.split()[0] == b"hello"
    assert int(answer.stdout.split()[1]) > 128


@pytest.mark.parametrize("kind", ["phone", "android"])
def test_a_command_that_takes_too_long_is_ended_on_the_device(
    kind: str, request: pytest.FixtureRequest
) -> None:
    device: AdbDaemon = request.getfixturevalue(kind)
    with AdbTarget(device.serial) as target:
        with pytest.raises(DeviceError) as caught:
            target.run(["sh", "-c", "trap '' HUP; sleep 600 & sleep 600"], timeout_s=1)
        assert str(caught.value) == f"adb:{device.serial}: sh did not end within 1 s"
        wait_until(lambda: not processes_in(device.folder))
        assert target.run(["echo", "goes on"], timeout_s=60).stdout == b"goes on\n"


def test_a_device_unplugged_while_a_command_runs_is_an_error(phone: AdbDaemon) -> None:
    """Although adb's own exit code is 0 then."""
    phone.behaviour.unplug_at = b"now"
    with pytest.raises(DeviceError) as caught, AdbTarget(phone.serial) as target:
        target.run(["sh", "-c", "echo before; sleep 0.2; echo now; sleep 600"], timeout_s=60)
    assert str(caught.value) == (
        f"adb:{phone.serial}: was disconnected while a command ran; check the cable, and "
        "`adb devices`"
    )


def test_a_device_that_is_gone_at_the_end_is_no_second_error(phone: AdbDaemon) -> None:
    with AdbTarget(phone.serial):
        phone.unplug()


def test_a_device_unplugged_before_a_command_is_an_error(phone: AdbDaemon) -> None:
    with AdbTarget(phone.serial) as target:
        phone.unplug()
        with pytest.raises(DeviceError, match=f"adb:{phone.serial}: is (offline|not attached)"):
            target.run(["true"], timeout_s=60)


def test_a_device_unplugged_in_the_middle_of_a_file_is_an_error(
    phone: AdbDaemon, tmp_path: Path
) -> None:
    source = tmp_path / "large"
    source.write_bytes(bytes(2_000_000))
    with AdbTarget(phone.serial) as target:
        phone.behaviour.unplug_after_bytes = 500_000
        with pytest.raises(DeviceError, match=f"adb:{phone.serial}: "):
            target.push(source, "large")


def test_a_hanging_device_is_an_error(phone: AdbDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgefer.benchmarks.targets.adb.CLEANING_TIMEOUT_S", 0.5)
    with AdbTarget(phone.serial) as target:
        phone.behaviour.trouble = Trouble.HANGING
        with pytest.raises(DeviceError) as caught:
            target.run(["true"], timeout_s=0.5)
    assert str(caught.value) == (
        f"adb:{phone.serial}: true did not end within 0.5 s, and may still run: restart the device"
    )


def test_a_device_that_gives_no_folder_says_why(phone: AdbDaemon) -> None:
    phone.folder.rmdir()
    with pytest.raises(DeviceError) as caught, AdbTarget(phone.serial):
        pass
    message = str(caught.value)
    assert message.startswith(f"adb:{phone.serial}: cannot make a folder in /data/local/tmp: mkdir")
    assert message.endswith("No such file or directory")


@pytest.mark.parametrize("kind", ["phone", "android"])
def test_files_arrive_whole_from_any_path(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    device: AdbDaemon = request.getfixturevalue(kind)
    source = tmp_path / "-it's $(a)\n“model”.tflite"
    content = os.urandom(300_000)
    source.write_bytes(content)
    with AdbTarget(device.serial) as target:
        target.push(source, "model.tflite")
        assert target.pull("model.tflite") == content
        assert target.run(["ls", "-A"], timeout_s=60).stdout == b"model.tflite\n"


def test_a_full_device_is_an_error_and_keeps_nothing(phone: AdbDaemon, tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.write_bytes(bytes(300_000))
    phone.behaviour.room_bytes = 100_000
    with AdbTarget(phone.serial) as target:
        with pytest.raises(DeviceError) as caught:
            target.push(source, "large")
        assert target.run(["ls", "-A"], timeout_s=60).stdout == b""
    assert str(caught.value) == (
        f"adb:{phone.serial}: has no room left; free some in /data/local/tmp"
    )


def test_a_file_damaged_on_the_way_is_an_error_and_takes_no_ones_place(
    phone: AdbDaemon, tmp_path: Path
) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"before")
    with AdbTarget(phone.serial) as target:
        target.push(source, "file")
        source.write_bytes(b"after")
        phone.behaviour.spoil = True
        with pytest.raises(DeviceError) as caught:
            target.push(source, "file")
        assert target.pull("file") == b"before"
    assert str(caught.value) == (
        f"adb:{phone.serial}: file was damaged on the way; try another cable"
    )


def test_files_that_are_not_there_are_named(phone: AdbDaemon, tmp_path: Path) -> None:
    with AdbTarget(phone.serial) as target:
        with pytest.raises(DeviceError, match=r"adb says: .*output\.bin': No such file"):
            target.pull("output.bin")
        with pytest.raises(DeviceError, match=r"cannot be given .*missing: No such file"):
            target.push(tmp_path / "missing", "file")


@pytest.mark.parametrize("kind", ["phone", "android"])
def test_the_device_is_left_clean_whatever_ends_the_work(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    device: AdbDaemon = request.getfixturevalue(kind)
    source = tmp_path / "file"
    source.write_bytes(b"content")

    def work() -> None:
        with AdbTarget(device.serial) as target:
            target.push(source, "file")
            stubborn = ["sh", "-c", "trap '' HUP; sleep 600 >/dev/null 2>&1 &"]
            target.run(stubborn, timeout_s=60)
            assert processes_in(device.folder)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert_clean(device)


def test_another_thread_can_end_the_command(phone: AdbDaemon) -> None:
    with AdbTarget(phone.serial) as target:
        timer = threading.Timer(0.5, target.interrupt)
        timer.start()
        with pytest.raises(DeviceError) as caught:
            target.run(["sh", "-c", "trap '' HUP; sleep 600"], timeout_s=60)
        timer.join()
        wait_until(lambda: not processes_in(phone.folder))
        with pytest.raises(DeviceError, match="interrupted"):
            target.run(["true"], timeout_s=60)
    assert str(caught.value) == f"adb:{phone.serial}: interrupted"
    assert_clean(phone)


def test_an_interrupted_device_begins_nothing(phone: AdbDaemon) -> None:
    target = AdbTarget(phone.serial)
    target.interrupt()
    with pytest.raises(DeviceError, match="interrupted"), target:
        pass
    assert_clean(phone)


def test_ctrl_c_leaves_the_device_clean(phone: AdbDaemon) -> None:
    script = (
        "from edgefer.benchmarks.targets.adb import AdbTarget\n"
        "with AdbTarget(None) as target:\n"
        "    target.run(['sh', '-c', 'trap \"\" HUP; sleep 600'], timeout_s=600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, process_group=0
    ) as process:
        wait_until(lambda: len(processes_in(phone.folder)) > 1)
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in stderr
    assert_clean(phone)


def test_two_devices_work_side_by_side(attach: Attach) -> None:
    first, second = attach(), attach(shell_protocol=False)
    with AdbTarget(first.serial) as one, AdbTarget(second.serial) as other:
        answers: dict[str, bytes] = {}

        def work(target: AdbTarget) -> None:
            command = ["sh", "-c", f"sleep 0.5; echo {target.address}"]
            answers[target.address] = target.run(command, timeout_s=60).stdout

        threads = [threading.Thread(target=work, args=(target,)) for target in (one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {
        f"adb:{device.serial}": f"adb:{device.serial}\n".encode() for device in (first, second)
    }
    assert_clean(first)
    assert_clean(second)
