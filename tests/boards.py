"""Raspberry Pis without the hardware, as fixtures; emulated_board/README.md says what they are."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "emulated_board"
FOLDER = Path(os.environ.get("EDGEFER_BOARD", "/var/lib/edgefer-board")).resolve()

SSH_OPTIONS = ("-F", str(FOLDER / "ssh/config"))
"""What ssh and scp need to know the boards' key, and the boards theirs."""

# The packages that have them are in .ci/apt-packages.txt.
TOOLS = (
    "apt-get", "dpkg-deb", "qemu-aarch64-static", "setpriv", "scp", "ssh", "ssh-keygen", "sshd",
    "taskset", "unshare", "update-binfmts",
)  # fmt: skip

CORES_OF_A_PI = 4
START_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A model of board: its /proc/cpuinfo, and the processor in QEMU's words."""

    name: str
    processor: str


PI_4 = Kind(name="pi4", processor="cortex-a72")
PI_5 = Kind(name="pi5", processor="cortex-a76")


@dataclass(frozen=True, kw_only=True)
class Board:
    """A running board. Its home, /tmp and /run are empty at the start and gone at the end."""

    port: int

    @property
    def address(self) -> str:
        """The board as a user writes it."""
        return f"ssh://root@127.0.0.1:{self.port}"

    def run(self, script: str) -> str:
        """Return what a shell script prints on the board, by ssh alone."""
        process = subprocess.run(self._ssh(script), stdout=subprocess.PIPE, text=True, check=True)
        return process.stdout

    def copy_home(self, other: Board) -> None:
        """Copy all in this board's home to another's."""
        with subprocess.Popen(self._ssh("tar --create ."), stdout=subprocess.PIPE) as archive:
            subprocess.run(other._ssh("tar --extract"), stdin=archive.stdout, check=True)
        assert archive.returncode == 0

    def put(self, path: Path) -> None:
        """Copy a file or a folder of this machine into the board's home."""
        pack = ["tar", "--create", "--directory", str(path.parent), path.name]
        with subprocess.Popen(pack, stdout=subprocess.PIPE) as archive:
            subprocess.run(self._ssh("tar --extract"), stdin=archive.stdout, check=True)
        assert archive.returncode == 0

    def cut(self) -> None:
        """Cut all connections; sshd itself goes on."""
        with suppress(subprocess.CalledProcessError):  # this one too
            self.run("kill -KILL $(pgrep -f '^sshd: root')")

    def processes(self) -> list[str]:
        """Return the command lines of all that runs on the board but sshd and this question."""
        listing = self.run("ps -e --no-headers -o stat= -o args=; true").splitlines()
        return [
            line
            for line in listing
            if not line.startswith("Z") and "sshd" not in line and "ps -e " not in line
        ]

    def _ssh(self, script: str) -> list[str]:
        return ["ssh", *SSH_OPTIONS, "-p", str(self.port), "root@127.0.0.1", script]


@pytest.fixture(scope="session")
def pi4(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """Return an emulated Raspberry Pi 4 that lasts as long as the tests."""
    with running(PI_4, tmp_path_factory.mktemp(PI_4.name)) as board:
        yield board


@pytest.fixture(scope="session")
def pi5(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """Return an emulated Raspberry Pi 5 that lasts as long as the tests."""
    with running(PI_5, tmp_path_factory.mktemp(PI_5.name)) as board:
        yield board


@pytest.fixture(scope="module")
def ssh_knows_boards() -> Iterator[None]:
    """Put first in PATH an `ssh` and `scp` that have SSH_OPTIONS built in, for the command line.

    HOME cannot do that: ssh reads the configuration in the home of the user database.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{FOLDER / 'ssh/bin'}:{os.environ['PATH']}")
        yield


@contextmanager
def running(
    kind: Kind,
    folder: Path,
    *,
    home: str = "size=1g",
    temporary: str = "size=1g",
    path: str = "/usr/bin:/bin",
) -> Iterator[Board]:
    """Start a board that ends with the block; its log and configuration go to `folder`.

    `home` and `temporary` are mount options of its home and its /tmp, such as `ro` or `size=64k`;
    `path` is where its commands are. Skips the test where this machine cannot have a board, or
    fails it in CI.
    """
    require_machine()
    subprocess.run([SOURCE / "build", FOLDER], check=True)
    board = Board(port=_free_port())
    _write_configuration(folder, board.port, kind, path)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            _start_command(folder, home, temporary),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _wait_for(board.port, process, folder / "log")
        yield board
    finally:
        process.kill()
        process.wait()


def require_machine() -> None:
    """Skip where no board can be emulated; fail instead in CI, except in a sandbox."""
    missing = [tool for tool in TOOLS if shutil.which(tool, path=_search_path()) is None]
    if sys.platform != "linux" or os.geteuid() != 0:
        problem = "an emulated board needs Linux and root"
    elif missing:
        problem = f"an emulated board needs {', '.join(missing)}; see .ci/apt-packages.txt"
    elif not _may_mount():
        pytest.skip("an emulated board needs to mount, which this sandbox forbids even to root")
    else:
        return
    if "CI" in os.environ:
        pytest.fail(problem)
    pytest.skip(problem)


def _may_mount() -> bool:
    attempt = ["unshare", "--mount", "--pid", "--fork", "mount", "-t", "proc", "proc", "/proc"]
    return subprocess.run(attempt, capture_output=True, check=False).returncode == 0


def _search_path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _cores() -> list[int]:
    """Return the host's cores that are the board's."""
    return sorted(os.sched_getaffinity(0))[:CORES_OF_A_PI]


def _start_command(folder: Path, home: str, temporary: str) -> list[str]:
    cores = ",".join(map(str, _cores()))
    return [
        *("setpriv", "--pdeathsig", "KILL", "taskset", "--cpu-list", cores),
        *("unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child"),
        *(str(SOURCE / "start"), str(folder), str(FOLDER / "root"), home, temporary),
    ]


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"the emulated board did not start:\n{log.read_text(errors='replace')}")


def _write_configuration(folder: Path, port: int, kind: Kind, path: str) -> None:
    cores = _cores()
    (folder / "cpuinfo").write_text(_cpuinfo(kind, cores))
    (folder / "online").write_text(",".join(map(str, cores)) + "\n")
    (folder / "sshd_config").write_text(f"""\
Port {port}
ListenAddress 127.0.0.1
HostKey {FOLDER}/ssh/host
AuthorizedKeysFile {FOLDER}/ssh/user.pub
PidFile none
UsePAM no
ChrootDirectory {FOLDER}/root
Subsystem sftp internal-sftp
SetEnv QEMU_CPU={kind.processor} PATH={path}
""")


def _cpuinfo(kind: Kind, cores: list[int]) -> str:
    """Return a Pi's /proc/cpuinfo with as many processors as there are, by their numbers here."""
    *processors, machine = (SOURCE / f"{kind.name}.cpuinfo").read_text().split("\n\n")
    numbered = [
        re.sub(r"^(processor\t: )\d+", rf"\g<1>{core}", processor)
        for processor, core in zip(processors, cores, strict=False)
    ]
    return "\n\n".join([*numbered, machine])
