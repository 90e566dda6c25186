"""Every dataset format in, and what is wrong with one said in a line."""

import csv
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefer.data import images
from edgefer.data.image_header import image_size
from edgefer.data.labels import ALPHABETICAL_7, ALPHABETICAL_8, CLASS_ORDERS, FERPLUS_VOTES
from edgefer.data.pixel_text import parse_pixels
from edgefer.data.protocols import Protocol
from edgefer.data.reading import read_faces
from edgefer.errors import DataError, UsageError

RANDOM = np.random.default_rng(7)
USAGE = {"train": "Training", "valid": "PublicTest", "test": "PrivateTest"}


def pixels(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def message(path: Path, **options: object) -> str:
    """Return the one line with which `path` is refused."""
    with pytest.raises(DataError) as caught:
        read_faces(path, **options)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "\n" not in text
    return text


def write_image(path: Path, image: np.ndarray, *parameters: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image, parameters)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of two faces."""
    for label in ("happy", "anger"):
        for index in range(2):
            write_image(tmp_path / "faces" / label / f"{index}.png", pixels(12, 10))
    return tmp_path / "faces"


# Folders


def test_a_folder_a_class_is_read_with_labels_by_name(folder: Path) -> None:
    faces = read_faces(folder)
    assert faces.class_names == ("anger", "happiness")
    assert faces.names == ["anger/0.png", "anger/1.png", "happy/0.png", "happy/1.png"]
    assert faces.labels.tolist() == [0, 0, 1, 1]
    for name, image in zip(faces.names, faces.images, strict=True):
        expected = cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(image, expected)


def test_given_class_names_set_the_order_and_allow_other_classes(tmp_path: Path) -> None:
    for label in ("awake", "asleep"):
        write_image(tmp_path / label / "0.png", pixels(9, 9))
    faces = read_faces(tmp_path, class_names=("tired", "awake", "asleep"))
    assert faces.class_names == ("tired", "awake", "asleep")
    assert faces.labels.tolist() == [2, 1]


def test_unknown_class_folders_are_listed_with_the_known_ones(folder: Path) -> None:
    write_image(folder / "cats" / "0.png", pixels(9, 9))
    assert message(folder) == (
        f"{folder}: unknown class folders 'cats'; known are anger, contempt, disgust, fear, "
        "happiness, neutral, other, sadness, surprise"
    )


def test_a_class_outside_the_given_names_is_refused(folder: Path) -> None:
    expected = "unknown class folders 'happy'; known are anger, fear"
    assert message(folder, class_names=("anger", "fear")) == f"{folder}: {expected}"


def test_a_class_named_twice_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="a class is named twice in happy, happiness"):
        read_faces(folder, class_names=("happy", "happiness"))


@pytest.mark.parametrize(
    ("names", "wanted", "read"),
    [
        (("train", "valid", "test"), None, "test"),
        (("train", "valid", "test"), "train", "train"),
        (("Training", "PublicTest", "PrivateTest"), "valid", "PublicTest"),
        (("train", "val"), "validation", "val"),
    ],
)
def test_a_split_above_the_classes_is_picked(
    tmp_path: Path, names: Sequence[str], wanted: str | None, read: str
) -> None:
    for name in names:
        for label in ("fear", "sad"):
            write_image(tmp_path / name / label / f"{name}.png", pixels(9, 9))
    faces = read_faces(tmp_path, split=wanted)
    assert faces.names == [f"fear/{read}.png", f"sad/{read}.png"]
    assert faces.source == str(tmp_path / read)


def test_a_split_that_is_not_there_is_an_error(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "parts").mkdir()
    folder.rename(tmp_path / "parts" / "train")
    expected = f"{tmp_path / 'parts'}: has no test split, only train"
    assert message(tmp_path / "parts") == expected


def test_a_split_of_a_folder_without_splits_is_an_error(folder: Path) -> None:
    assert message(folder, split="test") == f"{folder}: has no splits; leave out the split 'test'"


def test_a_word_that_is_no_split_is_wrong_usage(tmp_path: Path) -> None:
    write_image(tmp_path / "test" / "fear" / "0.png", pixels(9, 9))
    with pytest.raises(UsageError, match="'tset' is not a split; choose train, valid, test"):
        read_faces(tmp_path, split="tset")


def test_two_folders_for_one_split_are_an_error(tmp_path: Path) -> None:
    for name in ("val", "valid"):
        (tmp_path / name).mkdir()
    assert message(tmp_path) == f"{tmp_path}: 'val' and 'valid' are the same split"


def test_what_is_no_face_is_skipped_with_its_reason(folder: Path) -> None:
    """Every kind of file that is not used is listed, and nothing else is."""
    good = (folder / "anger/0.png").read_bytes()
    bad: dict[str, tuple[bytes, str]] = {
        "empty.png": (b"", "is empty"),
        "text.jpg": (b"not an image", "is not a PNG, JPEG, BMP, WebP or PNM image"),
        "cut.png": (good[:-20], "the image is cut off"),
        "flipped.png": (
            good[:60] + bytes([good[60] ^ 1]) + good[61:],
            "the image is damaged: a PNG checksum is wrong",
        ),
        "small.png": (encoded(".png", pixels(7, 30)), "is 30x7, smaller than 8x8"),
    }
    for name, (content, _) in bad.items():
        (folder / "anger" / name).write_bytes(content)
    (folder / "anger" / "sub").mkdir()
    os.mkfifo(folder / "anger" / "pipe.png")
    (folder / "anger" / "gone.png").symlink_to(folder / "nowhere")
    (folder / "notes.txt").write_text("notes")
    faces = read_faces(folder)
    reasons = {f"anger/{name}": reason for name, (_, reason) in bad.items()}
    reasons |= {
        "anger/sub": "is not a regular file",
        "anger/pipe.png": "is not a regular file",
        "anger/gone.png": "cannot be read: No such file or directory",
        "notes.txt": "is not in a class folder",
    }
    assert len(faces) == 4
    assert {item.path: item.reason for item in faces.skipped} == {
        str(folder / name): reason for name, reason in reasons.items()
    }


def test_a_dataset_without_a_readable_face_is_an_error(tmp_path: Path) -> None:
    for label in ("fear", "sad"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "0.png").write_bytes(b"")
    first = tmp_path / "fear/0.png"
    expected = f"{tmp_path}: has no usable face; 2 skipped, {first}: is empty"
    assert message(tmp_path) == expected


def test_faces_of_one_class_only_are_an_error(tmp_path: Path) -> None:
    write_image(tmp_path / "sad" / "0.png", pixels(9, 9))
    (tmp_path / "fear").mkdir()
    expected = f"{tmp_path}: has faces of one class only, sadness; it needs two or more"
    assert message(tmp_path) == expected


def test_a_folder_without_class_folders_is_an_error(tmp_path: Path) -> None:
    write_image(tmp_path / "0.png", pixels(9, 9))
    assert "has no class folders" in message(tmp_path)


def test_a_folder_too_large_for_memory_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_DECODED_BYTES", 3 * 120)
    assert "of pixels; use smaller images or fewer" in message(folder)


def test_progress_is_reported_file_by_file(folder: Path) -> None:
    calls: list[tuple[int, int]] = []
    read_faces(folder, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


# Images


def encoded(extension: str, image: np.ndarray, *parameters: int) -> bytes:
    done, content = cv2.imencode(extension, image, parameters)
    assert done
    return content.tobytes()


def png(width: int, height: int, *, colour: int = 0, data: bytes = b"") -> bytes:
    """Write an 8-bit PNG by hand; `data` are its scanlines."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


LOSSLESS_WEBP = (cv2.IMWRITE_WEBP_QUALITY, 101)


@pytest.mark.parametrize(
    ("extension", "parameters"),
    [(".png", ()), (".bmp", ()), (".webp", LOSSLESS_WEBP), (".ppm", ())],
)
def test_colours_come_out_as_rgb(extension: str, parameters: tuple[int, ...]) -> None:
    rgb = pixels(11, 13, 3)
    content = encoded(extension, np.ascontiguousarray(rgb[:, :, ::-1]), *parameters)
    np.testing.assert_array_equal(images.decode_image(content), rgb)


def test_alpha_is_dropped() -> None:
    bgra = pixels(11, 13, 4)
    decoded = images.decode_image(encoded(".png", bgra))
    np.testing.assert_array_equal(decoded, bgra[:, :, 2::-1])


def test_sixteen_bits_are_scaled_to_eight() -> None:
    deep = np.array([[0, 128, 129, 65535, 257 * 77, 257 * 77 + 100, 1, 65534]] * 8, np.uint16)
    decoded = images.decode_image(encoded(".png", deep))
    np.testing.assert_array_equal(decoded[0], np.round(deep[0] / 257))


def test_gray_with_alpha_keeps_its_gray() -> None:
    gray = pixels(9, 10)
    scanlines = b"".join(
        b"\0" + np.dstack([row, 255 - row]).tobytes() for row in gray
    )  # fmt: skip
    decoded = images.decode_image(png(10, 9, colour=4, data=scanlines))
    np.testing.assert_array_equal(decoded.reshape(9, 10, -1)[:, :, 0], gray)


def test_the_exif_orientation_is_honoured() -> None:
    """Orientation 6 says that the image has to be turned clockwise by a quarter."""
    image = np.zeros((16, 32), np.uint8)
    image[:, 16:] = 255
    plain = encoded(".jpg", image, cv2.IMWRITE_JPEG_QUALITY, 100)
    tiff = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHH", 1, 0x0112, 3, 1, 6, 0) + b"\0" * 4
    exif = b"Exif\0\0" + tiff
    turned = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]
    expected = cv2.rotate(images.decode_image(plain), cv2.ROTATE_90_CLOCKWISE)
    np.testing.assert_array_equal(images.decode_image(turned), expected)


@pytest.mark.parametrize("extension", [".png", ".jpg", ".bmp", ".webp"])
def test_a_truncated_image_is_never_read(extension: str) -> None:
    content = encoded(extension, pixels(20, 20, 3))
    for end in range(0, len(content) - 4, 7):
        with pytest.raises(ValueError, match=r"the image is|is not a|smaller than"):
            images.decode_image(content[:end])


@pytest.mark.parametrize(
    "content",
    [
        png(40_000, 40_000),
        b"P5\n40000 40000\n255\n",
        b"BM" + struct.pack("<12xIii", 40, 40_000, -40_000),
        b"\xff\xd8\xff\xc0" + struct.pack(">HBHH", 17, 8, 40_000, 40_000) + b"\xff\xd9",
        b"RIFF\x16\0\0\0WEBPVP8X" + struct.pack("<IIHBHB", 10, 0, 39_999, 0, 39_999, 0),
    ],
)
def test_an_image_bomb_is_refused_by_its_header(content: bytes) -> None:
    with pytest.raises(ValueError, match="is 40000x40000, more than 64 million pixels"):
        images.decode_image(content)


@given(st.integers(8, 90), st.integers(8, 90), st.data())
@settings(max_examples=60, deadline=None)
def test_the_header_gives_the_size_that_opencv_decodes(
    width: int, height: int, data: st.DataObject
) -> None:
    extension = data.draw(st.sampled_from([".png", ".jpg", ".bmp", ".webp", ".ppm"]))
    quality = (cv2.IMWRITE_WEBP_QUALITY, data.draw(st.sampled_from([50, 101])))
    channels = data.draw(st.sampled_from([3, 4] if extension != ".ppm" else [3]))
    image = np.random.default_rng(width).integers(0, 256, (height, width, channels), np.uint8)
    content = encoded(extension, image, *(quality if extension == ".webp" else ()))
    assert image_size(content) == (width, height)
    assert images.decode_image(content).shape[:2] == (height, width)


@given(st.binary(max_size=60), st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM"]))
def test_random_bytes_behind_a_signature_are_refused(content: bytes, start: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(the image )?(is|has) "):
        images.decode_image(start + content)


def test_a_damaged_image_prints_nothing_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    content = bytearray(encoded(".bmp", pixels(20, 20)))
    with pytest.raises(ValueError, match="the image is damaged"):
        images.decode_image(bytes(content[:-100]))
    assert capfd.readouterr() == ("", "")


# FER+ as .npz


def ferplus_arrays(count: int = 6) -> dict[str, Any]:
    """Return arrays in FER+'s layout; the last face is unknown to most, the others clear."""
    votes = np.zeros((count, 10), np.uint8)
    votes[np.arange(count), np.arange(count) % 4] = 9
    votes[:, 7] = 1
    votes[-1] = [4, 0, 0, 0, 0, 0, 0, 0, 6, 0]
    arrays = {}
    for split in ("train", "valid", "test"):
        arrays[f"{split}_images"] = pixels(count, 48, 48)
        arrays[f"{split}_votes"] = votes
        arrays[f"{split}_names"] = np.array([f"{split}{index}.png" for index in range(count)])
    return arrays


@pytest.mark.parametrize("compress", [np.savez, np.savez_compressed])
def test_ferplus_arrays_are_read(tmp_path: Path, compress: Callable[..., None]) -> None:
    arrays = ferplus_arrays()
    compress(tmp_path / "fer.npz", **arrays)
    faces = read_faces(tmp_path / "fer.npz", split="valid")
    assert faces.class_names == FERPLUS_VOTES[:8]
    assert faces.names == [f"valid{index}.png" for index in range(5)]
    assert faces.labels.tolist() == [0, 1, 2, 3, 0]
    np.testing.assert_array_equal(np.array(faces.images), arrays["valid_images"][:5])
    assert faces.votes is not None
    np.testing.assert_array_equal(faces.votes, np.eye(8, dtype=np.float32)[[0, 1, 2, 3, 0]])


def test_the_protocol_is_passed_on_and_test_is_the_default_split(tmp_path: Path) -> None:
    np.savez(tmp_path / "fer.npz", **ferplus_arrays())
    faces = read_faces(tmp_path / "fer.npz", protocol=Protocol.ARGMAX)
    assert faces.names[0] == "test0.png"
    assert faces.votes is not None
    assert faces.votes[0].tolist() == pytest.approx([0.9, 0, 0, 0, 0, 0, 0, 0.1])


def test_class_names_for_ferplus_are_wrong_usage(tmp_path: Path) -> None:
    np.savez(tmp_path / "fer.npz", **ferplus_arrays())
    with pytest.raises(UsageError, match="names its own classes; leave out the class names"):
        read_faces(tmp_path / "fer.npz", class_names=ALPHABETICAL_8)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("test_images", None, "has no test split, only train and valid"),
        ("test_votes", None, "is not FER+'s layout: it has no test_votes"),
        ("test_images", pixels(6, 48), "test_images is uint8 (6, 48), expected uint8 (n, h, w)"),
        ("test_images", pixels(6, 4, 4), "test_images is uint8 (6, 4, 4), expected uint8"),
        ("test_images", np.zeros((6, 48, 48)), "test_images is float64 (6, 48, 48), expected"),
        ("test_votes", np.zeros((6, 8), np.uint8), "test_votes is uint8 (6, 8), expected integ"),
        ("test_votes", np.full((6, 10), -1), "test_votes has counts outside 0…1,000,000"),
        ("test_votes", np.zeros((6, 10), np.uint8), "has no usable face"),
        ("test_names", np.arange(6), "test_names is int64 (6,), expected text (6,)"),
        ("test_names", np.array([[1]], object), "cannot be read as .npz: Object arrays cannot be"),
    ],
)
def test_arrays_of_another_layout_are_refused(
    tmp_path: Path, key: str, value: np.ndarray | None, problem: str
) -> None:
    arrays = ferplus_arrays()
    del arrays[key]
    path = tmp_path / "fer.npz"
    if value is not None:
        arrays[key] = value
    np.savez(path, **arrays)
    assert message(path).startswith(f"{path}: {problem}")


def test_arrays_of_other_names_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    expected = f"{tmp_path / 'other.npz'}: is not FER+'s layout: it has no test_images"
    assert message(tmp_path / "other.npz") == expected


def test_an_array_that_claims_to_be_huge_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    shape = (1 << 40, 48, 48)
    description = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, description)
    arrays = ferplus_arrays()
    del arrays["test_images"]
    np.savez(tmp_path / "fer.npz", **arrays)
    with zipfile.ZipFile(tmp_path / "fer.npz", "a") as archive:
        archive.writestr("test_images.npy", header.getvalue() + b"\0" * 100)
    assert "cannot be read as .npz" in message(tmp_path / "fer.npz")


@cache
def archived() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **ferplus_arrays(3))
    return buffer.getvalue()


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_archive_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Cut it off anywhere, or overwrite any bytes: nothing but a DataError may come out."""
    damage(archived(), tmp_path_factory.mktemp("npz") / "fer.npz", data)


def damage(content: bytes, path: Path, data: st.DataObject) -> None:
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        edges = st.integers(0, 200) | st.integers(len(content) - 1500, len(content) - 1)
        changed = bytearray(content)
        for _ in range(data.draw(st.integers(1, 5))):
            changed[data.draw(edges | st.integers(0, len(content) - 1))] = data.draw(
                st.integers(0, 255)
            )
        content = bytes(changed)
    path.write_bytes(content)
    try:
        faces = read_faces(path)
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert len(faces) > 0


# PAtt-Lite's HDF5


def write_hdf5(path: Path, classes: int, *, shape: tuple[int, ...] = (12, 12, 3)) -> None:
    with h5py.File(path, "w") as file:
        for index, split in enumerate(("train", "valid", "test")):
            file[f"X_{split}"] = np.full((classes, *shape), index, np.uint8)
            file[f"y_{split}"] = np.arange(classes)


@pytest.mark.parametrize(("classes", "names"), [(8, ALPHABETICAL_8), (7, ALPHABETICAL_7)])
def test_hdf5_labels_are_alphabetical(tmp_path: Path, classes: int, names: Sequence[str]) -> None:
    write_hdf5(tmp_path / "faces.h5", classes)
    faces = read_faces(tmp_path / "faces.h5", split="train")
    assert faces.class_names == names
    assert faces.labels.tolist() == list(range(classes))
    assert {image.shape for image in faces.images} == {(12, 12, 3)}
    assert {int(image.max()) for image in faces.images} == {0}
    assert faces.names[3] == "X_train[3]"


def test_hdf5_test_split_is_the_default(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "faces.h5", 7, shape=(12, 12, 1))
    faces = read_faces(tmp_path / "faces.h5")
    assert {int(image.max()) for image in faces.images} == {2}
    assert {image.shape for image in faces.images} == {(12, 12)}


def test_hdf5_labels_follow_given_names(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "faces.h5", 3)
    faces = read_faces(tmp_path / "faces.h5", class_names=("c", "a", "b"))
    assert [faces.class_names[label] for label in faces.labels] == ["c", "a", "b"]


def test_hdf5_labels_without_names_must_be_seven_or_eight(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "faces.h5", 5)
    path = tmp_path / "faces.h5"
    assert (
        message(path) == f"{path}: labels are 0…4, neither 0…6 nor 0…7; name the classes in order"
    )
    assert (
        message(path, class_names=("a", "b")) == f"{path}: labels are 0…4, but 2 classes are named"
    )


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("X_test", None, "has no test split, only train and valid"),
        ("X_test", np.zeros((8, 12, 12, 3)), "X_test is float64 (8, 12, 12, 3), expected uint8"),
        ("X_test", pixels(8, 12), "X_test is uint8 (8, 12), expected uint8 (n, h, w, 3)"),
        ("X_test", pixels(8, 12, 12, 2), "X_test is uint8 (8, 12, 12, 2), expected uint8"),
        ("X_test", pixels(9, 12, 12, 3), "X_test has 9 faces, y_test 8 labels"),
        ("X_test", np.uint8(1), "X_test is uint8 (), expected uint8"),
        ("X_test", h5py.SoftLink("/X_train"), "X_test is not a plain dataset"),
        ("X_test", h5py.ExternalLink("/etc/passwd", "/x"), "X_test is not a plain dataset"),
        ("X_test", h5py.Empty("u1"), "X_test holds no array"),
        ("y_test", np.arange(8.0), "y_test is float64 (8,), expected integers (n,)"),
        ("y_test", np.eye(8, dtype=int), "y_test is int64 (8, 8), expected integers (n,)"),
        ("y_test", np.arange(8) - 1, "labels are -1…7, neither 0…6 nor 0…7"),
    ],
)
def test_hdf5_of_another_layout_is_refused(
    tmp_path: Path, key: str, value: object, problem: str
) -> None:
    path = tmp_path / "faces.h5"
    write_hdf5(path, 8)
    with h5py.File(path, "a") as file:
        del file[key]
        if value is not None:
            file[key] = value
    assert message(path).startswith(f"{path}: {problem}")


def test_hdf5_never_reads_another_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"s" * 8 * 12 * 12)
    path = tmp_path / "faces.h5"
    write_hdf5(path, 8)
    with h5py.File(path, "a") as file:
        del file["X_test"]
        outside = [(str(tmp_path / "secret"), 0, 8 * 12 * 12)]
        file.create_dataset("X_test", (8, 12, 12), "u1", external=outside)
    assert message(path) == f"{path}: X_test is not a plain dataset"


def test_hdf5_that_claims_to_be_huge_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "faces.h5"
    write_hdf5(path, 8)
    with h5py.File(path, "a") as file:
        del file["X_test"]
        file.create_dataset("X_test", (1 << 30, 48, 48), "u1", chunks=(1, 48, 48))
    assert "holds more than 8 GB of pixels" in message(path)


def test_another_hdf5_and_a_truncated_one_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "faces.h5"
    with h5py.File(path, "w") as file:
        file["model_weights"] = np.zeros(3)
    assert message(path) == f"{path}: is not PAtt-Lite's layout: it has no X_test and y_test"
    path.write_bytes(path.read_bytes()[:-100])
    assert message(path).startswith(f"{path}: cannot be read as HDF5: ")


# Kaggle's fer2013.csv


Row = tuple[int, str, str]


def write_fer2013(path: Path, rows: Sequence[Row], header: str = "emotion,pixels,Usage") -> None:
    lines = [f"{emotion},{text},{usage}" for emotion, text, usage in rows]
    path.write_text("\n".join([header, *lines]) + "\n")


def as_text(image: np.ndarray) -> str:
    return " ".join(str(value) for value in image.ravel())


def write_votes(path: Path, rows: Sequence[tuple[str, str, Sequence[int]]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Usage", "Image name", *FERPLUS_VOTES])
        writer.writerows([usage, name, *votes] for usage, name, votes in rows)


@pytest.fixture
def kaggle(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """Both files, with six rows: two a split, but one test row without a name in FER+."""
    faces = pixels(7, 48, 48)
    usages = ["Training"] * 2 + ["PublicTest"] * 2 + ["PrivateTest"] * 3
    rows = [
        (index % 7, as_text(face), usage)
        for index, (face, usage) in enumerate(zip(faces, usages, strict=True))
    ]
    write_fer2013(tmp_path / "fer2013.csv", rows)
    votes = np.eye(10, dtype=int)[[0, 1, 2, 3, 4, 9, 5]] * 9
    names = ["a.png", "b.png", "c.png", "d.png", "e.png", "", "f.png"]
    votes[:, 0] += 1
    write_votes(tmp_path / "fer2013new.csv", list(zip(usages, names, votes.tolist(), strict=True)))
    return tmp_path, faces


@pytest.mark.parametrize("name", ["", "fer2013.csv", "fer2013new.csv"])
def test_fer2013_takes_its_labels_from_ferplus(kaggle: tuple[Path, np.ndarray], name: str) -> None:
    folder, pictures = kaggle
    faces = read_faces(folder / name)
    assert faces.names == ["e.png", "f.png"]
    assert [faces.class_names[label] for label in faces.labels] == ["anger", "disgust"]
    np.testing.assert_array_equal(np.array(faces.images), pictures[[4, 6]])
    assert faces.votes is not None
    assert faces.votes.argmax(axis=1).tolist() == [4, 5]
    assert faces.skipped == ()


def test_fer2013_alone_has_its_own_labels(kaggle: tuple[Path, np.ndarray]) -> None:
    folder, pictures = kaggle
    (folder / "fer2013new.csv").unlink()
    faces = read_faces(folder, split="valid")
    assert faces.class_names == CLASS_ORDERS["FER2013"]
    assert [faces.class_names[label] for label in faces.labels] == ["fear", "happiness"]
    assert faces.names == ["row 2", "row 3"]
    assert faces.votes is None
    np.testing.assert_array_equal(np.array(faces.images), pictures[[2, 3]])


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    """As in the file that Kaggle's own copy of the competition has."""
    text = as_text(pixels(48, 48))
    lines = ["emotion, Usage, pixels", f"0,PrivateTest,{text}", f'3,PrivateTest,"{text}"', ""]
    (tmp_path / "icml_face_data.csv").write_text("\r\n".join(lines))
    faces = read_faces(tmp_path / "icml_face_data.csv")
    assert faces.labels.tolist() == [0, 3]


def test_unusable_rows_are_skipped_with_their_reason(tmp_path: Path) -> None:
    good = as_text(pixels(48, 48))
    rows = [
        (0, good, "PrivateTest"),
        (1, good, "PrivateTest"),
        (1, good[:-4], "PrivateTest"),
        (1, good.replace(" ", " x", 1), "PrivateTest"),
        (1, "256" + good[good.index(" ") :], "PrivateTest"),
        (7, good, "PrivateTest"),
        (1, good, "Elsewhere"),
        (1, "", "Training"),
    ]
    write_fer2013(tmp_path / "fer2013.csv", rows)
    faces = read_faces(tmp_path)
    assert faces.names == ["row 0", "row 1"]
    path = tmp_path / "fer2013.csv"
    found = [(item.path.removeprefix(f"{path} "), item.reason) for item in faces.skipped]
    assert found[0][0] == "row 2"
    assert found[0][1].endswith("pixels, not 48x48")
    assert found[1:] == [
        ("row 3", "a pixel is not a number of 0…255"),
        ("row 4", "a pixel is not a number of 0…255"),
        ("row 5", "the emotion is '7', not 0…6"),
        ("row 6", "the usage is 'Elsewhere'"),
    ]


def test_files_that_do_not_align_are_refused(kaggle: tuple[Path, np.ndarray]) -> None:
    folder, _ = kaggle
    table = (folder / "fer2013new.csv").read_text().splitlines()
    path = folder / "fer2013.csv"
    (folder / "fer2013new.csv").write_text("\n".join([table[0], *table[2:]]))
    assert message(folder) == (
        f"{path}: row 1 is 'Training', in fer2013new.csv 'PublicTest': "
        "the files don't belong together"
    )
    (folder / "fer2013new.csv").write_text("\n".join(table[:-1]))
    assert message(folder) == f"{path}: has more rows than fer2013new.csv, 6"
    (folder / "fer2013new.csv").write_text("\n".join([*table, table[-1]]))
    assert message(folder) == f"{path}: has 7 rows, fer2013new.csv 8"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is not fer2013.csv: it has no column 'emotion', 'pixels', 'usage'"),
        ("emotion,pixels\n", "is not fer2013.csv: it has no column 'usage'"),
        ("emotion,pixels,Usage\n", "has no test split, only none at all"),
        ("emotion,pixels,Usage\n1,2\n", "row 0 has 2 columns, not 3"),
        ("emotion,pixels,Usage\n1," + "1 " * 40_000 + ",Training\n", "has a line of 64 KB or more"),
    ],
)
def test_a_csv_of_another_layout_is_refused(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "fer2013.csv"
    path.write_text(content)
    assert message(path) == f"{path}: {problem}"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is not fer2013new.csv: it has no column 'usage', 'image name', 'neutral'"),
        (b"\xff\xfe\x00", "cannot be read as CSV: 'utf-8' codec can't decode"),
        (
            ",".join(["Usage", "Image name", *FERPLUS_VOTES]).encode() + b"\na,b,1,2,x\n",
            "has a row",
        ),
        (
            ",".join(["Usage", "Image name", *FERPLUS_VOTES]).encode() + b"\na,b" + b",-1" * 10,
            "has counts of votes outside",
        ),
    ],
)
def test_a_vote_file_of_another_layout_is_refused(
    kaggle: tuple[Path, np.ndarray], content: bytes, problem: str
) -> None:
    folder, _ = kaggle
    path = folder / "fer2013new.csv"
    path.write_bytes(content)
    assert message(folder).startswith(f"{path}: {problem}")


def test_ferplus_votes_without_the_pixels_are_refused(kaggle: tuple[Path, np.ndarray]) -> None:
    folder, _ = kaggle
    (folder / "fer2013.csv").unlink()
    problem = "needs fer2013.csv beside fer2013new.csv: that has the pixels"
    assert message(folder) == f"{folder}: {problem}"


@given(st.text("0123456789 ", max_size=40) | st.text("012 ,-x\t", max_size=12))
def test_pixels_are_parsed_as_python_would(text: str) -> None:
    words = text.split(" ")
    numbers = [int(word) for word in words if word.isdigit()]
    valid = numbers and max(numbers) <= 255 and set(text) <= set("0123456789 ")
    parsed = parse_pixels(text.encode())
    assert (None if parsed is None else parsed.tolist()) == (numbers if valid else None)


# Anything else


def test_a_missing_path_is_an_error(tmp_path: Path) -> None:
    for name in ("nowhere", "nowhere.csv"):
        path = tmp_path / name
        assert message(path) == f"{path}: cannot be read: No such file or directory"


def test_an_empty_file_and_an_unknown_one_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"")
    assert message(path) == f"{path}: is empty"
    path.write_bytes(b"\x80\x04pickle")
    assert message(path).startswith(f"{path}: is not a dataset: give a folder")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is neither a folder nor a regular file" in message(tmp_path / "pipe")


@pytest.mark.shared_data
def test_the_csv_pair_equals_the_arrays(ferplus_path: Path, tmp_path: Path) -> None:
    """Write part of the shared arrays as Kaggle's files and read both."""
    expected = read_faces(ferplus_path, split="valid")
    with np.load(ferplus_path) as stored:
        faces, votes, names = (stored[f"valid_{key}"] for key in ("images", "votes", "names"))
    rows = [(0, as_text(face), USAGE["valid"]) for face in faces[:400]]
    write_fer2013(tmp_path / "fer2013.csv", rows)
    table = zip([USAGE["valid"]] * 400, names[:400].tolist(), votes[:400].tolist(), strict=True)
    write_votes(tmp_path / "fer2013new.csv", list(table))
    found = read_faces(tmp_path, split="valid")
    count = len(found)
    assert found.names == list(expected.names[:count])
    np.testing.assert_array_equal(found.labels, expected.labels[:count])
    np.testing.assert_array_equal(np.array(found.images), np.array(expected.images[:count]))
    assert found.votes is not None
    assert expected.votes is not None
    np.testing.assert_array_equal(found.votes, expected.votes[:count])
