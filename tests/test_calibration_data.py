"""The bundled faces are what their provenance says, and can be drawn again."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer import calibration_data as bundled
from edgefer.calibration_data import draw
from edgefer.data.disjoint import content_hash, require_disjoint
from edgefer.data.ferplus import read_arrays
from edgefer.data.labels import ALPHABETICAL_8
from edgefer.data.reading import read_faces

DRAW = bundled.FOLDER / "draw.py"
PROVENANCE = json.loads((bundled.FOLDER / "provenance.json").read_text())


def test_there_are_300_and_1200_faces_of_all_eight_classes() -> None:
    calibration, evaluation = bundled.calibration_faces(), bundled.evaluation_faces()
    assert (len(calibration), len(evaluation)) == (300, 1200)
    assert calibration.class_names == evaluation.class_names == ALPHABETICAL_8
    assert calibration.skipped == evaluation.skipped == ()
    assert np.bincount(calibration.labels, minlength=8).min() >= 1
    assert np.bincount(evaluation.labels, minlength=8).min() >= 10
    assert {image.shape for image in [*calibration.images, *evaluation.images]} == {(48, 48)}


def test_no_content_is_there_twice() -> None:
    calibration, evaluation = bundled.calibration_faces(), bundled.evaluation_faces()
    require_disjoint(calibration, evaluation)
    hashes = {content_hash(image) for image in [*calibration.images, *evaluation.images]}
    assert len(hashes) == 1500


@pytest.mark.parametrize("folder", ["calibration", "evaluation"])
def test_every_file_has_the_hash_that_provenance_records(folder: str) -> None:
    found = {
        path.relative_to(bundled.FOLDER / folder).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in (bundled.FOLDER / folder).rglob("*.*")
    }
    assert found == PROVENANCE["sha256"][folder]


@pytest.mark.parametrize(("folder", "column"), [("calibration", 1), ("evaluation", 2)])
def test_the_readme_counts_what_is_there(folder: str, column: int) -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (bundled.FOLDER / "README.md").read_text().splitlines()
        if line.startswith("|")
    ]
    table = {row[0]: int(row[column]) for row in rows if row[0] in ALPHABETICAL_8}
    assert table == PROVENANCE["counts"][folder]
    assert table == {
        label: len(list((bundled.FOLDER / folder / label).iterdir())) for label in ALPHABETICAL_8
    }


@pytest.mark.shared_data
@pytest.mark.parametrize(("folder", "split"), [("calibration", "train"), ("evaluation", "test")])
def test_the_bundled_faces_are_ferplus_faces_of_their_split(
    ferplus_path: Path, folder: str, split: str
) -> None:
    known = read_faces(ferplus_path, split=split)
    by_name = {name: index for index, name in enumerate(known.names)}
    faces = bundled.calibration_faces() if folder == "calibration" else bundled.evaluation_faces()
    for image, label, name in zip(faces.images, faces.labels, faces.names, strict=True):
        index = by_name[name.split("/")[1]]
        np.testing.assert_array_equal(image, known.images[index])
        assert faces.class_names[label] == known.class_names[known.labels[index]]


@pytest.mark.shared_data
def test_no_bundled_face_occurs_in_another_split(ferplus_path: Path) -> None:
    hashes = {
        split: {content_hash(image) for image in read_arrays(ferplus_path, split=split).images}
        for split in ("train", "valid", "test")
    }
    calibration = {content_hash(image) for image in bundled.calibration_faces().images}
    evaluation = {content_hash(image) for image in bundled.evaluation_faces().images}
    assert not calibration & (hashes["valid"] | hashes["test"])
    assert not evaluation & (hashes["train"] | hashes["valid"])


@pytest.mark.shared_data
def test_the_script_draws_the_same_faces_again(ferplus_path: Path, tmp_path: Path) -> None:
    """Compare pixels, as another OpenCV may compress PNG otherwise."""
    command = [sys.executable, str(DRAW), str(ferplus_path), "--output", str(tmp_path)]
    subprocess.run(command, check=True)
    drawn = json.loads((tmp_path / "provenance.json").read_text())
    assert drawn["counts"] == PROVENANCE["counts"]
    for folder, files in PROVENANCE["sha256"].items():
        assert list(drawn["sha256"][folder]) == list(files)
        for name in files:
            np.testing.assert_array_equal(
                cv2.imread(str(tmp_path / folder / name), cv2.IMREAD_UNCHANGED),
                cv2.imread(str(bundled.FOLDER / folder / name), cv2.IMREAD_UNCHANGED),
            )


def test_the_script_says_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    source = tmp_path / "broken.npz"
    source.write_bytes(b"no archive")
    done = subprocess.run(
        [sys.executable, str(DRAW), str(source), "--output", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"draw.py: error: {source}: cannot be read")
    assert "Traceback" not in done.stderr


@given(
    st.lists(st.integers(1, 500), min_size=2, max_size=8),
    st.integers(10, 400),
    st.integers(0, 10),
)
def test_quotas_keep_their_promises(counts: list[int], total: int, fewest: int) -> None:
    available = {str(label): count for label, count in enumerate(counts)}
    drawn = draw.quotas(available, available, total, fewest)
    least = sum(min(fewest, count) for count in counts)
    assert sum(drawn.values()) == max(min(total, sum(counts)), least)
    assert all(min(fewest, available[label]) <= drawn[label] <= available[label] for label in drawn)


def test_quotas_are_proportional_where_nothing_binds() -> None:
    weights = {"anger": 300, "fear": 100, "sadness": 600}
    assert draw.quotas(weights, weights, 100, 1) == {"anger": 30, "fear": 10, "sadness": 60}
