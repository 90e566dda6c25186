"""A real OpenSSH server on loopback, for tests: its own keys, config and known_hosts."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgefer.benchmarks.targets.addresses import SshAddress

HOST = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class SshServer:
    """A running server and the client's config for it, all in one folder."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def address(self) -> SshAddress:
        """Where it listens."""
        return SshAddress(host=HOST, port=self.port)

    @property
    def options(self) -> tuple[str, ...]:
        """The client's options that let it in."""
        return ("-F", str(self.folder / "client_config"))

    @property
    def known_hosts(self) -> Path:
        """The client's list of hosts; it holds this one."""
        return self.folder / "known_hosts"

    @property
    def client_key(self) -> Path:
        """The client's private key, which the server lets in."""
        return self.folder / "client_key"

    def sessions(self) -> list[int]:
        """Return the ids of the server's processes that each serve one connection."""
        return _children(self.process.pid)

    def signal_sessions(self, number: signal.Signals) -> None:
        """Send a signal to all processes that serve a connection; the server itself goes on."""
        for session in self.sessions():
            # A root session has an unprivileged sshd for a child; a user's command is left alone.
            for process in (session, *filter(_is_sshd, _children(session))):
                with suppress(ProcessLookupError):
                    os.kill(process, number)


def _children(process: int) -> list[int]:
    """Return the ids of a process's children; none where it has ended meanwhile."""
    try:
        return [
            int(word)
            for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _is_sshd(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/comm").read_text().startswith("sshd")
    except (FileNotFoundError, ProcessLookupError):
        return False


def make_key(path: Path) -> str:
    """Make a key pair without a passphrase and return its public part."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(command, check=True)
    return path.with_name(f"{path.name}.pub").read_text().strip()


@contextmanager
def running_ssh_server(
    folder: Path, *, environment: Mapping[str, str] | None = None, settings: Sequence[str] = ()
) -> Iterator[SshServer]:
    """Start a server that lets in this user with `client_key`; skip the test where there is none.

    `environment` is what its commands find set, HOME an empty folder unless it says otherwise;
    `settings` are further lines of sshd_config.
    """
    sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if sshd is None:
        pytest.skip("needs an OpenSSH server: apt install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    home = folder / "home"
    home.mkdir(exist_ok=True)
    _write_server_files(folder, port, {"HOME": str(home)} | dict(environment or {}), settings)
    _write_client_files(folder, port)
    with (folder / "sshd.log").open("wb") as log:
        command = [sshd, "-D", "-e", "-f", str(folder / "sshd_config")]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)
    try:
        _wait_until_it_listens(process, port, folder / "sshd.log")
        yield SshServer(folder=folder, port=port, process=process)
    finally:
        process.terminate()
        process.wait()


def _write_server_files(
    folder: Path, port: int, environment: Mapping[str, str], settings: Sequence[str]
) -> None:
    variables = [f"{name}={value}" for name, value in environment.items()]
    make_key(folder / "host_key")
    (folder / "authorized_keys").write_text(make_key(folder / "client_key") + "\n")
    lines = [
        f"Port {port}",
        f"ListenAddress {HOST}",
        f"HostKey {folder}/host_key",
        f"AuthorizedKeysFile {folder}/authorized_keys",
        f"PidFile {folder}/sshd.pid",
        "PermitRootLogin prohibit-password",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "StrictModes no",  # the folder is under /tmp, which anyone may write to
        "UsePAM no",
        "LogLevel VERBOSE",
        f"SetEnv {' '.join(variables)}",
        *settings,
    ]
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")


def _write_client_files(folder: Path, port: int) -> None:
    host_key = (folder / "host_key.pub").read_text()
    (folder / "known_hosts").write_text(f"[{HOST}]:{port} {host_key}")
    lines = [
        f"User {getpass.getuser()}",
        f"IdentityFile {folder}/client_key",
        "IdentitiesOnly yes",
        "IdentityAgent none",
        f"UserKnownHostsFile {folder}/known_hosts",
        "GlobalKnownHostsFile none",
    ]
    (folder / "client_config").write_text("\n".join(lines) + "\n")


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"sshd did not start: {log.read_text()}")
        try:
            with socket.create_connection((HOST, port), timeout=1):
                return
        except ConnectionRefusedError:
            time.sleep(0.05)
    pytest.fail(f"sshd does not listen: {log.read_text()}")
