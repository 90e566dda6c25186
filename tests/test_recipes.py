"""Which methods go together, and a recipe as values that JSON holds."""

import dataclasses
import json
from typing import Any

import pytest
import recipes_to_try

from edgefer.converters.recipes import (
    DYNAMIC,
    FLOAT16,
    FLOAT32,
    INT8,
    INT16X8,
    PRESETS,
    QuantizationRecipe,
    RangeMethod,
    WeightRange,
)


@pytest.mark.parametrize(
    ("preset", "changes", "message"),
    [
        (FLOAT16, {"bias_correction": True}, "float16 rounds no weights, so no bias needs corr"),
        (FLOAT32, {"weight_ranges": WeightRange.MSE}, "rounds no weights, so weight_ranges ch"),
        (FLOAT16, {"adaptive_rounding": True}, "rounds no weights, so adaptive_rounding changes"),
        (
            DYNAMIC,
            {"activation_ranges": RangeMethod.MSE},
            "dynamic rounds no activations, so activation_ranges changes nothing",
        ),
        (DYNAMIC, {"equalization": True}, "rounds no activations, so equalization changes nothing"),
        (FLOAT16, {"bias_absorption": True}, "rounds no activations, so bias_absorption changes"),
        (INT16X8, {"empirical_bias_correction": True}, "correction is for int8, not int16x8"),
        (DYNAMIC, {"empirical_bias_correction": True}, "correction is for int8, not dynamic"),
        (DYNAMIC, {"head_in_float": True}, "dynamic leaves the head in floating point anyway"),
        (INT16X8, {"mixed_precision": True}, "is a way to make int8, not int16x8"),
        (INT16X8, {"float_operators": ("a",)}, "only in int8 can operators differ, not in int16x8"),
        (DYNAMIC, {"int16_operators": ("a",)}, "only in int8 can operators differ, not in dynamic"),
        (
            INT8,
            {"float_operators": ("b", "a"), "int16_operators": ("a",)},
            "a cannot be both float and int16",
        ),
    ],
)
def test_methods_that_would_change_nothing_are_refused(
    preset: QuantizationRecipe, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(preset, **changes)


@pytest.mark.parametrize(
    ("recipe", "needed"),
    [
        (FLOAT32, "nothing"),
        (FLOAT16, "nothing"),
        (dataclasses.replace(DYNAMIC, bias_correction=False), "nothing"),
        (DYNAMIC, "a calibration"),
        (dataclasses.replace(DYNAMIC, bias_correction=False, adaptive_rounding=True), "faces"),
        (dataclasses.replace(INT8, bias_correction=False), "a calibration"),
        (dataclasses.replace(INT8, activation_ranges=RangeMethod.BEST), "a calibration"),
        (dataclasses.replace(INT8, equalization=True), "faces"),
        (dataclasses.replace(INT8, bias_absorption=True), "faces"),
        (dataclasses.replace(INT8, empirical_bias_correction=True), "faces"),
    ],
)
def test_a_recipe_says_whether_it_needs_faces_and_whether_a_calibration_will_do(
    recipe: QuantizationRecipe, needed: str
) -> None:
    assert recipe.needs_faces == (needed != "nothing")
    assert recipe.needs_face_images == (needed == "faces")


@pytest.mark.parametrize("recipe", [*PRESETS.values(), *recipes_to_try.WITH_EVERY_FIELD])
def test_a_recipe_survives_json_with_the_types_of_its_values(recipe: QuantizationRecipe) -> None:
    back = QuantizationRecipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert back == recipe
    for field in dataclasses.fields(recipe):
        assert type(getattr(back, field.name)) is type(getattr(recipe, field.name))


@pytest.mark.parametrize(
    "values",
    [
        {"precision": "int4"},
        {"precision": "int8", "activation_ranges": "median"},
        {"precision": "int8", "weight_ranges": 3},
        {"precision": "int8", "equalization": "no"},
        {"precision": "int8", "adaptive_rounding": 1},
        {"precision": "int8", "float_operators": "a"},
        {"precision": "int8", "int16_operators": [1]},
        {"precision": "int8", "smoothing": True},
        {"precision": "float16", "equalization": True},
        {"input_type": "int8"},
    ],
)
def test_values_of_no_recipe_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        QuantizationRecipe.from_dict(values)
