"""Biases that make up for the rounding of weights."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import small_models

from edgefer.converters import graph
from edgefer.converters.calibration.patches import mean_patch
from edgefer.converters.quantize import quantize
from edgefer.converters.recipes import DYNAMIC, INT8
from edgefer.converters.rounding.bias_correction import correct_biases, mean_shift
from edgefer.converters.weights import WeightedLayer, rounded_to_int8, weighted_layers

SAME, VALID = 0, 1


def bias(layer: WeightedLayer) -> npt.NDArray[Any]:
    assert layer.bias is not None
    assert layer.bias.data is not None
    return layer.bias.data


def corrected(
    tflite: bytes, images: small_models.Float32Array, skipped: frozenset[int] = frozenset()
) -> bytes:
    patches = small_models.calibrated(tflite, images).patches()
    rounded = small_models.rounded(tflite, skipped)
    return correct_biases(tflite, rounded, patches, skipped=skipped)


def random(*shape: int) -> small_models.Float32Array:
    return np.random.default_rng(0).normal(0.5, 1, shape).astype(np.float32)


@pytest.mark.parametrize("padding", [SAME, VALID])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (3, 1), (1, 2)])
@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_the_shift_is_what_tensorflow_computes_on_every_image(
    kind: str, padding: int, stride: int, dilation: int
) -> None:
    """Borders, strides and dilations included, not only the mean of the channels."""
    import tensorflow as tf

    images = random(6, 11, 14, 4)
    weights = random(*((5, 3, 2, 4) if kind == "CONV_2D" else (1, 3, 2, 8)))
    tested = small_models.layer(
        kind,
        weights,
        padding=padding,
        strideH=stride,
        strideW=stride,
        dilationHFactor=dilation,
        dilationWFactor=dilation,
    )
    on_grid = rounded_to_int8(weights, tested.channel_ranges())
    error = on_grid - weights
    name = "SAME" if padding == SAME else "VALID"
    if kind == "CONV_2D":
        kernel = error.transpose(1, 2, 3, 0)
        outputs = tf.nn.conv2d(images, kernel, stride, name, dilations=dilation)
    else:
        kernel = error.reshape(3, 2, 4, 2)
        outputs = tf.nn.depthwise_conv2d(
            images, kernel, (1, stride, stride, 1), name, dilations=(dilation, dilation)
        )
    expected = np.mean(outputs, axis=(0, 1, 2))
    assert np.abs(expected).max() > 1e-3
    patch = mean_patch(tested, images.mean(axis=0, keepdims=True).astype(np.float64))
    shift = mean_shift(tested, on_grid, patch)
    np.testing.assert_allclose(shift, expected, atol=2e-6)


def test_the_shift_of_a_dense_layer_is_the_error_times_the_mean() -> None:
    inputs, weights = random(9, 20), random(6, 20)
    tested = small_models.layer("FULLY_CONNECTED", weights)
    on_grid = rounded_to_int8(weights, tested.channel_ranges())
    error = on_grid - weights
    patch = mean_patch(tested, inputs.mean(axis=0, keepdims=True).astype(np.float64))
    shift = mean_shift(tested, on_grid, patch)
    np.testing.assert_allclose(shift, (inputs @ error.T).mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("recipe", [INT8, DYNAMIC], ids=["int8", "dynamic"])
def test_a_corrected_model_is_closer_to_the_float_one(recipe: Any) -> None:
    """On faces that were not used to correct."""
    seen = small_models.inputs(64, seed=5)
    images = small_models.pixels(200, seed=6)
    expected = small_models.run(small_models.small(), small_models.inputs(200, seed=6))

    def error(source: bytes) -> float:
        made = quantize(source, small_models.ranges(source, seen), recipe, (-1.0, 1.0))
        fed: Any = small_models.inputs(200, seed=6)
        if recipe is INT8:
            fed = (images.astype(np.int16) - 128).astype(np.int8)
        return float(np.abs(small_models.real(made, small_models.run(made, fed)) - expected).mean())

    plain = error(small_models.small())
    assert error(corrected(small_models.small(), seen)) < 0.8 * plain


def test_a_dense_layer_without_a_bias_gets_one() -> None:
    def drop(model: Any) -> None:
        operator = model.subgraphs[0].operators[-2]
        operator.inputs = [*list(operator.inputs)[:2], -1]

    without = small_models.patched(small_models.small(), drop)
    last = weighted_layers(graph.read(corrected(without, small_models.inputs(8))))[-1]
    assert last.operator.kind == "FULLY_CONNECTED"
    assert bias(last).shape == (7,)
    assert np.any(bias(last))


def test_layers_that_share_a_bias_are_corrected_apart() -> None:
    """Converters store equal constants once."""

    def share(model: Any) -> None:
        operators = model.subgraphs[0].operators
        operators[4].inputs = [*list(operators[4].inputs)[:2], operators[2].inputs[2]]

    shared = small_models.patched(small_models.small(), share)
    before, after = (
        weighted_layers(graph.read(content))
        for content in (shared, corrected(shared, small_models.inputs(8)))
    )
    assert before[2].bias == before[4].bias
    assert not np.array_equal(bias(after[2]), bias(after[4]))


def test_only_biases_change_and_skipped_layers_keep_theirs() -> None:
    skipped = frozenset({0, 3})
    made = corrected(small_models.small(), small_models.inputs(8), skipped)
    before, after = (
        weighted_layers(graph.read(content))
        for content in (small_models.rounded(small_models.small(), skipped), made)
    )
    changed = []
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old.weights.data, new.weights.data)
        if not np.array_equal(bias(old), bias(new)):
            changed.append(new.operator.index)
    assert {0, 3}.isdisjoint(changed)
    assert len(changed) == len(after) - 2
