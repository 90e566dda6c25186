"""Statistics of latencies against scipy, pyperf and LoadGen, and against simulated truth."""

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from bench_records import measurement, noisy, of_runs, process
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from edgefer.benchmarks.early_stopping import early_stopping_percentile
from edgefer.benchmarks.intervals import latency_limits, ratio_limits
from edgefer.benchmarks.result import Measurement, Summary
from edgefer.benchmarks.statistics import (
    Figure,
    LatencyStatistics,
    Ratio,
    latency_statistics,
    ratio,
)

GOLDEN = json.loads(
    (Path(__file__).parent / "golden" / "statistics" / "pyperf.json").read_text(encoding="utf-8")
)

at_any_speed = settings(deadline=None, max_examples=50)

latencies = st.lists(st.floats(1.0, 1e7), min_size=1, max_size=40)
processes = st.lists(latencies, min_size=1, max_size=5)


def statistics_of(measured: Measurement) -> LatencyStatistics:
    found = latency_statistics(measured)
    assert found is not None
    return found


def summary(mean_us: float, *, count: int = 50, std_us: float = 100.0, **others: Any) -> Summary:
    return Summary(
        count=count, minimum_us=0.9 * mean_us, maximum_us=2 * mean_us, mean_us=mean_us,
        std_us=std_us, **others,
    )  # fmt: skip


@pytest.mark.parametrize("golden", GOLDEN["sets"], ids=["3 processes", "5 processes"])
def test_figures_are_pyperfs(golden: dict[str, Any]) -> None:
    """On the same samples; pyperf.json was made by make_pyperf.py beside it."""
    found, theirs = statistics_of(of_runs(*golden["processes"])), golden["pyperf"]
    assert found.runs == theirs["runs"]
    assert found.median_us == pytest.approx(theirs["median"], rel=1e-12)
    assert found.mean_us == pytest.approx(theirs["mean"], rel=1e-12)
    assert found.std_us == pytest.approx(theirs["stdev"], rel=1e-9)
    assert found.mad_us == pytest.approx(theirs["median_abs_dev"], rel=1e-9)
    assert found.minimum_us == theirs["minimum"]


def test_the_interval_is_scipys_t_interval_of_the_processes_medians() -> None:
    runs = noisy(np.random.default_rng(1), processes=4)
    medians = np.log([np.median(each) for each in runs])
    theirs = np.exp(stats.ttest_1samp(medians, 0).confidence_interval(0.95))
    interval = statistics_of(of_runs(*runs)).interval_us
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx(tuple(theirs))


def test_a_ratio_has_scipys_welch_interval() -> None:
    random = np.random.default_rng(2)
    slow = noisy(random, median_us=30_000, processes=3, between=0.02)
    fast = noisy(random, processes=5)
    above, below = (np.log([np.median(each) for each in runs]) for runs in (slow, fast))
    theirs = np.exp(stats.ttest_ind(above, below, equal_var=False).confidence_interval(0.95))
    found = ratio(statistics_of(of_runs(*slow)), statistics_of(of_runs(*fast)))
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(theirs))
    assert found.value == pytest.approx(np.median(slow) / np.median(fast))


def medians_and_all(runs: list[npt.NDArray[np.float64]]) -> tuple[list[float], float]:
    return [float(np.median(each)) for each in runs], float(np.median(np.concatenate(runs)))


def covered(seed: int, repetitions: int, **noise: Any) -> float:
    """Return how often the interval holds the median that the samples were drawn around."""
    random = np.random.default_rng(seed)
    hits = 0
    for _ in range(repetitions):
        medians, of_all = medians_and_all(noisy(random, median_us=10_000.0, **noise))
        low, high = latency_limits(of_all, medians)
        hits += low <= 10_000.0 <= high
    return hits / repetitions


@pytest.mark.parametrize(
    "noise",
    [
        {"between": 0.02, "within": 0.05, "processes": 3},
        {"between": 0.0, "within": 0.05, "processes": 3},
        {"between": 0.05, "within": 0.01, "processes": 3},
        {"between": 0.02, "within": 0.05, "processes": 10},
    ],
)
def test_the_interval_holds_the_true_median_in_19_of_20_benchmarks(noise: dict[str, Any]) -> None:
    """Of 2000 each; 0.95 ± 0.015 is three standard errors."""
    assert covered(5, 2000, **noise) == pytest.approx(0.95, abs=0.015)


def test_a_bootstrap_over_three_processes_would_hold_it_in_less_than_4_of_5() -> None:
    """Why the interval is none: 1 - 2 (1/2)^3 = 75% is all that three processes allow."""
    random = np.random.default_rng(6)
    hits = 0
    for _ in range(400):
        medians = [np.median(each) for each in noisy(random, between=0.05, runs=16)]
        draws = random.choice(medians, (500, 3)).mean(axis=1)
        low, high = np.percentile(draws, [2.5, 97.5])
        hits += low <= 10_000 <= high
    assert hits / 400 < 0.8


def test_a_ratios_interval_holds_the_true_ratio_in_19_of_20_pairs() -> None:
    """Welch's interval of three processes each is a little wide: up to 97%."""
    random = np.random.default_rng(7)
    hits = 0
    for _ in range(2000):
        above, of_above = medians_and_all(noisy(random, median_us=12_000.0, between=0.02))
        below, of_below = medians_and_all(noisy(random, median_us=10_000.0, between=0.02))
        low, high = ratio_limits(of_above / of_below, above, below)
        hits += low <= 1.2 <= high
    assert 0.935 < hits / 2000 < 0.98


@pytest.mark.parametrize(
    ("runs", "discarded"), [(64, 0), (100, 2), (201, 9), (659, 47), (708, 51), (79_944, 7_796)]
)
def test_p90_discards_as_many_runs_as_loadgen(runs: int, discarded: int) -> None:
    """From published summaries of MLPerf's LoadGen: "Would discard N highest latency queries"."""
    ordered = np.arange(runs, dtype=np.float64)
    assert early_stopping_percentile(ordered, 0.9) == runs - 1 - discarded


@pytest.mark.parametrize(("percentile", "fewest"), [(0.9, 64), (0.99, 662)])
def test_percentiles_need_as_many_runs_as_loadgen_does(percentile: float, fewest: int) -> None:
    """LoadGen's own: 64 queries for single stream, 662 for multistream."""
    ordered = np.ones(fewest)
    assert early_stopping_percentile(ordered, percentile) == 1.0
    assert early_stopping_percentile(ordered[1:], percentile) is None


@at_any_speed
@given(st.integers(64, 400))
def test_early_stopping_equals_the_rules_in_exact_fractions(runs: int) -> None:
    """The largest t for which t or fewer overruns of n have a probability of at most 1/100."""
    over, probability = -1, Fraction(0)
    while True:
        following = over + 1
        probability += (
            math.comb(runs, following)
            * Fraction(1, 10) ** following
            * Fraction(9, 10) ** (runs - following)
        )
        if probability > Fraction(1, 100):
            break
        over = following
    ordered = np.arange(runs, dtype=np.float64)
    assert early_stopping_percentile(ordered, 0.9) == runs - over


def test_p90_is_exceeded_by_a_tenth_of_all_runs_in_at_most_1_of_100_benchmarks() -> None:
    random = np.random.default_rng(8)
    true_p90 = stats.expon.ppf(0.9)
    samples = np.sort(random.exponential(size=(2000, 192)), axis=1)
    found = [early_stopping_percentile(each, 0.9) for each in samples]
    assert sum(each is not None and each < true_p90 for each in found) <= 20


def test_percentiles_come_with_enough_runs_only() -> None:
    few, more, many = (
        statistics_of(of_runs(*noisy(np.random.default_rng(9), runs=runs)))
        for runs in (21, 22, 221)
    )
    assert (few.runs, few.p90_us, few.p99_us) == (63, None, None)
    assert more.p90_us is not None
    assert more.p99_us is None
    assert many.p99_us is not None


@at_any_speed
@given(processes)
def test_figures_are_ordered_whatever_the_runs(runs: list[list[float]]) -> None:
    found = statistics_of(of_runs(*runs))
    assert found.minimum_us <= found.latency_us <= max(map(max, runs))
    assert found.minimum_us <= found.mean_us * (1 + 1e-9)
    assert found.std_us >= 0
    assert found.processes == len(runs)
    if found.interval_us is None:
        assert len(runs) == 1
    else:
        assert 0 < found.interval_us.low <= found.latency_us <= found.interval_us.high
    assert found.frames_per_second == pytest.approx(1e6 / found.latency_us)


@at_any_speed
@given(processes, st.floats(0.01, 100))
def test_slower_by_a_factor_is_the_same_in_all_figures(
    runs: list[list[float]], factor: float
) -> None:
    one = statistics_of(of_runs(*runs))
    other = statistics_of(of_runs(*([run * factor for run in each] for each in runs)))
    assert other.latency_us == pytest.approx(one.latency_us * factor)
    assert other.mean_us == pytest.approx(one.mean_us * factor)
    assert ratio(other, one).value == pytest.approx(factor)


@at_any_speed
@given(processes, processes)
def test_a_ratio_turns_over_with_its_terms(
    one: list[list[float]], other: list[list[float]]
) -> None:
    there = ratio(statistics_of(of_runs(*one)), statistics_of(of_runs(*other)))
    back = ratio(statistics_of(of_runs(*other)), statistics_of(of_runs(*one)))
    assert there.value == pytest.approx(1 / back.value)
    if there.interval is None or back.interval is None:
        assert there.interval is back.interval is None
    else:
        assert there.interval.low <= there.value <= there.interval.high
        assert there.interval.low == pytest.approx(1 / back.interval.high)


def test_one_process_has_no_interval() -> None:
    alone = statistics_of(of_runs([100.0, 110.0]))
    pair = statistics_of(of_runs([100.0], [110.0]))
    assert alone.interval_us is None
    assert ratio(alone, pair) == Ratio(value=1.0, interval=None)


def test_processes_that_agree_to_the_nanosecond_have_an_interval_without_width() -> None:
    found = statistics_of(of_runs([100.0], [100.0]))
    assert found.interval_us is not None
    assert (found.interval_us.low, found.interval_us.high) == pytest.approx((100.0, 100.0))


def test_nothing_measured_has_no_statistics() -> None:
    assert latency_statistics(measurement()) is None
    assert latency_statistics(of_runs([])) is None
    empty = summary(100.0, count=0)
    assert latency_statistics(measurement(process(summary=empty))) is None


def test_a_process_that_ended_before_its_first_run_does_not_count() -> None:
    found = statistics_of(of_runs([100.0, 102.0], []))
    assert (found.processes, found.runs) == (1, 2)


def test_loads_and_first_inferences_are_medians_over_processes() -> None:
    found = statistics_of(
        measurement(
            *(process([100.0], first_inference_us=first) for first in (300.0, 900.0, 400.0))
        )
    )
    assert found.first_inference_us == 400.0
    assert (found.cold_load_ms, found.warm_load_ms) == (20.0, 4.0)


def test_a_tools_means_are_called_means() -> None:
    found = statistics_of(
        measurement(*(process(summary=summary(mean)) for mean in (10_000.0, 10_200.0, 10_100.0)))
    )
    assert found.figure is Figure.MEAN
    assert found.median_us is found.mad_us is found.p90_us is found.p99_us is None
    assert found.latency_us == found.mean_us == pytest.approx(10_100.0)
    assert found.process_us == (10_000.0, 10_200.0, 10_100.0)
    assert found.interval_us is not None
    assert found.interval_us.low < 10_000 < 10_200 < found.interval_us.high


def test_a_tools_medians_are_used_where_every_process_has_one() -> None:
    with_median = [process(summary=summary(m, median_us=m - 5.0)) for m in (100.0, 120.0, 110.0)]
    found = statistics_of(measurement(*with_median))
    assert found.figure is Figure.MEDIAN
    assert found.median_us == 105.0
    assert found.mean_us == pytest.approx(110.0)
    without = statistics_of(measurement(*with_median, process(summary=summary(100.0))))
    assert without.figure is Figure.MEAN


@at_any_speed
@given(st.lists(st.lists(st.floats(1.0, 1e6), min_size=1, max_size=30), min_size=1, max_size=4))
def test_summaries_combine_to_the_mean_and_deviation_of_all_runs(runs: list[list[float]]) -> None:
    measured = [
        process(
            summary=Summary(
                count=len(each),
                minimum_us=min(each),
                maximum_us=max(each),
                mean_us=float(np.mean(each)),
                std_us=float(np.std(each)),
            )
        )
        for each in runs
    ]
    combined, single = statistics_of(measurement(*measured)), statistics_of(of_runs(*runs))
    assert combined.runs == single.runs
    assert combined.mean_us == pytest.approx(single.mean_us)
    assert combined.std_us == pytest.approx(single.std_us, rel=1e-6, abs=1e-6 * single.mean_us)
    assert combined.minimum_us == single.minimum_us
