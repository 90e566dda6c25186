"""What a model's owner writes about it is read strictly, and errors name the field."""

from pathlib import Path

import pytest

from edgefer.errors import ModelError
from edgefer.models import spec_file
from edgefer.models.spec import ColourOrder, ModelSpec

WHOLE = """
name = "poster-7"
labels = ["anger", "happiness", "neutral"]
input_size = 224
channels = 3
colour_order = "RGB"
mean = [123.675, 116.28, 103.53]
std = [58.395, 57.12, 57.375]
resize = "bilinear"
description = "Seven emotions."
training_data = "RAF-DB"
author = "Someone"
licence = "MIT"
"""
LEAST = """
name = "small"
labels = ["no", "yes"]
input_size = 48
mean = 127.5
std = 255
"""


def test_every_field_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_text(WHOLE)
    assert spec_file.read(path) == ModelSpec(
        name="poster-7",
        labels=("anger", "happiness", "neutral"),
        input_size=224,
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        description="Seven emotions.",
        training_data="RAF-DB",
        author="Someone",
        licence="MIT",
    )


def test_five_fields_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_text(LEAST)
    assert spec_file.read(path) == ModelSpec(
        name="small", labels=("no", "yes"), input_size=48, mean=(127.5,) * 3, std=(255.0,) * 3
    )


@pytest.mark.parametrize("line", ["channels = 1", 'colour_order = "GRAY"'])
def test_gray_is_said_by_either_field(tmp_path: Path, line: str) -> None:
    path = tmp_path / "model.toml"
    path.write_text(f"{LEAST}{line}\n")
    spec = spec_file.read(path)
    assert (spec.channels, spec.colour_order) == (1, ColourOrder.GRAY)
    assert spec.mean == (127.5,)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('name = "small"', "", "name: is missing; expected a text"),
        ('name = "small"', "name = 3", "name: expected a text, got 3"),
        ('["no", "yes"]', '"no, yes"', "labels: expected a list of two or more different texts, "
         "in the order of the model's output, got 'no, yes'"),
        ('["no", "yes"]', '["no", "no"]', "labels: expected a list of two or more different"),
        ('["no", "yes"]', '["no"]', "labels: expected a list of two or more different"),
        ('["no", "yes"]', '["no", " yes"]', "labels: expected a list of two or more different"),
        ('["no", "yes"]', '["no", 3]', "labels: expected a list of two or more different"),
        ("48", "48.0", "input_size: expected a whole number of pixels from 8 to 4096, got 48.0"),
        ("48", "true", "input_size: expected a whole number of pixels from 8 to 4096, got True"),
        ("48", "[48, 48]", "input_size: expected a whole number of pixels"),
        ("48", "5", "input_size: expected a whole number of pixels from 8 to 4096, got 5"),
        ("48", "48\nchannels = 4", "channels: expected 3 or 1, got 4"),
        ("48", '48\ncolour_order = "BGR"', "colour_order: expected \"RGB\" or \"GRAY\", got 'BGR'"),
        ("48", '48\ncolour_order = ["RGB"]', 'colour_order: expected "RGB" or "GRAY", got'),
        ("48", '48\nchannels = 1\ncolour_order = "RGB"', "describes no model: RGB does not have 1"),
        ("48", '48\nresize = "nearest"', "resize: expected \"bilinear\", got 'nearest'"),
        ("127.5", "[1, 2]", "mean: expected one number, or 3, got 2"),
        ("127.5", '"127.5"', "mean: expected a number, or one for each channel, for pixels of"),
        ("127.5", "nan", "mean: expected a number, or one for each channel, for pixels of"),
        ("127.5", "[]", "mean: expected a number, or one for each channel, for pixels of"),
        ("127.5", "[0.485, 0.456, 0.406]", "mean: expected values for pixels of 0…255, "
         "got [0.485, 0.456, 0.406]: multiply mean and std by 255"),
        ("255", "[1, 0, 1]", "std: expected positive numbers, got [1.0, 0.0, 1.0]"),
        ("255", "-1", "std: expected positive numbers, got [-1.0]"),
        ("255", "255\nsize = 3", "'size': no such field; there are name, labels, input_size"),
        ("255", "255\n[model]", "'model': no such field; there are name, labels, input_size"),
        ("255", "", "is not TOML: Invalid value (at line 6"),
        ("255", "255\nname = 'twice'", "is not TOML: Cannot overwrite a value"),
    ],
)  # fmt: skip
def test_each_error_names_the_file_the_field_and_what_was_expected(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    path = tmp_path / "model.toml"
    path.write_text(LEAST.replace(old, new, 1))
    with pytest.raises(ModelError) as caught:
        spec_file.read(path)
    assert str(caught.value).startswith(f"{path}: {expected}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xff\xfe", "is not TOML: 'utf-8' codec can't decode"),
        (b"a = " + b"[" * 10_000, "is not TOML: "),
        (b"#" * 1_000_001, "is larger than 1,000,000 bytes, which no spec file is"),
        (b"", "name: is missing; expected a text"),
    ],
)
def test_a_file_that_is_no_toml_is_told_in_one_line(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    path = tmp_path / "model.toml"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        spec_file.read(path)
    assert str(caught.value).startswith(f"{path}: {expected}")


def test_a_path_that_leads_to_no_file_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none.toml: does not exist; check the path of --spec$"):
        spec_file.read(tmp_path / "none.toml")
    with pytest.raises(ModelError, match="cannot be read"):
        spec_file.read(tmp_path)
