"""LiteRT.js for the web bundle: the pinned package, the user's, or a line that says why not."""

import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from edgefer.download import DownloadError
from edgefer.errors import DataError, EdgeferError
from edgefer.shipping import litert_js
from edgefer.shipping.litert_js import NAMES, bundle_files

PACKAGE = {name: f"content of {name}".encode() for name in NAMES}
IN_BUNDLE = {f"litert/{Path(name).name}": content for name, content in PACKAGE.items()}


def tarball(files: Mapping[str, bytes]) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return whole.getvalue()


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], list[str]]:
    """Return a function that makes npm answer with some content; it returns what was asked."""

    def answer_with(content: bytes) -> list[str]:
        asked: list[str] = []

        def download(url: str, **_: object) -> bytes:
            asked.append(url)
            return content

        monkeypatch.setattr(litert_js, "download", download)
        return asked

    return answer_with


def without_licence(files: Mapping[str, bytes]) -> dict[str, bytes]:
    assert b"Apache License" in files["litert/LICENSE.txt"]
    return {name: content for name, content in files.items() if name != "litert/LICENSE.txt"}


def test_a_folder_of_the_package_is_taken_as_it_is(tmp_path: Path) -> None:
    for name, content in PACKAGE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert without_licence(bundle_files(tmp_path)) == IN_BUNDLE


def test_a_tarball_of_the_package_is_taken_and_nothing_else_in_it(tmp_path: Path) -> None:
    path = tmp_path / "core.tgz"
    path.write_bytes(tarball({**PACKAGE, "../../evil": b"", "dist/index.js": b"unused"}))
    assert without_licence(bundle_files(path)) == IN_BUNDLE


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"no tarball", "is no .tgz of the npm package @litertjs/core"),
        (tarball(PACKAGE)[:-200], "is no .tgz of the npm package @litertjs/core"),
        (tarball({"package.json": b"{}"}), "it has no wasm/litert_wasm_internal.js"),
    ],
    # A tarball holds the time at which it was made, so that none is a name for a test.
    ids=["not a tarball", "cut off", "without its wasm"],
)
def test_another_file_is_refused_in_one_line(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "core.tgz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=problem) as raised:
        bundle_files(path)
    assert str(raised.value).startswith(str(path))


def test_what_is_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        bundle_files(tmp_path / "none.tgz")
    with pytest.raises(DataError, match=r"it has no package\.json"):
        bundle_files(tmp_path)


def test_a_link_in_a_tarball_is_not_followed(tmp_path: Path) -> None:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/package.json")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    path = tmp_path / "core.tgz"
    path.write_bytes(whole.getvalue())
    with pytest.raises(DataError, match=r"it has no package\.json"):
        bundle_files(path)


def test_a_download_is_kept_for_the_next_time(
    tmp_path: Path, publish: Callable[[bytes], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = tarball(PACKAGE)
    monkeypatch.setattr(litert_js, "SHA512", hashlib.sha512(content).hexdigest())
    asked = publish(content)
    for _ in range(2):
        assert without_licence(bundle_files(None, cache=tmp_path)) == IN_BUNDLE
    assert asked == [litert_js.ADDRESS]


def test_a_kept_download_that_was_damaged_is_fetched_again(
    tmp_path: Path, publish: Callable[[bytes], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = tarball(PACKAGE)
    monkeypatch.setattr(litert_js, "SHA512", hashlib.sha512(content).hexdigest())
    asked = publish(content)
    (tmp_path / f"litertjs-core-{litert_js.VERSION}.tgz").write_bytes(content[:-1])
    assert without_licence(bundle_files(None, cache=tmp_path)) == IN_BUNDLE
    assert len(asked) == 1


def test_another_content_than_the_pinned_one_is_refused_and_not_kept(
    tmp_path: Path, publish: Callable[[bytes], list[str]]
) -> None:
    publish(tarball(PACKAGE))
    with pytest.raises(EdgeferError, match=r"is not what was published as .*--litert-js"):
        bundle_files(None, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*_: object, **__: object) -> bytes:
        raise DownloadError("Name or service not known")

    monkeypatch.setattr(litert_js, "download", download)
    with pytest.raises(EdgeferError) as raised:
        bundle_files(None, cache=tmp_path)
    assert str(raised.value) == (
        f"{litert_js.ADDRESS}: cannot be downloaded: Name or service not known; try again, or get "
        "the npm package @litertjs/core otherwise and give it as --litert-js"
    )
