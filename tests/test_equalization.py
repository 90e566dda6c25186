"""Channels with ranges that suit the scale they share, and the same answers."""

from functools import cache
from typing import Any

import equalized
import numpy as np
import pytest
import small_models

from edgefer.converters import float_model, graph
from edgefer.converters.equalization.channel_scaling import scaled
from edgefer.converters.equalization.cross_layer import (
    LARGEST_FACTOR,
    PairRanges,
    channel_factors,
    equalize,
)
from edgefer.converters.equalization.layer_pairs import activation_functions
from edgefer.converters.quantize import quantize
from edgefer.converters.recipes import Precision, QuantizationRecipe

WITHOUT_METHODS = QuantizationRecipe(precision=Precision.INT8)
SEEDS = (0, 1, 2)


def spread(tflite: bytes, seed: int = 0) -> bytes:
    """Return the model with channels that differ by factors of up to 400, but for RELU6's."""
    random = np.random.default_rng(seed)
    pairs = [pair for pair in equalized.pairs(tflite) if "RELU6" not in functions(pair)]
    assert pairs
    return scaled(tflite, pairs, [np.exp(random.uniform(-3, 3, pair.channels)) for pair in pairs])


def functions(pair: Any) -> set[str]:
    operators = (pair.first.operator, *pair.between)
    return set().union(*(activation_functions(operator) for operator in operators))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_answers_stay_the_same(seed: int) -> None:
    """On faces that were not used to equalize."""
    tflite = spread(equalized.chain(seed))
    result = equalize(tflite, equalized.images(8), equalized.PIXELS)
    assert result != tflite
    difference = equalized.largest_difference(tflite, result, equalized.images(24, seed=9))
    assert difference < 1e-5


@pytest.mark.parametrize("seed", SEEDS)
def test_each_channel_has_the_same_range_on_both_sides(seed: int) -> None:
    """The paper's condition, r1 = r2, up to the factor that all channels have alike."""
    faces = equalized.images(8)
    result = equalize(spread(equalized.chain(seed)), faces, equalized.PIXELS)
    checked = 0
    for pair in equalized.pairs(result):
        if "RELU6" in functions(pair):
            continue
        largest = np.abs(equalized.values(result, faces, pair.tensor)).max(axis=0)
        awake = largest > 1e-3 * largest.max()
        reading = np.abs(equalized.weights(pair.second))
        if pair.second.operator.kind == "DEPTHWISE_CONV_2D":
            ratio = largest
        else:
            reading = reading.reshape(len(reading), -1, pair.channels).max(axis=1)
            reading /= reading.max(axis=1, keepdims=True)
            ratio = largest / largest.max() / reading.max(axis=0)
        np.testing.assert_allclose(ratio[awake], np.median(ratio[awake]), rtol=2e-3)
        checked += 1
    assert checked >= 3


def test_rescaled_models_come_to_the_same_model() -> None:
    """Where channels started makes no difference to where they end."""
    faces = equalized.images(8)
    plain = equalize(equalized.chain(1), faces, equalized.PIXELS)
    again = equalize(spread(equalized.chain(1), seed=5), faces, equalized.PIXELS)
    for one, other in zip(equalized.pairs(plain), equalized.pairs(again), strict=True):
        for layer, twin in ((one.first, other.first), (one.second, other.second)):
            ours, theirs = equalized.weights(layer), equalized.weights(twin)
            axes = tuple(axis for axis in range(ours.ndim) if axis != layer.channel_axis)
            ours /= np.abs(ours).max(axis=axes, keepdims=True)
            theirs /= np.abs(theirs).max(axis=axes, keepdims=True)
            np.testing.assert_allclose(ours, theirs, atol=5e-3)


@cache
def capped(high: float) -> bytes:
    """Return layers around a RELU6: half of the channels stay below 1, the others reach `high`."""
    from keras import Input, Model, layers

    image = Input((4, 4, 3), batch_size=1, name="image")
    x = layers.Conv2D(8, 1, activation="relu6")(image)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    model = Model(image, layers.Dense(7)(layers.GlobalAveragePooling2D()(x)))
    small_models.randomise(model)
    kernel = np.random.default_rng(1).uniform(0.5, 1, (1, 1, 3, 8))
    kernel /= kernel.sum(axis=2, keepdims=True)
    model.layers[1].kernel.assign(kernel * np.where(np.arange(8) % 2, 0.9, high))
    model.layers[1].bias.assign(np.zeros(8))
    return float_model.from_keras(model)


def test_only_channels_that_no_image_brings_to_six_are_scaled_across_relu6() -> None:
    tflite, faces = capped(9.0), small_models.inputs(24, side=4)
    result = equalize(tflite, faces, equalized.PIXELS)
    before, after = (equalized.weights(equalized.pairs(t)[0].first) for t in (tflite, result))
    changed = np.abs(after - before).max(axis=(1, 2, 3)) > 1e-3
    np.testing.assert_array_equal(changed, np.arange(8) % 2 == 1)
    assert after[1::2].sum(axis=(1, 2, 3)).max() <= 6.001
    assert equalized.largest_difference(tflite, result, np.ones((1, 4, 4, 3), np.float32)) < 1e-5
    assert equalized.largest_difference(tflite, result, faces) < 1e-5


def test_a_relu6_that_nothing_reaches_is_equalized_as_relu() -> None:
    tflite, faces = capped(5.0), small_models.inputs(24, side=4)
    result = equalize(tflite, faces, equalized.PIXELS)
    pair = equalized.pairs(result)[0]
    largest = equalized.values(result, faces, pair.tensor).max(axis=0)
    np.testing.assert_allclose(largest, largest.max(), rtol=1e-3)
    assert equalized.largest_difference(tflite, result, np.ones((1, 4, 4, 3), np.float32)) < 1e-5


def test_ignoring_relu6_would_change_the_answers() -> None:
    """So that the tests above can fail."""
    tflite, faces = capped(9.0), small_models.inputs(24, side=4)
    pair = equalized.pairs(tflite)[0]
    wrong = scaled(tflite, [pair], [np.full(8, 3.0)])
    assert equalized.largest_difference(tflite, wrong, faces) > 0.05


def with_output(tflite: bytes, tensor: int) -> bytes:
    def add(model: Any) -> None:
        model.subgraphs[0].outputs = [tensor]
        model.signatureDefs = []

    return small_models.patched(tflite, add)


def test_what_the_model_puts_out_is_not_scaled() -> None:
    tflite = spread(equalized.chain(0))
    pair = equalized.pairs(tflite)[-1]
    shown = with_output(tflite, pair.tensor)
    assert len(equalized.pairs(shown)) == len(equalized.pairs(tflite)) - 1
    result = equalize(shown, equalized.images(4), equalized.PIXELS)
    assert equalized.largest_difference(shown, result, equalized.images(4, seed=3)) < 1e-5


@cache
def branched() -> bytes:
    """Return layers with operators between them that no pair may cross."""
    from keras import Input, Model, layers, ops

    image = Input((8, 8, 3), batch_size=1, name="image")
    twice = layers.Conv2D(4, 1, activation="relu")(image)
    x = layers.Conv2D(4, 1)(twice) + layers.Conv2D(4, 3, padding="same")(twice)
    x = layers.Conv2DTranspose(4, 2, strides=2)(layers.Conv2D(4, 1)(x))
    x = ops.sigmoid(layers.Conv2D(4, 1)(x))
    x = layers.Conv2D(4, 1, activation="relu")(x)
    x = ops.transpose(x, (0, 1, 3, 2))
    x = layers.Flatten()(layers.Conv2D(4, 1)(x))
    model = Model(image, layers.Dense(7)(x))
    small_models.randomise(model)
    return float_model.from_keras(model)


def test_two_readers_and_other_operators_end_a_chain() -> None:
    """Transposed convolutions, sigmoids, transpositions and flattened maps among them."""
    kinds = {operator.kind for operator in graph.read(branched()).operators}
    assert {"TRANSPOSE_CONV", "LOGISTIC", "TRANSPOSE", "ADD"} <= kinds
    assert equalized.pairs(branched()) == []
    result = equalize(branched(), small_models.inputs(2, side=8), equalized.PIXELS)
    before, after = graph.read(branched()), graph.read(result)
    for one, other in zip(before.tensors, after.tensors, strict=True):
        np.testing.assert_array_equal(one.data, other.data)


@pytest.mark.parametrize("shared", ["tensor", "buffer"])
def test_layers_that_share_weights_are_scaled_apart(shared: str) -> None:
    """Converters store equal constants once; each layer here needs factors of its own."""
    from keras import Input, Model, layers

    image = Input((8, 8, 3), batch_size=1, name="image")
    x = layers.Conv2D(6, 3, activation="relu")(image)
    for _ in range(3):
        x = layers.Conv2D(6, 1, activation="relu")(x)
    model = Model(image, layers.Dense(7)(layers.GlobalAveragePooling2D()(x)))
    small_models.randomise(model)

    def share(model: Any) -> None:
        subgraph = model.subgraphs[0]
        one, other = subgraph.operators[1], subgraph.operators[2]
        if shared == "tensor":
            other.inputs = [other.inputs[0], *list(one.inputs)[1:]]
        for position in (1, 2):
            ours, theirs = (subgraph.tensors[op.inputs[position]] for op in (one, other))
            theirs.buffer = ours.buffer

    tflite = small_models.patched(float_model.from_keras(model), share)
    faces = small_models.inputs(8, side=8)
    result = equalize(tflite, faces, equalized.PIXELS)
    assert result != tflite
    assert equalized.largest_difference(tflite, result, small_models.inputs(8, 8, 3)) < 1e-5


def test_a_channel_that_hardly_moves_is_not_blown_up_beyond_what_runs() -> None:
    """A difference of colours, on gray faces; XNNPACK refuses sums much coarser than results."""
    from keras import Input, Model, layers

    image = Input((8, 8, 3), batch_size=1, name="image")
    x = layers.DepthwiseConv2D(3)(layers.Conv2D(8, 1)(image))
    model = Model(image, layers.Dense(7)(layers.GlobalAveragePooling2D()(x)))
    small_models.randomise(model)
    kernel = np.full((1, 1, 3, 8), 0.01)
    kernel[0, 0, :, 0] = 1, -1, 0
    model.layers[1].kernel.assign(kernel)
    model.layers[1].bias.assign(np.full(8, 1e-6))
    tflite = float_model.from_keras(model)
    gray = np.repeat(small_models.inputs(8, side=8)[..., :1], 3, axis=3)
    result = equalize(tflite, gray, equalized.PIXELS)
    assert equalized.largest_difference(tflite, result, gray) < 1e-5
    made = quantize(result, small_models.ranges(result, gray), WITHOUT_METHODS, equalized.PIXELS)
    stored = np.rint(gray * 127.5 - 0.5).astype(np.int8)
    found = small_models.real(made, small_models.run(made, stored))
    assert np.abs(found - small_models.run(tflite, gray)).max() < 0.05


def ranges(activations: Any, columns: Any, limits: Any = None) -> PairRanges:
    found = np.array(activations, np.float64)
    return PairRanges(
        activations=found,
        columns=np.array(columns, np.float64),
        limits=np.full(len(found), np.inf) if limits is None else np.array(limits, np.float64),
    )


def test_the_factors_of_a_case_solved_by_hand() -> None:
    """One row reads activations of 4 and 1 with 1 and 1: half and once, so that 2:1 is 1:2."""
    factors = channel_factors(ranges([4, 1], [[1, 1]]))
    np.testing.assert_allclose(factors / factors[0], [1, 2], rtol=1e-3)
    np.testing.assert_allclose(factors * [4, 1], [4, 2], rtol=1e-3)


def test_channels_that_must_stay_do_and_no_factor_is_beyond_its_limit() -> None:
    factors = channel_factors(ranges([6, 1, 0.1], np.eye(3), limits=[0, 2, np.inf]))
    np.testing.assert_allclose(factors, [1, 2, 60], rtol=1e-3)
    np.testing.assert_array_equal(channel_factors(ranges([6, 1], np.eye(2), limits=[0, 0])), [1, 1])


def test_factors_are_bounded() -> None:
    factors = channel_factors(ranges([1, 1e-30, 1], [[1, 0, 0], [0, 1, 0], [0, 0, 0]]))
    np.testing.assert_allclose(factors, [1, LARGEST_FACTOR, 1 / LARGEST_FACTOR])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_channel_with_weights_that_are_no_numbers_stays_as_it_is(value: float) -> None:
    pair = equalized.pairs(equalized.chain(0))[-1]

    def spoil(model: Any) -> None:
        tensor = model.subgraphs[0].tensors[pair.second.operator.inputs[1]]
        data = equalized.weights(pair.second).astype(np.float32)
        data[0, 3] = value
        model.buffers[tensor.buffer].data = data.view(np.uint8).ravel()

    spoilt = small_models.patched(equalized.chain(0), spoil)
    result = equalize(spoilt, equalized.images(4), equalized.PIXELS)
    before, after = (equalized.weights(equalized.pairs(t)[-1].second) for t in (spoilt, result))
    np.testing.assert_array_equal(before[:, 3], after[:, 3])
    assert np.all(before[:, 2] != after[:, 2])
