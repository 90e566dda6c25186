"""The Linux bundle's recognise.py, run as its user runs it, against edgefer's own predictions."""

import json
import subprocess
import sys
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import mobile_bundles
import pytest
from boards import Board
from bundles import QUADRANT, STATED, ship_quadrant
from commands import Ended
from face_pictures import moving_faces, picture, write_picture, write_video

from edgefer.benchmarks.installing import wheels
from edgefer.evaluation.opening import open_evaluated
from edgefer.models import bundled
from edgefer.models.contract import StatedContract
from edgefer.prediction.classifier import open_classifier
from edgefer.prediction.detector import FaceDetector
from edgefer.prediction.predictor import Predictor
from edgefer.shipping.job import ShippingJob, ship
from edgefer.shipping.targets import LINUX

ALL_WELL = "7 faces and 2 pictures: inputs to the byte, outputs within a step\n"
PLACES = ((40, 40), (440, 200))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle of a small model."""
    folder = tmp_path_factory.mktemp("linux") / "bundle"
    ship_quadrant(folder)
    return folder


@pytest.fixture(scope="module")
def real_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle of the model that edgefer brings."""
    folder = tmp_path_factory.mktemp("linux") / "real"
    ship(ShippingJob(model=bundled.INT8, target=LINUX, folder=folder, stated=StatedContract()))
    return folder


def recognise(folder: Path, *arguments: object, python: str = sys.executable) -> Ended:
    """Run a bundle's recognise.py to its end, without edgefer in reach."""
    command = [python, "-I", str(folder / "recognise.py"), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize("kind", [*mobile_bundles.KINDS])
def test_the_golden_files_come_out_for_models_of_every_kind(kind: str, tmp_path: Path) -> None:
    folder = mobile_bundles.ship(kind, "linux", tmp_path / "b")
    ended = recognise(folder, "--check")
    assert (ended.code, ended.out) == (0, ALL_WELL)
    assert ("become gray" in (folder / "contract.md").read_text()) is (kind == "gray")


def test_a_check_that_fails_names_the_files(tmp_path: Path) -> None:
    ship_quadrant(tmp_path / "b")
    golden = tmp_path / "b/golden"
    for name, position in (("face-0-input.bin", 0), ("scene-0-face-1-output.bin", 2)):
        content = bytearray((golden / name).read_bytes())
        content[position] ^= 0x40
        (golden / name).write_bytes(content)
    ended = recognise(tmp_path / "b", "--check")
    assert ended.code == 1
    first, second = ended.out.splitlines()
    assert first == "face-0-input.bin: 1 input values differ"
    assert second.startswith("scene-0-face-1-output.bin: a score is off by 0.")


def test_a_picture_has_the_faces_and_scores_of_edgefer_predict(
    bundle: Path, tmp_path: Path
) -> None:
    image = picture(PLACES)
    write_picture(tmp_path / "photo.png", image)
    ended = recognise(bundle, tmp_path / "photo.png", "--json")
    assert ended.code == 0
    shown = json.loads(ended.out)
    assert (shown["source"], shown["time_s"]) == (str(tmp_path / "photo.png"), None)
    classifier = open_classifier(open_evaluated(QUADRANT, STATED))
    expected = Predictor(classifier, FaceDetector()).faces(image)
    assert len(shown["faces"]) == len(expected) == 2
    for face, same in zip(shown["faces"], expected, strict=True):
        assert face["box"] == vars(same.box)
        assert face["square"] == vars(same.square)
        assert face["label"] == classifier.labels[same.top]
        assert list(face["probabilities"].values()) == same.probabilities.tolist()


def test_a_line_a_face_tells_people(real_bundle: Path, tmp_path: Path) -> None:
    photo, wall = tmp_path / "photo.png", tmp_path / "wall.png"
    write_picture(photo, picture(PLACES))
    write_picture(wall, picture([]))
    ended = recognise(real_bundle, photo, wall)
    assert ended.code == 0
    first, second, none = ended.out.splitlines()
    assert first.startswith(f"{photo}: happiness ")
    assert second.startswith(f"{photo}: surprise ")
    assert none == f"{wall}: no face found"


def test_a_video_is_looked_at_every_so_often(bundle: Path, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.avi", moving_faces(10))
    everything = recognise(bundle, clip, "--json").out.splitlines()
    assert [json.loads(line)["time_s"] for line in everything] == [n / 10 for n in range(10)]
    some = recognise(bundle, clip, "--json", "--every", 0.35).out.splitlines()
    assert [json.loads(line)["time_s"] for line in some] == [0.0, 0.4, 0.8]
    assert all(len(json.loads(line)["faces"]) == 2 for line in everything)


def test_what_cannot_be_read_is_said_and_the_rest_is_answered(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    good = write_picture(tmp_path / "good.png", picture(PLACES))
    ended = recognise(bundle, tmp_path / "broken.png", tmp_path / "broken.mp4", good)
    assert ended.code == 1
    assert f"recognise: {tmp_path / 'broken.png'} is no picture that OpenCV reads\n" in ended.err
    assert f"recognise: {tmp_path / 'broken.mp4'} is no video that OpenCV reads\n" in ended.err
    assert ended.out.count(f"{good}: ") == 2


def test_a_camera_that_is_not_there_is_said(bundle: Path) -> None:
    ended = recognise(bundle, "--camera", 63)
    assert (ended.code, ended.out) == (1, "")
    assert "recognise: camera 63 gives no pictures; is it plugged in" in ended.err


@pytest.mark.parametrize("arguments", [[], ["--check", "photo.png"], ["--check", "--camera", 0]])
def test_wrong_usage_is_explained(bundle: Path, arguments: Sequence[object]) -> None:
    ended = recognise(bundle, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "give pictures, videos or --camera, or else --check" in ended.err


@pytest.mark.slow
def test_its_own_requirements_are_all_that_it_needs(real_bundle: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv/bin/python")
    requirements = str(real_bundle / "requirements.txt")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
    ended = recognise(real_bundle, "--check", python=python)
    assert (ended.code, ended.out) == (0, ALL_WELL)


# On the emulated Pi 4


@pytest.mark.slow
@pytest.mark.emulated_board
def test_the_golden_files_come_out_on_an_emulated_raspberry_pi(
    pi4: Board, real_bundle: Path, tmp_path: Path
) -> None:
    photo = write_picture(real_bundle.parent / "photo.png", picture(PLACES))
    platform = wheels.Platform(python=(3, 11), glibc=(2, 36), machine="aarch64")
    lines = (real_bundle / "requirements.txt").read_text().splitlines()
    pinned = [line.partition(";")[0] for line in lines if line.endswith('!= "armv7l"')]
    with wheels.fetched([*pinned, "backports.strenum", "typing-extensions"], platform) as found:
        for wheel in found:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(tmp_path / "site")
    pi4.put(tmp_path / "site")
    pi4.put(real_bundle)
    pi4.put(photo)
    program = "PYTHONPATH=site python3 real/recognise.py"
    assert pi4.run(f"{program} --check") == ALL_WELL
    here = recognise(real_bundle, photo, "--json", "--threads", 1)
    there = pi4.run(f"{program} photo.png --json --threads 1")
    assert len(json.loads(there)["faces"]) == 2
    for face, same in zip(json.loads(there)["faces"], json.loads(here.out)["faces"], strict=True):
        assert face["box"] == same["box"]
        assert face["label"] == same["label"]
        for label, probability in face["probabilities"].items():
            assert abs(probability - same["probabilities"][label]) <= 1 / 256
