"""TensorFlow Lite's model metadata as a flatbuffer: encoded and decoded by a table of its fields.

The fields are those of metadata_schema.fbs 1.1.0 (tensorflow/tflite-support), as far as image
classifiers use them. A message is a dict by field name; a field that is absent is left out.
"""

from collections.abc import Mapping
from typing import Any

import flatbuffers
from flatbuffers import encode as raw
from flatbuffers import packer
from flatbuffers.number_types import Float32Flags, Int8Flags, Uint8Flags, Uint32Flags, UOffsetTFlags
from flatbuffers.table import Table

FILE_IDENTIFIER = b"M001"
TENSOR_AXIS_LABELS = 2
RGB, GRAYSCALE = 1, 2

Message = dict[str, Any]

TABLES: Mapping[str, Mapping[str, str]] = {
    "ModelMetadata": {
        "name": "string",
        "description": "string",
        "version": "string",
        "subgraph_metadata": "[SubGraphMetadata]",
        "author": "string",
        "license": "string",
        "associated_files": "[AssociatedFile]",
        "min_parser_version": "string",
    },
    "SubGraphMetadata": {
        "name": "string",
        "description": "string",
        "input_tensor_metadata": "[TensorMetadata]",
        "output_tensor_metadata": "[TensorMetadata]",
        "associated_files": "[AssociatedFile]",
    },
    "TensorMetadata": {
        "name": "string",
        "description": "string",
        "dimension_names": "unused",
        "content": "Content",
        "process_units": "[ProcessUnit]",
        "stats": "Stats",
        "associated_files": "[AssociatedFile]",
    },
    "AssociatedFile": {
        "name": "string",
        "description": "string",
        "type": "byte",
        "locale": "string",
    },
    "Content": {"content_properties_type": "ubyte", "content_properties": "ImageProperties"},
    "ImageProperties": {"color_space": "byte", "default_size": "ImageSize"},
    "ImageSize": {"width": "uint", "height": "uint"},
    "ProcessUnit": {"options_type": "ubyte", "options": "NormalizationOptions"},
    "NormalizationOptions": {"mean": "[float]", "std": "[float]"},
    "Stats": {"max": "[float]", "min": "[float]"},
}
"""Fields in the order of their slots; a union takes two, its type and its value."""

UNION_TYPES = {"content_properties": 2, "options": 1}
"""The member that is read and written: ImageProperties, NormalizationOptions."""

_NUMBERS = {"byte": Int8Flags, "ubyte": Uint8Flags, "uint": Uint32Flags}
_LONGEST_VECTOR = 10_000


def encode(message: Message) -> bytes:
    """Return ModelMetadata as a flatbuffer."""
    builder = flatbuffers.Builder(1024)
    root = _write_table(builder, "ModelMetadata", _with_union_types(message))
    builder.Finish(root, file_identifier=FILE_IDENTIFIER)
    return bytes(builder.Output())


def decode(buffer: bytes) -> Message:
    """Read ModelMetadata; ValueError, struct.error or IndexError where it is damaged."""
    if buffer[4:8] != FILE_IDENTIFIER:
        raise ValueError("no M001 at byte 4")
    return _read_table(Table(buffer, raw.Get(packer.uoffset, buffer, 0)), "ModelMetadata")


def _with_union_types(message: Any) -> Any:
    if isinstance(message, list | tuple):
        return [_with_union_types(item) for item in message]
    if not isinstance(message, dict):
        return message
    types = {f"{name}_type": kind for name, kind in UNION_TYPES.items() if name in message}
    return types | {name: _with_union_types(value) for name, value in message.items()}


def _write_table(builder: Any, table: str, message: Message) -> int:
    fields = TABLES[table]
    offsets = {
        name: _write_value(builder, fields[name], value)
        for name, value in message.items()
        if fields[name] not in _NUMBERS
    }
    builder.StartObject(len(fields))
    for slot, (name, kind) in enumerate(fields.items()):
        if name in offsets:
            builder.PrependUOffsetTRelativeSlot(slot, offsets[name], 0)
        elif name in message:
            builder.PrependSlot(_NUMBERS[kind], slot, message[name], 0)
    return int(builder.EndObject())


def _write_value(builder: Any, kind: str, value: Any) -> int:
    if kind == "string":
        return int(builder.CreateString(value))
    if not kind.startswith("["):
        return _write_table(builder, kind, value)
    item = kind[1:-1]
    if item == "float":
        builder.StartVector(4, len(value), 4)
        for number in reversed(value):
            builder.PrependFloat32(number)
        return int(builder.EndVector())
    offsets = [_write_value(builder, item, entry) for entry in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _read_table(table: Table, name: str) -> Message:
    message: Message = {}
    for slot, (field, kind) in enumerate(TABLES[name].items()):
        offset = table.Offset(4 + 2 * slot)
        if not offset or kind == "unused":
            continue
        if field in UNION_TYPES and message.get(f"{field}_type") != UNION_TYPES[field]:
            continue
        message[field] = _read_value(table, table.Pos + offset, kind)
    return message


def _read_value(table: Table, position: int, kind: str) -> Any:
    if kind in _NUMBERS:
        return table.Get(_NUMBERS[kind], position)
    if kind == "string":
        return table.String(position).decode()
    if not kind.startswith("["):
        return _read_table(Table(table.Bytes, table.Indirect(position)), kind)
    start = position + table.Get(UOffsetTFlags, position)
    length = table.Get(UOffsetTFlags, start)
    if length > _LONGEST_VECTOR:
        raise ValueError(f"a vector of {length} entries")
    entries = [start + 4 + 4 * index for index in range(length)]
    if kind == "[float]":
        return [float(table.Get(Float32Flags, entry)) for entry in entries]
    return [_read_value(table, entry, kind[1:-1]) for entry in entries]
