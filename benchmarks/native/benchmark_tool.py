"""The benchmark_model for a device: the user's own, or the one that Google publishes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgefer import files
from edgefer.benchmarks.native import elf
from edgefer.benchmarks.result import DeviceDescription
from edgefer.download import DownloadError, download
from edgefer.errors import DeviceError
from edgefer.progress import Progress

PUBLISHED = "https://storage.googleapis.com/litert/binaries"
"""Then come the version of ai-edge-litert, the platform, and the tool's name."""

NAME = "benchmark_model"

LARGEST_BYTES = 256 * 1024 * 1024
SILENCE_S = 30.0
TIMEOUT_S = 900.0

_PLATFORMS = {"arm64-v8a": "android_arm64"}
"""Of Android's, the one that Google publishes for."""

_ABIS = {
    ("aarch64", 64): "arm64-v8a",
    ("aarch64", 32): "armeabi-v7a",
    ("armv8l", 32): "armeabi-v7a",
    ("armv7l", 32): "armeabi-v7a",
    ("x86_64", 64): "x86_64",
    ("x86_64", 32): "x86",
    ("i686", 32): "x86",
    ("riscv64", 64): "riscv64",
}
"""By `uname -m` and the bits of the programs that run there."""

_VERSION = re.compile(r"[0-9][0-9A-Za-z.]*")
_SCRIPT = b"#!"

Say = Callable[[str], None]
"""Called with what is being done now."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A benchmark_model on this machine; `version` is None where the user gave it."""

    path: Path
    sha256: str
    version: str | None


def android_abi(description: DeviceDescription) -> str:
    """Return Android's name for what a device runs; its processor's own where there is none."""
    kind = (description.architecture, description.userland_bits)
    return _ABIS.get(kind, description.architecture)


def find_tool(
    given: Path | None,
    abi: str,
    version: str,
    *,
    cache: Path,
    progress: Say | None = None,
    source: str = PUBLISHED,
) -> Tool:
    """Return the tool for an Android ABI: `given`, or the published one of this version.

    A published one is downloaded once and kept in `cache`. Raises
    DeviceError where it cannot be had or is not for that ABI, OutputError where `cache` cannot be
    written to.
    """
    if abi not in elf.ABIS:
        known = ", ".join(elf.ABIS)
        raise DeviceError(NAME, f"is not to be had for the ABI {abi!r}; it is for {known}")
    if given is not None:
        return _own_tool(given, abi)
    if abi not in _PLATFORMS or not _VERSION.fullmatch(version):
        raise DeviceError(
            f"{NAME} {version}",
            f"is not published for {abi}: build it from github.com/google-ai-edge/LiteRT "
            f"(bazel build --config=android //tflite/tools/benchmark:{NAME}), and pass --tool",
        )
    place = f"{version}/{_PLATFORMS[abi]}/{NAME}"
    kept = cache / place
    content = _kept_content(kept, abi)
    if content is None:
        content = _published_content(f"{source}/{place}", abi, progress)
        files.write_bytes(kept, content)
    return Tool(path=kept, sha256=hashlib.sha256(content).hexdigest(), version=version)


def _own_tool(path: Path, abi: str) -> Tool:
    """Take the user's file: a program for the ABI, or a script that starts one."""
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise DeviceError(str(path), f"cannot be read: {exc.strerror}") from exc
    if not content.startswith(_SCRIPT):
        try:
            elf.require_program_for(abi, content)
        except ValueError as exc:
            raise DeviceError(str(path), f"{exc}; give the {NAME} for {abi}") from exc
    return Tool(path=path, sha256=hashlib.sha256(content).hexdigest(), version=None)


def _kept_content(path: Path, abi: str) -> bytes | None:
    """Return what was downloaded before; None where it is not there or no longer whole."""
    try:
        content = path.read_bytes()
        elf.require_program_for(abi, content)
    except (OSError, ValueError):
        return None
    return content


def _published_content(url: str, abi: str, progress: Say | None) -> bytes:
    try:
        content = download(
            url,
            largest_bytes=LARGEST_BYTES,
            silence_s=SILENCE_S,
            timeout_s=TIMEOUT_S,
            progress=_megabytes(progress) if progress else None,
        )
        elf.require_program_for(abi, content)
    except (DownloadError, ValueError) as exc:
        raise DeviceError(
            url,
            f"cannot be downloaded: {exc}; try again, or get a {NAME} otherwise and pass --tool",
        ) from exc
    return content


def _megabytes(say: Say) -> Progress:
    """Return what tells `say` of every megabyte."""
    told = -1

    def progress(done: int, total: int) -> None:
        nonlocal told
        if done // 1_000_000 > told:
            told = done // 1_000_000
            say(f"downloading {NAME}, {told} of {total // 1_000_000} MB")

    return progress
