"""Biases that no face brings below zero, moved into the next layer."""

from functools import cache
from typing import Any

import equalized
import numpy as np
import pytest
import small_models

from edgefer.converters import float_model
from edgefer.converters.activations import channel_statistics
from edgefer.converters.equalization.bias_absorption import absorb_high_biases

HIGH = 20.0


@cache
def biased(activation: str | None, second: str, after: str = "") -> bytes:
    """Return layers of which the first has a bias of 20 and more in its even channels."""
    from keras import Input, Model, layers

    image = Input((8, 8, 3), batch_size=1, name="image")
    x = layers.Conv2D(8, 3, activation=activation)(image)
    if after:
        x = {"pool": layers.MaxPooling2D(2), "mean": layers.GlobalAveragePooling2D()}[after](x)
    x = {
        "1x1": layers.Conv2D(6, 1, activation="relu"),
        "strided 1x1": layers.Conv2D(6, 1, strides=2, padding="same", activation="relu"),
        "valid": layers.Conv2D(6, 3, activation="relu"),
        "depthwise": layers.DepthwiseConv2D(3, depth_multiplier=2),
        "same": layers.Conv2D(6, 3, padding="same"),
        "dense": layers.Dense(6),
    }[second](x)
    if second != "dense":
        x = layers.Dense(7)(layers.Flatten()(x))
    model = Model(image, x)
    small_models.randomise(model)
    model.layers[1].bias.assign(np.where(np.arange(8) % 2, -1.0, HIGH + np.arange(8)))
    return float_model.from_keras(model)


def faces(count: int, seed: int = 0) -> small_models.Float32Array:
    return small_models.inputs(count, side=8, seed=seed)


def bias(tflite: bytes, position: int = 0) -> Any:
    layer = equalized.pairs(tflite)[0]
    return (layer.first, layer.second)[position].bias_values()


@pytest.mark.parametrize(
    ("activation", "second", "after"),
    [
        ("relu", "1x1", ""),
        ("relu", "strided 1x1", ""),
        ("relu", "valid", ""),
        ("relu", "depthwise", ""),
        ("relu", "1x1", "pool"),
        ("relu", "dense", "mean"),
        (None, "1x1", ""),
        (None, "depthwise", ""),
    ],
)
def test_the_answers_stay_the_same(activation: str | None, second: str, after: str) -> None:
    tflite = biased(activation, second, after)
    result = absorb_high_biases(tflite, faces(24), equalized.PIXELS)
    assert np.all(bias(result)[::2] < bias(tflite)[::2] - 5)
    assert equalized.largest_difference(tflite, result, faces(24)) < 1e-5
    assert equalized.largest_difference(tflite, result, faces(12, seed=4)) < 1e-5


def test_only_what_lies_above_zero_is_taken_through_relu() -> None:
    """Odd channels are at zero for some faces; the others keep a std between them and zero."""
    tflite = biased("relu", "1x1")
    result = absorb_high_biases(tflite, faces(24), equalized.PIXELS)
    taken = bias(tflite) - bias(result)
    np.testing.assert_array_equal(taken[1::2], 0)
    tensor = equalized.pairs(tflite)[0].tensor
    values = equalized.values(tflite, faces(24), tensor)
    low, mean, std = values.min(axis=0), values.mean(axis=0), values.std(axis=0)
    expected = np.minimum(mean - 3 * std, low - std)[::2]
    np.testing.assert_allclose(taken[::2], expected, rtol=1e-4)


def test_the_next_bias_gets_what_was_taken() -> None:
    tflite = biased("relu", "valid")
    result = absorb_high_biases(tflite, faces(24), equalized.PIXELS)
    taken = bias(tflite) - bias(result)
    weights = equalized.weights(equalized.pairs(tflite)[0].second)
    expected = np.einsum("ohwi,i->o", weights, taken)
    np.testing.assert_allclose(bias(result, 1) - bias(tflite, 1), expected, rtol=1e-4)


def test_channels_without_activation_are_centred() -> None:
    """The tensor's range becomes that of its widest channel."""
    tflite = biased(None, "1x1")
    result = absorb_high_biases(tflite, faces(24), equalized.PIXELS)
    values = equalized.values(result, faces(24), equalized.pairs(result)[0].tensor)
    np.testing.assert_allclose(values.max(axis=0), -values.min(axis=0), atol=1e-4)


def test_a_layer_with_padding_keeps_its_input() -> None:
    """At its borders the padding's zeros would lack what was taken."""
    tflite = biased("relu", "same")
    result = absorb_high_biases(tflite, faces(8), equalized.PIXELS)
    np.testing.assert_array_equal(bias(tflite), bias(result))


def test_a_channel_that_may_reach_six_is_left_alone() -> None:
    """RELU6 would cut it off elsewhere."""
    tflite = biased("relu6", "1x1")
    result = absorb_high_biases(tflite, faces(8), equalized.PIXELS)
    np.testing.assert_array_equal(bias(tflite), bias(result))


def test_the_statistics_are_those_of_all_positions_and_faces() -> None:
    tflite = biased("relu", "1x1")
    tensor = equalized.pairs(tflite)[0].tensor
    values = equalized.values(tflite, faces(6), tensor)
    found = channel_statistics(tflite, faces(6), [tensor])[tensor]
    np.testing.assert_allclose(found.low, values.min(axis=0))
    np.testing.assert_allclose(found.high, values.max(axis=0))
    np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(found.std, values.std(axis=0), rtol=1e-9, atol=1e-12)


def test_a_layer_without_a_bias_gets_one() -> None:
    def drop(model: Any) -> None:
        dense = model.subgraphs[0].operators[-1]
        dense.inputs = list(dense.inputs)[:2]

    tflite = small_models.patched(biased("relu", "dense", "mean"), drop)
    assert equalized.pairs(tflite)[0].second.bias is None
    result = absorb_high_biases(tflite, faces(8), equalized.PIXELS)
    assert np.abs(bias(result, 1)).max() > 1
    assert equalized.largest_difference(tflite, result, faces(8)) < 1e-5
