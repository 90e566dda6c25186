"""LiteRT.js, which runs the model in the web bundle: from npm, or from where the user has it.

Its WebAssembly is too large for everyone's install of edgefer. So it is downloaded when a web
bundle is made, once, and kept; the hash of the download is pinned here.
"""

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from edgefer import files
from edgefer.download import DownloadError, cache_folder, download
from edgefer.errors import DataError, EdgeferError
from edgefer.prediction import detector
from edgefer.progress import Progress

PACKAGE = "@litertjs/core"
VERSION = "2.5.3"
ADDRESS = f"https://registry.npmjs.org/{PACKAGE}/-/core-{VERSION}.tgz"
SHA512 = (
    "3e51a66cc3aaf568ad5fb14ed2385b749c3d1ad85ab6ccae0905e34edff0259a"
    "3414b6b0e3cab8b73f08c2a82a08892f8981abf4e1432f59029cde27cd6a3225"
)

FOLDER = "litert"
BUILDS = ("litert_wasm_internal", "litert_wasm_threaded_internal", "litert_wasm_compat_internal")
"""For one thread, for threads, and for browsers without relaxed SIMD."""

NAMES = (
    "package.json",
    *(f"wasm/{build}.{suffix}" for build in BUILDS for suffix in ("js", "wasm")),
)
"""What is taken from the package."""

LARGEST_DOWNLOAD_BYTES = 1 << 25
LARGEST_FILE_BYTES = 1 << 25
SILENCE_S = 30.0
TIMEOUT_S = 900.0

_LICENCE = detector.MODEL.with_name("LICENSE.Apache-2.0")
_ELSE = f"try again, or get the npm package {PACKAGE} otherwise and give it as --litert-js"


def bundle_files(
    given: Path | None, *, cache: Path | None = None, progress: Progress | None = None
) -> Mapping[str, bytes]:
    """Return the files of LiteRT.js by their path in a bundle.

    `given` is the npm package as a .tgz or a folder; without it the pinned version is downloaded
    to `cache`, or taken from there. Raises EdgeferError where it cannot be had, DataError where
    what is given is not the package, OutputError where it cannot be kept.
    """
    if given is not None:
        found = _of_folder(given) if given.is_dir() else _of_tarball(given, _read(given))
    else:
        kept = (cache or cache_folder() / "litert-js") / f"litertjs-core-{VERSION}.tgz"
        found = _of_tarball(kept, _published(kept, progress))
    placed = {f"{FOLDER}/{Path(name).name}": content for name, content in found.items()}
    return {**placed, f"{FOLDER}/LICENSE.txt": _LICENCE.read_bytes()}


def _published(kept: Path, progress: Progress | None) -> bytes:
    """Return the pinned tarball, downloaded unless it was before."""
    if kept.is_file():
        content = _read(kept)
        if _is_pinned(content):
            return content
    try:
        content = download(
            ADDRESS,
            largest_bytes=LARGEST_DOWNLOAD_BYTES,
            silence_s=SILENCE_S,
            timeout_s=TIMEOUT_S,
            progress=progress,
        )
    except DownloadError as exc:
        raise EdgeferError(f"{ADDRESS}: cannot be downloaded: {exc}; {_ELSE}") from exc
    if not _is_pinned(content):
        raise EdgeferError(f"{ADDRESS}: is not what was published as {VERSION}; {_ELSE}")
    files.write_bytes(kept, content)
    return content


def _is_pinned(content: bytes) -> bool:
    return hashlib.sha512(content).hexdigest() == SHA512


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise DataError(path, f"cannot be read: {exc.strerror or exc}") from exc


def _of_folder(folder: Path) -> dict[str, bytes]:
    for name in NAMES:
        if not (folder / name).is_file():
            raise DataError(folder, f"is not the npm package {PACKAGE}: it has no {name}")
    return {name: _read(folder / name) for name in NAMES}


def _of_tarball(path: Path, content: bytes) -> dict[str, bytes]:
    wanted = {f"package/{name}": name for name in NAMES}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                if file and member.name in wanted and member.size <= LARGEST_FILE_BYTES:
                    found[wanted[member.name]] = file.read()
    except (tarfile.TarError, OSError, EOFError, ValueError) as exc:
        raise DataError(path, f"is no .tgz of the npm package {PACKAGE}: {exc}") from exc
    missing = [name for name in NAMES if name not in found]
    if missing:
        raise DataError(path, f"is not the npm package {PACKAGE}: it has no {missing[0]}")
    return found
