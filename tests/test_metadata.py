"""A .tflite describes itself, and hostile descriptions do no harm."""

import dataclasses
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models

from edgefer import metadata, metadata_schema
from edgefer.converters import graph
from edgefer.errors import ModelError
from edgefer.models.spec import ColourOrder, ModelSpec

INFO = {"recipe": {"precision": "int8"}, "calibration_hash": "ab12"}


def written(tmp_path: Path, spec: ModelSpec = small_models.SPEC) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(metadata.write(small_models.small(), spec, INFO))
    return path


def foreign(message: metadata_schema.Message, files: dict[str, str]) -> bytes:
    """Return the small model with metadata as another tool writes it."""
    whole = io.BytesIO(
        small_models.patched(
            metadata.write(small_models.small(), small_models.SPEC, {}),
            lambda model: replace_message(model, message),
        )
    )
    with zipfile.ZipFile(whole, "a") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return whole.getvalue()


def replace_message(model: Any, message: metadata_schema.Message) -> None:
    (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    encoded = np.frombuffer(metadata_schema.encode(message), np.uint8)
    model.buffers[entry.buffer].data = encoded


def standard_message(mean: list[float], std: list[float]) -> metadata_schema.Message:
    labels = {"name": "my_labels.txt", "type": metadata_schema.TENSOR_AXIS_LABELS}
    return {
        "name": "Theirs",
        "author": "Someone else",
        "subgraph_metadata": [
            {
                "input_tensor_metadata": [
                    {"process_units": [{"options": {"mean": mean, "std": std}}]}
                ],
                "output_tensor_metadata": [{"associated_files": [labels]}],
            }
        ],
    }


def test_what_is_written_is_read() -> None:
    message = standard_message([1.5], [2.5])
    assert metadata_schema.decode(metadata_schema.encode(message)) == {
        **message,
        "subgraph_metadata": [
            {
                **message["subgraph_metadata"][0],
                "input_tensor_metadata": [
                    {
                        "process_units": [
                            {"options_type": 1, "options": {"mean": [1.5], "std": [2.5]}}
                        ]
                    }
                ],
            }
        ],
    }


def test_a_file_carries_its_spec_and_how_it_was_made(tmp_path: Path) -> None:
    found = metadata.read(written(tmp_path))
    assert found.spec == small_models.SPEC
    assert found.info == INFO
    assert found.labels == small_models.SPEC.labels
    assert (found.mean, found.std) == ((127.5,) * 3, (127.5,) * 3)
    assert (found.name, found.author, found.licence) == ("small", "someone", "MIT")
    assert metadata.read_spec(written(tmp_path)) == small_models.SPEC


def test_another_reader_of_the_format_finds_labels_and_flatbuffer(tmp_path: Path) -> None:
    """Python's zipfile and the schema's own reader, with no code of edgefer's."""
    path = written(tmp_path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        labels = archive.read("labels.txt").decode()
        own = json.loads(archive.read("edgefer.json"))
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    assert labels == "\n".join(small_models.SPEC.labels)  # no newline at the end: an empty label
    assert own["spec"]["labels"] == list(small_models.SPEC.labels)
    described = [
        entry for entry in graph.unpack(path.read_bytes(), source=path).metadata
        if entry.name == b"TFLITE_METADATA"
    ]  # fmt: skip
    assert len(described) == 1


def test_metadata_does_not_change_the_model(tmp_path: Path) -> None:
    images = small_models.inputs(4)
    np.testing.assert_array_equal(
        small_models.run(written(tmp_path).read_bytes(), images),
        small_models.run(small_models.small(), images),
    )


def test_writing_again_replaces_everything() -> None:
    once = metadata.write(small_models.small(), small_models.SPEC, INFO)
    renamed = dataclasses.replace(small_models.SPEC, author="another")
    twice = metadata.write(once, renamed, INFO)
    assert (b"someone" in once, b"someone" in twice, b"another" in twice) == (True, False, True)
    assert [twice.count(mark) for mark in (b"PK\5\6", b"M001", b"TFLITE_METADATA")] == [1, 1, 1]


def test_the_same_input_gives_the_same_bytes() -> None:
    once, again = (metadata.write(small_models.small(), small_models.SPEC, INFO) for _ in range(2))
    assert once == again


def test_a_gray_model_says_so(tmp_path: Path) -> None:
    gray = dataclasses.replace(
        small_models.SPEC, channels=1, colour_order=ColourOrder.GRAY, mean=(0.0,), std=(255.0,)
    )
    assert metadata.read_spec(written(tmp_path, gray)) == gray


def test_standard_metadata_of_another_tool_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "theirs.tflite"
    names = "anger\nfear\njoy\n"
    path.write_bytes(foreign(standard_message([127.5], [127.5]), {"my_labels.txt": names}))
    found = metadata.read(path)
    assert found.spec == ModelSpec(name="Theirs", labels=("anger", "fear", "joy"), input_size=32)
    assert (found.info, found.author) == ({}, "Someone else")


def test_labels_alone_are_no_spec_and_yet_are_read(tmp_path: Path) -> None:
    message = standard_message([127.5], [127.5])
    del message["subgraph_metadata"][0]["input_tensor_metadata"]
    path = tmp_path / "theirs.tflite"
    path.write_bytes(foreign(message, {"my_labels.txt": "a\nb"}))
    assert metadata.read(path).labels == ("a", "b")
    assert metadata.read_spec(path) is None


def test_a_model_without_metadata_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bare.tflite"
    path.write_bytes(small_models.small())
    found = metadata.read(path)
    assert (found.spec, found.info, found.labels, found.name) == (None, {}, (), "")


@pytest.mark.parametrize("content", [b"", b"hello", bytes(100), b"\x10\0\0\0TFL3"])
def test_a_file_that_is_no_model_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"^[^\n]*bad\.tflite: [^\n]+$"):
        metadata.read(path)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^[^\n]*none\.tflite: cannot be read[^\n]+$"):
        metadata.read(tmp_path / "none.tflite")


def test_damage_in_the_description_is_a_model_error_at_worst(tmp_path: Path) -> None:
    whole = written(tmp_path).read_bytes()
    start = whole.index(b"M001") - 4
    random = np.random.default_rng(0)
    path = tmp_path / "damaged.tflite"
    messages = []
    for _ in range(300):
        damaged = bytearray(whole)
        for low, high in ((start, start + 900), (0, 600), (len(whole) - 900, len(whole))):
            damaged[random.integers(low, high)] = int(random.integers(256))
        path.write_bytes(damaged[: len(damaged) - int(random.choice([0, 0, 1, 30, 2000]))])
        try:
            metadata.read(path)
        except ModelError as exc:
            messages.append(str(exc))
    assert 30 < len(messages) < 300
    assert not any("\n" in message for message in messages)


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    whole = io.BytesIO(written(tmp_path).read_bytes())
    with zipfile.ZipFile(whole, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("more.txt", bytes(20_000_000))
    path = tmp_path / "bomb.tflite"
    path.write_bytes(whole.getvalue())
    assert path.stat().st_size < 100_000
    with pytest.raises(ModelError, match="metadata is corrupt"):
        metadata.read(path)


@pytest.mark.parametrize(
    "own",
    ["[]", "{", '{"spec": 3}', '{"spec": {"name": "x"}}', '{"spec": {"labels": 5}}', "[" * 100_000],
)
def test_a_bad_description_of_our_own_is_a_model_error(own: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(foreign(standard_message([0.0], [1.0]), {"edgefer.json": own}))
    with pytest.raises(ModelError, match="metadata is corrupt"):
        metadata.read(path)
