"""The Android bundle's Kotlin code: all of it compiled, and what needs no phone run.

Needs the Kotlin compiler (`kotlinc`, found by PATH), a JVM, and Debian's packages junit4 and
libandroid-json-java, whose .jar files lie in EDGEFER_JAVA_LIBRARIES or /usr/share/java.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from mobile_bundles import KINDS, ship

from edgefer.prediction.detector import detector_input
from edgefer.shipping.targets import TARGETS

TESTS = Path(__file__).parent
DOCUMENTATION = TESTS.parent / "docs" / "android-and-ios.md"
PACKAGE = "edgefer/expressions"
LIBRARIES = ("junit4.jar", "hamcrest.jar", "com.android.json.jar")
QUICK_START = "-XX:TieredStopAtLevel=1"
"""The JVM's quick compiler alone: half the time for a program that runs for seconds."""

DETECTOR, CLASSIFIER, ANSWER = 0, 1, 2
"""The kinds of message that android_desk/Desk.kt sends."""


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """The bundle's classes, and what they run with."""

    program: Path
    libraries: tuple[Path, ...]

    def command(self, main: str, *arguments: str) -> list[str]:
        """Return how to start a class."""
        path = os.pathsep.join(map(str, (self.program, *self.libraries)))
        return ["java", "-cp", path, main, *arguments]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what makes the bundle of a kind of model, once."""
    folder = tmp_path_factory.mktemp("bundles")

    def made(kind: str) -> Path:
        path = folder / kind
        return path if path.exists() else ship(kind, "android", path)

    return made


@pytest.fixture(scope="module")
def compiled(bundle: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """Compile every Kotlin file of a bundle, and the documentation's, with stubs of Android."""
    libraries = required_libraries()
    compiler = required_tool("kotlinc")
    required_tool("java")
    folder = tmp_path_factory.mktemp("compiled")
    program, sample = folder / "bundle.jar", folder / "Sample.kt"
    sample.write_text(documented_sample(), encoding="utf-8")
    sources = [bundle("int8") / "src", TESTS / "android_stubs", TESTS / "android_desk", sample]
    ended = subprocess.run(
        [
            compiler, "-Werror", "-jvm-target", "11", "-include-runtime",
            "-classpath", os.pathsep.join(map(str, libraries)),
            "-d", program, *sources,
        ],
        env={**os.environ, "JAVA_OPTS": QUICK_START},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return Compiled(program=program, libraries=libraries)


def documented_sample() -> str:
    """Return the Kotlin code of the documentation."""
    (sample,) = re.findall(r"```kotlin\n(.*?)```", DOCUMENTATION.read_text("utf-8"), re.DOTALL)
    return str(sample)


def required_tool(name: str) -> str:
    return shutil.which(name) or pytest.skip(f"needs {name}")


def required_libraries() -> tuple[Path, ...]:
    folder = Path(os.environ.get("EDGEFER_JAVA_LIBRARIES", "/usr/share/java"))
    libraries = tuple(folder / name for name in LIBRARIES)
    for library in libraries:
        if not library.is_file():
            pytest.skip(f"needs {library}: install Debian's junit4 and libandroid-json-java")
    return libraries


def golden_test(compiled: Compiled, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the bundle's own JVM test where Gradle would run it."""
    return subprocess.run(
        compiled.command("org.junit.runner.JUnitCore", "edgefer.expressions.GoldenTest"),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_kotlin_code_compiles_without_a_warning(compiled: Compiled) -> None:
    """The glue to Android, the test on a device and the documentation's sample against stubs."""
    with zipfile.ZipFile(compiled.program) as program:
        classes = set(program.namelist())
    for name in ("BundledModels", "LiteRtNetwork", "AndroidPicturesKt", "ModelGoldenTest"):
        assert f"{PACKAGE}/{name}.class" in classes
    assert "ExpressionAnalyser.class" in classes


@pytest.mark.parametrize("kind", KINDS)
def test_the_bundles_own_test_passes_for_every_type_of_input(
    compiled: Compiled, bundle: Callable[[str], Path], kind: str
) -> None:
    ended = golden_test(compiled, bundle(kind))
    assert ended.returncode == 0, ended.stdout
    assert "OK (4 tests)" in ended.stdout


@pytest.mark.parametrize(
    ("name", "failed"),
    [
        ("golden/face-3-input.bin", "a face becomes exactly the bytes"),
        ("golden/scene-0-face-0-input.bin", "cut out of its scene by the same square"),
        ("golden/frame-3.rgb", "frame becomes exactly the same upright picture"),
        ("golden/face-0-output.bin", "the same probabilities and label"),
    ],
)
def test_the_bundles_own_test_fails_where_one_byte_differs(
    compiled: Compiled, bundle: Callable[[str], Path], tmp_path: Path, name: str, failed: str
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bundle("int8"), folder)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    ended = golden_test(compiled, folder)
    assert ended.returncode == 1
    assert failed in ended.stdout
    assert "Failures: 1" in ended.stdout


def test_the_kotlin_code_finds_and_names_the_same_faces_as_edgefer(
    compiled: Compiled, bundle: Callable[[str], Path]
) -> None:
    """From picture to labels, with LiteRT for Python in place of LiteRT for Android."""
    folder = bundle("int8")
    golden = json.loads((folder / "golden" / "golden.json").read_text())
    with subprocess.Popen(
        compiled.command("edgefer.expressions.DeskKt"),
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as desk:
        answers = list(served(desk, folder, scene_pictures(folder, golden)))
    assert desk.returncode == 0
    assert len(answers) == len(golden["scenes"]) > 0
    for scene, faces in zip(golden["scenes"], answers, strict=True):
        assert len(faces) == len(scene["faces"]) > 0
        for face, expected in zip(faces, scene["faces"], strict=True):
            assert face["box"] == expected["box"]
            assert face["square"] == expected["square"]
            assert face["label"] == expected["label"]
            assert face["score"] == pytest.approx(expected["score"], abs=1e-5)
            assert face["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-6)


def served(
    desk: subprocess.Popen[bytes], folder: Path, pictures: list[np.ndarray]
) -> Iterator[Any]:
    """Run the networks that the desk asks for, and yield what it says of each picture."""
    assert desk.stdin
    assert desk.stdout
    interpreters = {
        DETECTOR: Interpreter(str(folder / "model" / "face-detector.tflite")),
        CLASSIFIER: Interpreter(str(folder / "model" / "model.tflite")),
    }
    unseen = iter(pictures)
    while message := read_message(desk.stdout):
        kind, content = message
        if kind == ANSWER:
            yield json.loads(content)
            continue
        if kind == DETECTOR:
            seen = np.frombuffer(content, np.float32).reshape(256, 256, 3)
            np.testing.assert_array_equal(seen, detector_input(next(unseen), 256))
        outputs = run(interpreters[kind], content)
        desk.stdin.write(struct.pack(">i", len(outputs)))
        for output in outputs:
            desk.stdin.write(struct.pack(">i", len(output)) + output)
        desk.stdin.flush()


def read_message(pipe: IO[bytes]) -> tuple[int, bytes] | None:
    head = pipe.read(5)
    if not head:
        return None
    kind, length = struct.unpack(">bi", head)
    return kind, pipe.read(length)


def run(interpreter: Interpreter, content: bytes) -> list[bytes]:
    interpreter.allocate_tensors()
    (taken,) = interpreter.get_input_details()
    values = np.frombuffer(content, taken["dtype"]).reshape(taken["shape"])
    interpreter.set_tensor(taken["index"], values)
    interpreter.invoke()
    return [
        interpreter.get_tensor(given["index"]).tobytes()
        for given in interpreter.get_output_details()
    ]


def scene_pictures(folder: Path, golden: Any) -> list[np.ndarray]:
    return [
        np.fromfile(folder / "golden" / scene["picture"], np.uint8).reshape(
            scene["height"], scene["width"], 3
        )
        for scene in golden["scenes"]
    ]


def test_readme_and_documentation_name_the_versions_that_gradle_is_told() -> None:
    templates = TARGETS["android"].templates
    readme = (templates / "README.md.jinja").read_text(encoding="utf-8")
    build = (templates / "build.gradle.kts").read_text(encoding="utf-8")
    settings = (templates / "settings.gradle.kts").read_text(encoding="utf-8")
    (runtime,) = re.findall(r'implementation\("(com\.google\.ai\.edge\.litert:.*?)"\)', build)[:1]
    (minimum,) = re.findall(r"minSdk = (\d+)", build)
    (plugin,) = re.findall(r'"com\.android\.library"\) version "(\d+\.\d+)\.', settings)
    assert f"`{runtime}`" in readme
    assert f"minSdk {minimum}" in readme
    assert f"from {plugin} on" in readme
    for stated in (f"`{runtime}`", f"minSdk {minimum}", f"{plugin} or later"):
        assert stated in DOCUMENTATION.read_text(encoding="utf-8")
