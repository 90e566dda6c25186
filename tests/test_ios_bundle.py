"""The iOS bundle's Swift code: parsed, held against the code that does run, and run where it can.

The parser is tree-sitter's grammar of Swift. It says what is not Swift, not what has a wrong type.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from mobile_bundles import ship

from edgefer.prediction import blaze_face
from edgefer.shipping import camera_frames
from edgefer.shipping.targets import TARGETS

DOCUMENTATION = Path(__file__).parents[1] / "docs" / "android-and-ios.md"
IOS = TARGETS["ios"].templates
SWIFT = IOS / "Sources" / "FaceExpressions"
KOTLIN = TARGETS["android"].templates / "src/main/kotlin/edgefer/expressions"
ARITHMETIC = (
    "Picture",
    "Resize",
    "CameraFrame",
    "TensorFormat",
    "FaceInput",
    "BlazeFace",
    "FaceDetector",
)
"""What is computed, by its file's name in both languages."""


def swift_files() -> list[Path]:
    return sorted(IOS.rglob("*.swift"))


def mistakes(source: bytes) -> list[str]:
    """Return the lines in which the parser finds what is not Swift."""
    tree_sitter = pytest.importorskip("tree_sitter", reason="needs tree-sitter")
    grammar = pytest.importorskip("tree_sitter_swift", reason="needs tree-sitter-swift")
    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    nodes = [parser.parse(source).root_node]
    found = []
    while nodes:
        node = nodes.pop()
        nodes.extend(node.children)
        if node.type == "ERROR" or node.is_missing:
            found.append(f"line {node.start_point[0] + 1}: {node.text.decode()[:60]}")
    return found


@pytest.mark.parametrize("path", swift_files(), ids=lambda path: path.name)
def test_every_file_is_swift(path: Path) -> None:
    assert mistakes(path.read_bytes()) == []


def test_the_documented_sample_is_swift() -> None:
    (sample,) = re.findall(r"```swift\n(.*?)```", DOCUMENTATION.read_text("utf-8"), re.DOTALL)
    assert mistakes(sample.encode()) == []


@pytest.mark.parametrize(
    "source", ["func f( {}", "let x = [1, 2", "fun f() = 3", "struct A { let b: Int", "if { }"]
)
def test_the_parser_sees_what_is_not_swift(source: str) -> None:
    assert mistakes(source.encode())


def telling_numbers(path: Path) -> set[float]:
    """Return the numbers in a file's code that mean something: not 0 to 4, as in indices."""
    source = re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    source = re.sub(r'"[^"\n]*"', "", source)
    numbers = re.findall(r"(?<![\w.])(?:0x[0-9A-Fa-f]+|\d+(?:\.\d+)?)", source)
    values = {float(int(text, 16) if "0x" in text else float(text)) for text in numbers}
    return {value for value in values if value > 4 or value % 1}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_swift_computes_with_the_numbers_of_kotlin(name: str) -> None:
    """Kotlin's arithmetic is run, bit for bit, by test_android_bundle.py."""
    swift = telling_numbers(SWIFT / f"{name}.swift")
    kotlin = telling_numbers(KOTLIN / f"{name}.kt")
    masks = {255.0}  # Kotlin's bytes have a sign, and are masked
    assert swift - masks == kotlin - masks


def test_swift_and_kotlin_find_faces_with_the_numbers_of_edgefer() -> None:
    grids = {float(number) for grid in blaze_face.GRIDS for number in grid if number > 4}
    expected = {*grids, blaze_face.LEAST_SCORE, blaze_face.SAME_FACE_OVERLAP, 80.0, 256.0, 896.0}
    assert telling_numbers(SWIFT / "BlazeFace.swift") == expected
    assert telling_numbers(KOTLIN / "BlazeFace.kt") == expected


@pytest.mark.parametrize(
    "frame", [SWIFT / "CameraFrame.swift", KOTLIN / "CameraFrame.kt"], ids=["Swift", "Kotlin"]
)
def test_camera_frames_are_converted_by_the_documented_numbers(frame: Path) -> None:
    formula = re.search(r"\n    R = .*?B = [^\n]*", str(camera_frames.__doc__), re.DOTALL)
    assert formula
    documented = {float(number) for number in re.findall(r"\d+", formula.group())}
    assert documented == {91881.0, 22554.0, 46802.0, 116130.0, 32768.0, 16.0}
    assert documented <= telling_numbers(frame)


def test_readme_and_documentation_name_the_versions_that_the_package_asks_for() -> None:
    documentation = DOCUMENTATION.read_text(encoding="utf-8")
    readme = (IOS / "README.md.jinja").read_text(encoding="utf-8")
    package = (IOS / "Package.swift").read_text(encoding="utf-8")
    (branch,) = re.findall(r'branch: "(.*?)"', package)
    (ios, macos) = re.findall(r"\.(?:iOS|macOS)\(\.v(\d+)\)", package)
    assert f"`{branch}`" in readme
    assert f"iOS {ios} and macOS {macos}" in readme
    assert f"branch `{branch}`" in documentation
    assert f"iOS {ios}, macOS {macos}" in documentation


def test_the_bundles_own_test_passes(tmp_path: Path) -> None:
    if not shutil.which("swift"):
        pytest.skip("needs the Swift toolchain: swift.org/install")
    folder = ship("int8", "ios", tmp_path / "bundle")
    ended = subprocess.run(
        ["swift", "test"],  # noqa: S607
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
