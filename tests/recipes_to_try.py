"""Recipes of which none leaves a field as its preset has it, for several tests."""

import dataclasses

from edgefer.converters.recipes import (
    INT8,
    INT16X8,
    IoType,
    QuantizationRecipe,
    RangeMethod,
    WeightRange,
)

EVERY_METHOD = dataclasses.replace(
    INT8,
    activation_ranges=RangeMethod.BEST,
    weight_ranges=WeightRange.MSE,
    equalization=True,
    bias_absorption=True,
    adaptive_rounding=True,
    empirical_bias_correction=True,
)

WITH_EVERY_FIELD: tuple[QuantizationRecipe, ...] = (
    dataclasses.replace(
        EVERY_METHOD,
        input_type=IoType.UINT8,
        output_type=IoType.FLOAT32,
        bias_correction=False,
        head_in_float=True,
        mixed_precision=False,
        float_operators=("a", "b"),
        int16_operators=("c",),
    ),
    dataclasses.replace(INT16X8, activation_ranges=RangeMethod.MOVING_AVERAGE, equalization=True),
)
