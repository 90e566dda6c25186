"""A .tflite that describes itself: standard TensorFlow Lite metadata, and edgefer's own beside it.

The metadata is a flatbuffer in the model's buffer `TFLITE_METADATA`; the files it names are a
ZIP archive after the model, which every runtime ignores. `edgefer.json` among them holds the
ModelSpec and how the model was made.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

import edgefer
from edgefer import metadata_schema
from edgefer.converters import graph
from edgefer.errors import ModelError
from edgefer.models.spec import ColourOrder, ModelSpec

METADATA_NAME = b"TFLITE_METADATA"
OWN_FILE = "edgefer.json"
LABELS_FILE = "labels.txt"
SCHEMA_VERSION = 1

_MIN_PARSER_VERSION = "1.0.0"
_LARGEST_FILE = 1_000_000
_MOST_FILES = 64
_DAMAGED = (*graph.CORRUPT, zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError)


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a .tflite says of itself; empty where it says nothing.

    `spec` is None where labels, normalisation or a square image input are missing. `info` is
    what edgefer noted when it made the file: recipe, versions, calibration hash.
    """

    spec: ModelSpec | None
    info: Mapping[str, Any]
    labels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    name: str
    description: str
    version: str
    author: str
    licence: str


def write(tflite: bytes, spec: ModelSpec, info: Mapping[str, Any]) -> bytes:
    """Return the model with `spec` and `info` as its only metadata.

    `info` is JSON-ready. Raises ModelError where `tflite` is corrupt.
    """
    model = graph.unpack(tflite, source=spec.name)
    described = metadata_schema.encode(_message(spec))
    kept = [entry for entry in model.metadata or [] if entry.name != METADATA_NAME]
    for entry in model.metadata or []:
        if entry.name == METADATA_NAME:
            model.buffers[entry.buffer].data = None
    model.buffers.append(schema.BufferT(data=np.frombuffer(described, np.uint8)))
    model.metadata = [
        *kept,
        schema.MetadataT(name=METADATA_NAME.decode(), buffer=len(model.buffers) - 1),
    ]
    own = {"schema_version": SCHEMA_VERSION, "spec": spec.to_dict(), "info": dict(info)}
    files = {LABELS_FILE: "\n".join(spec.labels), OWN_FILE: json.dumps(own, indent=1)}
    return _with_files(graph.pack(model), files)


def read(path: Path) -> Metadata:
    """Read a .tflite's metadata; ModelError where the file or its metadata is corrupt."""
    try:
        tflite = path.read_bytes()
    except OSError as exc:
        raise ModelError(path, f"cannot be read: {exc.strerror or exc}") from exc
    if tflite[4:8] != graph.FILE_IDENTIFIER:
        raise ModelError(path, "is not a .tflite file (no TFL3 at byte 4)")
    try:
        return _parse(tflite, path.stem)
    except _DAMAGED as exc:
        raise ModelError(
            path, "its metadata is corrupt; convert or download the model again"
        ) from exc


def read_spec(path: Path) -> ModelSpec | None:
    """Return the input contract that a .tflite carries, or None where it does not say enough.

    Standard metadata with labels and a normalisation is enough, whoever wrote it.
    """
    return read(path).spec


def _message(spec: ModelSpec) -> metadata_schema.Message:
    colours = {ColourOrder.RGB: metadata_schema.RGB, ColourOrder.GRAY: metadata_schema.GRAYSCALE}
    side = {"width": spec.input_size, "height": spec.input_size}
    image = {
        "name": "image",
        "description": "One cropped face, stretched to the input size.",
        "content": {
            "content_properties": {
                "color_space": colours[spec.colour_order],
                "default_size": side,
            }
        },
        "process_units": [{"options": {"mean": list(spec.mean), "std": list(spec.std)}}],
    }
    scores = {
        "name": "probability",
        "description": "Probability of each label.",
        "associated_files": [
            {
                "name": LABELS_FILE,
                "description": "The labels, in the order of the output.",
                "type": metadata_schema.TENSOR_AXIS_LABELS,
            }
        ],
    }
    return {
        "name": spec.name,
        "description": spec.description,
        "version": f"edgefer {edgefer.__version__}",
        "subgraph_metadata": [
            {"input_tensor_metadata": [image], "output_tensor_metadata": [scores]}
        ],
        "author": spec.author,
        "license": spec.licence,
        "associated_files": [
            {"name": OWN_FILE, "description": "What edgefer knows of the model, as JSON."}
        ],
        "min_parser_version": _MIN_PARSER_VERSION,
    }


def _with_files(tflite: bytes, files: Mapping[str, str]) -> bytes:
    """Append a ZIP archive: stored, not deflated, as MediaPipe maps the files into memory."""
    whole = io.BytesIO(tflite)
    with zipfile.ZipFile(whole, "a", zipfile.ZIP_STORED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return whole.getvalue()


def _parse(tflite: bytes, stem: str) -> Metadata:
    model = schema.Model.GetRootAs(tflite, 0)
    described = _described(model, tflite)
    files = _files(tflite) if described else {}
    subgraph = _first(described.get("subgraph_metadata"))
    image = _first(subgraph.get("input_tensor_metadata"))
    labels = _labels(_first(subgraph.get("output_tensor_metadata")), files)
    mean, std = _normalisation(image)
    own = json.loads(files[OWN_FILE]) if OWN_FILE in files else {}
    foreign = _foreign_spec(model, described.get("name") or stem, labels, mean, std)
    return Metadata(
        spec=ModelSpec.from_dict(own["spec"]) if own else foreign,
        info=dict(own.get("info", {})),
        labels=labels,
        mean=mean,
        std=std,
        name=described.get("name", ""),
        description=described.get("description", ""),
        version=described.get("version", ""),
        author=described.get("author", ""),
        licence=described.get("license", ""),
    )


def _described(model: Any, tflite: bytes) -> metadata_schema.Message:
    """Return the decoded TFLITE_METADATA, or an empty message where the model has none."""
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == METADATA_NAME:
            buffer = model.Buffers(entry.Buffer())
            if buffer.Offset() > 1:
                return metadata_schema.decode(tflite[buffer.Offset() :][: buffer.Size()])
            return metadata_schema.decode(buffer.DataAsNumpy().tobytes())
    return {}


def _files(tflite: bytes) -> dict[str, str]:
    """Return the text files packed behind the model; ValueError where they are far too large."""
    if not zipfile.is_zipfile(io.BytesIO(tflite)):
        return {}
    with zipfile.ZipFile(io.BytesIO(tflite)) as archive:
        entries = archive.infolist()
        if len(entries) > _MOST_FILES:
            raise ValueError(f"{len(entries)} associated files")
        files = {}
        for entry in entries:
            if entry.filename == OWN_FILE or entry.filename.endswith(".txt"):
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError(f"{entry.filename} is packed in an unusual way")
                with archive.open(entry) as packed:
                    content = packed.read(_LARGEST_FILE + 1)
                if len(content) > _LARGEST_FILE:
                    raise ValueError(f"{entry.filename} is too large")
                files[entry.filename] = content.decode()
        return files


def _first(messages: Sequence[metadata_schema.Message] | None) -> metadata_schema.Message:
    return messages[0] if messages else {}


def _labels(scores: metadata_schema.Message, files: Mapping[str, str]) -> tuple[str, ...]:
    """Return the labels of the output's axis; of several files, the first is the default one."""
    for file in scores.get("associated_files", []):
        if file.get("type") == metadata_schema.TENSOR_AXIS_LABELS and file.get("name") in files:
            lines = files[file["name"]].splitlines()
            return tuple(line.strip() for line in lines if line.strip())
    return ()


def _normalisation(image: metadata_schema.Message) -> tuple[tuple[float, ...], tuple[float, ...]]:
    for unit in image.get("process_units", []):
        if "options" in unit:
            options = unit["options"]
            return tuple(options.get("mean", ())), tuple(options.get("std", ()))
    return (), ()


def _foreign_spec(
    model: Any,
    name: str,
    labels: tuple[str, ...],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> ModelSpec | None:
    """Return the spec that standard metadata amounts to, or None where it does not."""
    subgraph = model.Subgraphs(0)
    if not labels or not mean or not std or subgraph.InputsLength() != 1:
        return None
    image = subgraph.Tensors(subgraph.Inputs(0))
    shape = [image.Shape(axis) for axis in range(image.ShapeLength())]
    if len(shape) != 4 or shape[1] != shape[2] or shape[3] not in (1, 3):
        return None
    channels = shape[3]
    try:
        return ModelSpec(
            name=name,
            labels=labels,
            input_size=shape[1],
            channels=channels,
            colour_order=ColourOrder.RGB if channels == 3 else ColourOrder.GRAY,
            mean=mean * channels if len(mean) == 1 else mean,
            std=std * channels if len(std) == 1 else std,
        )
    except ValueError:
        return None
