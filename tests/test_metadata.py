"""A .tflite describes itself, and hostile descriptions do no harm."""

import dataclasses
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
import small_models

from edgefer import metadata
from edgefer.converters import graph
from edgefer.errors import ModelError
from edgefer.metadata import message as standard
from edgefer.models.spec import ColourOrder, ModelSpec

THEIRS = Path(__file__).parent / "golden/metadata/theirs.tflite"
INFO = {"recipe": {"precision": "int8"}, "calibration_hash": "ab12"}


def written(tmp_path: Path, spec: ModelSpec = small_models.SPEC) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(metadata.write(small_models.small(), spec, INFO))
    return path


def foreign(message: standard.Message, files: dict[str, str]) -> bytes:
    """Return the small model with metadata as another tool writes it."""
    return foreign_bytes(standard.encode(message), files)


def foreign_bytes(described: bytes, files: dict[str, str]) -> bytes:
    """Return the small model with an encoded description, and files behind it."""
    whole = io.BytesIO(
        small_models.patched(
            metadata.write(small_models.small(), small_models.SPEC, {}),
            lambda model: replace_message(model, described),
        )
    )
    with zipfile.ZipFile(whole, "a") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return whole.getvalue()


def replace_message(model: Any, described: bytes) -> None:
    (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    model.buffers[entry.buffer].data = np.frombuffer(described, np.uint8)


def repeated_tables(count: int) -> bytes:
    """Return metadata whose lists name one table again and again."""
    builder = flatbuffers.Builder(0)

    def table(slots: int, slot: int, vector: int) -> int:
        builder.StartObject(slots)
        builder.PrependUOffsetTRelativeSlot(slot, vector, 0)
        return int(builder.EndObject())

    def vector(entry: int) -> int:
        builder.StartVector(4, count, 4)
        for _ in range(count):
            builder.PrependUOffsetTRelative(entry)
        return int(builder.EndVector())

    builder.StartObject(2)
    unit = builder.EndObject()
    tensor = table(7, 4, vector(unit))
    subgraph = table(5, 2, vector(tensor))
    builder.Finish(table(8, 3, vector(subgraph)), file_identifier=b"M001")
    return bytes(builder.Output())


def standard_message(mean: list[float], std: list[float]) -> standard.Message:
    labels = {"name": "my_labels.txt", "type": standard.TENSOR_AXIS_LABELS}
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
    assert standard.decode(standard.encode(message)) == {
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
    assert found.spec == ModelSpec(
        name="Theirs", labels=("anger", "fear", "joy"), input_size=32, author="Someone else"
    )
    assert (found.info, found.author) == ({}, "Someone else")


def test_metadata_by_mediapipes_own_code_is_read() -> None:
    """`golden/metadata` holds what made it."""
    found = metadata.read(THEIRS)
    assert found.spec == ModelSpec(
        name="Viertel",
        labels=("oben links", "oben rechts", "unten links", "unten rechts"),
        input_size=16,
        description="Das hellste Viertel eines Bildes.",
        author="Jemand",
        licence="CC0",
    )
    assert (found.version, found.min_parser_version) == ("v7", "1.3.0")
    assert found.scores == "Wie wahrscheinlich ein Viertel das hellste ist."
    assert (found.files, found.missing_files) == (("viertel",), ())
    assert found.info == {}
    assert not found.needs_newer_parser


def test_metadata_is_read_without_any_runtime(tmp_path: Path) -> None:
    """A 32-bit board has tflite-runtime alone, which brings no schema."""
    script = """
import sys
sys.modules.update(dict.fromkeys(("ai_edge_litert", "flatbuffers", "tensorflow")))
from pathlib import Path
from edgefer import metadata
found = metadata.read(Path(sys.argv[1]))
print(found.spec.to_dict() if found.spec else None)
"""
    for path, spec in (
        (written(tmp_path), small_models.SPEC),
        (THEIRS, metadata.read_spec(THEIRS)),
    ):
        command = [sys.executable, "-c", script, str(path)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.stderr == ""
        assert spec is not None
        assert ended.stdout == f"{spec.to_dict()}\n"


@pytest.mark.parametrize(
    ("asked", "is_newer"),
    [
        ("1.0.0", False),
        ("1.5.0", False),
        ("1.5.1", True),
        ("1.10.0", True),
        ("", False),
        ("x", False),
    ],
)
def test_metadata_for_a_newer_reader_is_told(asked: str, is_newer: bool, tmp_path: Path) -> None:  # noqa: FBT001
    path = tmp_path / "newer.tflite"
    message = standard_message([0.0], [1.0]) | ({"min_parser_version": asked} if asked else {})
    path.write_bytes(foreign(message, {}))
    assert metadata.read(path).needs_newer_parser is is_newer


def test_a_file_that_the_metadata_names_and_that_is_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "theirs.tflite"
    path.write_bytes(foreign(standard_message([0.0], [1.0]), {"other.txt": "a\nb"}))
    found = metadata.read(path)
    assert (found.labels, found.missing_files) == ((), ("my_labels.txt",))


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


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (bytes(20_000_000), "my_labels.txt holds more than 1,000,000 bytes"),
        (b"caf\xe9", "my_labels.txt is not UTF-8 text"),
    ],
)
def test_labels_that_are_a_bomb_or_no_text_are_refused(
    content: bytes, said: str, tmp_path: Path
) -> None:
    whole = io.BytesIO(foreign(standard_message([0.0], [1.0]), {}))
    with zipfile.ZipFile(whole, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("my_labels.txt", content)
    path = tmp_path / "bad.tflite"
    path.write_bytes(whole.getvalue())
    assert path.stat().st_size < 100_000
    with pytest.raises(ModelError, match=rf"metadata is corrupt \({said}\)"):
        metadata.read(path)


def test_an_archive_of_many_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "many.tflite"
    path.write_bytes(foreign(standard_message([0.0], [1.0]), {f"{n}": "" for n in range(100)}))
    with pytest.raises(ModelError, match=r"corrupt \(it has 100 associated files\)"):
        metadata.read(path)


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    whole = bytearray(foreign(standard_message([0.0], [1.0]), {"my_labels.txt": "a\nb"}))
    whole[whole.rindex(b"PK\1\2")] ^= 1
    path = tmp_path / "bad.tflite"
    path.write_bytes(whole)
    with pytest.raises(ModelError, match="its archive of files is damaged"):
        metadata.read(path)


def test_any_damaged_word_of_the_description_is_read_or_refused() -> None:
    """Offsets that lead backwards, out of the buffer or to another table raise ValueError alone."""
    described = bytearray(standard.encode(standard_message([127.5], [127.5])))
    refused = 0
    for position in range(len(described) - 4):
        for value in (0, 1, 4, 0xFF, 0x7FFF, 0x8000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
            damaged = bytearray(described)
            damaged[position : position + 4] = value.to_bytes(4, "little")
            try:
                standard.decode(bytes(damaged))
            except ValueError:
                refused += 1
    assert refused > 1000


@pytest.mark.parametrize("length", [0, 3, 4, 7, 8, 12, 40])
def test_a_description_that_is_cut_off_is_refused(length: int) -> None:
    described = standard.encode(standard_message([127.5], [127.5]))
    with pytest.raises(ValueError, match=r"M001|out of the buffer"):
        standard.decode(described[:length])


def test_one_table_named_a_million_times_is_refused(tmp_path: Path) -> None:
    """Each level points a thousand times at the next: a thousand million tables in 20 KB."""
    path = tmp_path / "bad.tflite"
    described = repeated_tables(1000)
    assert len(described) < 20_000
    path.write_bytes(foreign_bytes(described, {}))
    with pytest.raises(ModelError, match="it holds more than 1,000,000 bytes"):
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
