"""`edgefer demo`: the web bundle on this machine's own address, and nothing else of the machine."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import edgefer

from edgefer import calibration_data
from edgefer.errors import EdgeferError, UsageError
from edgefer.evaluation.opening import open_evaluated
from edgefer.models import bundled
from edgefer.models.contract import StatedContract
from edgefer.prediction.classifier import open_classifier
from edgefer.shipping.litert_js import NAMES
from edgefer.shipping.server import HEADERS, BundleServer, listen, pages_of


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a stand-in for the npm package, so that these tests need no network."""
    folder = tmp_path_factory.mktemp("litertjs") / "core"
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


@contextmanager
def demo(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `edgefer demo` until it tells its address; yields the process and the address."""
    with subprocess.Popen(
        [sys.executable, "-m", "edgefer", "demo", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            address = re.match(r"(http://\S+/)   \(Ctrl-C ends it\)\n", line)
            assert address is not None, line + (process.stderr.read() if process.stderr else "")
            yield process, address[1]
        finally:
            process.kill()


def get(address: str, path: str, method: str = "GET") -> tuple[int, http.client.HTTPMessage, bytes]:
    """Ask for exactly `path`, as no browser would spell it."""
    host, port = re.findall(r"http://(.+):(\d+)/", address)[0]
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        connection.putrequest(method, path, skip_host=False)
        connection.endheaders()
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def test_it_serves_the_bundle_until_ctrl_c_and_leaves_nothing(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with demo("--no-open", "--port", 0, "--litert-js", package) as (process, address):
        assert address.startswith("http://127.0.0.1:")
        status, headers, content = get(address, "/")
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert b"<h1>Facial expressions</h1>" in content
        assert get(address, "/model/model.tflite")[2] == bundled.INT8.read_bytes()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (130, "", "edgefer: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_one_line(package: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = edgefer("demo", "--no-open", "--port", port, "--litert-js", package)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"edgefer: error: port {port} is taken: give another --port\n"


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["none.tflite"], 4, "none.tflite: does not exist"),
        (["lanmsff"], 2, "is not a .tflite file: edgefer convert makes one of a checkpoint"),
        (["--litert-js", "none"], 4, "none: cannot be read: No such file or directory"),
        (["--host", "192.0.2.1"], 1, "192.0.2.1: cannot listen there: "),
        (["--host", "no.such.host.invalid"], 1, "no.such.host.invalid: cannot listen there: "),
        (["--port", "65536"], 2, "65536 is not in the range 0<=x<=65535"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    arguments: list[str], code: int, line: str, package: Path
) -> None:
    given = ["--port", "0", "--no-open", "--litert-js", str(package), *arguments]
    ended = edgefer("demo", *given)
    assert (ended.code, ended.out) == (code, "")
    assert line in ended.err
    assert ended.err.count("\n") == 1


def test_listening_on_all_addresses_is_warned_of(package: Path) -> None:
    arguments = ("--no-open", "--port", 0, "--host", "0.0.0.0", "--litert-js", package)  # noqa: S104
    with demo(*arguments) as (process, address):
        assert socket.gethostname() in address
        process.send_signal(signal.SIGINT)
        assert "warning: everyone in the network can open this page" in process.communicate()[1]


@pytest.mark.slow
def test_the_int8_model_that_edgefer_brings_is_what_convert_makes(tmp_path: Path) -> None:
    """Where it fails, put the file that `edgefer convert --int8` writes in its place."""
    ended = edgefer("convert", "--int8", "--no-evaluate", "-o", tmp_path)
    assert ended.code == 0, ended.err
    made, brought = (
        open_classifier(open_evaluated(path, StatedContract()))
        for path in (tmp_path / bundled.INT8.name, bundled.INT8)
    )
    assert made.labels == brought.labels
    faces = calibration_data.evaluation_faces().images[::6]
    changes = [float(abs(made(face) - brought(face)).max()) for face in faces]
    assert max(changes) <= 1 / 256


@pytest.fixture
def served(tmp_path: Path) -> Iterator[BundleServer]:
    """Serve a folder beside which a secret lies."""
    folder = tmp_path / "bundle"
    (folder / "js").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    for name in ("index.html", "js/app.js", "a b.tflite", "x.wasm", "m.mjs", "contract.md"):
        (folder / name).write_text(name)
    with listen(host="127.0.0.1", port=0) as server:
        server.pages = pages_of(folder)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "kind", "content"),
    [
        ("/", "text/html; charset=utf-8", "index.html"),
        ("/?build=x#there", "text/html; charset=utf-8", "index.html"),
        ("/js/app.js", "text/javascript; charset=utf-8", "js/app.js"),
        ("/m.mjs", "text/javascript; charset=utf-8", "m.mjs"),
        ("/x.wasm", "application/wasm", "x.wasm"),
        ("/a%20b.tflite", "application/octet-stream", "a b.tflite"),
        ("/contract.md", "text/plain; charset=utf-8", "contract.md"),
    ],
)
def test_a_file_comes_with_its_type_and_the_headers_for_threads(
    served: BundleServer, path: str, kind: str, content: str
) -> None:
    status, headers, body = get(served.address, path)
    assert (status, headers["Content-Type"], body.decode()) == (200, kind, content)
    assert {name: headers[name] for name in HEADERS} == HEADERS
    assert "Python" not in headers["Server"]
    assert get(served.address, path, "HEAD")[0::2] == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/secret.txt", "/../secret.txt", "/%2e%2e/secret.txt", "/js/../../secret.txt",
        "/..%2fsecret.txt", "//etc/passwd", "/etc/passwd", "/js", "/js/", "/%00", "/index.html/",
        "/%ff%fe", "/.", "*", "http://127.0.0.1/../secret.txt",
    ],
)  # fmt: skip
def test_nothing_but_the_bundle_is_served(served: BundleServer, path: str) -> None:
    status, headers, body = get(served.address, path)
    assert status == 404
    assert b"secret" not in body.replace(path.encode(), b"")
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_only_reading_is_answered(served: BundleServer) -> None:
    assert get(served.address, "/", "DELETE")[0] == 501


def test_a_browser_that_goes_away_is_passed_over(
    served: BundleServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(1 << 24))
    served.pages = {**served.pages, "/large": large}
    host, port = served.server_address[:2]
    for _ in range(3):
        with socket.create_connection((str(host), port)) as connection:
            connection.sendall(b"GET /large HTTP/1.1\r\n\r\n")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert get(served.address, "/")[0] == 200
    assert capfd.readouterr().err == ""


def test_it_listens_on_ipv6_too() -> None:
    try:
        server = listen(host="::1", port=0)
    except EdgeferError:
        pytest.skip("this machine has no IPv6")
    with server:
        assert server.is_local
        assert server.address == f"http://[::1]:{server.server_address[1]}/"


def test_a_port_below_1024_is_refused_to_common_users(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(BundleServer, "server_bind", refuse)
    with pytest.raises(UsageError, match="port 80 is not allowed: give a --port above 1023"):
        listen(host="127.0.0.1", port=80)
