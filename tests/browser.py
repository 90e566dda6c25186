"""Chromium as a person's browser: pages from this machine, a file chosen, a camera with a face."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import pytest

from edgefer.data.preprocessing import UInt8Array
from edgefer.shipping.server import BundleServer, listen, pages_of

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PATIENCE_S = 60


@contextmanager
def chromium(folder: Path, *arguments: str) -> Iterator[Chrome]:
    """Start Chromium with a new profile in `folder`; skip the test where it is not installed."""
    selenium = pytest.importorskip("selenium.webdriver", reason="needs selenium: edgefer[test]")
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("needs chromium and chromedriver: apt-get install chromium chromium-driver")
    options = selenium.ChromeOptions()
    options.binary_location = programs[0]
    for argument in (*QUIET, f"--user-data-dir={folder}", *arguments):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = selenium.ChromeService(executable_path=programs[1])
    browser = selenium.Chrome(options=options, service=service)
    try:
        browser.set_script_timeout(PATIENCE_S)
        browser.set_page_load_timeout(PATIENCE_S)
        yield browser
    finally:
        browser.quit()


def with_camera(video: Path) -> Sequence[str]:
    """Return the arguments that make a file the camera, which is allowed to every page."""
    return (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={video}",
    )


def write_camera_video(path: Path, picture: UInt8Array) -> Path:
    """Write an RGB picture as a camera that sees it all the time, YUV4MPEG2."""
    height, width = picture.shape[:2]
    frame = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).tobytes()
    header = f"YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420jpeg\n".encode()
    path.write_bytes(header + (b"FRAME\n" + frame) * 2)
    return path


@contextmanager
def serving(folder: Path) -> Iterator[BundleServer]:
    """Serve a bundle on a free port of this machine."""
    with listen(host="127.0.0.1", port=0) as server:
        server.pages = pages_of(folder)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def wait_for(browser: Chrome, script: str) -> Any:
    """Return what an expression of the page's JavaScript is, once it is true."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, PATIENCE_S, poll_frequency=0.05).until(
        lambda page: page.execute_script(f"return {script}")
    )


def logged(browser: Chrome) -> list[str]:
    """Return what the browser's console was told since it was last asked."""
    return [entry["message"] for entry in browser.get_log("browser")]


def text_of(browser: Chrome, selector: str) -> str:
    """Return the text that an element shows."""
    from selenium.webdriver.common.by import By

    return str(browser.find_element(By.CSS_SELECTOR, selector).text)


def computed(browser: Chrome, script: str, *arguments: object) -> Any:
    """Return what the body of an async function of the page returns; its error is the test's."""
    answer = browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        f"(async (...given) => {{ {script} }})(...[...arguments].slice(0, -1))"
        ".then((value) => done({ value }), (error) => done({ error: String(error.stack) }));",
        *arguments,
    )
    assert "error" not in answer, answer["error"]
    return answer["value"]


def requests_of_pages(net_log: Path) -> set[str]:
    """Return every address that a page or a worker asked for, of a browser that has ended."""
    log = json.loads(net_log.read_text())
    started = log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    return {
        event["params"]["url"]
        for event in log["events"]
        if event["type"] == started
        and event.get("params", {}).get("initiator", "not an origin") != "not an origin"
    }
