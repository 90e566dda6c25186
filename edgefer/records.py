"""Dataclasses that are checked when they come back from JSON: a result file, a device's answer."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from edgefer.errors import EdgeferError

Record = TypeVar("Record")

STRICT = with_config(ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
"""Put above @dataclass: types are not coerced, unknown keys and NaN are errors."""


class InvalidRecordError(EdgeferError):
    """A JSON text is not the record that it should be; the message says where."""


def from_json(kind: type[Record], text: str | bytes) -> Record:
    """Read a `STRICT` dataclass from JSON; InvalidRecordError with the first thing amiss."""
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise InvalidRecordError(f"{place}: {first['msg']}") from exc


def to_dict(record: Any) -> dict[str, Any]:
    """Return a `STRICT` dataclass as JSON-ready values."""
    value: dict[str, Any] = TypeAdapter(type(record)).dump_python(record, mode="json")
    return value


def to_json(record: Any) -> str:
    """Return a `STRICT` dataclass as JSON text; NaN is a ValueError."""
    return json.dumps(to_dict(record), indent=1, allow_nan=False)
