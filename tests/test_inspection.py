"""`edgefer inspect` tells what a .tflite says of itself, whoever made it."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from commands import edgefer

from edgefer import metadata
from edgefer.models.spec import ModelSpec

THEIRS = Path(__file__).parent / "golden/metadata/theirs.tflite"


def facts(model: Path) -> dict[str, str]:
    """Return the facts that the command prints, by their names."""
    ended = edgefer("inspect", model)
    assert (ended.code, ended.err.count("error")) == (0, 0), ended.err
    lines = [line.strip() for line in ended.out.split("\n\n")[0].splitlines()]
    return {name: value for name, _, value in (line.partition("  ") for line in lines)}


def test_what_another_tool_wrote_is_shown() -> None:
    found = facts(THEIRS)
    assert found["model"] == "Viertel. Das hellste Viertel eines Bildes."
    assert found["classes"] == "oben links, oben rechts, unten links, unten rechts"
    assert found["normalised"] == "(RGB pixel − 127.5) / 127.5"
    assert (found["author"], found["version"], found["licence"]) == ("Jemand", "v7", "CC0")
    assert found["scores"] == "Wie wahrscheinlich ein Viertel das hellste ist."
    assert found["files in it"] == "viertel"
    assert found["MediaPipe"] == "its ImageClassifier loads it"


def test_all_of_it_is_in_the_json() -> None:
    ended = edgefer("inspect", THEIRS, "--json")
    found = json.loads(ended.out)
    assert found["metadata"]["min_parser_version"] == "1.3.0"
    assert found["metadata"]["labels"] == found["spec"]["labels"]
    assert found["mediapipe_obstacle"] is None


def test_a_model_without_metadata_says_so(quadrant_tflites: Mapping[str, Path]) -> None:
    found = facts(quadrant_tflites["int8"])
    assert found["metadata"] == "none: the file says nothing of itself"
    assert "--labels" in found["batch"]
    assert "--input-type uint8" in found["MediaPipe"]


def test_labels_that_do_not_fit_are_shown_as_that(
    quadrant_tflites: Mapping[str, Path], quadrant_spec: ModelSpec, tmp_path: Path
) -> None:
    fewer = dataclasses.replace(quadrant_spec, labels=("a", "b"))
    path = tmp_path / "few.tflite"
    path.write_bytes(metadata.write(quadrant_tflites["uint8"].read_bytes(), fewer, {}))
    found = facts(path)
    assert found["classes"] == "a, b; they do not fit the output"
    assert found["batch"].endswith("has 4 outputs, but 2 labels are given for it")
    assert found["MediaPipe"] == "its ImageClassifier cannot: it has 4 outputs and 2 labels"
    ended = edgefer("inspect", path, "--labels", "a,b,c")
    assert (ended.code, ended.out) == (4, "")
    assert "has 4 outputs, but 3 labels are given for it" in ended.err


def test_a_model_that_is_no_classifier_is_shown_all_the_same(
    quadrant_tflites: Mapping[str, Path],
) -> None:
    found = facts(quadrant_tflites["two_inputs"])
    assert "a classifier has one of each" in found["batch"]


@pytest.mark.parametrize("damage", [b"M001", b"PK\1\2"])
def test_damaged_metadata_is_one_line(damage: bytes, tmp_path: Path) -> None:
    whole = THEIRS.read_bytes()
    path = tmp_path / "bad.tflite"
    path.write_bytes(whole.replace(damage, b"\0\0\0\0"))
    ended = edgefer("inspect", path)
    assert (ended.code, ended.out) == (4, "")
    (line,) = [line for line in ended.err.splitlines() if "error" in line]
    assert line.startswith(f"edgefer: error: {path}: its metadata is corrupt (")


def test_text_from_a_file_does_not_steer_the_terminal(
    quadrant_tflites: Mapping[str, Path], quadrant_spec: ModelSpec, tmp_path: Path
) -> None:
    hostile = dataclasses.replace(quadrant_spec, author="me\x1b[2J", licence="a\nb")
    path = tmp_path / "hostile.tflite"
    path.write_bytes(metadata.write(quadrant_tflites["uint8"].read_bytes(), hostile, {}))
    found = facts(path)
    assert (found["author"], found["licence"]) == (r"me\x1b[2J", r"a\nb")
