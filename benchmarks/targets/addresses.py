"""A device's address, as `--device` takes it, to what it means."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from edgefer.errors import UsageError

ACCEPTED_FORMS = "local, ssh://[user@]host[:port], adb, adb:SERIAL or adb:all"

# Nothing here starts with a dash, which ssh and adb would take for an option, or holds what a
# shell or a ProxyCommand of the user's own ssh config could take for more than a name.
_USER = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@+-]*")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_ZONE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_SERIAL = re.compile(r"[A-Za-z0-9_.\[][A-Za-z0-9_.:\[\]-]*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_HOST_AND_PORT = re.compile(r"(\[(?P<ipv6>[^]]*)\]|(?P<name>[^]:[]*))(:(?P<port>[^:]*))?")


@dataclass(frozen=True)
class LocalAddress:
    """The machine that edgefer runs on."""

    def __str__(self) -> str:
        return "local"


@dataclass(frozen=True, kw_only=True)
class SshAddress:
    """A machine reached by ssh; the user's ssh config decides what is None."""

    host: str
    """A name, an alias of ~/.ssh/config, an IPv4 address, or an IPv6 address without brackets."""
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"ssh://{user}{host}{port}"

    @property
    def words(self) -> tuple[str, ...]:
        """What the ssh client takes as destination; no part of it can be read as an option."""
        user = ("-l", self.user) if self.user else ()
        port = ("-p", str(self.port)) if self.port else ()
        return (*user, *port, "--", self.host)

    @property
    def command(self) -> str:
        """What a person types to log in there."""
        user = f"{self.user}@" if self.user else ""
        port = f"-p {self.port} " if self.port else ""
        return f"ssh {port}{user}{self.host}"


@dataclass(frozen=True)
class AdbAddress:
    """An Android device; without a serial number the only one that is attached."""

    serial: str | None = None

    def __str__(self) -> str:
        return f"adb:{self.serial}" if self.serial else "adb"


@dataclass(frozen=True)
class AllAdbAddress:
    """Every attached Android device."""

    def __str__(self) -> str:
        return "adb:all"


Address = LocalAddress | SshAddress | AdbAddress | AllAdbAddress


def parse(text: str) -> Address:
    """Read an address; UsageError, which shows the accepted forms, where it is none."""
    try:
        return _parse(text)
    except ValueError as exc:
        raise UsageError(f"{text!r} {exc}; give {ACCEPTED_FORMS}") from exc


def _parse(text: str) -> Address:
    if text == "local":
        return LocalAddress()
    if text == "adb":
        return AdbAddress()
    if text == "adb:all":
        return AllAdbAddress()
    scheme, _, rest = text.partition(":")
    if scheme == "adb":
        return AdbAddress(_checked("serial number", rest, _SERIAL))
    if scheme == "ssh" and rest.startswith("//"):
        return _parse_ssh(rest.removeprefix("//"))
    raise ValueError("is not a device's address")


def _parse_ssh(rest: str) -> SshAddress:
    if found := re.search(r"[/?#]", rest):
        raise ValueError(f"has {found[0]!r} in it, but an address ends with the host or the port")
    user, at, place = rest.rpartition("@")
    if ":" in user:
        raise ValueError("has a password in it, or a colon in the user's name; ssh takes keys only")
    split = _HOST_AND_PORT.fullmatch(place)
    if split is None:
        raise ValueError("has no host that can be told from the port; IPv6 goes in brackets")
    return SshAddress(
        host=_host(ipv6=split["ipv6"], name=split["name"]),
        user=_checked("user", user, _USER) if at else None,
        port=None if split["port"] is None else _port(split["port"]),
    )


def _host(*, ipv6: str | None, name: str) -> str:
    if ipv6 is None:
        return _checked("host", name, _HOST)
    address, percent, zone = ipv6.partition("%")
    try:
        ipaddress.IPv6Address(address)
    except ValueError as exc:
        raise ValueError(f"has no IPv6 address in its brackets: {address!r}") from exc
    return f"{address}%{_checked('zone', zone, _ZONE)}" if percent else address


def _port(port: str) -> int:
    if _PORT.fullmatch(port) is None or int(port) > 65_535:
        raise ValueError(f"has a port that is not between 1 and 65535: {port!r}")
    return int(port)


def _checked(part: str, value: str, pattern: re.Pattern[str]) -> str:
    if pattern.fullmatch(value) is None:
        raise ValueError(f"has a {part} that cannot be one: {value!r}")
    return value
