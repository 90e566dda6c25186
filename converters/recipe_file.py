"""A conversion recipe as TOML, to repeat a conversion or to state one by hand."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgefer.converters.recipes import PRESETS, Precision, QuantizationRecipe
from edgefer.errors import UsageError
from edgefer.files import write_text

MOST_BYTES = 1_000_000
_FIELDS = {field.name: field for field in dataclasses.fields(QuantizationRecipe)}
_LONGEST_SHOWN = 60


class _RecipeError(ValueError):
    """What is wrong with the file; the message goes on after its name."""


def read(path: Path) -> QuantizationRecipe:
    """Read a recipe; what it does not say is as the preset of its precision has it.

    The keys are the fields of QuantizationRecipe, and `precision` has to be there. Raises
    UsageError that names the key and what was expected of it.
    """
    try:
        return _recipe(_parsed(path))
    except ValueError as exc:
        raise UsageError(f"{path}: {exc}") from exc


def write(path: Path, recipe: QuantizationRecipe) -> None:
    """Write a recipe with all its keys."""
    lines = [f"{key} = {_toml(value)}" for key, value in recipe.to_dict().items()]
    write_text(path, "\n".join(["# A conversion by edgefer", *lines, ""]))


def _parsed(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise _RecipeError(f"cannot be read: {reason}; check its path") from exc
    if len(content) > MOST_BYTES:
        raise _RecipeError(f"is larger than {MOST_BYTES:,} bytes, which no recipe is")
    try:
        return tomllib.loads(content.decode())
    except (ValueError, RecursionError) as exc:
        reason = (str(exc).splitlines() or [type(exc).__name__])[0]
        raise _RecipeError(f"is not TOML: {reason[:200]}") from exc


def _recipe(values: Mapping[str, Any]) -> QuantizationRecipe:
    for key in values:
        if key not in _FIELDS:
            raise _RecipeError(f"{key[:_LONGEST_SHOWN]!r}: no such key; there are {_keys()}")
    if "precision" not in values:
        raise _RecipeError('precision: is missing, such as precision = "int8"')
    preset = PRESETS[_checked("precision", values["precision"], Precision.INT8)]
    changes = {
        key: _checked(key, value, getattr(preset, key))
        for key, value in values.items()
        if key != "precision"
    }
    return dataclasses.replace(preset, **changes)


def _checked(key: str, value: Any, example: Any) -> Any:
    """Return a value as its field has it; `example` is one of the field's own kind."""
    if isinstance(example, bool):
        if isinstance(value, bool):
            return value
        expected = "true or false"
    elif isinstance(example, tuple):
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            return tuple(value)
        expected = "a list of texts"
    else:
        choices = [str(choice) for choice in type(example)]
        if value in choices:
            return type(example)(value)
        expected = " or ".join(f'"{choice}"' for choice in choices)
    raise _RecipeError(f"{key}: expected {expected}, got {_shown(value)}")


def _keys() -> str:
    return ", ".join(_FIELDS)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


def _toml(value: Any) -> str:
    """Write a text, a truth value or a list of texts, which TOML writes as JSON does."""
    return json.dumps(value, ensure_ascii=False)
