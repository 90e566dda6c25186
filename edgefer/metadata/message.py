"""TensorFlow Lite's model metadata as a flatbuffer: encoded and decoded by a table of its fields.

The fields are those of metadata_schema.fbs 1.5.0 (mediapipe/tasks/metadata), as far as image
classifiers use them. A message is a dict by field name; a field that is absent is left out.
"""

from collections.abc import Mapping
from typing import Any

from edgefer.metadata.flatbuffer import Buffer, FlatbufferError, Table, root

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

_NUMBERS = {"byte": "b", "ubyte": "B", "uint": "I"}
"""Kinds of scalars, and their formats in the struct module."""

_MOST_BYTES = 1_000_000
"""Of all that is read: a small file can name the same text or table any number of times."""

_TABLE_BYTES = 100


def encode(message: Message) -> bytes:
    """Return ModelMetadata as a flatbuffer."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    main = _write_table(builder, "ModelMetadata", _with_union_types(message))
    builder.Finish(main, file_identifier=FILE_IDENTIFIER)
    return bytes(builder.Output())


def decode(buffer: Buffer) -> Message:
    """Read ModelMetadata; ValueError where it is damaged or larger than any real one."""
    return _Decoder().read(root(buffer, FILE_IDENTIFIER), "ModelMetadata")


def _with_union_types(message: Any) -> Any:
    if isinstance(message, list | tuple):
        return [_with_union_types(item) for item in message]
    if not isinstance(message, dict):
        return message
    types = {f"{name}_type": kind for name, kind in UNION_TYPES.items() if name in message}
    return types | {name: _with_union_types(value) for name, value in message.items()}


def _write_table(builder: Any, table: str, message: Message) -> int:
    from flatbuffers.number_types import Int8Flags, Uint8Flags, Uint32Flags

    number_types = {"byte": Int8Flags, "ubyte": Uint8Flags, "uint": Uint32Flags}
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
            builder.PrependSlot(number_types[kind], slot, message[name], 0)
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


class _Decoder:
    """Reads tables into messages, and stops where they are more than a real file holds."""

    def __init__(self) -> None:
        self._bytes_left = _MOST_BYTES

    def read(self, table: Table, name: str) -> Message:
        """Return the fields of a table that are there."""
        message: Message = {}
        for slot, (field, kind) in enumerate(TABLES[name].items()):
            if field in UNION_TYPES and message.get(f"{field}_type") != UNION_TYPES[field]:
                continue
            if kind != "unused" and table.has(slot):
                message[field] = self._value(table, slot, kind)
        return message

    def _value(self, table: Table, slot: int, kind: str) -> Any:
        if kind in _NUMBERS:
            return table.number(slot, _NUMBERS[kind])
        if kind == "string":
            content = table.content(slot)
            self._count(len(content))
            return _text(content)
        if kind == "[float]":
            numbers = table.numbers(slot, "f")
            self._count(4 * len(numbers))
            return list(numbers)
        if kind.startswith("["):
            entries = table.tables(slot)
            self._count(_TABLE_BYTES * len(entries))
            return [self.read(entry, kind[1:-1]) for entry in entries]
        return self.read(table.table(slot), kind)

    def _count(self, size_bytes: int) -> None:
        self._bytes_left -= size_bytes
        if self._bytes_left < 0:
            raise FlatbufferError(f"it holds more than {_MOST_BYTES:,} bytes")


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        raise FlatbufferError("a text is not UTF-8") from exc
