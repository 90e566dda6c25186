"""How far int8 grids reach, and that the int8 file has the grid that was asked for."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import small_models

from edgefer.converters import graph
from edgefer.converters.quantize import quantize
from edgefer.converters.recipes import DYNAMIC, INT8, INT16X8, QuantizationRecipe, WeightRange
from edgefer.converters.rounding.weight_ranges import ranges_by_name, weight_ranges
from edgefer.converters.rounding.weight_rounding import round_to_nearest
from edgefer.converters.weights import weighted_layers

Float32Array = npt.NDArray[np.float32]
FACES = small_models.inputs(8, seed=1)


def heavy_tailed(*shape: int) -> Float32Array:
    return np.random.default_rng(0).standard_t(3, shape).astype(np.float32)


@cache
def activations() -> dict[str, tuple[float, float]]:
    return small_models.ranges(small_models.small(), FACES)


@cache
def wide() -> Mapping[str, Float32Array]:
    """Ranges of a third more than the largest weight."""
    found = ranges_by_name(small_models.small(), WeightRange.MIN_MAX)
    return {name: ranges * np.float32(4 / 3) for name, ranges in found.items()}


def stored(tflite: bytes) -> list[tuple[npt.NDArray[Any], Float32Array]]:
    """Return each layer's integers and scales, the latter with the weights' axes."""
    found = []
    for one in weighted_layers(graph.read(tflite)):
        assert one.weights.data is not None
        assert one.weights.quantization is not None
        shape = [1] * one.weights.data.ndim
        shape[one.channel_axis] = -1
        found.append((one.weights.data, one.weights.quantization.scales.reshape(shape)))
    return found


@pytest.mark.parametrize(
    ("kind", "shape", "axis"),
    [("CONV_2D", (5, 3, 3, 7), 0), ("DEPTHWISE_CONV_2D", (1, 5, 5, 6), 3)],
)
def test_no_range_on_the_grid_has_a_smaller_error_than_mse(
    kind: str, shape: tuple[int, ...], axis: int
) -> None:
    """Channel by channel, against a search of its own in float64."""
    weights = heavy_tailed(*shape)
    found = weight_ranges(small_models.layer(kind, weights), WeightRange.MSE)
    channels = np.moveaxis(weights, axis, 0).reshape(shape[axis], -1).astype(np.float64)

    def error(channel: npt.NDArray[np.float64], reach: float) -> float:
        scale = reach / 127
        return float(np.sum((np.clip(np.rint(channel / scale), -127, 127) * scale - channel) ** 2))

    for channel, reach in zip(channels, found.ravel(), strict=True):
        largest = np.abs(channel).max()
        best = min(error(channel, largest * share) for share in np.linspace(0.5, 1, 101))
        assert error(channel, float(reach)) == pytest.approx(best, rel=1e-3)
        assert 0.5 * largest <= reach * (1 + 1e-6)
        assert reach <= largest * (1 + 1e-6)
    assert (found.ravel() < np.abs(channels).max(axis=1)).any()


def test_a_channel_of_grid_points_and_one_of_zeros_are_not_clipped() -> None:
    weights = np.zeros((2, 255), np.float32)
    weights[0] = np.arange(-127, 128) / 127
    found = weight_ranges(small_models.layer("FULLY_CONNECTED", weights), WeightRange.MSE)
    np.testing.assert_array_equal(found, [[1], [0]])


def test_skipped_layers_have_no_range() -> None:
    layers = weighted_layers(graph.read(small_models.small()))
    found = ranges_by_name(small_models.small(), WeightRange.MIN_MAX, skipped=frozenset({0, 3}))
    names = {one.weights.name for one in layers if one.operator.index not in (0, 3)}
    assert found.keys() == names


@pytest.mark.parametrize("recipe", [INT8, INT16X8, DYNAMIC], ids=["int8", "int16x8", "dynamic"])
@pytest.mark.parametrize("kind", ["mse", "wide"])
def test_the_file_has_the_grid_and_the_integers_that_were_chosen(
    recipe: QuantizationRecipe, kind: str
) -> None:
    """Narrower and wider than the largest weight, from exact and from rounded weights alike."""
    small = small_models.small()
    ranges = ranges_by_name(small, WeightRange.MSE) if kind == "mse" else wide()
    rounded = round_to_nearest(small, ranges)
    layers = weighted_layers(graph.read(small))
    for source in (small, rounded):
        made = stored(quantize(source, activations(), recipe, (-1.0, 1.0), weight_ranges=ranges))
        for exact, grid, (integers, scales) in zip(
            layers, weighted_layers(graph.read(rounded)), made, strict=True
        ):
            steps = ranges[exact.weights.name] / np.float32(127)
            np.testing.assert_array_equal(scales, steps)
            np.testing.assert_array_equal(integers * steps, grid.weights.data)
            nearest = np.clip(np.rint(np.asarray(exact.weights.data) / steps), -127, 127)
            np.testing.assert_array_equal(integers, nearest)


def test_a_range_too_small_for_the_bias_is_widened() -> None:
    """A channel's grid so fine that its bias would overflow int32."""
    small = small_models.small()
    ranges = dict(ranges_by_name(small, WeightRange.MIN_MAX))
    first = weighted_layers(graph.read(small))[0]
    tiny = ranges[first.weights.name].copy()
    tiny[3] = 1e-9
    ranges[first.weights.name] = tiny
    made = quantize(small, activations(), INT8, (-1.0, 1.0), weight_ranges=ranges)
    bias = weighted_layers(graph.read(made))[0].bias
    assert bias is not None
    assert bias.data is not None
    assert bias.quantization is not None
    assert first.bias is not None
    assert first.bias.data is not None
    np.testing.assert_allclose(
        bias.data * bias.quantization.scales, first.bias.data, atol=2e-4, rtol=1e-3
    )
    assert abs(int(bias.data[3])) == pytest.approx(2**30, rel=1e-6)


def test_tensors_that_share_their_values_are_rounded_once() -> None:
    """Two layers of the same weights stay so; a reader that is skipped keeps the exact ones."""

    def share(model: Any) -> None:
        operators = model.subgraphs[0].operators
        operators[6].inputs[1] = operators[4].inputs[1]

    shared = small_models.patched(small_models.small(), share)
    ranges = ranges_by_name(shared, WeightRange.MIN_MAX)
    before = {one.operator.index: one.weights for one in weighted_layers(graph.read(shared))}
    assert before[4].index == before[6].index
    both = round_to_nearest(shared, ranges)
    after = {one.operator.index: one.weights for one in weighted_layers(graph.read(both))}
    assert after[4].index == after[6].index
    assert not np.array_equal(before[4].data, after[4].data)  # type: ignore[arg-type]
    one_of_them = round_to_nearest(shared, ranges, skipped=frozenset({6}))
    after = {one.operator.index: one.weights for one in weighted_layers(graph.read(one_of_them))}
    assert after[4].name == before[4].name
    assert not np.array_equal(before[4].data, after[4].data)  # type: ignore[arg-type]
    np.testing.assert_array_equal(before[6].data, after[6].data)
