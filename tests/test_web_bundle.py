"""The web bundle in Chromium: it computes what the desk does, and keeps everything to itself."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import shutil
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browser import (
    chromium,
    computed,
    logged,
    requests_of_pages,
    serving,
    text_of,
    wait_for,
    with_camera,
    write_camera_video,
)
from commands import edgefer
from face_pictures import picture, write_picture

from edgefer.data.images import read_image
from edgefer.data.preprocessing import UInt8Array
from edgefer.evaluation.opening import open_evaluated
from edgefer.models import bundled
from edgefer.models.contract import StatedContract
from edgefer.models.spec import ColourOrder, ModelSpec
from edgefer.prediction.boxes import Box
from edgefer.prediction.classifier import open_classifier
from edgefer.prediction.detector import FaceDetector
from edgefer.prediction.face_input import cut_out, input_values
from edgefer.prediction.predictor import Predictor
from edgefer.prediction.result import Face
from edgefer.shipping.job import ShippingJob, ship
from edgefer.shipping.server import BundleServer
from edgefer.shipping.targets import WEB
from edgefer.tensor import Tensor

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

STEP = 1 / 256
PLACES = ((90, 120), (430, 90))
READY = "document.querySelector('#status').textContent.startsWith('Ready')"
OFFLINE = "document.querySelector('#offline').textContent == 'kept on this device'"
ANSWERED = "document.querySelectorAll('.card').length"
GOLDEN_DONE = "document.querySelector('#rows tr') || document.querySelector('#problem').textContent"

COMPARE = """
const { compare } = await import("./js/golden.js");
const { bestBuild } = await import("./js/litert.js");
const { openPredictor } = await import("./js/predictor.js");
return compare(await openPredictor(given[0] ?? bestBuild()));
"""

PREDICT_A_CAMERA_FRAME = """
const { Camera } = await import("./js/camera.js");
const { PixelReader } = await import("./js/pictures.js");
const { bestBuild } = await import("./js/litert.js");
const { openPredictor } = await import("./js/predictor.js");
const predictor = await openPredictor(bestBuild());
const camera = await Camera.start("user");
for await (const video of camera.frames()) {
  const picture = new PixelReader().read(video, video.videoWidth, video.videoHeight);
  const { faces } = await predictor.predict(picture);
  camera.stop();
  return { faces, width: picture.width, pixels: Array.from(picture.pixels) };
}
"""


FACE_INPUT = """
const { FaceInput } = await import("./js/face-input.js");
const [contract, picture, square] = given;
return Array.from(new FaceInput(contract).of({ ...picture, channels: 3 }, square));
"""


def shipped(folder: Path, model: Path = bundled.INT8, stated: StatedContract | None = None) -> Path:
    """Write the web bundle of a model."""
    job = ShippingJob(model=model, target=WEB, folder=folder, stated=stated or StatedContract())
    ship(job)
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shipped(tmp_path_factory.mktemp("web") / "bundle")


@pytest.fixture(scope="module")
def server(bundle: Path) -> Iterator[BundleServer]:
    with serving(bundle) as server:
        yield server


@pytest.fixture(scope="module")
def camera_picture() -> UInt8Array:
    """Return what the camera sees: a boy who is surprised."""
    names = ("surprise/fer0032237.png",)
    return picture([(220, 120)], width=640, height=480, names=names)


@pytest.fixture(scope="module")
def chrome(
    tmp_path_factory: pytest.TempPathFactory, camera_picture: UInt8Array
) -> Iterator[Chrome]:
    folder = tmp_path_factory.mktemp("chromium")
    video = write_camera_video(folder / "camera.y4m", camera_picture)
    with chromium(folder / "profile", *with_camera(video)) as browser:
        yield browser


@pytest.fixture
def page(chrome: Chrome, server: BundleServer) -> Iterator[Chrome]:
    """Return the browser with the page open; at the end nothing must have gone wrong in it."""
    chrome.get(server.address)
    wait_for(chrome, READY)
    logged(chrome)  # what an earlier page left
    yield chrome
    chrome.get("about:blank")
    assert logged(chrome) == []


@pytest.fixture(scope="module")
def desk() -> Predictor:
    """Return edgefer's own way from a picture to an answer."""
    classifier = open_classifier(open_evaluated(bundled.INT8, StatedContract()))
    return Predictor(classifier, FaceDetector())


def choose(page: Chrome, file: Path) -> None:
    page.find_element("id", "photo").send_keys(str(file))


def shown_faces(page: Chrome) -> list[tuple[str, Mapping[str, float], Box]]:
    """Return label, scores by label, and box of each face on the page."""
    cards = page.execute_script(
        "return [...document.querySelectorAll('.card')].map((card) => ({"
        " label: card.querySelector('.top-label').textContent,"
        " scores: [...card.querySelectorAll('.bars li')].map((bar) =>"
        "   [bar.querySelector('.label').textContent, bar.querySelector('.score').textContent]),"
        " box: card.querySelector('.box').textContent }))"
    )
    faces: list[tuple[str, Mapping[str, float], Box]] = []
    for card in cards:
        scores = {label: float(text.rstrip("%")) / 100 for label, text in card["scores"]}
        width, height, left, top = map(int, re.findall(r"\d+", card["box"]))
        box = Box(left=left, top=top, right=left + width, bottom=top + height)
        faces.append((card["label"], scores, box))
    return faces


def pixels_apart(box: Box, other: Box) -> int:
    edges = ("left", "top", "right", "bottom")
    return max(abs(int(getattr(box, edge)) - int(getattr(other, edge))) for edge in edges)


def require_desks_answer(page: Chrome, expected: list[Face], desk: Predictor) -> None:
    """Compare what the page shows with the desk's faces; it shows tenths of a percent."""
    shown = shown_faces(page)
    assert len(shown) == len(expected) > 0
    for (label, scores, box), face in zip(shown, expected, strict=True):
        by_label = dict(zip(desk.classifier.labels, map(float, face.probabilities), strict=True))
        assert label == max(by_label, key=by_label.__getitem__)
        assert scores == pytest.approx(by_label, abs=STEP + 0.0005)
        assert pixels_apart(box, face.box) <= 1


@pytest.mark.parametrize(
    "build",
    ["litert_wasm_threaded_internal", "litert_wasm_internal", "litert_wasm_compat_internal"],
)
def test_every_build_of_litert_computes_the_golden_files(page: Chrome, build: str) -> None:
    result = computed(page, COMPARE, build)
    assert len(result["rows"]) >= 9
    for row in result["rows"]:
        assert row["inputDifferences"] == 0, row
        assert row["outputSteps"] <= 1, row
    assert sum(row["boxPixels"] is not None for row in result["rows"]) >= 2
    assert result["passed"]


def test_the_golden_page_says_that_it_passed(chrome: Chrome, server: BundleServer) -> None:
    chrome.get(f"{server.address}golden.html")
    wait_for(chrome, GOLDEN_DONE)
    assert text_of(chrome, "#status").startswith("Passed")


def test_the_golden_page_sees_what_differs(chrome: Chrome, bundle: Path, tmp_path: Path) -> None:
    """The tests above are worth what this comparison sees."""
    changed = tmp_path / "changed"
    shutil.copytree(bundle, changed)
    for name in ("face-1-input.bin", "face-2-output.bin"):
        content = np.fromfile(changed / "golden" / name, np.int8)
        content[3] += 2 if content[3] < 100 else -2
        content.tofile(changed / "golden" / name)
    golden = json.loads((changed / "golden/golden.json").read_text())
    golden["scenes"][0]["faces"][0]["box"][0] += 2
    (changed / "golden/golden.json").write_text(json.dumps(golden))
    with serving(changed) as server:
        chrome.get(f"{server.address}golden.html")
        wait_for(chrome, GOLDEN_DONE)
        assert text_of(chrome, "#status").startswith("Failed")
        rows = computed(chrome, COMPARE)["rows"]
    assert [row["inputDifferences"] for row in rows[:4]] == [0, 1, 0, 0]
    assert [row["outputSteps"] for row in rows[:4]] == [0, 0, 2, 0]
    assert [row["boxPixels"] for row in rows if row["boxPixels"] is not None][:2] == [2, 0]


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_photo_gets_the_desks_answer(
    page: Chrome, desk: Predictor, tmp_path: Path, suffix: str
) -> None:
    photo = write_picture(tmp_path / f"photo{suffix}", picture(PLACES))
    choose(page, photo)
    wait_for(page, ANSWERED)
    require_desks_answer(page, list(desk.faces(read_image(photo))), desk)
    assert text_of(page, "#status").startswith("2 faces: happiness")
    assert text_of(page, "#detector-last").endswith(" ms")
    assert text_of(page, "#classifier-median").endswith(" ms")


def test_a_photo_is_turned_upright_as_its_orientation_says(
    page: Chrome, desk: Predictor, tmp_path: Path
) -> None:
    turned = np.rot90(picture(PLACES))  # a quarter to the left, which orientation 6 undoes
    photo = tmp_path / "turned.jpg"
    photo.write_bytes(with_orientation(write_picture(tmp_path / "raw.jpg", turned).read_bytes(), 6))
    choose(page, photo)
    wait_for(page, ANSWERED)
    require_desks_answer(page, list(desk.faces(read_image(photo))), desk)


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Return a JPEG with an EXIF orientation."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def test_a_crop_is_taken_whole_when_that_is_asked_for(
    page: Chrome, desk: Predictor, tmp_path: Path
) -> None:
    crop = picture([(0, 0)], width=200, height=200)[:, 3:]
    page.find_element("id", "is-face").click()
    choose(page, write_picture(tmp_path / "crop.png", crop))
    wait_for(page, ANSWERED)
    require_desks_answer(page, list(Predictor(desk.classifier, None).faces(crop)), desk)


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_photo_may_be_dropped_or_pasted(page: Chrome, tmp_path: Path, event: str) -> None:
    photo = write_picture(tmp_path / "photo.png", picture(PLACES))
    computed(
        page,
        """
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(given[1])], "photo.png"));
        const event = given[0] === "drop"
          ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true })
          : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true });
        document.getElementById("stage").dispatchEvent(event);
        """,
        event,
        list(photo.read_bytes()),
    )
    assert wait_for(page, ANSWERED) == 2


def test_a_picture_without_a_face_is_said_and_clears_the_answer(
    page: Chrome, tmp_path: Path
) -> None:
    choose(page, write_picture(tmp_path / "photo.png", picture(PLACES)))
    wait_for(page, ANSWERED)
    choose(page, write_picture(tmp_path / "gray.png", picture([])))
    wait_for(page, "document.querySelector('#status').textContent == 'No face found.'")
    assert shown_faces(page) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.png", b"not an image", "notes.png is not an image that this browser can read."),
        ("empty.jpg", b"", "empty.jpg is not an image that this browser can read."),
        ("tiny.png", None, "The picture is 7×7 pixels."),
    ],
)
def test_a_file_that_is_no_picture_is_said_in_plain_words(
    page: Chrome, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    file = tmp_path / name
    if content is None:
        write_picture(file, picture([], width=7, height=7))
    else:
        file.write_bytes(content)
    choose(page, file)
    wait_for(page, "document.querySelector('#problem').textContent")
    assert text_of(page, "#problem").startswith(message)
    assert text_of(page, "#status") == ""


def test_the_camera_gets_the_desks_answer(
    page: Chrome, desk: Predictor, camera_picture: UInt8Array
) -> None:
    """First by label, as Chromium's colours from YUV are its own; then on the pixels it sees."""
    page.find_element("id", "camera").click()
    wait_for(page, "Number(document.querySelector('#classifier-count').textContent) >= 3")
    ((label, scores, box),) = shown_faces(page)
    page.find_element("id", "camera").click()
    assert text_of(page, "#status") == "The camera is off."
    (expected,) = desk.faces(camera_picture)
    assert label == "surprise"
    assert scores[label] == pytest.approx(float(expected.probabilities.max()), abs=0.1)
    assert box.overlap(expected.box) > 0.9

    seen = computed(page, PREDICT_A_CAMERA_FRAME)
    pixels = np.array(seen["pixels"], np.uint8).reshape(-1, seen["width"], 4)[:, :, :3]
    (face,) = desk.faces(np.ascontiguousarray(pixels))
    (found,) = seen["faces"]
    assert found["scores"] == pytest.approx([float(p) for p in face.probabilities], abs=STEP + 1e-6)
    assert pixels_apart(Box(**found["box"]), face.box) <= 1


def test_the_camera_is_switched_off_when_it_is_stopped(page: Chrome) -> None:
    page.execute_script(
        "const original = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);"
        "navigator.mediaDevices.getUserMedia = async (wanted) =>"
        "  window.given = await original(wanted);"
    )
    page.find_element("id", "camera").click()
    wait_for(page, ANSWERED)
    assert text_of(page, "#camera") == "Stop camera"
    page.find_element("id", "camera").click()
    assert text_of(page, "#camera") == "Start camera"
    assert page.execute_script("return given.getTracks().map((track) => track.readyState)") == [
        "ended"
    ]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("NotAllowedError", "The camera is not allowed for this page."),
        ("NotFoundError", "This device has no camera."),
        ("NotReadableError", "The camera does not answer."),
        (None, "A browser gives a camera only to a page on https or localhost."),
    ],
)
def test_a_camera_that_cannot_be_had_is_said_in_plain_words(
    page: Chrome, error: str | None, message: str
) -> None:
    page.execute_script(
        "Object.defineProperty(navigator, 'mediaDevices', { value: arguments[0] && {"
        " getUserMedia: async () => { throw new DOMException('no', arguments[0]); } } });",
        error,
    )
    page.find_element("id", "camera").click()
    wait_for(page, "document.querySelector('#problem').textContent")
    assert text_of(page, "#problem").startswith(message)
    assert text_of(page, "#camera") == "Start camera"


def test_a_browser_without_simd_is_said_in_plain_words(
    chrome: Chrome, server: BundleServer
) -> None:
    script = {"source": "WebAssembly.validate = () => false"}
    added = chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
    try:
        chrome.get(server.address)
        wait_for(chrome, "document.querySelector('#problem').textContent")
        assert text_of(chrome, "#problem").startswith("This browser has no WebAssembly SIMD")
        assert not chrome.find_element("id", "photo").is_enabled()
    finally:
        chrome.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_the_keyboard_reaches_everything_and_shows_where_it_is(page: Chrome) -> None:
    reached = []
    for _ in range(5):
        press(page, "TAB")
        name, outline = page.execute_script(
            "const here = document.activeElement;"
            "const seen = here.id === 'photo' ? here.nextElementSibling : here;"
            "return [here.id || here.textContent, getComputedStyle(seen).outlineStyle]"
        )
        assert outline == "solid", name
        reached.append(name)
    assert reached[:3] == ["photo", "camera", "is-face"]
    assert reached[3:] == ["contract.md", "Check this device against the desk"]
    page.execute_script("document.getElementById('camera').focus()")
    press(page, "SPACE")
    wait_for(page, ANSWERED)
    press(page, "SPACE")
    assert text_of(page, "#camera") == "Start camera"


def press(page: Chrome, key: str) -> None:
    from selenium.webdriver import ActionChains, Keys

    ActionChains(page).send_keys(getattr(Keys, key)).perform()


@pytest.mark.parametrize("width", [320, 390, 1440])
def test_the_page_fits_its_window(page: Chrome, tmp_path: Path, width: int) -> None:
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        choose(page, write_picture(tmp_path / "photo.png", picture(PLACES)))
        wait_for(page, ANSWERED)
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_server_that_knows_nothing_of_it_is_enough(
    chrome: Chrome, bundle: Path, tmp_path: Path
) -> None:
    """Without the headers for threads there is one thread, and the same answer."""
    with plain_server(bundle) as address:
        chrome.get(address)
        wait_for(chrome, READY)
        assert text_of(chrome, "#runtime") == "LiteRT.js, one thread and relaxed SIMD"
        choose(chrome, write_picture(tmp_path / "photo.png", picture(PLACES)))
        assert wait_for(chrome, ANSWERED) == 2


@contextmanager
def plain_server(folder: Path) -> Iterator[str]:
    """Serve a folder as `python -m http.server` does."""

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Silent, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def test_it_loads_and_answers_without_its_server(
    chrome: Chrome, bundle: Path, tmp_path: Path
) -> None:
    with serving(bundle) as server:
        chrome.get(server.address)
        wait_for(chrome, OFFLINE)
    chrome.refresh()
    wait_for(chrome, READY)
    assert text_of(chrome, "#runtime") == "LiteRT.js, threads and relaxed SIMD"
    choose(chrome, write_picture(tmp_path / "photo.png", picture(PLACES)))
    assert wait_for(chrome, ANSWERED) == 2


def test_no_request_leaves_the_pages_own_server(
    bundle: Path, camera_picture: UInt8Array, tmp_path: Path
) -> None:
    net_log = tmp_path / "net-log.json"
    video = write_camera_video(tmp_path / "camera.y4m", camera_picture)
    arguments = (*with_camera(video), f"--log-net-log={net_log}")
    with serving(bundle) as server:
        with chromium(tmp_path / "profile", *arguments) as browser:
            browser.get(server.address)
            wait_for(browser, OFFLINE)
            choose(browser, write_picture(tmp_path / "photo.png", picture(PLACES)))
            wait_for(browser, ANSWERED)
            browser.find_element("id", "camera").click()
            wait_for(browser, "document.querySelector('.top-label').textContent == 'surprise'")
        requested = requests_of_pages(net_log)
        assert f"{server.address}model/model.tflite" in requested
        assert [url for url in requested if not url.startswith(server.address)] == []


def test_a_strict_policy_forbids_the_page_any_other_address(page: Chrome) -> None:
    tried = computed(
        page, "return fetch('https://example.org/').then(() => 'answered', (error) => error.name)"
    )
    assert tried == "TypeError"
    assert "Content Security Policy" in logged(page)[0]


@pytest.mark.parametrize("kind", ["uint8", "int16", "float32"])
def test_a_small_model_of_another_type_comes_out_the_same(
    chrome: Chrome,
    quadrant_tflites: Mapping[str, Path],
    quadrant_spec: ModelSpec,
    tmp_path: Path,
    kind: str,
) -> None:
    stated = StatedContract(labels=quadrant_spec.labels, mean=(127.5,), std=(127.5,))
    with serving(shipped(tmp_path / "bundle", quadrant_tflites[kind], stated)) as server:
        chrome.get(f"{server.address}golden.html")
        wait_for(chrome, GOLDEN_DONE)
        assert text_of(chrome, "#status").startswith("Passed")


@pytest.mark.parametrize(
    ("colours", "kind", "scale", "zero_point"),
    [
        ("RGB", "uint8", 0.0186, 114),
        ("RGB", "int16", 0.0001, 0),
        ("GRAY", "int8", 0.0191, -7),
        ("GRAY", "float32", 0.0, 0),
    ],
)
def test_any_contract_is_fed_as_the_desk_feeds_it(
    page: Chrome, colours: str, kind: str, scale: float, zero_point: int
) -> None:
    """Whatever the normalisation and the size, byte for byte."""
    random = np.random.default_rng(3)
    channels = {"RGB": 3, "GRAY": 1}[colours]
    spec = ModelSpec(
        name="m", labels=("a", "b"), input_size=33, channels=channels,
        colour_order=ColourOrder(colours),
        mean=(123.7, 116.3, 103.5)[:channels], std=(58.4, 57.1, 57.4)[:channels],
    )  # fmt: skip
    contract = {
        "size": 33, "colour": colours.lower(), "type": kind, "scale": scale,
        "zero_point": zero_point, "mean": spec.mean, "std": spec.std,
    }  # fmt: skip
    tensor = Tensor(
        name="input", index=0, shape=(1, 33, 33, channels), declared_shape=(1, 33, 33, channels),
        dtype=np.dtype(kind), scale=scale, zero_point=zero_point,
    )  # fmt: skip
    for side in (9, 33, 50, 66, 91):
        image = random.integers(0, 256, (95, 97, 3)).astype(np.uint8)
        square = Box(left=2, top=3, right=2 + side, bottom=3 + side)
        values = computed(
            page,
            FACE_INPUT,
            contract,
            {"pixels": image.ravel().tolist(), "width": 97, "height": 95},
            dataclasses.asdict(square),
        )
        expected = input_values(cut_out(image, square), spec, tensor)
        np.testing.assert_array_equal(np.array(values, tensor.dtype), expected.ravel())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_other_types_of_inputs_and_outputs_come_out_the_same(
    chrome: Chrome, tmp_path: Path, kind: str
) -> None:
    model = converted(tmp_path, kind)
    with serving(shipped(tmp_path / "bundle", model)) as server:
        chrome.get(server.address)
        wait_for(chrome, READY)
        result = computed(chrome, COMPARE)
    assert result["passed"]
    if kind == "float32":
        assert max(row["outputSteps"] for row in result["rows"]) < 0.01


def converted(folder: Path, kind: str) -> Path:
    """Convert the bundled PAtt-Lite with inputs and outputs of a type."""
    arguments = ["--float32"] if kind == "float32" else ["--int8"]
    ended = edgefer(
        "convert", *arguments, "--no-evaluate", "--input-type", kind, "--output-type", kind,
        "-o", folder,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    (path,) = folder.glob("*.tflite")
    return path
