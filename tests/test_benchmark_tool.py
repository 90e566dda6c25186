"""benchmark_model comes whole and for the right processor, or not at all."""

from __future__ import annotations

import hashlib
import shutil
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edgefer.benchmarks.fake_harness import BOARD
from edgefer.benchmarks.native import benchmark_tool, elf
from edgefer.benchmarks.native.benchmark_tool import (
    PUBLISHED,
    Tool,
    android_abi,
    find_tool,
)
from edgefer.errors import DeviceError, OutputError

Answer = Callable[[BaseHTTPRequestHandler], None]


def program(bits: int = 64, machine: int = 183, size: int = 4096) -> bytes:
    """Return a file with the headers of a program: one segment, and an empty table of sections."""
    width = {32: 1, 64: 2}[bits]
    start = struct.pack("<4s3B9x2HI", b"\x7fELF", width, 1, 1, 2, machine, 1)
    if bits == 64:
        header = struct.pack("<QQQIHHHHHH", 0, 64, size, 0, 64, 56, 1, 64, 0, 0)
        segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, size, size, 0)
    else:
        header = struct.pack("<IIIIHHHHHH", 0, 52, size, 0, 52, 32, 1, 40, 0, 0)
        segment = struct.pack("<IIIIIIII", 1, 0, 0, 0, size, size, 5, 0)
    return (start + header + segment).ljust(size, b"\1")


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], str]]:
    """Return a function that serves one answer for every request, and gives the base address."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    servers = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/binaries"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def content(body: bytes, *, announced: int | None = None) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(announced or len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def refused(source: str, tmp_path: Path) -> str:
    """Return why nothing could be downloaded; checks that nothing is kept."""
    with pytest.raises(DeviceError) as caught:
        find_tool(None, "arm64-v8a", "2.3.0", cache=tmp_path / "cache", source=source)
    assert not list(tmp_path.rglob("*benchmark_model*.part"))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    message = str(caught.value)
    address = f"{source}/2.3.0/android_arm64/benchmark_model: cannot be downloaded: "
    hint = "; try again, or get a benchmark_model otherwise and pass --tool"
    assert message.startswith(address)
    assert message.endswith(hint)
    return message.removeprefix(address).removesuffix(hint)


def test_a_published_tool_is_downloaded_once_and_kept(
    serve: Callable[[Answer], str], tmp_path: Path
) -> None:
    body = program(size=2_100_000)
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        content(body)(request)

    source = serve(answer)
    told: list[str] = []
    first = find_tool(
        None,
        "arm64-v8a",
        "2.3.0",
        cache=tmp_path,
        source=source,
        progress=told.append,
    )
    again = find_tool(None, "arm64-v8a", "2.3.0", cache=tmp_path, source=source)
    assert first == again
    assert first == Tool(
        path=tmp_path / "2.3.0/android_arm64/benchmark_model",
        sha256=hashlib.sha256(body).hexdigest(),
        version="2.3.0",
    )
    assert first.path.read_bytes() == body
    assert asked == ["/binaries/2.3.0/android_arm64/benchmark_model"]
    assert told == [f"downloading benchmark_model, {done} of 2 MB" for done in (0, 1, 2)]


def test_the_published_address_is_googles() -> None:
    assert PUBLISHED == "https://storage.googleapis.com/litert/binaries"


def test_a_kept_tool_that_is_no_longer_whole_is_downloaded_anew(
    serve: Callable[[Answer], str], tmp_path: Path
) -> None:
    source = serve(content(program()))
    tool = find_tool(None, "arm64-v8a", "2.3.0", cache=tmp_path, source=source)
    tool.path.write_bytes(program()[:1000])
    assert find_tool(None, "arm64-v8a", "2.3.0", cache=tmp_path, source=source) == tool
    assert tool.path.read_bytes() == program()


def test_a_download_that_breaks_off_is_refused(
    serve: Callable[[Answer], str], tmp_path: Path
) -> None:
    source = serve(content(program()[:1000], announced=4096))
    assert refused(source, tmp_path) == "it broke off after 1,000 of 4,096 bytes"


def test_a_truncated_program_is_refused_although_its_length_was_told(
    serve: Callable[[Answer], str], tmp_path: Path
) -> None:
    source = serve(content(program()[:1000]))
    assert refused(source, tmp_path) == "ends after 1,000 of at least 4,096 bytes"


def test_a_page_instead_of_a_program_is_refused(
    serve: Callable[[Answer], str], tmp_path: Path
) -> None:
    source = serve(content(b"<!DOCTYPE html><title>Sign in</title>"))
    assert refused(source, tmp_path) == "is not a program: it begins with b'<!DOCTYPE html><'"


def test_a_version_that_is_not_published_is_refused(
    serve: Callable[[Answer], str], tmp_path: Path
) -> None:
    source = serve(lambda request: request.send_error(404))
    assert refused(source, tmp_path) == "the server answers 404 Not Found"


@pytest.mark.parametrize("told", [True, False])
def test_a_huge_answer_is_refused_before_it_fills_the_memory(
    serve: Callable[[Answer], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setattr(benchmark_tool, "LARGEST_BYTES", 100_000)
    sent = 0

    def endless(request: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        request.send_response(200)
        if told:
            request.send_header("Content-Length", "4000000000")
        request.end_headers()
        try:
            while sent < 1_000_000_000:
                sent += request.wfile.write(bytes(10_000))
        except OSError:
            pass

    assert refused(serve(endless), tmp_path) == "it is larger than 100,000 bytes"
    assert sent < 1_000_000_000


def test_a_silent_server_is_not_waited_for(
    serve: Callable[[Answer], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark_tool, "SILENCE_S", 0.2)
    over = threading.Event()

    def silence(_: BaseHTTPRequestHandler) -> None:
        over.wait(30)

    assert "timed out" in refused(serve(silence), tmp_path)
    over.set()


def test_a_server_that_drips_is_not_waited_for(
    serve: Callable[[Answer], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark_tool, "TIMEOUT_S", 0.0)
    source = serve(content(program(size=200_000)))
    assert refused(source, tmp_path) == "it takes longer than 0 s"


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "refused" in refused("http://127.0.0.1:1/binaries", tmp_path)


@pytest.mark.parametrize("scheme", ["http", "ftp", "file"])
def test_a_redirection_away_from_https_is_not_followed(
    serve: Callable[[Answer], str], tmp_path: Path, scheme: str
) -> None:
    def redirect(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", f"{scheme}://127.0.0.1/elsewhere")
        request.end_headers()

    assert refused(serve(redirect), tmp_path) == "the server redirects to an address without https"


def test_a_redirection_to_https_is_followed(serve: Callable[[Answer], str], tmp_path: Path) -> None:
    """It ends at a server that speaks no TLS, which shows that it was tried."""
    other = serve(content(program())).replace("http://", "https://")

    def redirect(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", other)
        request.end_headers()

    assert "SSL" in refused(serve(redirect), tmp_path)


@pytest.mark.parametrize("source", ["file:///etc", "ftp://127.0.0.1/x"])
def test_only_web_addresses_are_opened(source: str, tmp_path: Path) -> None:
    assert "unknown url type" in refused(source, tmp_path)


def test_a_cache_that_cannot_be_written_to_is_named(
    serve: Callable[[Answer], str], tmp_path: Path
) -> None:
    (tmp_path / "2.3.0").write_text("a file where a folder is needed")
    with pytest.raises(OutputError, match=r"benchmark_model: cannot be written: Not a directory"):
        find_tool(None, "arm64-v8a", "2.3.0", cache=tmp_path, source=serve(content(program())))


@pytest.mark.parametrize("abi", ["armeabi-v7a", "x86_64", "x86", "riscv64"])
def test_for_other_processors_it_says_how_to_build_the_tool(abi: str, tmp_path: Path) -> None:
    with pytest.raises(DeviceError) as caught:
        find_tool(None, abi, "2.3.0", cache=tmp_path)
    assert str(caught.value) == (
        f"benchmark_model 2.3.0: is not published for {abi}: build it from "
        "github.com/google-ai-edge/LiteRT (bazel build --config=android "
        "//tflite/tools/benchmark:benchmark_model), and pass --tool"
    )


@pytest.mark.parametrize("abi", ["", "mips", "../../etc"])
def test_an_unknown_abi_is_named(abi: str, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="is not to be had for the ABI"):
        find_tool(None, abi, "2.3.0", cache=tmp_path)


@pytest.mark.parametrize("version", ["", "latest/../..", "2.3.0?x", "-1"])
def test_a_version_that_is_none_is_not_asked_for(version: str, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="is not published"):
        find_tool(None, "arm64-v8a", version, cache=tmp_path)


def test_the_users_own_tool_is_taken(tmp_path: Path) -> None:
    own = tmp_path / "my tool"
    own.write_bytes(program())
    assert find_tool(own, "arm64-v8a", "2.3.0", cache=tmp_path / "cache") == Tool(
        path=own, sha256=hashlib.sha256(program()).hexdigest(), version=None
    )
    assert not (tmp_path / "cache").exists()


def test_the_users_own_script_around_a_tool_is_taken(tmp_path: Path) -> None:
    own = tmp_path / "wrapper"
    own.write_text('#!/system/bin/sh\nLD_LIBRARY_PATH=. exec ./tool "$@"\n')
    assert find_tool(own, "arm64-v8a", "2.3.0", cache=tmp_path).path == own


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (program(64, 62), "is a 64-bit program for x86_64, not for arm64-v8a"),
        (program(32, 40), "is a 32-bit program for armeabi-v7a, not for arm64-v8a"),
        (program(64, 8), "is a 64-bit program for machine 8, not for arm64-v8a"),
        (program()[:30], "ends in its header"),
        (program()[:70], "ends in its header"),
        (b"", "is not a program: it begins with b''"),
        (b"\x7fELF", "is not a program: it begins with b'\\x7fELF'"),
    ],
)
def test_the_users_own_tool_has_to_fit(body: bytes, problem: str, tmp_path: Path) -> None:
    own = tmp_path / "tool"
    own.write_bytes(body)
    with pytest.raises(DeviceError) as caught:
        find_tool(own, "arm64-v8a", "2.3.0", cache=tmp_path)
    assert str(caught.value) == f"{own}: {problem}; give the benchmark_model for arm64-v8a"


def test_a_tool_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="missing: cannot be read: No such file or directory"):
        find_tool(tmp_path / "missing", "arm64-v8a", "2.3.0", cache=tmp_path)


def test_a_real_program_is_known_for_what_it_is() -> None:
    """Whatever this interpreter was built for; cut, it is no whole program any more."""
    real = Path(shutil.which("sh") or sys.executable).resolve().read_bytes()
    fits = [abi for abi in elf.ABIS if _fits(abi, real)]
    assert len(fits) == 1
    assert not _fits(fits[0], real[:-1])


def _fits(abi: str, body: bytes) -> bool:
    try:
        elf.require_program_for(abi, body)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("architecture", "bits", "abi"),
    [
        ("aarch64", 64, "arm64-v8a"),
        ("aarch64", 32, "armeabi-v7a"),
        ("armv8l", 32, "armeabi-v7a"),
        ("x86_64", 64, "x86_64"),
        ("mips", 32, "mips"),
    ],
)
def test_the_abi_is_that_of_the_programs_not_of_the_processor(
    architecture: str, bits: int, abi: str
) -> None:
    device = replace(BOARD, architecture=architecture, userland_bits=bits)
    assert android_abi(device) == abi
