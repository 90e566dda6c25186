"""A recipe written by hand, and one that edgefer wrote."""

import dataclasses
from pathlib import Path

import pytest
import recipes_to_try

from edgefer.converters import recipe_file
from edgefer.converters.recipes import INT8, INT16X8, PRESETS, IoType
from edgefer.errors import UsageError


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("recipe", [*PRESETS.values(), *recipes_to_try.WITH_EVERY_FIELD])
def test_what_is_written_is_read_as_the_same(recipe: object, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    recipe_file.write(path, recipe)  # type: ignore[arg-type]
    assert recipe_file.read(path) == recipe


def test_names_of_tensors_survive_with_quotes_backslashes_and_newlines(tmp_path: Path) -> None:
    names = ('a"b\\c', "d\ne\x01", "größer 😀")
    recipe = dataclasses.replace(INT8, float_operators=names)
    recipe_file.write(tmp_path / "recipe.toml", recipe)
    assert recipe_file.read(tmp_path / "recipe.toml").float_operators == names


def test_what_a_file_does_not_say_is_the_preset_of_its_precision(tmp_path: Path) -> None:
    path = written(tmp_path, 'precision = "int16x8"\ninput_type = "uint8"\n')
    assert recipe_file.read(path) == dataclasses.replace(INT16X8, input_type=IoType.UINT8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('precision = "int8"\nequalisation = true', "'equalisation': no such key; there are prec"),
        ('input_type = "int8"', "precision: is missing"),
        ('precision = "int4"', "precision: expected \"float32\" or .* got 'int4'"),
        ('precision = "int8"\nhead_in_float = 1', "head_in_float: expected true or false, got 1"),
        ('precision = "int8"\nfloat_operators = "a"', "float_operators: expected a list of texts"),
        ('precision = "int8"\nfloat_operators = [1]', "float_operators: expected a list of texts"),
        ('precision = "float16"\nbias_correction = true', "rounds no weights"),
        (
            'precision = "int8"\nactivation_ranges = "median"',
            'activation_ranges: expected "min-max" or "moving-average" or .* or "best", got \'medi',
        ),
        ('precision = "int8"\nweight_ranges = 1', 'expected "min-max" or "mse", got 1'),
        ('precision = "int8"\nadaptive_rounding = "yes"', "expected true or false, got 'yes'"),
        ('precision = "dynamic"\nequalization = true', "so equalization changes nothing"),
        ("precision = ", "is not TOML"),
        ('precision = "int8"\n[precision]', "is not TOML"),
        ("a = " + "[" * 100_000, "is not TOML"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_that_names_the_file(
    text: str, message: str, tmp_path: Path
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError, match=message) as caught:
        recipe_file.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_a_folder_and_a_huge_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        recipe_file.read(tmp_path / "nothing.toml")
    with pytest.raises(UsageError, match="Is a directory"):
        recipe_file.read(tmp_path)
    with pytest.raises(UsageError, match="larger than"):
        recipe_file.read(written(tmp_path, "#" * 1_000_001))
