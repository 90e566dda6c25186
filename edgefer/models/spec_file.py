"""A model's input contract, labels and provenance as their owner writes them, in TOML."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgefer import toml_file
from edgefer.errors import ModelError
from edgefer.models.spec import ColourOrder, ModelSpec, ResizeMethod
from edgefer.toml_file import TomlFileError, shown

REQUIRED = ("name", "labels", "input_size", "mean", "std")

_COLOURS = {3: ColourOrder.RGB, 1: ColourOrder.GRAY}


class _FieldError(ValueError):
    """What is wrong with one of its fields; the message goes on after the file's name."""


def read(path: Path) -> ModelSpec:
    """Read a spec file, whose fields are those of ModelSpec; docs/pytorch.md describes them.

    `name`, `labels`, `input_size`, `mean` and `std` must be there. Raises ModelError that names
    the field and what was expected of it.
    """
    try:
        return _spec(toml_file.read(path, kind="spec file"))
    except TomlFileError as exc:
        is_missing = isinstance(exc.__cause__, FileNotFoundError)
        problem = "does not exist; check the path of --spec" if is_missing else str(exc)
        raise ModelError(path, problem) from exc
    except _FieldError as exc:
        raise ModelError(path, str(exc)) from exc
    except ValueError as exc:  # of ModelSpec, whose messages name the field as well
        raise ModelError(path, f"describes no model: {exc}") from exc


def _spec(values: Mapping[str, Any]) -> ModelSpec:
    for name in values:
        if name not in _FIELDS:
            raise _FieldError(f"{shown(name)}: no such field; there are {', '.join(_FIELDS)}")
    for name in REQUIRED:
        if name not in values:
            raise _FieldError(f"{name}: is missing; expected {_EXPECTED[_FIELDS[name]]}")
    fields = {name: _checked(name, value) for name, value in values.items()}
    colours = fields.get("colour_order", _COLOURS[fields.get("channels", 3)])
    channels = fields.setdefault("channels", 1 if colours is ColourOrder.GRAY else 3)
    fields["colour_order"] = colours
    for name in ("mean", "std"):
        fields[name] = _each(name, fields[name], channels)
    return ModelSpec(**fields)


def _checked(name: str, value: Any) -> Any:
    read_field = _FIELDS[name]
    try:
        return read_field(value)
    except (TypeError, ValueError) as exc:
        expected = _EXPECTED[read_field]
        raise _FieldError(f"{name}: expected {expected}, got {shown(value)}") from exc


def _each(name: str, values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Give each channel its value; a mean for pixels of 0…1 is told, which torchvision's are."""
    if len(values) not in (1, channels):
        raise _FieldError(f"{name}: expected one number, or {channels}, got {len(values)}")
    if name == "mean" and any(0 < value < 1 for value in values):
        raise _FieldError(
            f"mean: expected values for pixels of 0…255, got {shown(list(values))}: "
            "multiply mean and std by 255"
        )
    if name == "std" and min(values) <= 0:
        raise _FieldError(f"std: expected positive numbers, got {shown(list(values))}")
    return values * channels if len(values) == 1 else values


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _labels(value: Any) -> tuple[str, ...]:
    labels = tuple(_text(label) for label in _list(value))
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise ValueError(value)
    if not all(label and label == label.strip() and label.isprintable() for label in labels):
        raise ValueError(value)
    return labels


def _size(value: Any) -> int:
    if type(value) is not int or not 8 <= value <= 4096:
        raise ValueError(value)
    return value


def _channels(value: Any) -> int:
    if type(value) is not int or value not in _COLOURS:
        raise ValueError(value)
    return value


def _numbers(value: Any) -> tuple[float, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(type(one) in (int, float) and math.isfinite(one) for one in values):
        raise ValueError(value)
    return tuple(float(one) for one in values)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(value)
    return value


_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "name": _text,
    "labels": _labels,
    "input_size": _size,
    "channels": _channels,
    "colour_order": ColourOrder,
    "mean": _numbers,
    "std": _numbers,
    "resize": ResizeMethod,
    "description": _text,
    "training_data": _text,
    "author": _text,
    "licence": _text,
}
_EXPECTED: Mapping[Callable[[Any], Any], str] = {
    _text: "a text",
    _labels: "a list of two or more different texts, in the order of the model's output",
    _size: "a whole number of pixels from 8 to 4096",
    _channels: "3 or 1",
    ColourOrder: '"RGB" or "GRAY"',
    _numbers: "a number, or one for each channel, for pixels of 0…255",
    ResizeMethod: '"bilinear"',
}
