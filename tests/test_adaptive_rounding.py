"""Weights rounded up or down so that outputs change least."""

import itertools
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import small_models

from edgefer.converters import float_model, graph
from edgefer.converters.quantize import quantize
from edgefer.converters.recipes import DYNAMIC, INT8, QuantizationRecipe, WeightRange
from edgefer.converters.rounding import adaptive_rounding
from edgefer.converters.rounding.adaptive_rounding import round_adaptively, with_ridge
from edgefer.converters.rounding.bias_correction import correct_biases
from edgefer.converters.rounding.coordinate_descent import (
    best_rounding,
    errors_passed_on,
    rounding_error,
)
from edgefer.converters.rounding.input_moments import second_moments
from edgefer.converters.rounding.weight_ranges import ranges_by_name
from edgefer.converters.rounding.weight_rounding import round_to_nearest
from edgefer.converters.weights import WeightedLayer, weighted_layers

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

FACES = small_models.inputs(48, seed=5)


def correlated(inputs: int, groups: int = 1, seed: int = 0) -> Float64Array:
    """Return the second moments of inputs that depend on each other, as after a ReLU."""
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(groups, inputs, inputs)) * 0.4
    seen = np.maximum(random.normal(size=(groups, 500, inputs)) @ mixing + 0.3, 0)
    return np.asarray(seen.transpose(0, 2, 1) @ seen / 500)


def steps(groups: int, inputs: int, outputs: int, seed: int = 0) -> Float64Array:
    """Return weights in steps of their grid, some of them beyond its ends."""
    return np.random.default_rng(seed).uniform(-129, 129, (groups, inputs, outputs))


def optimum(weights: Float64Array, moments: Float64Array) -> Float64Array:
    """Return the smallest error of all 2^n roundings, by trying each on its own: (outputs,)."""
    choices = np.array(list(itertools.product([0, 1], repeat=len(weights))))
    errors = []
    for channel in weights.T:
        rounded = np.clip(np.floor(channel) + choices, -127, 127)
        differences = rounded - channel
        errors.append(np.einsum("nk,kl,nl->n", differences, moments, differences).min())
    return np.array(errors)


@cache
def ranges() -> Mapping[str, Float32Array]:
    return ranges_by_name(small_models.small(), WeightRange.MIN_MAX)


@cache
def adaptive(*, centred: bool = False) -> bytes:
    return round_adaptively(small_models.small(), FACES, ranges(), centred=centred)


def integers(weights: Any, reach: Float32Array) -> Float64Array:
    return np.asarray(weights / (reach.astype(np.float64) / 127))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("inputs", [1, 4, 9, 12])
def test_of_few_weights_the_best_rounding_is_found(inputs: int, seed: int) -> None:
    weights, moments = steps(3, inputs, 2, seed), correlated(inputs, 3, seed)
    found = rounding_error(best_rounding(weights, moments) - weights, moments)
    for group in range(3):
        np.testing.assert_allclose(
            found[group], optimum(weights[group], moments[group]), rtol=1e-9, atol=1e-9
        )


def test_of_more_weights_the_rounding_found_is_near_the_best() -> None:
    """Where not all choices are tried; no output is worse than with its weights at nearest."""
    shares, nearest_shares = [], []
    for seed in range(6):
        weights, moments = steps(1, 14, 4, seed), correlated(14, 1, seed)
        best = optimum(weights[0], moments[0])
        nearest = np.clip(np.rint(weights), -127, 127)
        found = rounding_error(best_rounding(weights, moments) - weights, moments)[0]
        plain = rounding_error(nearest - weights, moments)[0]
        assert (found <= plain * (1 + 1e-9)).all()
        shares.append(found / best)
        nearest_shares.append(plain / best)
    assert np.mean(shares) < 1.12
    assert np.mean(nearest_shares) > 2


def gptq(weights: Float64Array, moments: Float64Array) -> Float64Array:
    """Round as Frantar et al. 2023 define it: their equations 2 and 3, by inverses, unblocked."""
    moved, rounded, inverse = weights.copy(), np.empty_like(weights), np.linalg.inv(moments)
    for index, weight in enumerate(weights):
        within = np.clip(np.rint(moved[index]), np.floor(weight), np.ceil(weight))
        rounded[index] = np.clip(within, -127, 127)
        error = (moved[index] - rounded[index]) / inverse[0, 0]
        moved[index + 1 :] -= inverse[1:, :1] * error
        inverse = inverse[1:, 1:] - inverse[1:, :1] * inverse[:1, 1:] / inverse[0, 0]
    return rounded


@pytest.mark.parametrize("inputs", [1, 30, 64, 150])
def test_errors_are_passed_on_as_by_gptq(inputs: int) -> None:
    weights, moments = steps(2, inputs, 5), correlated(inputs, 2)
    found = errors_passed_on(weights, moments)
    for group in range(2):
        np.testing.assert_array_equal(found[group], gptq(weights[group], moments[group]))


@pytest.mark.parametrize("inputs", [9, 150, 1100])
def test_roundings_are_neighbours_within_the_grid_and_never_worse_than_nearest(
    inputs: int,
) -> None:
    """Few inputs, more than one block of the search holds, and too many for two descents."""
    weights, moments = steps(2, inputs, 5), with_ridge(correlated(inputs, 2))
    rounded = best_rounding(weights, moments)
    np.testing.assert_array_equal(rounded, np.rint(rounded))
    assert np.abs(rounded).max() == 127
    inside = np.abs(weights) <= 127
    assert np.abs(rounded - weights)[inside].max() < 1
    np.testing.assert_array_equal(rounded[weights > 127], 127)
    np.testing.assert_array_equal(rounded[weights < -127], -127)
    nearest = np.clip(np.rint(weights), -127, 127)
    errors = [rounding_error(one - weights, moments) for one in (rounded, nearest)]
    assert (errors[0] <= errors[1] * (1 + 1e-9)).all()
    assert errors[0].sum() < 0.8 * errors[1].sum()


def test_independent_inputs_leave_nothing_better_than_nearest() -> None:
    weights = steps(1, 40, 6)
    rounded = best_rounding(weights, np.eye(40)[None] * 0.3)
    np.testing.assert_array_equal(rounded, np.clip(np.rint(weights), -127, 127))


def convolution(kind: str, **options: Any) -> bytes:
    """Return a network of one layer before its classifier."""
    from keras import Input, Model, layers

    image = Input((12, 10, 4), batch_size=1, name="image")
    layer = (layers.DepthwiseConv2D if kind == "depthwise" else layers.Conv2D)(**options)
    pooled = layers.GlobalAveragePooling2D()(layer(image))
    model = Model(image, layers.Dense(7, activation="softmax")(pooled))
    small_models.randomise(model)
    return float_model.from_keras(model)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("full", {"filters": 6, "kernel_size": (3, 2)}),
        ("full", {"filters": 6, "kernel_size": 3, "strides": 2}),
        ("full", {"filters": 6, "kernel_size": 3, "dilation_rate": 2}),
        ("full", {"filters": 6, "kernel_size": 3, "groups": 2}),
        ("depthwise", {"kernel_size": 3, "strides": 2}),
        ("depthwise", {"kernel_size": 3, "depth_multiplier": 2}),
        ("depthwise", {"kernel_size": 2, "dilation_rate": 2}),
    ],
)
def test_the_moments_foretell_the_change_that_tensorflow_computes(
    monkeypatch: pytest.MonkeyPatch, kind: str, options: dict[str, Any], padding: str
) -> None:
    """All positions counted, the form is the mean square of the layer's difference on the faces."""
    import tensorflow as tf

    from edgefer.converters.rounding import input_moments
    from edgefer.converters.rounding.input_patches import weights_to_matrices

    monkeypatch.setattr(input_moments, "POSITIONS", 1000)
    tflite = convolution(kind, padding=padding, **options)
    layer = weighted_layers(graph.read(tflite))[0]
    images = np.random.default_rng(1).normal(0.3, 1, (5, 12, 10, 4)).astype(np.float32)
    moments = second_moments(tflite, images, [layer])[layer.operator.index]
    difference = np.random.default_rng(2).normal(size=layer.weights.shape)
    foretold = rounding_error(weights_to_matrices(layer, difference, len(moments)), moments)
    strides, dilation = options.get("strides", 1), options.get("dilation_rate", 1)
    if kind == "full":
        kernel = difference.transpose(1, 2, 3, 0)
        outputs = tf.nn.conv2d(
            images.astype(np.float64), kernel, strides, padding.upper(), dilations=dilation
        )
    else:
        height, width, channels = difference.shape[1:]
        kernel = difference.reshape(height, width, 4, channels // 4)
        outputs = tf.nn.depthwise_conv2d(
            images.astype(np.float64),
            kernel,
            (1, strides, strides, 1),
            padding.upper(),
            dilations=(dilation, dilation),
        )
    expected = np.mean(np.square(outputs), axis=(0, 1, 2))
    np.testing.assert_allclose(foretold.ravel(), expected, rtol=1e-4)


def test_centred_moments_are_the_covariance_even_around_a_large_mean() -> None:
    """Products of the raw values in float32 would lose all of it."""
    tflite = convolution("full", filters=6, kernel_size=1)
    layer = weighted_layers(graph.read(tflite))[0]
    values = np.random.default_rng(1).normal(500, 0.01, (40, 1, 1, 4)).astype(np.float32)
    images = np.broadcast_to(values, (40, 12, 10, 4))
    found = second_moments(tflite, images, [layer], centred=True)[layer.operator.index]
    expected = np.cov(values[:, 0, 0].T.astype(np.float64), bias=True)
    np.testing.assert_allclose(found[0], expected, rtol=1e-3, atol=1e-8)


def layers_of(tflite: bytes) -> list[WeightedLayer]:
    return weighted_layers(graph.read(tflite))


def test_every_weight_is_a_neighbouring_point_of_its_grid() -> None:
    moved = 0
    for exact, rounded in zip(layers_of(small_models.small()), layers_of(adaptive()), strict=True):
        reach = ranges()[exact.weights.name]
        points, wanted = integers(rounded.weights.data, reach), integers(exact.weights.data, reach)
        np.testing.assert_allclose(points, np.rint(points), atol=1e-4)
        assert np.abs(points - wanted).max() < 1.001
        moved += int(np.count_nonzero(np.rint(points) != np.rint(wanted)))
    assert moved > 50


@pytest.mark.parametrize("recipe", [INT8, DYNAMIC], ids=["int8", "dynamic"])
def test_the_file_has_exactly_the_integers_that_were_chosen(recipe: QuantizationRecipe) -> None:
    activations = small_models.ranges(small_models.small(), FACES[:4])
    made = quantize(adaptive(), activations, recipe, (-1.0, 1.0), weight_ranges=ranges())
    for rounded, stored in zip(layers_of(adaptive()), layers_of(made), strict=True):
        chosen = np.rint(integers(rounded.weights.data, ranges()[rounded.weights.name]))
        np.testing.assert_array_equal(stored.weights.data, chosen)


def test_layers_put_out_nearer_to_what_they_did() -> None:
    """With float activations, on faces that were not seen, biases corrected or not."""
    fresh = small_models.inputs(100, seed=6)
    small = small_models.small()
    expected = small_models.run(small, fresh)

    def error(tflite: bytes) -> float:
        return float(np.abs(small_models.run(tflite, fresh) - expected).mean())

    nearest = round_to_nearest(small, ranges())
    assert error(adaptive()) < 0.6 * error(nearest)
    patches = small_models.calibrated(small, FACES).patches()
    corrected = [correct_biases(small, one, patches) for one in (nearest, adaptive(centred=True))]
    assert error(corrected[1]) < 0.8 * error(corrected[0])


def test_the_same_faces_give_the_same_bytes_whatever_the_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(adaptive_rounding, "_MOST_BYTES", 1)
    again = round_adaptively(
        small_models.small(),
        FACES,
        ranges(),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert again == adaptive()
    assert seen[-1] == (48, 48)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_skipped_layers_stay_exact() -> None:
    made = round_adaptively(small_models.small(), FACES[:8], ranges(), skipped=frozenset({0, 3}))
    for exact, rounded in zip(layers_of(small_models.small()), layers_of(made), strict=True):
        is_same = np.array_equal(exact.weights.data, rounded.weights.data)  # type: ignore[arg-type]
        assert is_same == (exact.operator.index in (0, 3))


def test_layers_of_the_same_weights_are_rounded_together() -> None:
    def share(model: Any) -> None:
        operators = model.subgraphs[0].operators
        operators[6].inputs[1] = operators[4].inputs[1]

    shared = small_models.patched(small_models.small(), share)
    made = round_adaptively(shared, FACES[:8], ranges_by_name(shared, WeightRange.MIN_MAX))
    after = {one.operator.index: one.weights.index for one in layers_of(made)}
    assert after[4] == after[6]


def test_a_dead_input_leaves_its_weights_at_nearest() -> None:
    """An all-zero channel has no moments, which must not stop the others."""
    weights = np.zeros((1, 20, 3)) + steps(1, 20, 3)
    moments = correlated(20)
    moments[:, 5] = 0
    moments[:, :, 5] = 0
    rounded = best_rounding(weights, adaptive_rounding.with_ridge(moments))
    np.testing.assert_array_equal(rounded[0, 5], np.clip(np.rint(weights[0, 5]), -127, 127))
