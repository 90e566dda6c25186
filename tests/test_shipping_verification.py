"""`edgefer ship --verify`: what differs in a bundle is named, what is hostile is refused."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import QUADRANT, rewrite, seal, ship_quadrant
from commands import edgefer

from edgefer.errors import DataError, ModelError
from edgefer.shipping.manifest import MANIFEST, is_inside
from edgefer.shipping.verification import require_intact, verify


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle that nothing was done to."""
    folder = tmp_path_factory.mktemp("whole") / "bundle"
    ship_quadrant(folder)
    return folder


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    """Return a copy of it to spoil."""
    return Path(shutil.copytree(whole, tmp_path / "bundle"))


def problems(folder: Path) -> list[tuple[str, str]]:
    return [(problem.file, problem.problem) for problem in verify(folder).problems]


def sealed_problems(folder: Path) -> list[tuple[str, str]]:
    """Return what differs once the hashes fit again, so that the golden check has to see it."""
    seal(folder)
    return problems(folder)


def golden_of(folder: Path) -> Any:
    return json.loads((folder / "golden/golden.json").read_text())


def change_golden(folder: Path, change: Callable[[Any], None]) -> None:
    rewrite(folder / "golden/golden.json", change)


def change_values(path: Path, change: Callable[[np.ndarray], None], dtype: type = np.int8) -> None:
    values: np.ndarray = np.fromfile(path, dtype)
    change(values)
    values.tofile(path)


# The files


def test_a_bundle_as_edgefer_made_it_passes(whole: Path) -> None:
    verification = verify(whole)
    assert verification.problems == ()
    assert verification.golden is not None
    require_intact(verification, whole)


def test_what_was_changed_missing_and_added_is_named(bundle: Path) -> None:
    (bundle / "README.md").write_text("other")
    (bundle / "requirements.txt").unlink()
    (bundle / "notes.txt").write_text("mine")
    assert problems(bundle) == [
        ("README.md", "was changed"),
        ("requirements.txt", "is missing"),
        ("notes.txt", "was added"),
    ]
    with pytest.raises(
        DataError, match=r"3 files are not as edgefer made them: README\.md, requirements\.txt, no"
    ):
        require_intact(verify(bundle), bundle)


def test_code_that_was_changed_does_not_keep_the_golden_files_from_being_run(bundle: Path) -> None:
    (bundle / "recognise.py").write_text("pass")
    assert verify(bundle).golden is not None


def test_a_model_or_a_golden_file_that_was_changed_is_not_run(bundle: Path) -> None:
    (bundle / "model/model.tflite").write_bytes(b"anything")
    verification = verify(bundle)
    assert verification.golden is None
    assert [problem.file for problem in verification.problems] == ["model/model.tflite"]


def test_many_differences_are_counted(bundle: Path) -> None:
    for number in range(12):
        (bundle / f"added-{number:02}").write_text("")
    with pytest.raises(DataError, match=r"12 files are .*added-04 and 7 more$"):
        require_intact(verify(bundle), bundle)


def test_a_link_is_not_followed_and_a_pipe_not_waited_for(bundle: Path, tmp_path: Path) -> None:
    readme, contract = bundle / "README.md", bundle / "contract.md"
    outside = tmp_path / "outside"
    readme.rename(outside)
    readme.symlink_to(outside)
    contract.unlink()
    os.mkfifo(contract)
    (bundle / "loop").symlink_to(bundle, target_is_directory=True)
    assert problems(bundle) == [
        ("README.md", "was changed"),
        ("contract.md", "was changed"),
        ("loop", "was added"),
    ]


def test_a_folder_behind_a_link_counts_as_missing(bundle: Path, tmp_path: Path) -> None:
    (bundle / "model").rename(tmp_path / "elsewhere")
    (bundle / "model").symlink_to(tmp_path / "elsewhere")
    assert ("model/model.tflite", "is missing") in problems(bundle)
    assert ("model", "was added") in problems(bundle)


# What the golden files prove


def test_a_changed_input_is_named(bundle: Path) -> None:
    face = golden_of(bundle)["faces"][1]

    def change(values: np.ndarray) -> None:
        values[100] ^= 1

    change_values(bundle / "golden" / face["input"], change)
    assert (f"golden/{face['input']}", "1 of 768 values differ") in sealed_problems(bundle)


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        (1, None),
        (-1, None),
        (2, "a score is off by 0.0078125"),
        (-3, "a score is off by 0.0117188"),
    ],
)
def test_an_output_may_be_off_by_one_step_and_no_more(
    bundle: Path, steps: int, problem: str | None
) -> None:
    face = golden_of(bundle)["faces"][0]
    top = int(np.argmax(face["probabilities"]))

    def change(values: np.ndarray) -> None:
        values[top] += steps

    def state(golden: Any) -> None:
        golden["faces"][0]["probabilities"][top] += steps / 256

    change_values(bundle / "golden" / face["output"], change)
    change_golden(bundle, state)
    expected = [(f"golden/{face['output']}", problem)] if problem else []
    assert sealed_problems(bundle) == expected


def test_a_label_or_probability_that_the_output_does_not_have_is_named(bundle: Path) -> None:
    def relabel(golden: Any) -> None:
        others = {"anger", "happiness"} - {golden["faces"][0]["label"]}
        golden["faces"][0]["label"] = min(others)
        golden["faces"][1]["probabilities"][0] += 0.1

    change_golden(bundle, relabel)
    assert sealed_problems(bundle) == [
        (
            "golden/golden.json",
            f"its label and probabilities are not those of face-{number}-output.bin",
        )
        for number in (0, 1)
    ]


def test_a_box_may_be_a_pixel_off_and_no_more(bundle: Path) -> None:
    scene = golden_of(bundle)["scenes"][0]
    box = scene["faces"][0]["box"]

    def move(golden: Any) -> None:
        golden["scenes"][0]["faces"][0]["box"][0] += 5

    change_golden(bundle, move)
    (boxes, square) = sealed_problems(bundle)
    assert boxes[0] == f"golden/{scene['picture']}"
    assert boxes[1].startswith("has faces at [")
    assert square[1].startswith(f"the square around ({box[0] + 5}, {box[1]}, ")


def test_a_face_that_the_detector_does_not_find_is_named(bundle: Path) -> None:
    change_golden(bundle, lambda golden: golden["scenes"][0]["faces"].pop())
    ((name, problem),) = sealed_problems(bundle)
    assert name == "golden/scene-0.rgb"
    assert "has faces at [(" in problem


@pytest.mark.parametrize("number", [2, 6])
def test_a_frame_that_becomes_another_picture_is_named(bundle: Path, number: int) -> None:
    frame = golden_of(bundle)["frames"][number]

    def change(values: np.ndarray) -> None:
        values[7] ^= 0x80

    change_values(bundle / "golden" / frame["upright"], change, np.uint8)
    assert sealed_problems(bundle) == [
        (f"golden/{frame['upright']}", "is not the frame's upright picture")
    ]


def test_a_contract_of_another_model_is_named(bundle: Path) -> None:
    def change(contract: Any) -> None:
        contract["input"]["zero_point"] = 0

    rewrite(bundle / "model/contract.json", change)
    assert ("model/contract.json", "does not describe model/model.tflite") in sealed_problems(
        bundle
    )


def test_labels_that_are_not_the_contracts_are_named(bundle: Path) -> None:
    (bundle / "model/labels.txt").write_text("happiness\nanger\nneutral\nsurprise")
    assert sealed_problems(bundle) == [
        ("model/labels.txt", "has other labels than model/contract.json")
    ]


def test_a_model_with_other_answers_is_found_out(bundle: Path) -> None:
    shutil.copy(QUADRANT.with_name("uint8.tflite"), bundle / "model/model.tflite")
    assert ("model/contract.json", "does not describe model/model.tflite") in sealed_problems(
        bundle
    )


# Hostile bundles


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "../a", "a/../../b", "/etc/passwd", "a//b", "a/", "./a", "a\\b", "C:a",
        "a\nb", "a\0b", "x" * 1001,
    ],
)  # fmt: skip
def test_a_path_out_of_the_bundle_is_refused(bundle: Path, name: str) -> None:
    assert not is_inside(name)

    def change(manifest: Any) -> None:
        manifest["files"][name] = "0" * 64

    rewrite(bundle / MANIFEST, change)
    with pytest.raises(DataError, match="is no path inside of the bundle") as caught:
        verify(bundle)
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["a", "a/b.c", ".gitignore", "Ü/顔", "a b", "..a", "a..b/c"])
def test_ordinary_paths_are_inside(name: str) -> None:
    assert is_inside(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no list of a bundle's files"),
        ("[]", "is no list of a bundle's files"),
        ("{}", "is no list of a bundle's files"),
        ("\0\xff", "is no list of a bundle's files"),
        (
            '{"format": 2, "target": "web", "edgefer": "9", "files": {}}',
            "format: Input should be 1",
        ),
        ('{"format": 1, "target": "web", "edgefer": "9", "files": {"a": "b"}}', "no SHA-256"),
        ('{"format": 1, "target": "web", "edgefer": "9", "files": {}}', "is no whole bundle"),
        ("[" * 100_000, "is no list of a bundle's files"),
        (" " * (1 << 22) + "{}", "is too large to be edgefer's"),
    ],
)
def test_a_list_that_edgefer_did_not_write_is_one_line(
    bundle: Path, text: str, message: str
) -> None:
    (bundle / MANIFEST).write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        verify(bundle)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_list_a_file_and_nothing_are_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no bundle of edgefer's: it has no edgefer-bundle"):
        verify(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        verify(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is no folder"):
        verify(tmp_path / "file")
    with pytest.raises(DataError, match="File name too long"):
        verify(tmp_path / ("x" * 300))


def test_a_list_that_is_a_link_or_a_pipe_is_refused(bundle: Path) -> None:
    (bundle / MANIFEST).rename(bundle / "elsewhere.json")
    (bundle / MANIFEST).symlink_to(bundle / "elsewhere.json")
    with pytest.raises(DataError, match="is not a regular file"):
        verify(bundle)
    (bundle / MANIFEST).unlink()
    os.mkfifo(bundle / MANIFEST)
    with pytest.raises(DataError, match="is not a regular file"):
        verify(bundle)


def _names_a_file_outside(golden: Any) -> None:
    golden["faces"][0]["picture"] = "../../secret"


def _says_a_huge_size(golden: Any) -> None:
    golden["faces"][0]["width"] = 1 << 40


def _says_another_size(golden: Any) -> None:
    golden["faces"][0]["width"] = 4096


def _has_no_faces(golden: Any) -> None:
    golden["faces"] = []


def _allows_everything(golden: Any) -> None:
    golden["tolerance_steps"] = 255


def _is_another_frame(golden: Any) -> None:
    golden["frames"][0]["format"] = "nv21"


def _has_long_rows(golden: Any) -> None:
    golden["frames"][0]["planes"][0]["row_stride"] = 1 << 16


def _has_not_a_number(golden: Any) -> None:
    golden["faces"][0]["probabilities"][0] = float("nan")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_names_a_file_outside, r"names \.\./\.\./secret, which is not in the bundle"),
        (_says_a_huge_size, r"faces\.0\.width: Input should be less than or equal to 8192"),
        (_says_another_size, r"face-0\.rgb: has \d+ bytes, golden\.json says \d+"),
        (_has_no_faces, "faces: Tuple should have at least 1 item"),
        (_allows_everything, "tolerance_steps: Input should be 1"),
        (_is_another_frame, "frames.0"),
        (_has_long_rows, r"golden frame planar: a plane has \d+ bytes"),
        (_has_not_a_number, "golden.json: is not what edgefer writes"),
    ],
)
def test_golden_json_that_edgefer_did_not_write_is_one_line(
    bundle: Path, change: Callable[[Any], None], message: str
) -> None:
    change_golden(bundle, change)
    seal(bundle)
    with pytest.raises(DataError, match=message) as caught:
        verify(bundle)
    assert "\n" not in str(caught.value)


def test_a_wider_tolerance_is_named(bundle: Path) -> None:
    def widen(golden: Any) -> None:
        golden["tolerance"] = 1.0

    change_golden(bundle, widen)
    assert sealed_problems(bundle) == [
        ("golden/golden.json", "its tolerance is not the output's quantization step")
    ]


def test_a_contract_that_is_none_is_one_line(bundle: Path) -> None:
    def change(contract: Any) -> None:
        contract["input"]["colour"] = "bgr"

    rewrite(bundle / "model/contract.json", change)
    seal(bundle)
    with pytest.raises(DataError, match=r"contract\.json: is no contract: 'BGR'"):
        verify(bundle)


def test_a_corrupt_model_is_tried_in_a_process_of_its_own(bundle: Path) -> None:
    content = bytearray(QUADRANT.read_bytes())
    content[len(content) // 3 : len(content) // 3 + 400] = b"\xff" * 400
    (bundle / "model/model.tflite").write_bytes(content)
    seal(bundle)
    with pytest.raises(ModelError, match=r"model\.tflite"):
        verify(bundle)


def test_a_detector_that_is_none_is_one_line(bundle: Path) -> None:
    shutil.copy(QUADRANT, bundle / "model/face-detector.tflite")
    seal(bundle)
    with pytest.raises(DataError, match="is no face detector that edgefer knows"):
        verify(bundle)


# The command


def test_the_command_says_what_it_compared(whole: Path) -> None:
    ended = edgefer("ship", "--verify", whole)
    assert (ended.code, ended.err) == (0, "")
    first, second = ended.out.splitlines()
    assert first.startswith("Compared: ")
    assert first.endswith(
        "files by their SHA-256; 7 faces, 2 pictures with 4 faces, 9 camera frames, "
        "and what comes out"
    )
    assert second == "All as edgefer made it."


def test_the_command_names_what_differs_and_exits_with_4(bundle: Path) -> None:
    (bundle / "model/labels.txt").write_text("other")
    ended = edgefer("ship", "--verify", "bundle", cwd=bundle.parent)
    assert ended.code == 4
    assert ended.err == (
        "edgefer: error: bundle: 1 file is not as edgefer made it: model/labels.txt\n"
    )
    assert "the golden files were not run" in ended.out
    assert "model/labels.txt   was changed" in ended.out


def test_json_has_every_problem(bundle: Path) -> None:
    (bundle / "notes").write_text("mine")
    ended = edgefer("ship", "--verify", bundle, "--json")
    assert ended.code == 4
    shown = json.loads(ended.out)
    assert shown["problems"] == [{"file": "notes", "problem": "was added"}]
    assert shown["golden"] == {"faces": 7, "scenes": 2, "frames": 9}
    assert shown["runtime"].startswith(("ai-edge-litert", "tflite-runtime"))
