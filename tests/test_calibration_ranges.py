"""Ranges by each method, held against plain reimplementations."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats

from edgefer.converters.calibration.density import Range, density, sqnr_db, squared_errors
from edgefer.converters.calibration.histogram import Histogram, grid_over
from edgefer.converters.calibration.ranges import activation_range, percentile_range
from edgefer.converters.calibration.statistics import TensorStatistics
from edgefer.converters.recipes import RangeMethod

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


def statistics(values: Float32Array) -> TensorStatistics:
    histogram = Histogram()
    low, high = float(values.min()), float(values.max())
    histogram.add(values, low, high)
    return TensorStatistics(
        tensor="t",
        low=low,
        high=high,
        average_low=low + (high - low) / 8,
        average_high=high - (high - low) / 4,
        zeros=histogram.zeros,
        counts=tuple(histogram.counts.tolist()),
    )


def drawn(name: str) -> Float32Array:
    random = np.random.default_rng(4)
    normal = random.normal(0, 1, 40_000)
    made = {
        "normal": normal,
        "laplace": random.laplace(0.5, 1, 40_000),
        "relu": np.maximum(normal, 0),
        "relu6": np.clip(normal * 3, 0, 6),
        "negative": -np.abs(normal),
        "outlier": np.append(normal, [60.0]),
        "gelu": normal * scipy.stats.norm.cdf(normal),
    }
    return np.asarray(made[name], np.float32)


KINDS = ["normal", "laplace", "relu", "relu6", "negative", "outlier", "gelu"]


def rounded(values: Float32Array, low: float, high: float, bits: int = 8) -> Float64Array:
    """Quantize and dequantize, as LiteRT's specification says."""
    exact = values.astype(np.float64)
    if bits == 16:
        scale = max(abs(low), abs(high)) / 32767
        return np.asarray(np.clip(np.rint(exact / scale), -32767, 32767) * scale)
    low, high = min(low, 0), max(high, 0)
    scale = (high - low) / 255
    zero = np.rint(-128 - low / scale)
    return np.asarray((np.clip(np.rint(exact / scale) + zero, -128, 127) - zero) * scale)


def error(values: Float32Array, limits: Range, bits: int = 8) -> float:
    return float(np.mean((values - rounded(values, *limits, bits)) ** 2))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("share", [1.0, 0.7, 0.2])
@pytest.mark.parametrize("kind", KINDS)
def test_the_error_on_the_histogram_is_that_of_the_values(
    kind: str, share: float, bits: int
) -> None:
    values = drawn(kind)
    limits = float(values.min()) * share, float(values.max()) * share
    low, high = (np.array([limit]) for limit in limits)
    found = squared_errors(density(statistics(values)), low, high, bits=bits)[0]
    assert found == pytest.approx(error(values, limits, bits), rel=0.03)
    decibels = 10 * math.log10(np.mean(values.astype(np.float64) ** 2) / found)
    assert sqnr_db(statistics(values), limits, bits=bits) == pytest.approx(decibels, abs=0.01)


def test_min_max_and_moving_average_are_what_was_gathered() -> None:
    known = statistics(drawn("normal"))
    for bits in (8, 16):
        assert activation_range(known, RangeMethod.MIN_MAX, bits=bits) == (known.low, known.high)
    averages = (known.average_low, known.average_high)
    assert activation_range(known, RangeMethod.MOVING_AVERAGE) == averages


@pytest.mark.parametrize("percent", [99.99, 99, 75])
@pytest.mark.parametrize("kind", KINDS)
def test_percentiles_are_numpys_within_a_bin(kind: str, percent: float) -> None:
    values = drawn(kind)
    low, high = percentile_range(density(statistics(values)), percent)
    bin_width = grid_over(float(values.min()), float(values.max())).width
    ranks = [100 - percent, percent]
    assert low <= np.percentile(values, ranks[0], method="lower") <= low + bin_width
    assert high - bin_width <= np.percentile(values, ranks[1], method="higher") <= high


@pytest.mark.parametrize("kind", KINDS)
def test_the_mse_range_is_as_good_as_a_brute_force_search_finds(kind: str) -> None:
    values = drawn(kind)
    found = error(values, activation_range(statistics(values), RangeMethod.MSE))
    shares = np.geomspace(0.02, 1, 40)
    lows = float(values.min()) * (shares if values.min() < 0 else shares[-1:])
    highs = float(values.max()) * (shares if values.max() > 0 else shares[-1:])
    sample = values[:: max(1, len(values) // 4000)] if kind != "outlier" else values[-4001:]
    best = min(((low, high) for low in lows for high in highs), key=lambda r: error(sample, r))
    assert found <= error(values, best) * 1.02


def test_an_outlier_is_clipped_by_mse_and_kept_by_min_max() -> None:
    """One value of 60 among ordinary ones costs all others a coarser step."""
    known = statistics(np.append(drawn("normal"), np.float32(60)))
    noise = {
        method: sqnr_db(known, activation_range(known, method))
        for method in (RangeMethod.MIN_MAX, RangeMethod.MSE)
    }
    assert activation_range(known, RangeMethod.MSE)[1] < 60
    assert noise[RangeMethod.MSE] > noise[RangeMethod.MIN_MAX]


def reference_divergence(values: Float32Array, threshold: float, width: float) -> float:
    """Return Migacz's divergence of a threshold, by the book: loops over bins and levels."""
    inner = values[values != 0]
    first = max(math.floor(inner.min() / width), -round(threshold / width))
    end = min(math.floor(inner.max() / width) + 1, round(threshold / width))
    positions = np.floor(inner / width).astype(int)
    clipped, inside = np.zeros(end - first), np.zeros(end - first)
    for position in positions:
        clipped[min(max(position, first), end - 1) - first] += 1
        if first <= position < end:
            inside[position - first] += 1
    expanded = np.zeros_like(inside)
    level = [256 * place // len(inside) for place in range(len(inside))]
    for number in set(level):
        members = [place for place, of in enumerate(level) if of == number and inside[place]]
        for place in members:
            expanded[place] = sum(inside[member] for member in members) / len(members)
    return float(scipy.stats.entropy(clipped, np.maximum(expanded / expanded.sum(), 1e-9)))


@pytest.mark.parametrize("kind", ["normal", "relu", "negative", "laplace"])
def test_the_entropy_range_diverges_as_little_as_any_threshold(kind: str) -> None:
    values = drawn(kind)[:8000]
    width = grid_over(float(values.min()), float(values.max())).width
    low, high = activation_range(statistics(values), RangeMethod.ENTROPY)
    farthest = max(-float(values.min()), float(values.max()))
    found = reference_divergence(values, max(-low, high), width)
    sides = 2 if values.min() < 0 < values.max() else 1
    others = [
        reference_divergence(values, threshold, width)
        for threshold in np.linspace(260 / sides * width, farthest, 12)
    ]
    assert found <= min(others) * 1.1


def test_entropy_cuts_a_long_tail_on_one_side_and_on_both() -> None:
    tail = np.random.default_rng(7).standard_t(2, 60_000).astype(np.float32)
    for values in (tail, np.abs(tail)):
        low, high = activation_range(statistics(values), RangeMethod.ENTROPY)
        assert high < float(values.max()) / 2
        assert low > float(values.min()) / 2 or values.min() >= 0


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_the_best_range_has_the_least_noise_of_all(kind: str, bits: int) -> None:
    values = drawn(kind)
    known = statistics(values)
    best = sqnr_db(known, activation_range(known, RangeMethod.BEST, bits=bits), bits=bits)
    for method in RangeMethod:
        limits = activation_range(known, method, bits=bits)
        assert known.low <= limits[0] <= limits[1] <= known.high
        assert sqnr_db(known, limits, bits=bits) <= best
        assert np.isfinite(best)


@pytest.mark.parametrize("method", list(RangeMethod))
@pytest.mark.parametrize(
    "values",
    [[0, 0, 0], [0.7] * 9, [-0.7] * 9, [0] * 99_999 + [5], [1e-45, 0], [-3e38, 3e38]],
    ids=["zeros", "constant", "negative constant", "one value", "tiny", "huge"],
)
def test_no_odd_tensor_breaks_a_method_or_loses_what_it_holds(
    values: list[float], method: RangeMethod
) -> None:
    given = np.array(values, np.float32)
    known = statistics(given)
    if method is RangeMethod.MOVING_AVERAGE:
        return  # made up here
    for bits in (8, 16):
        low, high = activation_range(known, method, bits=bits)
        assert known.low <= low <= high <= known.high
        assert low == pytest.approx(given.min(), rel=0.02)
        assert high == pytest.approx(given.max(), rel=0.02)
