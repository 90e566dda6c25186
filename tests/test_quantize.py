"""Weights and activations to integers, and the types at a model's two ends."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import small_models

from edgefer.converters import graph
from edgefer.converters.io_types import with_io_types
from edgefer.converters.quantize import input_quantization, quantize
from edgefer.converters.recipes import (
    DYNAMIC,
    FLOAT16,
    FLOAT32,
    INT8,
    INT16X8,
    PRESETS,
    IoType,
    Precision,
    QuantizationRecipe,
)
from edgefer.converters.rounding.bias_correction import correct_biases
from edgefer.converters.weights import rounded_to_int8, weighted_layers
from edgefer.errors import ModelError, UsageError

PIXEL_RANGE = (-1.0, 1.0)
CALIBRATION = small_models.inputs(24, seed=1)


def quantized(recipe: QuantizationRecipe, tflite: bytes | None = None) -> bytes:
    source = tflite or small_models.small()
    made = quantize(source, small_models.ranges(source, CALIBRATION), recipe, PIXEL_RANGE)
    pixels = input_quantization(PIXEL_RANGE, recipe.input_type)
    return with_io_types(made, recipe.input_type, recipe.output_type, pixels)


def corrected(recipe: QuantizationRecipe, tflite: bytes | None = None) -> bytes:
    source = tflite or small_models.small()
    if not recipe.bias_correction:
        return source
    patches = small_models.calibrated(source, CALIBRATION).patches()
    return correct_biases(source, small_models.rounded(source), patches)


def input_parameters(tflite: bytes) -> tuple[str, float, int]:
    content = graph.read(tflite)
    image = content.tensors[content.inputs[0]]
    assert image.quantization is not None
    return image.dtype, float(image.quantization.scales[0]), int(image.quantization.zero_points[0])


def test_int8_input_is_pixel_minus_128() -> None:
    dtype, scale, zero_point = input_parameters(quantized(INT8))
    assert (dtype, zero_point) == ("int8", -1)
    assert scale == pytest.approx(1 / 127.5, rel=1e-6)


def test_uint8_input_is_the_pixel_itself() -> None:
    dtype, scale, zero_point = input_parameters(
        quantized(dataclasses.replace(INT8, input_type=IoType.UINT8))
    )
    assert (dtype, zero_point) == ("uint8", 127)
    assert scale == pytest.approx(1 / 127.5, rel=1e-6)


def test_raw_bytes_give_the_same_answers_through_int8_and_uint8() -> None:
    images = small_models.pixels(20)
    uint8 = dataclasses.replace(INT8, input_type=IoType.UINT8, output_type=IoType.UINT8)
    signed = small_models.run(quantized(INT8), (images.astype(np.int16) - 128).astype(np.int8))
    unsigned = small_models.run(quantized(uint8), images)
    assert len(np.unique(signed)) > 10
    np.testing.assert_array_equal(signed.astype(np.int16) + 128, unsigned)


@pytest.mark.parametrize(
    ("pixel_range", "expected"),
    [
        ((-1.0, 1.0), (1 / 127.5, -1)),
        ((0.0, 1.0), (1 / 255, -128)),
        ((0.0, 255.0), (1.0, -128)),
        ((-128.0, 127.0), (1.0, 0)),
    ],
)
def test_usual_normalisations_have_their_known_parameters(
    pixel_range: tuple[float, float], expected: tuple[float, int]
) -> None:
    found = input_quantization(pixel_range)
    assert (found.scale, found.zero_point) == pytest.approx(expected)


def test_pixels_that_leave_out_zero_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="leave out 0"):
        input_quantization((1.0, 2.0))


def test_a_float_input_keeps_neighbouring_pixels_apart() -> None:
    """With a step for each pixel every one lies on a tie, and ties to even merge them in pairs."""
    recipe = dataclasses.replace(INT8, input_type=IoType.FLOAT32)
    content = graph.read(quantized(recipe))
    inner = content.tensors[content.operators[0].outputs[0]]
    assert inner.quantization is not None
    values = (np.arange(256) / 127.5 - 1) / inner.quantization.scales[0]
    steps = np.rint(values + inner.quantization.zero_points[0])
    assert len(np.unique(steps)) == 255
    assert np.abs(steps - inner.quantization.zero_points[0] - values).max() <= 0.5


@pytest.mark.parametrize("recipe", PRESETS.values(), ids=list(PRESETS))
@pytest.mark.parametrize("io_type", list(IoType))
def test_every_precision_runs_with_every_type_and_agrees(
    recipe: QuantizationRecipe, io_type: IoType
) -> None:
    images = small_models.pixels(16)
    fed: dict[IoType, npt.NDArray[Any]] = {
        IoType.FLOAT32: small_models.inputs(16),
        IoType.UINT8: images,
        IoType.INT8: (images.astype(np.int16) - 128).astype(np.int8),
    }
    made = quantized(
        dataclasses.replace(recipe, input_type=io_type, output_type=io_type), corrected(recipe)
    )
    answers = small_models.run(made, fed[io_type])
    assert answers.dtype == np.dtype(io_type)
    expected = small_models.run(small_models.small(), small_models.inputs(16))
    assert expected.std(axis=0).mean() > 0.05
    assert np.abs(small_models.real(made, answers) - expected).mean() < 0.03


def test_float32_stays_as_it_is() -> None:
    assert quantize(small_models.small(), {}, FLOAT32, PIXEL_RANGE) == small_models.small()


def test_integer_weights_are_a_quarter_and_half_weights_a_half() -> None:
    float_size = len(small_models.patt_lite())
    ranges = small_models.ranges(small_models.patt_lite(), small_models.inputs(4, side=48))
    sizes = {
        recipe.precision: len(quantize(small_models.patt_lite(), ranges, recipe, PIXEL_RANGE))
        / float_size
        for recipe in (INT8, DYNAMIC, FLOAT16)
    }
    assert sizes[Precision.INT8] == pytest.approx(0.29, abs=0.03)
    assert sizes[Precision.DYNAMIC] == pytest.approx(0.28, abs=0.03)
    assert sizes[Precision.FLOAT16] == pytest.approx(0.51, abs=0.03)


def test_our_rounding_is_litert_quantizers_to_the_bit() -> None:
    before = weighted_layers(graph.read(small_models.small()))
    after = weighted_layers(graph.read(quantized(INT8)))
    assert len(before) == len(after) == 8
    for exact, stored in zip(before, after, strict=True):
        quantization = stored.weights.quantization
        assert exact.weights.data is not None
        assert stored.weights.data is not None
        assert quantization is not None
        shape = [1] * stored.weights.data.ndim
        shape[stored.channel_axis] = -1
        expected = stored.weights.data.astype(np.float32) * quantization.scales.reshape(shape)
        rounded = rounded_to_int8(exact.weights.data, exact.channel_ranges())
        np.testing.assert_array_equal(rounded, expected)


@pytest.mark.parametrize("recipe", [INT8, INT16X8], ids=["int8", "int16x8"])
def test_a_channel_without_weights_keeps_its_bias(recipe: QuantizationRecipe) -> None:
    """A scale of 1e-11 makes a bias of 0.8 overflow int32; MobileNet has many dead channels."""

    def kill(model: Any) -> None:
        for layer in weighted_layers(graph.read(small_models.small()))[:1]:
            assert layer.weights.data is not None
            assert layer.bias is not None
            weights, bias = layer.weights.data.copy(), np.array(layer.bias.data)
            weights[:4], bias[:4] = 0, 0.8
            tensors = model.subgraphs[0].tensors
            for tensor, data in ((layer.weights, weights), (layer.bias, bias)):
                buffer = model.buffers[tensors[tensor.index].buffer]
                buffer.data = data.reshape(-1).view(np.uint8)

    dead = small_models.patched(small_models.small(), kill)
    images = small_models.pixels(30)
    expected = small_models.run(dead, small_models.inputs(30))
    made = quantized(recipe, corrected(recipe, dead))
    answers = small_models.run(made, (images.astype(np.int16) - 128).astype(np.int8))
    assert np.abs(small_models.real(made, answers) - expected).mean() < 0.03


def test_a_head_in_float_stays_float() -> None:
    recipe = dataclasses.replace(INT8, head_in_float=True, output_type=IoType.FLOAT32)
    content = graph.read(quantized(recipe))
    kinds = [operator.kind for operator in content.operators]
    assert kinds[-3:] == ["DEQUANTIZE", "FULLY_CONNECTED", "SOFTMAX"]
    assert content.tensors[content.operators[-2].inputs[1]].dtype == "float32"
    assert all(
        not tensor.is_float for op in content.operators[:-3] for tensor in content.operands(op)
    )


def test_integer_scores_of_unknown_range_are_a_usage_error() -> None:
    def drop_softmax(model: Any) -> None:
        subgraph = model.subgraphs[0]
        subgraph.outputs = [subgraph.operators.pop().inputs[0]]
        subgraph.tensors.pop()
        model.signatureDefs[0].outputs[0].tensorIndex = subgraph.outputs[0]

    logits = small_models.patched(small_models.small(), drop_softmax)
    with pytest.raises(UsageError, match="--output-type float32"):
        quantized(dataclasses.replace(DYNAMIC, output_type=IoType.INT8), logits)
    made = quantized(INT8, logits)
    assert graph.read(made).tensors[graph.read(made).outputs[0]].dtype == "int8"


def test_quantizing_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    quantized(INT8)
    assert capfd.readouterr() == ("", "")


def test_a_missing_range_and_no_model_are_model_errors() -> None:
    ranges = small_models.ranges(small_models.small(), CALIBRATION)
    content = graph.read(small_models.small())
    lacking = content.tensors[content.operators[1].outputs[0]].name
    del ranges[lacking]
    with pytest.raises(ModelError, match=f"no range for its tensor '{lacking}'"):
        quantize(small_models.small(), ranges, INT8, PIXEL_RANGE)
    with pytest.raises(ModelError, match=r"^f\.tflite: is not a \.tflite"):
        quantize(b"nothing", ranges, INT8, PIXEL_RANGE, source="f.tflite")
