"""Bounds of channels that hold for every image."""

import equalized
import numpy as np
import pytest
import small_models

from edgefer.converters import float_model, graph
from edgefer.converters.equalization.intervals import intervals_before_activation
from edgefer.converters.equalization.layer_pairs import activation_functions

SEEDS = (0, 1, 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_image_leaves_the_bounds(seed: int) -> None:
    """Images of the two extreme values only, which come the nearest to them."""
    tflite = equalized.chain(seed)
    content = graph.read(tflite)
    shape = (12, equalized.SIDE, equalized.SIDE, 3)
    images = np.random.default_rng(seed).choice([-1.0, 1.0], shape).astype(np.float32)
    found = intervals_before_activation(content, equalized.PIXELS)
    assert set(found) == {operator.index for operator in content.operators}
    for index, interval in found.items():
        operator = content.operators[index]
        values = equalized.values(tflite, images, operator.outputs[0])
        if activation_functions(operator) != {"NONE"}:
            interval = interval.activated("RELU")
        slack = 1e-5 * np.abs(values).max()
        assert np.all(values >= interval.low - slack)
        assert np.all(values.max(axis=0) <= interval.high + slack)


def test_the_bounds_of_two_layers_worked_out_by_hand() -> None:
    """1·a - 2·b + 0.5 of pixels in -1…3 is in -6.5…5.5, and within 0…5.5 after RELU."""
    from keras import Input, Model, layers

    image = Input((4, 4, 2), batch_size=1, name="image")
    x = layers.Conv2D(1, 1, activation="relu")(image)
    model = Model(image, layers.Flatten()(layers.Conv2D(1, 3)(x)))
    model.set_weights(
        [
            np.array([1.0, -2.0], np.float32).reshape(1, 1, 2, 1),
            np.array([0.5], np.float32),
            np.full((3, 3, 1, 1), -0.1, np.float32),
            np.array([0.0], np.float32),
        ]
    )
    content = graph.read(float_model.from_keras(model))
    found = intervals_before_activation(content, (-1.0, 3.0))
    np.testing.assert_allclose((found[0].low[0], found[0].high[0]), (-6.5, 5.5))
    np.testing.assert_allclose((found[1].low[0], found[1].high[0]), (-4.95, 0), atol=1e-6)


def test_what_an_unknown_operator_puts_out_may_be_anything() -> None:
    from keras import Input, Model, layers, ops

    image = Input((4, 4, 2), batch_size=1, name="image")
    x = layers.Conv2D(3, 1, activation="relu6")(ops.exp(image))
    model = Model(image, layers.Flatten()(layers.Conv2D(2, 1)(x)))
    small_models.randomise(model)
    content = graph.read(float_model.from_keras(model))
    first, second = [op for op in content.operators if op.kind == "CONV_2D"]
    found = intervals_before_activation(content, equalized.PIXELS)
    assert np.all(found[first.index].high == np.inf)
    weights = np.asarray(content.tensors[second.inputs[1]].data, np.float64)
    bias = np.asarray(content.tensors[second.inputs[2]].data)
    expected = 6 * np.maximum(weights, 0).sum(axis=(1, 2, 3)) + bias
    np.testing.assert_allclose(found[second.index].high, expected, rtol=1e-6)
