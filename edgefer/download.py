"""A file from a web server: whole, of bounded size, within a time, and over https."""

from __future__ import annotations

import http.client
import os
import time
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from edgefer.progress import Progress

_CHUNK_BYTES = 64 * 1024
_REDIRECTIONS = range(300, 400)


class DownloadError(Exception):
    """A download failed; the message says how, without the address."""


def cache_folder() -> Path:
    """Return where the XDG base directory specification puts what can be fetched again."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if given.startswith("/") else Path.home() / ".cache"
    return base / "edgefer"


class _ToHttpsOnly(HTTPRedirectHandler):
    """Follows a redirection only to https, wherever it starts."""

    def redirect_request(
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> Request | None:
        if not newurl.startswith("https://"):
            raise HTTPError(req.full_url, code, msg, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(
    url: str,
    *,
    largest_bytes: int,
    silence_s: float,
    timeout_s: float,
    progress: Progress | None = None,
) -> bytes:
    """Return the content at `url`, an http or https address.

    Raises DownloadError where it cannot be had, is longer than `largest_bytes`, shorter than
    announced, silent for `silence_s`, or not there after `timeout_s`.
    """
    ends_at = time.monotonic() + timeout_s
    try:
        with _opener().open(url, timeout=silence_s) as response:
            announced = _announced_bytes(response)
            content = bytearray()
            while piece := response.read(_CHUNK_BYTES):
                content += piece
                if max(len(content), announced or 0) > largest_bytes:
                    raise DownloadError(f"it is larger than {largest_bytes:,} bytes")
                if time.monotonic() > ends_at:
                    raise DownloadError(f"it takes longer than {timeout_s:g} s")
                if progress:
                    progress(len(content), announced or len(content))
    except HTTPError as exc:
        with exc:
            if exc.code in _REDIRECTIONS:
                raise DownloadError("the server redirects to an address without https") from exc
            raise DownloadError(f"the server answers {exc.code} {exc.reason}") from exc
    except (URLError, http.client.HTTPException, OSError) as exc:
        raise DownloadError(str(getattr(exc, "reason", None) or exc or type(exc).__name__)) from exc
    if announced is not None and len(content) != announced:
        raise DownloadError(f"it broke off after {len(content):,} of {announced:,} bytes")
    return bytes(content)


def _opener() -> OpenerDirector:
    """Return what opens http and https, and unlike urllib's own nothing else."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        _ToHttpsOnly(),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
        UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _announced_bytes(response: http.client.HTTPResponse) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdigit() else None
