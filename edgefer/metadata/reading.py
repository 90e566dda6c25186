"""What a .tflite says of itself, whoever wrote it; every byte of it may be hostile."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgefer.errors import ModelError
from edgefer.metadata import message, tflite_file
from edgefer.metadata.archive import OWN_FILE, Archive
from edgefer.metadata.message import Message
from edgefer.models.spec import ColourOrder, ModelSpec

NEWEST_PARSER = (1, 5, 0)
"""The version of the standard whose fields edgefer knows."""

_VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})")


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a .tflite says of itself; empty where it says nothing.

    `spec` is None where labels, normalisation or a square image input are missing. `info` is
    what edgefer noted when it made the file: recipe, versions, calibration hash. `scores` says
    what the output means, `labels_file` names the file of its labels. `files` travel with the
    model, `missing_files` are named and do not. `min_parser_version` is the version of the
    standard that a reader has to know.
    """

    is_present: bool
    spec: ModelSpec | None
    info: Mapping[str, Any]
    labels: tuple[str, ...]
    labels_file: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    name: str
    description: str
    version: str
    author: str
    licence: str
    scores: str
    files: tuple[str, ...]
    missing_files: tuple[str, ...]
    min_parser_version: str

    @property
    def needs_newer_parser(self) -> bool:
        """Whether the file says that a reader as old as this one misses something."""
        asked = _VERSION.match(self.min_parser_version)
        return asked is not None and tuple(map(int, asked.groups())) > NEWEST_PARSER


def read(path: Path) -> Metadata:
    """Read a .tflite's metadata; ModelError where the file or its metadata is corrupt."""
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise ModelError(path, f"cannot be read: {exc.strerror or exc}") from exc
    if content[4:8] != tflite_file.IDENTIFIER:
        raise ModelError(path, "is not a .tflite file (no TFL3 at byte 4)")
    try:
        return _read(content, path.stem)
    except (ValueError, TypeError, KeyError, OverflowError) as exc:
        reason = (str(exc).splitlines() or [type(exc).__name__])[0][:200]
        raise ModelError(
            path, f"its metadata is corrupt ({reason}); convert or download the model again"
        ) from exc


def read_spec(path: Path) -> ModelSpec | None:
    """Return the input contract that a .tflite carries, or None where it does not say enough.

    Standard metadata with labels and a normalisation is enough, whoever wrote it.
    """
    return read(path).spec


def _read(content: bytes, stem: str) -> Metadata:
    packed = tflite_file.metadata(content)
    described = message.decode(packed) if packed else {}
    archive = Archive(content if described else b"")
    subgraph = _first(described, "subgraph_metadata")
    scores = _first(subgraph, "output_tensor_metadata")
    labels_file = _labels_file(scores)
    mean, std = _normalisation(_first(subgraph, "input_tensor_metadata"))
    own = _own(archive)
    found = Metadata(
        is_present=bool(described),
        spec=ModelSpec.from_dict(own["spec"]) if own else None,
        info=dict(own.get("info", {})),
        labels=_labels(archive.text(labels_file)) if labels_file in archive.names else (),
        labels_file=labels_file,
        mean=mean,
        std=std,
        name=described.get("name", ""),
        description=described.get("description", ""),
        version=described.get("version", ""),
        author=described.get("author", ""),
        licence=described.get("license", ""),
        scores=scores.get("description") or scores.get("name", ""),
        files=archive.names,
        missing_files=tuple(file for file in _named_files(described) if file not in archive.names),
        min_parser_version=described.get("min_parser_version", ""),
    )
    return found if own else replace(found, spec=_foreign_spec(found, content, stem))


def _first(parent: Message, field: str) -> Message:
    entries: list[Message] = parent.get(field, [])
    return entries[0] if entries else {}


def _own(archive: Archive) -> dict[str, Any]:
    """Return `edgefer.json`, empty where the file is another tool's."""
    if OWN_FILE not in archive.names:
        return {}
    try:
        own = json.loads(archive.text(OWN_FILE))
    except (json.JSONDecodeError, RecursionError) as exc:
        raise ValueError(f"{OWN_FILE} is not JSON") from exc
    if not isinstance(own, dict) or not isinstance(own.get("spec"), dict):
        raise ValueError(f"{OWN_FILE} describes no model")  # noqa: TRY004 - a matter of the file
    return own


def _labels_file(scores: Message) -> str:
    """Return the name of the labels of the output's axis; of several files, the default one's."""
    for file in scores.get("associated_files", []):
        if file.get("type") == message.TENSOR_AXIS_LABELS:
            return str(file.get("name", ""))
    return ""


def _labels(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.rstrip().split("\n"))


def _normalisation(image: Message) -> tuple[tuple[float, ...], tuple[float, ...]]:
    for unit in image.get("process_units", []):
        if "options" in unit:
            options = unit["options"]
            return tuple(options.get("mean", ())), tuple(options.get("std", ()))
    return (), ()


def _named_files(part: Message) -> list[str]:
    """Return the names of all files that the metadata speaks of."""
    named = [file.get("name", "") for file in part.get("associated_files", [])]
    for field in ("subgraph_metadata", "input_tensor_metadata", "output_tensor_metadata"):
        for entry in part.get(field, []):
            named += _named_files(entry)
    return named


def _foreign_spec(found: Metadata, content: bytes, stem: str) -> ModelSpec | None:
    """Return the spec that standard metadata amounts to, or None where it does not."""
    shape = tflite_file.input_shape(content)
    is_square_image = len(shape) == 4 and shape[1] == shape[2] and shape[3] in (1, 3)
    if not found.labels or not found.mean or not found.std or not is_square_image:
        return None
    channels = shape[3]
    try:
        return ModelSpec(
            name=found.name or stem,
            labels=found.labels,
            input_size=shape[1],
            channels=channels,
            colour_order=ColourOrder.RGB if channels == 3 else ColourOrder.GRAY,
            mean=found.mean * channels if len(found.mean) == 1 else found.mean,
            std=found.std * channels if len(found.std) == 1 else found.std,
            description=found.description,
            author=found.author,
            licence=found.licence,
        )
    except ValueError:
        return None
