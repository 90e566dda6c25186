"""`edgefer predict` as a user runs it: pictures and videos in, a table or JSON out."""

import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import Ended, edgefer
from face_pictures import FOLDER, frame_of, moving_faces, picture, write_picture, write_video

from edgefer import metadata
from edgefer.data.images import read_image
from edgefer.evaluation.inference import classify
from edgefer.models.spec import ModelSpec
from edgefer.runtime import open_model

PICTURES = Path(__file__).parent / "golden" / "pictures"
PLACES = ((40, 40), (440, 200))


@pytest.fixture(scope="session")
def model(
    tmp_path_factory: pytest.TempPathFactory,
    quadrant_tflites: Mapping[str, Path],
    quadrant_spec: ModelSpec,
) -> Path:
    """Return a small int8 .tflite that describes itself."""
    path = tmp_path_factory.mktemp("model") / "quadrant.tflite"
    path.write_bytes(metadata.write(quadrant_tflites["int8"].read_bytes(), quadrant_spec, {}))
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return write_picture(tmp_path / "photo.png", picture(PLACES))


def as_json(ended: Ended) -> Any:
    assert (ended.code, ended.err) == (0, "")
    return json.loads(ended.out)


def box_of(face: Mapping[str, Any], kind: str = "box") -> list[int]:
    return [face[kind][key] for key in ("left", "top", "width", "height")]


def test_each_face_is_a_row(model: Path, photo: Path, tmp_path: Path) -> None:
    write_picture(tmp_path / "wall.png", picture([]))
    ended = edgefer("predict", model, "photo.png", "wall.png", cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    head, line, first, second, none = (row.split() for row in ended.out.splitlines())
    assert head == ["file", "face", "label", "probability", "box"]
    assert set("".join(line)) == {"─"}
    assert first[:2] == ["photo.png", "1"]
    assert second[:2] == ["photo.png", "2"]
    assert first[3].endswith("%")
    assert none == ["wall.png", "–", "no", "face", "found"]
    assert "\x1b" not in ended.out


def test_json_has_boxes_and_all_probabilities(model: Path, photo: Path) -> None:
    result = as_json(edgefer("predict", model, photo, "--json"))
    assert result["schema_version"] == 1
    assert result["model"] == "quadrant.tflite"
    (shown,) = result["inputs"]
    assert (shown["kind"], shown["width"], shown["height"]) == ("image", 720, 480)
    for face, place in zip(shown["faces"], PLACES, strict=True):
        left, top, width, height = box_of(face, "square")
        assert width == height
        there = frame_of(place)
        assert abs(left + width / 2 - (there.left + 100)) < 20
        assert abs(top + height / 2 - (there.top + 100)) < 20
        assert list(face["probabilities"]) == result["labels"]
        assert face["probability"] == max(face["probabilities"].values())
        assert face["probabilities"][face["label"]] == face["probability"]
        assert 0.5 <= face["detection_score"] <= 1


def test_no_face_is_said_in_json_by_an_empty_list(model: Path, tmp_path: Path) -> None:
    wall = write_picture(tmp_path / "wall.png", picture([]))
    (shown,) = as_json(edgefer("predict", model, wall, "--json"))["inputs"]
    assert shown["faces"] == []


def test_a_ready_crop_gets_the_answer_that_evaluate_gives(
    model: Path, quadrant_spec: ModelSpec
) -> None:
    face = FOLDER / "happiness" / "fer0032230.png"
    result = as_json(edgefer("predict", model, face, "--no-detect", "--json"))
    (shown,) = result["inputs"][0]["faces"]
    assert box_of(shown) == box_of(shown, "square") == [0, 0, 48, 48]
    assert shown["detection_score"] is None
    (expected,) = classify(open_model(model), quadrant_spec, [read_image(face)])
    assert list(shown["probabilities"].values()) == expected.tolist()


def test_a_picture_is_the_same_however_it_is_stored(model: Path) -> None:
    """EXIF orientation, CMYK, palettes, transparency, 16 bits, gray, progressive JPEG, WebP."""
    inputs = as_json(edgefer("predict", model, PICTURES, "--json"))["inputs"]
    faces = {Path(shown["file"]).name: shown["faces"] for shown in inputs}
    assert len(faces) == 10
    assert {(shown["width"], shown["height"]) for shown in inputs} == {(300, 220)}
    (expected,) = faces["upright.png"]
    for (face,) in faces.values():
        np.testing.assert_allclose(box_of(face), box_of(expected), atol=3)
        assert face["label"] == expected["label"]
        assert face["probability"] == pytest.approx(expected["probability"], abs=0.05)


def test_a_folder_stands_for_all_pictures_and_videos_in_it(model: Path, tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    write_picture(tmp_path / "deeper" / "a.jpg", picture(PLACES))
    write_picture(tmp_path / "b.png", picture([]))
    write_video(tmp_path / "c.avi", moving_faces(3))
    (tmp_path / "notes.txt").write_text("nothing to see")
    result = as_json(edgefer("predict", model, ".", "--json", cwd=tmp_path))
    kinds = {shown["file"]: shown["kind"] for shown in result["inputs"]}
    assert kinds == {"b.png": "image", "c.avi": "video", "deeper/a.jpg": "image"}


def test_a_videos_faces_are_rows_with_their_times(model: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "clip.avi", moving_faces(21))
    ended = edgefer("predict", model, "clip.avi", cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    head, _, *rows = ended.out.splitlines()
    assert head.split() == [
        "file", "face", "from", "to", "mostly", "of", "its", "frames", "mean", "probability",
    ]  # fmt: skip
    assert [row.split()[:6] for row in rows] == [
        ["clip.avi", "1", "0.0", "s", "2.0", "s"],
        ["clip.avi", "2", "0.0", "s", "2.0", "s"],
    ]


def test_annotated_copies_are_the_pictures_with_boxes(
    model: Path, photo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "marked.png"
    face, *_ = as_json(edgefer("predict", model, photo, "--annotate", out, "--json"))["inputs"][0][
        "faces"
    ]
    marked, plain = read_image(out).astype(int), read_image(photo).astype(int)
    left, top, width, height = box_of(face)
    row, column = top + height - 1, left + width - 1
    assert (marked[row, left:column] == (255, 196, 0)).all()
    np.testing.assert_array_equal(marked[400:, :300], plain[400:, :300])


def test_several_inputs_are_annotated_into_a_folder(model: Path, tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg", picture(PLACES))
    write_video(tmp_path / "b.avi", moving_faces(2))
    ended = edgefer("predict", model, "a.jpg", "b.avi", "--annotate", "marked", cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert sorted(path.name for path in (tmp_path / "marked").iterdir()) == ["a.png", "b.mp4"]


def test_a_file_that_exists_is_replaced_only_by_force(
    model: Path, photo: Path, tmp_path: Path
) -> None:
    out = write_picture(tmp_path / "out.png", picture([]))
    before = out.read_bytes()
    refused = edgefer("predict", model, photo, "--annotate", out)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == (
        f"edgefer: error: {out} exists and was not made by edgefer: --force replaces it\n"
    )
    assert out.read_bytes() == before
    assert edgefer("predict", model, photo, "--annotate", out, "--force").code == 0
    assert out.read_bytes() != before


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def bomb() -> bytes:
    """Return a PNG of a few bytes that says it has 3.6 billion pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def encoded(side: int) -> bytes:
    _, content = cv2.imencode(".png", np.full((side, side, 3), 90, np.uint8))
    return content.tobytes()


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("bomb.png", bomb(), "is 60000x60000, more than 64 million pixels"),
        ("tiny.png", encoded(7), "is 7x7, smaller than 8x8"),
        ("notes.png", b"no image\n", "is not a PNG, JPEG, BMP, WebP or PNM image"),
        ("notes.txt", b"no image\n", "is not a PNG, JPEG, BMP, WebP or PNM image"),
        ("empty.jpg", b"", "is empty"),
        ("cut.png", encoded(200)[:150], "the image is cut off"),
        ("clip.mp4", b"no video\n", "is not a video that OpenCV can read, or is cut off"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    model: Path, tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(content)
    ended = edgefer("predict", model, name, cwd=tmp_path)
    assert (ended.code, ended.out) == (4, "")
    assert ended.err == f"edgefer: error: {name}: {problem}\n"


def test_what_can_be_read_is_answered_all_the_same(
    model: Path, photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(bomb())
    ended = edgefer("predict", model, "a.png", "photo.png", "missing.jpg", cwd=tmp_path)
    assert ended.code == 4
    assert [row.split()[:2] for row in ended.out.splitlines()[2:]] == [
        ["photo.png", "1"],
        ["photo.png", "2"],
    ]
    assert ended.err.splitlines() == [
        "edgefer: error: a.png: is 60000x60000, more than 64 million pixels",
        "edgefer: error: missing.jpg: cannot be read: No such file or directory",
    ]


def test_a_video_that_breaks_off_is_answered_as_far_as_it_goes(model: Path, tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.avi", moving_faces(20)).read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    ended = edgefer("predict", model, "cut.avi", "--json", cwd=tmp_path)
    assert ended.code == 4
    (video,) = json.loads(ended.out)["inputs"]
    frames = len(video["frames"])
    assert ended.err == f"edgefer: error: cut.avi: breaks off after {frames} of 20 frames\n"


def test_a_camera_that_is_not_there_is_a_device_that_failed(model: Path) -> None:
    ended = edgefer("predict", model, "--camera", "91")
    assert (ended.code, ended.out) == (5, "")
    assert ended.err == (
        "edgefer: error: camera 91: is not there, or is in use; --camera takes 0 for the first\n"
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "give INPUTs or --camera, one of the two"),
        (["a.png", "--camera", "0"], "give INPUTs or --camera, one of the two"),
        (["a.png", "b.png", "--annotate", "x.png"], "there are 2 inputs; give a folder"),
        (["a.png", "--annotate", "x.mp4"], "an annotated image is .png, .jpg, .jpeg"),
        (["a.avi", "--annotate", "x.png"], "an annotated video is .mp4, .avi"),
        (["--camera", "0", "--annotate", "x.png"], "an annotated video is .mp4, .avi"),
        (["a.png", "--annotate", "a.png", "--force"], "would replace the input a.png"),
        (["a.png", "b.jpg", "--annotate", ".", "--force"], "would replace the input a.png"),
        (["a/x.png", "b/x.png", "--annotate", "out"], "two inputs have the same name"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(
    model: Path, arguments: list[str], problem: str
) -> None:
    ended = edgefer("predict", model, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert problem in ended.err
    assert len(ended.err.splitlines()) == 1


def test_an_empty_folder_is_one_line(model: Path, tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    ended = edgefer("predict", model, "holiday", cwd=tmp_path)
    assert (ended.code, ended.err) == (
        4,
        "edgefer: error: holiday: has no images or videos\n",
    )


def test_a_model_that_does_not_describe_itself_is_described_by_options(
    quadrant_tflites: Mapping[str, Path], photo: Path
) -> None:
    bare = quadrant_tflites["int8"]
    refused = edgefer("predict", bare, photo)
    assert (refused.code, refused.out) == (2, "")
    assert "give --labels and --mean and --std" in refused.err
    mean = ("--mean", "127.5", "--std", "127.5")
    result = as_json(edgefer("predict", bare, photo, "--labels", "a,b,c,d", *mean, "--json"))
    assert result["labels"] == ["a", "b", "c", "d"]
    wrong = edgefer("predict", bare, photo, "--labels", "a,b,c", *mean)
    assert (wrong.code, wrong.out) == (4, "")
    assert wrong.err.endswith("has 4 outputs, but 3 labels are given for it\n")


def test_scores_that_are_no_number_are_the_models_fault(
    quadrant_tflites: Mapping[str, Path], photo: Path
) -> None:
    described = ("--labels", "a,b,c,d", "--mean", "0", "--std", "1")
    ended = edgefer("predict", quadrant_tflites["not_a_number"], photo, *described)
    assert (ended.code, ended.out) == (4, "")
    assert "gives NaN or infinity" in ended.err


def test_the_bundled_checkpoint_reads_a_laugh(photo: Path) -> None:
    """With Keras; the square that is cut out is framed as the network has learnt."""
    result = as_json(edgefer("predict", "patt-lite", photo, "--json"))
    assert [face["label"] for face in result["inputs"][0]["faces"]] == ["happiness", "surprise"]


def test_bash_completes_files_and_options() -> None:
    for begun, offered in (("model.tflite pho", "file,pho"), ("x --anno", "plain,--annotate")):
        result = edgefer(
            _EDGEFER_COMPLETE="bash_complete",
            COMP_WORDS=f"edgefer predict {begun}",
            COMP_CWORD="3",
        )
        assert result.out.split() == [offered]
