"""Addresses of devices, and that none of them can become an option or a command."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer.benchmarks.targets.addresses import (
    AdbAddress,
    Address,
    AllAdbAddress,
    LocalAddress,
    SshAddress,
    parse,
)
from edgefer.errors import UsageError

HARMLESS = re.compile(r"[A-Za-z0-9_.:%@+-]+")

PLAIN = st.text("aZ09-_.", max_size=8)
HOSTILE = st.text(
    st.one_of(st.sampled_from("a0-_.:@%[]/$`'\"\\ ;|&<>(){}*?!~#=\n\t\0é"), st.characters()),
    max_size=3,
)
NEAR_ADDRESSES = st.lists(PLAIN | HOSTILE, max_size=3).map("".join)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("local", LocalAddress()),
        ("ssh://raspberrypi", SshAddress(host="raspberrypi")),
        ("ssh://raspberrypi.local:2222", SshAddress(host="raspberrypi.local", port=2222)),
        ("ssh://pi@192.168.1.20", SshAddress(host="192.168.1.20", user="pi")),
        ("ssh://my_board-2", SshAddress(host="my_board-2")),
        ("ssh://[::1]", SshAddress(host="::1")),
        ("ssh://pi@[fe80::1%eth0]:22", SshAddress(host="fe80::1%eth0", user="pi", port=22)),
        ("ssh://me@work.example@board", SshAddress(host="board", user="me@work.example")),
        ("adb", AdbAddress()),
        ("adb:R5CT123ABC", AdbAddress("R5CT123ABC")),
        ("adb:127.0.0.1:5555", AdbAddress("127.0.0.1:5555")),
        ("adb:adb-2A-Xy._adb-tls-connect._tcp", AdbAddress("adb-2A-Xy._adb-tls-connect._tcp")),
        ("adb:all", AllAdbAddress()),
    ],
)
def test_every_accepted_form_is_understood_and_written_back(text: str, address: Address) -> None:
    assert parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'' is not a device's address"),
        ("raspberrypi", "is not a device's address"),
        ("pi@raspberrypi", "is not a device's address"),
        ("ssh:raspberrypi", "is not a device's address"),
        ("SSH://raspberrypi", "is not a device's address"),
        ("http://raspberrypi", "is not a device's address"),
        ("local ", "is not a device's address"),
        ("local:", "is not a device's address"),
        ("ssh://", "has a host that cannot be one: ''"),
        ("ssh://pi@", "has a host that cannot be one: ''"),
        ("ssh://@board", "has a user that cannot be one: ''"),
        ("ssh://-oProxyCommand=reboot", "has a host that cannot be one"),
        ("ssh://-Fconfig@board", "has a user that cannot be one: '-Fconfig'"),
        ("ssh://board;reboot", "has a host that cannot be one: 'board;reboot'"),
        ("ssh://$(reboot)", "has a host that cannot be one: '$(reboot)'"),
        ("ssh://board\n", "has a host that cannot be one: 'board\\n'"),
        ("ssh://pi:secret@board", "has a password in it"),
        ("ssh://board/", "has '/' in it"),
        ("ssh://board/home/pi", "has '/' in it"),
        ("ssh://board?x=1", "has '?' in it"),
        ("ssh://board#1", "has '#' in it"),
        ("ssh://board:", "has a port that is not between 1 and 65535: ''"),
        ("ssh://board:0", "has a port that is not between 1 and 65535: '0'"),
        ("ssh://board:65536", "has a port that is not between 1 and 65535: '65536'"),
        ("ssh://board:022", "has a port that is not between 1 and 65535: '022'"),
        ("ssh://board:+22", "has a port that is not between 1 and 65535: '+22'"),
        ("ssh://board:²²", "has a port that is not between 1 and 65535: '²²'"),
        ("ssh://fe80::1", "IPv6 goes in brackets"),
        ("ssh://[board]", "has no IPv6 address in its brackets: 'board'"),
        ("ssh://[fe80::1%-e]", "has a zone that cannot be one: '-e'"),
        ("ssh://[fe80::1%]", "has a zone that cannot be one: ''"),
        ("adb:", "has a serial number that cannot be one: ''"),
        ("adb:-s", "has a serial number that cannot be one: '-s'"),
        ("adb:a b", "has a serial number that cannot be one: 'a b'"),
    ],
)
def test_anything_else_is_refused_with_the_forms_that_are_accepted(text: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    message = str(caught.value)
    assert problem in message
    assert message.endswith("give local, ssh://[user@]host[:port], adb, adb:SERIAL or adb:all")
    assert "\n" not in message


@given(NEAR_ADDRESSES, NEAR_ADDRESSES)
def test_no_host_or_user_can_become_an_option_or_a_command(user: str, host: str) -> None:
    for text in (f"ssh://{host}", f"ssh://{user}@{host}", f"ssh://{user}@[{host}]"):
        try:
            address = parse(text)
        except UsageError:
            continue
        assert isinstance(address, SshAddress)
        assert not address.host.startswith("-")
        assert HARMLESS.fullmatch(address.host)
        assert address.words[-2:] == ("--", address.host)
        if address.user is not None:
            assert not address.user.startswith("-")
            assert HARMLESS.fullmatch(address.user)
        assert parse(str(address)) == address


@given(NEAR_ADDRESSES)
def test_no_serial_number_can_become_an_option_or_a_command(serial: str) -> None:
    try:
        address = parse(f"adb:{serial}")
    except UsageError:
        return
    assert str(address) == f"adb:{serial}"
    assert not serial.startswith("-")
    assert re.fullmatch(r"[A-Za-z0-9_.:\[\]-]+", serial)


@given(st.sampled_from(["", "ssh://", "adb:", "local"]), NEAR_ADDRESSES)
def test_whatever_is_given_is_an_address_or_wrong_usage(start: str, rest: str) -> None:
    text = start + rest
    try:
        address = parse(text)
    except UsageError:
        return
    assert str(address) == text
