"""A conversion recipe as TOML, to repeat a conversion or to state one by hand."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgefer import toml_file
from edgefer.converters.recipes import PRESETS, Precision, QuantizationRecipe
from edgefer.errors import UsageError
from edgefer.files import write_text
from edgefer.outputs import RECIPE_MARK
from edgefer.toml_file import shown

_FIELDS = {field.name: field for field in dataclasses.fields(QuantizationRecipe)}


class _RecipeError(ValueError):
    """What is wrong with the file; the message goes on after its name."""


def read(path: Path) -> QuantizationRecipe:
    """Read a recipe; what it does not say is as the preset of its precision has it.

    The keys are the fields of QuantizationRecipe, and `precision` has to be there. Raises
    UsageError that names the key and what was expected of it.
    """
    try:
        return _recipe(toml_file.read(path, kind="recipe"))
    except ValueError as exc:
        raise UsageError(f"{path}: {exc}") from exc


def write(path: Path, recipe: QuantizationRecipe) -> None:
    """Write a recipe with all its keys."""
    lines = [f"{key} = {_toml(value)}" for key, value in recipe.to_dict().items()]
    write_text(path, "\n".join([RECIPE_MARK, *lines, ""]))


def _recipe(values: Mapping[str, Any]) -> QuantizationRecipe:
    for key in values:
        if key not in _FIELDS:
            raise _RecipeError(f"{shown(key)}: no such key; there are {', '.join(_FIELDS)}")
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
    raise _RecipeError(f"{key}: expected {expected}, got {shown(value)}")


def _toml(value: Any) -> str:
    """Write a text, a truth value or a list of texts, which TOML writes as JSON does."""
    return json.dumps(value, ensure_ascii=False)
