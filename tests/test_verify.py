"""A converted file is what was asked for, or a ModelError that says what it is not."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import small_models

from edgefer.converters.io_types import with_io_types
from edgefer.converters.quantize import input_quantization, quantize
from edgefer.converters.recipes import (
    DYNAMIC,
    FLOAT16,
    FLOAT32,
    INT8,
    PRESETS,
    IoType,
    QuantizationRecipe,
)
from edgefer.converters.verify import Verification, verify
from edgefer.errors import ModelError

PIXEL_RANGE = (-1.0, 1.0)
SAMPLES = small_models.inputs(3)


def converted(recipe: QuantizationRecipe) -> bytes:
    ranges = small_models.ranges(small_models.small(), small_models.inputs(8))
    made = quantize(small_models.small(), ranges, recipe, PIXEL_RANGE)
    pixels = input_quantization(PIXEL_RANGE, recipe.input_type)
    return with_io_types(made, recipe.input_type, recipe.output_type, pixels)


def checked(tflite: bytes, recipe: QuantizationRecipe) -> Verification:
    pixels = input_quantization(PIXEL_RANGE, recipe.input_type)
    return verify(tflite, recipe, SAMPLES, pixels=pixels, source="a.tflite")


@pytest.mark.parametrize("recipe", PRESETS.values(), ids=list(PRESETS))
@pytest.mark.parametrize("io_type", list(IoType))
def test_every_precision_passes_with_every_type(
    recipe: QuantizationRecipe, io_type: IoType
) -> None:
    recipe = dataclasses.replace(recipe, input_type=io_type, output_type=io_type)
    found = checked(converted(recipe), recipe)
    assert (found.input_type, found.output_type) == (io_type, io_type)


def test_an_int8_model_is_summed_up() -> None:
    tflite = converted(INT8)
    found = checked(tflite, INT8)
    assert found.operators == {
        "CONV_2D": 4, "DEPTHWISE_CONV_2D": 3, "MEAN": 1, "FULLY_CONNECTED": 1, "SOFTMAX": 1,
    }  # fmt: skip
    assert found.float_operators == 0
    assert found.per_channel_layers == 8
    assert found.size_bytes == len(tflite)
    assert 2_000 < found.weights_bytes < found.size_bytes


def test_the_conversions_of_float_ends_are_no_float_operators() -> None:
    recipe = dataclasses.replace(INT8, input_type=IoType.FLOAT32, output_type=IoType.FLOAT32)
    found = checked(converted(recipe), recipe)
    assert found.operators["QUANTIZE"] == found.operators["DEQUANTIZE"] == 1
    assert found.float_operators == 0


def test_a_head_in_float_passes_where_it_was_asked_for_only() -> None:
    recipe = dataclasses.replace(INT8, head_in_float=True, output_type=IoType.FLOAT32)
    tflite = converted(recipe)
    assert checked(tflite, recipe).float_operators == 3
    with pytest.raises(ModelError, match=r"FULLY_CONNECTED at position \d+ has float32 weights"):
        checked(tflite, dataclasses.replace(recipe, head_in_float=False))


def first_weights(model: Any) -> Any:
    subgraph = model.subgraphs[0]
    return subgraph.tensors[subgraph.operators[0].inputs[1]]


def one_scale(model: Any) -> None:
    quantization = first_weights(model).quantization
    quantization.scale = quantization.scale[:1]
    quantization.zeroPoint = quantization.zeroPoint[:1]


def shifted_weights(model: Any) -> None:
    quantization = first_weights(model).quantization
    quantization.zeroPoint = np.ones_like(quantization.zeroPoint)


def other_zero_point(model: Any) -> None:
    subgraph = model.subgraphs[0]
    subgraph.tensors[subgraph.inputs[0]].quantization.zeroPoint = np.array([5])


def faces_range(model: Any) -> None:
    """Give the input the range of some faces, which is what calibration alone would do."""
    subgraph = model.subgraphs[0]
    subgraph.tensors[subgraph.inputs[0]].quantization.scale = np.array([0.00703], np.float32)


def free_batch(model: Any) -> None:
    subgraph = model.subgraphs[0]
    subgraph.tensors[subgraph.inputs[0]].shapeSignature = [-1, 32, 32, 3]


def unloadable(model: Any) -> None:
    model.subgraphs[0].operators[0].inputs = [0, 0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (one_scale, "CONV_2D at position 0 does not have a scale for each channel"),
        (shifted_weights, "CONV_2D at position 0 does not have a scale for each channel"),
        (other_zero_point, "scale 0.007843138 and zero point 5, not 0.007843137 and -1"),
        (faces_range, "scale 0.00703 "),
        (free_batch, "its batch is -1, not 1"),
        (unloadable, "layers have no constant weights"),
    ],
)
def test_a_file_that_is_otherwise_fails(change: Callable[[Any], None], message: str) -> None:
    broken = small_models.patched(converted(INT8), change)
    with pytest.raises(ModelError, match=f"^a.tflite: failed verification: .*{message}"):
        checked(broken, INT8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_type": IoType.UINT8}, "its input is int8, not uint8"),
        ({"output_type": IoType.FLOAT32}, "its output is int8, not float32"),
    ],
)
def test_other_types_than_asked_for_fail(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        checked(converted(INT8), dataclasses.replace(INT8, **changes))


def test_another_precision_than_asked_for_fails() -> None:
    recipe = dataclasses.replace(FLOAT16, input_type=IoType.FLOAT32, output_type=IoType.FLOAT32)
    with pytest.raises(ModelError, match="has float32 weights, not float16"):
        checked(small_models.small(), recipe)


def test_a_float_operator_left_in_an_int8_model_fails() -> None:
    recipe = dataclasses.replace(INT8, head_in_float=True, output_type=IoType.FLOAT32)

    def unweighted(model: Any) -> None:
        """Keep the dequantized softmax alone, so that no weights give it away."""
        subgraph = model.subgraphs[0]
        subgraph.operators = [
            op for op in subgraph.operators if len(op.inputs) != 3 or op.inputs[0] == 0
        ]

    content = small_models.patched(converted(recipe), unweighted)
    with pytest.raises(ModelError, match=r"SOFTMAX still computes in floating point"):
        checked(content, dataclasses.replace(recipe, head_in_float=False))


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_scores_that_are_no_numbers_fail() -> None:
    def spoil(model: Any) -> None:
        subgraph = model.subgraphs[0]
        buffer = model.buffers[subgraph.tensors[subgraph.operators[-2].inputs[2]].buffer]
        buffer.data = np.full(7, np.nan, np.float32).view(np.uint8)

    with pytest.raises(ModelError, match="NaN or infinity"):
        checked(small_models.patched(small_models.small(), spoil), FLOAT32)


def test_probabilities_that_do_not_sum_to_one_fail() -> None:
    """As steps far too coarse for probabilities make them."""

    def coarse(model: Any) -> None:
        subgraph = model.subgraphs[0]
        subgraph.tensors[subgraph.outputs[0]].quantization.scale = np.array([0.5], np.float32)

    recipe = dataclasses.replace(DYNAMIC, output_type=IoType.INT8)
    with pytest.raises(ModelError, match="probabilities sum to 1 ±"):
        checked(small_models.patched(converted(recipe), coarse), recipe)
