"""Videos and cameras as frames, and annotated videos, with real files."""

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from face_pictures import frame_of, moving_faces, picture, write_video
from small_disk import mounted_disk, needs_root

from edgefer.data.preprocessing import UInt8Array
from edgefer.errors import DataError, DeviceError, OutputError
from edgefer.prediction.classifier import Classifier
from edgefer.prediction.detector import FaceDetector
from edgefer.prediction.predictor import Predictor
from edgefer.prediction.runner import predict, predict_camera
from edgefer.prediction.videos import Frame, open_camera, open_video, writing

LABELS = ("left", "right")


def side_of_light(face: UInt8Array) -> np.ndarray:
    """Answer which half of a face is lighter, as a classifier would."""
    middle = face.shape[1] // 2
    halves = np.array([face[:, :middle].mean(), face[:, middle:].mean()], np.float32)
    return np.asarray(halves / halves.sum(), np.float32)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    classifier = Classifier(name="light", labels=LABELS, scores=side_of_light)
    return Predictor(classifier, FaceDetector())


@pytest.mark.parametrize(("name", "codec"), [("clip.avi", "MJPG"), ("clip.mp4", "mp4v")])
def test_frames_come_in_their_order_with_their_times(tmp_path: Path, name: str, codec: str) -> None:
    frames = [np.full((64, 96, 3), (40 * step, 0, 255), np.uint8) for step in range(5)]
    path = write_video(tmp_path / name, frames, rate=8, codec=codec)
    with open_video(path) as source:
        assert (source.width, source.height, source.rate, source.expected) == (96, 64, 8, 5)
        seen = list(source.frames)
    assert [frame.time_s for frame in seen] == [0, 0.125, 0.25, 0.375, 0.5]
    for frame, written in zip(seen, frames, strict=True):
        np.testing.assert_allclose(frame.image.mean(axis=(0, 1)), written[0, 0], atol=6)


def turned(path: Path) -> None:
    """Say in an .mp4's track header that it is shown turned by a quarter, as phones do."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44
    one = 1 << 16
    content[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def test_a_video_that_a_phone_took_upright_is_upright(tmp_path: Path, predictor: Predictor) -> None:
    lying = [np.ascontiguousarray(np.rot90(frame)) for frame in moving_faces(4)]
    path = write_video(tmp_path / "phone.mp4", lying, codec="mp4v")
    turned(path)
    out = tmp_path / "out.mp4"
    outcome = predict(predictor, [path], copies={path: out}, progress=lambda *_: None)
    (video,) = outcome.prediction.inputs
    assert (video.width, video.height) == (720, 480)
    assert sorted(video.appearances()) == [1, 2]  # type: ignore[union-attr]
    with open_video(out) as source:
        assert (source.width, source.height, len(list(source.frames))) == (720, 480, 4)


def test_a_frame_of_another_size_is_not_left_out(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", moving_faces(1))
    with open_video(path) as source, writing(tmp_path / "out.avi", source) as copy:
        for number, image in enumerate([picture([]), picture([], width=300, height=200)]):
            copy.show(image, time_s=number / 10)
    with open_video(tmp_path / "out.avi") as source:
        assert len(list(source.frames)) == 2


def test_a_video_that_breaks_off_gives_its_frames_and_then_says_so(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.avi", moving_faces(20)).read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(whole[: len(whole) // 2])
    seen: list[Frame] = []
    with (
        open_video(path) as source,
        pytest.raises(DataError, match=r"cut\.avi: breaks off after \d+ of 20 frames"),
    ):
        seen.extend(source.frames)
    assert 5 <= len(seen) <= 15


def cut_mp4(folder: Path) -> Path:
    """Write half of an .mp4, whose index is at its end."""
    whole = write_video(folder / "whole.mp4", moving_faces(5), codec="mp4v").read_bytes()
    path = folder / "cut.mp4"
    path.write_bytes(whole[: len(whole) // 2])
    return path


def text(folder: Path) -> Path:
    path = folder / "text.avi"
    path.write_text("This is no video.\n" * 100)
    return path


def playlist(folder: Path) -> Path:
    """Write what makes FFmpeg fetch from elsewhere, if it is allowed to."""
    path = folder / "list.mp4"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n")
    return path


def empty(folder: Path) -> Path:
    path = folder / "empty.mkv"
    path.touch()
    return path


def missing(folder: Path) -> Path:
    return folder / "missing.webm"


def folder_named_like_a_video(folder: Path) -> Path:
    path = folder / "folder.mov"
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (cut_mp4, "is not a video that OpenCV can read, or is cut off"),
        (text, "is not a video that OpenCV can read, or is cut off"),
        (playlist, "is not a video that OpenCV can read, or is cut off"),
        (empty, "is not a video that OpenCV can read, or is cut off"),
        (missing, "does not exist"),
        (folder_named_like_a_video, "is not a regular file"),
    ],
)
def test_what_is_no_video_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], made: Callable[[Path], Path], problem: str
) -> None:
    path = made(tmp_path)
    with pytest.raises(DataError) as raised, open_video(path):
        pass
    assert str(raised.value) == f"{path}: {problem}"
    assert capfd.readouterr() == ("", "")


def test_a_percent_sign_in_a_name_is_no_pattern(tmp_path: Path) -> None:
    write_video(tmp_path / "clip1.avi", moving_faces(2))
    with pytest.raises(DataError, match="does not exist"), open_video(tmp_path / "clip%d.avi"):
        pass


def test_faces_keep_their_numbers_through_a_video(tmp_path: Path, predictor: Predictor) -> None:
    path = write_video(tmp_path / "clip.avi", moving_faces(20))
    progress: list[tuple[int, int]] = []
    outcome = predict(
        predictor, [path], copies={}, progress=lambda done, total: progress.append((done, total))
    )
    assert outcome.failures == []
    (video,) = outcome.prediction.inputs
    appearances = video.appearances()  # type: ignore[union-attr]
    assert sorted(appearances) == [1, 2]
    assert [len(states) for states in appearances.values()] == [20, 20]
    left, right = appearances[1][-1][1], appearances[2][-1][1]
    assert left.square.overlap(frame_of((97, 40))) > 0.7
    assert right.square.overlap(frame_of((440, 138))) > 0.7
    assert progress == [(done, 20) for done in range(1, 21)]


def test_an_annotated_video_has_every_frame_with_its_boxes(
    tmp_path: Path, predictor: Predictor
) -> None:
    path = write_video(tmp_path / "clip.avi", moving_faces(6))
    for name in ("out.avi", "out.mp4"):
        out = tmp_path / "copies" / name
        predict(predictor, [path], copies={path: out}, progress=lambda *_: None)
        with open_video(out) as source:
            assert (source.width, source.height, source.rate) == (720, 480, 10)
            marked = list(source.frames)
        assert len(marked) == 6
        yellow = (marked[0].image.astype(int) @ [1, 1, -2]) > 200
        assert yellow.sum() > 500
    assert sorted(path.name for path in (tmp_path / "copies").iterdir()) == ["out.avi", "out.mp4"]


def test_the_frames_of_a_broken_video_are_answered_and_annotated(
    tmp_path: Path, predictor: Predictor
) -> None:
    whole = write_video(tmp_path / "whole.avi", moving_faces(20)).read_bytes()
    path, out = tmp_path / "cut.avi", tmp_path / "out.avi"
    path.write_bytes(whole[: len(whole) // 2])
    outcome = predict(predictor, [path], copies={path: out}, progress=lambda *_: None)
    (video,) = outcome.prediction.inputs
    (failure,) = outcome.failures
    frames = len(video.frames)  # type: ignore[union-attr]
    assert f"breaks off after {frames} of 20 frames" in str(failure)
    with open_video(out) as source:
        assert len(list(source.frames)) == frames


def test_nothing_is_left_of_a_copy_that_fails(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", moving_faces(2))
    out = tmp_path / "copies" / "out.mp4"

    def interrupted_copy() -> None:
        with open_video(path) as source, writing(out, source) as copy:
            copy.show(picture([]), time_s=0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_copy()
    assert list(out.parent.iterdir()) == []


@needs_root
@pytest.mark.parametrize("name", ["out.avi", "out.mp4"])
def test_a_full_disk_under_a_copy_is_an_error_and_leaves_nothing(
    tmp_path: Path, predictor: Predictor, name: str
) -> None:
    path = write_video(tmp_path / "clip.avi", moving_faces(20))
    with mounted_disk(tmp_path / "disk", "size=64k") as disk:
        with pytest.raises(OutputError, match="was not written whole; is the disk full"):
            predict(predictor, [path], copies={path: disk / name}, progress=lambda *_: None)
        assert list(disk.iterdir()) == []


def test_a_camera_that_is_not_there_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DeviceError, match=r"^camera 91: is not there"), open_camera(91, seconds=1):
        pass
    assert capfd.readouterr() == ("", "")


def recorded_camera(path: Path) -> Callable[..., cv2.VideoCapture]:
    """Return what stands in for OpenCV's VideoCapture: a camera that shows a recording."""
    real = cv2.VideoCapture
    return lambda source, *rest: real(str(path) if isinstance(source, int) else source, *rest)


def test_a_camera_is_watched_for_as_long_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "clip.avi", moving_faces(10))
    monkeypatch.setattr(cv2, "VideoCapture", recorded_camera(path))
    now = iter(np.arange(0, 10, 0.25))
    with open_camera(0, seconds=1, clock=lambda: float(next(now))) as source:
        assert source.expected == 10
        assert [frame.time_s for frame in source.frames] == [0.25, 0.5, 0.75]


def test_a_camera_that_stops_is_an_error_after_what_it_showed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, predictor: Predictor
) -> None:
    path = write_video(tmp_path / "clip.avi", moving_faces(3))
    monkeypatch.setattr(cv2, "VideoCapture", recorded_camera(path))
    outcome = predict_camera(
        predictor, 0, seconds=600, copy=tmp_path / "me.avi", progress=lambda *_: None
    )
    (video,) = outcome.prediction.inputs
    assert video.source == "camera 0"
    assert len(video.frames) == 3  # type: ignore[union-attr]
    assert [str(failure) for failure in outcome.failures] == ["camera 0: stopped sending pictures"]
    assert (tmp_path / "me.avi").stat().st_size > 1000
