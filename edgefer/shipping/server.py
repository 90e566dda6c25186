"""A web server for one bundle: the files that it has, and nothing else of the machine."""

from __future__ import annotations

import errno
import http
import ipaddress
import shutil
import socket
import sys
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from urllib.parse import unquote, urlsplit

from edgefer.errors import EdgeferError, UsageError

HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-cache",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""The first two about other origins are what a browser wants to see before it gives threads."""

TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/plain; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}
OTHER_TYPE = "application/octet-stream"

SILENCE_S = 30.0
"""A connection on which nothing comes for so long is closed."""

_START_PAGE = "index.html"


class BundleServer(ThreadingTCPServer):
    """Answers with the files in `pages`, by what a request names; it listens once it is made."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, *, host: str, port: int) -> None:
        self.pages: Mapping[str, Path] = {}
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    @property
    def address(self) -> str:
        """Where a browser finds it; by this machine's name where it listens on all addresses."""
        host, port = self.server_address[:2]
        ip = ipaddress.ip_address(str(host))
        name = socket.gethostname() if ip.is_unspecified else f"[{ip}]" if ip.version == 6 else ip
        return f"http://{name}:{port}/"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(str(self.server_address[0])).is_loopback

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over a browser that went away in the middle of an answer."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def listen(*, host: str, port: int) -> BundleServer:
    """Return a server without pages yet; 0 is any port that is free.

    Raises UsageError where the port is taken or not allowed, EdgeferError where the host is not
    this machine.
    """
    try:
        return BundleServer(host=host, port=port)
    except PermissionError as exc:
        raise UsageError(f"port {port} is not allowed: give a --port above 1023") from exc
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            raise UsageError(f"port {port} is taken: give another --port") from exc
        raise EdgeferError(f"{host}: cannot listen there: {exc.strerror or exc}") from exc


def pages_of(folder: Path) -> Mapping[str, Path]:
    """Return the files of a folder by what a request names; a folder stands for its start page."""
    found = {
        f"/{path.relative_to(folder).as_posix()}": path
        for path in folder.rglob("*")
        if path.is_file()
    }
    starts = {
        name.removesuffix(_START_PAGE): path
        for name, path in found.items()
        if path.name == _START_PAGE
    }
    return {**found, **starts}


class _Handler(BaseHTTPRequestHandler):
    """Looks a request up among the pages: what is not among them is not there."""

    server: BundleServer
    protocol_version = "HTTP/1.1"
    timeout = SILENCE_S

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def _answer(self, *, with_content: bool) -> None:
        page = self.server.pages.get(unquote(urlsplit(self.path).path))
        if page is None:
            self.send_error(http.HTTPStatus.NOT_FOUND)
            return
        with page.open("rb") as file:
            self.send_response(http.HTTPStatus.OK)
            self.send_header("Content-Type", TYPES.get(page.suffix, OTHER_TYPE))
            self.send_header("Content-Length", str(page.stat().st_size))
            self.end_headers()
            if with_content:
                shutil.copyfileobj(file, self.wfile)

    def end_headers(self) -> None:
        """Add what every answer has, errors too."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def version_string(self) -> str:
        """Return what the server says of itself: not which Python it is."""
        return "edgefer"

    def log_message(self, *_: object) -> None:
        """Stay silent: the terminal belongs to the command."""
