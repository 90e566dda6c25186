"""Whether a second benchmark is slower: verdicts, what cannot be compared, and the exit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from bench_records import (
    device,
    measurement,
    noisy,
    of_runs,
    process,
    result,
    state,
    with_board,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefer.benchmarks.comparison.compare import Comparison, Verdict, compare, require
from edgefer.benchmarks.plan import Effort
from edgefer.benchmarks.result import (
    Backend,
    BenchResult,
    Cluster,
    DeviceResult,
    Measurement,
    Summary,
)
from edgefer.errors import BudgetError, UsageError
from edgefer.records import to_dict

Samples = list[npt.NDArray[np.float64]]

CALM_RUNS = noisy(np.random.default_rng(1))


def bench(runs: Samples, **others: object) -> BenchResult:
    return result(device(of_runs(*runs)), **others)  # type: ignore[arg-type]


def slower(runs: Samples, factor: float) -> Samples:
    return [factor * each for each in runs]


def changed(change: Callable[[DeviceResult], DeviceResult]) -> BenchResult:
    """Return a benchmark like `bench(CALM_RUNS)` but for its device."""
    return result(change(device(of_runs(*CALM_RUNS))))


def measured(change: Callable[[Measurement], Measurement]) -> BenchResult:
    """Return a benchmark like `bench(CALM_RUNS)` but for its measurement."""
    return result(device(change(of_runs(*CALM_RUNS))))


def verdict(comparison: Comparison) -> Verdict:
    (only,) = comparison.models
    return only.verdict


seeds = st.integers(0, 2**32 - 1)
at_any_speed = settings(deadline=None, max_examples=60)


@at_any_speed
@given(seed=seeds, count=st.integers(2, 6), between=st.floats(0, 0.2), within=st.floats(0, 0.5))
def test_a_benchmark_shows_no_difference_from_itself(
    seed: int, count: int, between: float, within: float
) -> None:
    random = np.random.default_rng(seed)
    runs = noisy(random, processes=count, between=between, within=within, runs=20)
    same = compare(bench(runs), bench(runs), max_slowdown=0)
    assert verdict(same) is Verdict.NO_DIFFERENCE_SHOWN
    assert same.models[0].ratio.value == 1
    require(same)


@at_any_speed
@given(seed=seeds)
def test_a_shift_of_10_percent_is_found_with_3_processes(seed: int) -> None:
    runs = noisy(np.random.default_rng(seed), between=0.002, within=0.01)
    found = compare(bench(runs), bench(slower(runs, 1.1)))
    assert verdict(found) is Verdict.SLOWER
    assert found.models[0].regression
    back = compare(bench(slower(runs, 1.1)), bench(runs))
    assert verdict(back) is Verdict.FASTER
    assert not back.models[0].regression


def test_a_shift_of_10_percent_is_found_in_new_samples_too() -> None:
    """Of 200 pairs of benchmarks, not of one set of samples and its copy."""
    random = np.random.default_rng(3)
    found = [
        compare(bench(noisy(random)), bench(noisy(random, median_us=11_000.0))) for _ in range(200)
    ]
    assert sum(each.models[0].regression for each in found) >= 195


def test_noise_alone_is_no_regression() -> None:
    """Of 300 pairs of the same model under 1% of noise between processes."""
    random = np.random.default_rng(4)
    found = [
        compare(bench(noisy(random, between=0.01)), bench(noisy(random, between=0.01)))
        for _ in range(300)
    ]
    verdicts = [verdict(each) for each in found]
    assert verdicts.count(Verdict.NO_DIFFERENCE_SHOWN) >= 0.92 * 300
    assert sum(each.models[0].regression for each in found) <= 3


def test_slower_within_what_is_allowed_is_slower_but_no_regression() -> None:
    found = compare(bench(CALM_RUNS), bench(slower(CALM_RUNS, 1.02)), max_slowdown=0.03)
    assert verdict(found) is Verdict.SLOWER
    require(found)
    with pytest.raises(BudgetError):
        require(compare(bench(CALM_RUNS), bench(slower(CALM_RUNS, 1.02)), max_slowdown=0.005))


def test_a_regression_is_named_with_its_interval() -> None:
    found = compare(bench(CALM_RUNS), bench(slower(CALM_RUNS, 1.1)))
    interval = found.models[0].ratio.interval
    assert interval is not None
    with pytest.raises(BudgetError) as caught:
        require(found)
    assert str(caught.value) == (
        "slower by more than the 3.0% allowed: quadrant-int8.tflite on ssh://board, 1 thread: "
        f"10.0% ({interval.low - 1:.1%} to {interval.high - 1:.1%})"
    )
    assert caught.value.exit_code == 3


def test_every_regression_is_named() -> None:
    def both(factor: float) -> BenchResult:
        return result(
            device(
                of_runs(*slower(CALM_RUNS, factor)),
                of_runs(*slower(CALM_RUNS, factor), threads=4),
                of_runs(*CALM_RUNS, precision="float32"),
            )
        )

    with pytest.raises(
        BudgetError, match=r"1 thread: 20\.0% .*; quadrant-int8.* 4 threads: 20\.0%"
    ):
        require(compare(both(1.0), both(1.2)))


def test_another_file_of_the_same_name_is_compared_and_said() -> None:
    old = measured(lambda m: replace(m, model=replace(m.model, sha256="another")))
    assert compare(old, bench(CALM_RUNS)).models[0].file_changed
    assert not compare(bench(CALM_RUNS), bench(CALM_RUNS)).models[0].file_changed


def test_what_only_one_side_has_is_listed() -> None:
    int8 = of_runs(*CALM_RUNS)
    old = result(device(int8, of_runs(*CALM_RUNS, threads=4)), device(int8, address="adb:1"))
    new = result(device(int8, of_runs(*CALM_RUNS, precision="float32")))
    found = compare(old, new)
    assert len(found.models) == 1
    assert found.only_old == (
        "quadrant-int8.tflite (int8) on ssh://board, 4 threads",
        "quadrant-int8.tflite (int8) on adb:1, 1 thread",
    )
    assert found.only_new == ("quadrant-float32.tflite (float32) on ssh://board, 1 thread",)


def test_a_model_that_failed_on_one_side_is_only_on_the_other() -> None:
    int8, float32 = of_runs(*CALM_RUNS), of_runs(*CALM_RUNS, precision="float32")
    failed = replace(float32, processes=(), problem="it crashed")
    found = compare(result(device(int8, float32)), result(device(int8, failed)))
    assert found.only_old == ("quadrant-float32.tflite (float32) on ssh://board, 1 thread",)


def test_a_board_at_a_new_address_is_the_same_board() -> None:
    moved = changed(lambda d: replace(d, address="ssh://10.0.0.9"))
    (only,) = compare(bench(CALM_RUNS), moved).models
    assert only.device == "ssh://10.0.0.9"


def test_several_boards_are_matched_by_address_alone() -> None:
    here = [device(of_runs(*CALM_RUNS), address=f"ssh://board{n}") for n in range(3)]
    found = compare(result(here[0], here[1], here[2]), result(here[2]))
    assert [model.device for model in found.models] == ["ssh://board2"]
    with pytest.raises(UsageError, match="they share no model on the same device and threads"):
        compare(result(here[0], here[1]), result(here[2]))


DIFFERENT = {
    "device": (
        changed(lambda d: replace(d, description=with_board(name="Other Board"))),
        "device was Fake Board, is Other Board",
    ),
    "soc": (changed(lambda d: replace(d, description=with_board(soc=None))), "SoC was FK1, is unk"),
    "architecture": (
        changed(lambda d: replace(d, description=with_board(architecture="armv7l"))),
        "architecture was aarch64, is armv7l",
    ),
    "bits": (
        changed(lambda d: replace(d, description=with_board(userland_bits=32))),
        "system was 64-bit, is 32-bit",
    ),
    "emulated": (
        changed(lambda d: replace(d, description=with_board(emulated="QEMU"))),
        "silicon was real, is emulated",
    ),
    "unknown": (changed(lambda d: replace(d, description=None)), "device was Fake Board, is unkn"),
    "backend": (
        changed(lambda d: replace(d, backend=Backend.BENCHMARK_MODEL)),
        "backend was agent, is benchmark_model",
    ),
    "runtime": (
        changed(lambda d: replace(d, runtime="tflite-runtime 2.14.0")),
        "runtime was ai-edge-litert 2.3.0, is tflite-runtime 2.14.0",
    ),
    "tool": (
        changed(lambda d: replace(d, tool_sha256="abc")),
        "benchmark_model's SHA-256 was unknown, is abc",
    ),
    "cores": (
        measured(lambda m: replace(m, cpus=(0, 1))),
        "cores was 0, 1, 2, 3, is 0, 1",
    ),
    "governor": (
        measured(
            lambda m: replace(
                m,
                processes=tuple(
                    process(p.latencies_us, before=state(governors=("ondemand",)))
                    for p in m.processes
                ),
            )
        ),
        "governor was performance, is ondemand",
    ),
    "throttling": (
        measured(
            lambda m: replace(
                m,
                processes=(
                    *m.processes[:2],
                    process(CALM_RUNS[2], after=state(throttling=("throttled",))),
                ),
            )
        ),
        "throttling was none, is throttled",
    ),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_different_circumstances_are_refused_by_name_unless_forced(name: str) -> None:
    new, difference = DIFFERENT[name]
    with pytest.raises(UsageError) as caught:
        compare(bench(CALM_RUNS), new)
    assert str(caught.value).startswith("the circumstances differ: ssh://board: ")
    assert difference in str(caught.value)
    assert str(caught.value).endswith("; measure alike, or use --force")
    forced = compare(bench(CALM_RUNS), new, force=True)
    assert any(text.startswith(f"ssh://board: {difference}") for text in forced.differences)
    assert verdict(forced) is Verdict.NO_DIFFERENCE_SHOWN


def test_another_effort_is_refused() -> None:
    new = bench(CALM_RUNS, effort=Effort(minimum_runs=100))
    with pytest.raises(UsageError, match="differ: minimum runs was 64, is 100;"):
        compare(bench(CALM_RUNS), new)


def test_an_effort_that_no_latency_depends_on_may_differ() -> None:
    compare(bench(CALM_RUNS), bench(CALM_RUNS, effort=Effort(profile_runs=0, timeout_s=60)))


def test_a_difference_is_named_once_whatever_the_number_of_models() -> None:
    def board(governor: str) -> BenchResult:
        runs = [process(each, before=state(governors=(governor,))) for each in CALM_RUNS]
        return result(device(*(measurement(*runs, threads=threads) for threads in (1, 2, 4))))

    with pytest.raises(UsageError) as caught:
        compare(board("performance"), board("ondemand"))
    assert str(caught.value).count("governor") == 1


def test_the_governor_of_cores_that_did_nothing_may_differ() -> None:
    clusters = (Cluster(cpus=(0, 1)), Cluster(cpus=(2, 3)))

    def board(of_little: str) -> BenchResult:
        before = state(governors=(of_little, "performance"))
        runs = [process(each, before=before) for each in CALM_RUNS]
        on_big = measurement(*runs, cpus=(2, 3))
        return result(device(on_big, description=with_board(clusters=clusters)))

    compare(board("performance"), board("powersave"))


def test_circumstances_of_what_is_not_compared_may_differ() -> None:
    one = device(of_runs(*CALM_RUNS))
    other = device(address="adb:1", description=with_board(name="Phone"))
    compare(result(one, other), result(one, replace(other, description=None)))


def test_one_process_gives_no_verdict() -> None:
    with pytest.raises(UsageError) as caught:
        compare(bench(CALM_RUNS), bench(CALM_RUNS[:1]), force=True)
    assert str(caught.value) == (
        "nothing can be compared: quadrant-int8.tflite (int8) on ssh://board, 1 thread: "
        "3 and 1 processes, an interval needs 2 and 2"
    )


def test_what_has_one_process_is_listed_beside_what_is_compared() -> None:
    other = of_runs(*CALM_RUNS, precision="float32")
    old = result(device(of_runs(*CALM_RUNS), other))
    new = result(device(of_runs(*CALM_RUNS[:1]), other))
    found = compare(old, new)
    assert [model.precision for model in found.models] == ["float32"]
    assert len(found.not_compared) == 1


def test_a_median_is_not_compared_with_a_mean() -> None:
    def tool(**median: float) -> BenchResult:
        summary = Summary(
            count=50, minimum_us=90.0, maximum_us=110.0, mean_us=100.0, std_us=1.0, **median
        )
        return result(device(measurement(*(process(summary=summary) for _ in range(3)))))

    assert verdict(compare(tool(), tool())) is Verdict.NO_DIFFERENCE_SHOWN
    with pytest.raises(UsageError, match="the mean then, the median now"):
        compare(tool(), tool(median_us=99.0))


def test_two_models_of_one_name_cannot_be_told_apart() -> None:
    twice = result(device(of_runs(*CALM_RUNS), of_runs(*CALM_RUNS)))
    with pytest.raises(
        UsageError, match=r"ssh://board has two models called quadrant-int8\.tflite"
    ):
        compare(twice, bench(CALM_RUNS))


@pytest.mark.parametrize("max_slowdown", [-0.01, float("nan"), float("inf")])
def test_a_limit_that_is_no_share_is_refused(max_slowdown: float) -> None:
    with pytest.raises(UsageError, match="the largest slowdown is a share"):
        compare(bench(CALM_RUNS), bench(CALM_RUNS), max_slowdown=max_slowdown)


def test_a_comparison_becomes_json() -> None:
    values = to_dict(compare(bench(CALM_RUNS), bench(slower(CALM_RUNS, 1.1))))
    assert values["models"][0]["verdict"] == "slower"
    assert values["models"][0]["ratio"]["value"] == pytest.approx(1.1)
