"""What a benchmark does on one and on several devices, whatever happens on them."""

import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from edgefer.benchmarks.fake_harness import BOARD, Call, FakeHarness
from edgefer.benchmarks.plan import BenchPlan, Effort
from edgefer.benchmarks.result import Agreement, BenchResult, Verification
from edgefer.benchmarks.runner import run
from edgefer.errors import DeviceError, ModelError
from edgefer.records import from_json, to_json

EFFORT = Effort(processes=3, minimum_runs=8, profile_runs=2)
SAME = Verification(
    agreement=Agreement.IDENTICAL,
    inputs=4,
    identical=4,
    largest_difference=0.0,
    step=0.0,
    same_top_class=4,
)


@pytest.fixture
def pair(quadrant_tflites: Mapping[str, Path]) -> tuple[Path, Path]:
    return quadrant_tflites["float32"], quadrant_tflites["int8"]


def harness_for(pair: tuple[Path, Path], **options: object) -> FakeHarness:
    return FakeHarness({pair[0].name: 2000.0, pair[1].name: 1000.0}, **options)  # type: ignore[arg-type]


def bench(
    plan: BenchPlan, *harnesses: FakeHarness, previous: BenchResult | None = None
) -> tuple[BenchResult, list[BenchResult]]:
    by_address = {harness.address: harness for harness in harnesses}
    saved: list[BenchResult] = []
    result = run(
        plan,
        open_device=lambda address, watch: by_address[address].opened(watch),
        verify=lambda *_: SAME,
        save=saved.append,
        previous=previous,
    )
    return result, saved


def plan_of(pair: tuple[Path, Path], **options: object) -> BenchPlan:
    return BenchPlan(
        **{"models": pair, "devices": ("fake",), "effort": EFFORT, **options}  # type: ignore[arg-type]
    )


def fail_at(wanted: Call, error: Exception, *, after: int = 0) -> object:
    seen = 0

    def fail(call: Call) -> None:
        nonlocal seen
        if call == wanted:
            seen += 1
            if seen > after:
                raise error

    return fail


def test_models_take_turns_process_by_process(pair: tuple[Path, Path]) -> None:
    harness = harness_for(pair)
    bench(plan_of(pair), harness)
    names = [name for action, name, _ in harness.calls if action == "measure"]
    assert names == [pair[0].name, pair[1].name] * 3


def test_every_thread_count_of_every_model_is_measured(pair: tuple[Path, Path]) -> None:
    result, _ = bench(plan_of(pair, threads=(1, 4)), harness_for(pair))
    measured = [(m.model.name, m.threads, len(m.processes)) for m in result.devices[0].measurements]
    assert measured == [(path.name, threads, 3) for threads in (1, 4) for path in pair]


def test_the_result_is_saved_after_every_process(pair: tuple[Path, Path]) -> None:
    _, saved = bench(plan_of(pair), harness_for(pair))
    counts = [sum(len(m.processes) for m in s.devices[0].measurements) for s in saved]
    assert set(range(7)) <= set(counts)


def test_a_saved_result_reads_back_equal(pair: tuple[Path, Path]) -> None:
    result, _ = bench(plan_of(pair, verify=True), harness_for(pair))
    assert from_json(BenchResult, to_json(result)) == result


def test_a_model_that_fails_on_the_device_leaves_the_others_their_turn(
    pair: tuple[Path, Path],
) -> None:
    error = ModelError(pair[0], "makes the interpreter crash on fake (SIGSEGV)")
    fail = fail_at(("measure", pair[0].name, 1), error, after=1)
    result, _ = bench(plan_of(pair), harness_for(pair, fail=fail))
    first, second = result.devices[0].measurements
    assert first.problem == str(error)
    assert len(first.processes) == 1
    assert first.profile is None
    assert second.problem is None
    assert len(second.processes) == 3


def test_a_device_that_is_lost_keeps_what_was_measured(pair: tuple[Path, Path]) -> None:
    fail = fail_at(("measure", pair[1].name, 1), DeviceError("fake", "is gone"), after=1)
    harness = harness_for(pair, fail=fail)
    result, saved = bench(plan_of(pair), harness)
    assert result.devices[0].problem == "fake: is gone"
    assert [len(m.processes) for m in result.devices[0].measurements] == [2, 1]
    assert saved[-1] == result
    assert harness.calls[-1][0] == "close"


def test_a_lost_device_never_loses_anothers_results(pair: tuple[Path, Path]) -> None:
    fail = fail_at(("install", pair[0].name, 0), DeviceError("bad", "no space"))
    bad, good = harness_for(pair, address="bad", fail=fail), harness_for(pair, address="good")
    result, _ = bench(plan_of(pair, devices=("bad", "good")), bad, good)
    assert result.devices[0].problem == "bad: no space"
    assert [len(m.processes) for m in result.devices[1].measurements] == [3, 3]


def test_devices_are_measured_side_by_side(pair: tuple[Path, Path]) -> None:
    """Each waits in its first process until the other has come that far."""
    barrier = threading.Barrier(2, timeout=20)

    def meet(call: Call) -> None:
        if call[0] == "install" and call[1] == pair[0].name:
            barrier.wait()

    first = harness_for(pair, address="one", fail=meet)
    second = harness_for(pair, address="two", fail=meet)
    result, _ = bench(plan_of(pair, devices=("one", "two")), first, second)
    assert [device.problem for device in result.devices] == [None, None]


def test_a_failed_profile_is_noted_and_costs_nothing_else(pair: tuple[Path, Path]) -> None:
    fail = fail_at(("profile", pair[0].name, 1), DeviceError("fake", "no profiler"))
    result, _ = bench(plan_of(pair), harness_for(pair, fail=fail))
    first, second = result.devices[0].measurements
    assert first.profile is None
    assert first.profile_problem == "fake: no profiler"
    assert second.profile is not None


def test_resuming_measures_only_what_is_missing(pair: tuple[Path, Path]) -> None:
    fail = fail_at(("measure", pair[1].name, 1), DeviceError("fake", "is gone"), after=1)
    partial, _ = bench(plan_of(pair), harness_for(pair, fail=fail))
    harness = harness_for(pair, seed=1)
    result, _ = bench(plan_of(pair), harness, previous=partial)
    assert [call for call in harness.calls if call[0] == "measure"] == [
        ("measure", pair[1].name, 1),
        ("measure", pair[0].name, 1),
        ("measure", pair[1].name, 1),
    ]
    kept = partial.devices[0].measurements[0].processes
    assert result.devices[0].measurements[0].processes[:2] == kept
    assert result.devices[0].problem is None


def test_another_board_under_the_same_address_is_not_resumed(pair: tuple[Path, Path]) -> None:
    partial, _ = bench(plan_of(pair), harness_for(pair))
    other = harness_for(pair, description=replace(BOARD, name="Another Board"))
    bench(plan_of(pair), other, previous=partial)
    assert sum(call[0] == "measure" for call in other.calls) == 6


def test_ctrl_c_ends_the_work_on_all_devices_and_lets_them_go(pair: tuple[Path, Path]) -> None:
    def take_a_moment(call: Call) -> None:
        time.sleep(0.002)

    first = harness_for(pair, address="one", fail=take_a_moment)
    second = harness_for(pair, address="two", fail=take_a_moment)
    plan = plan_of(pair, devices=("one", "two"), effort=replace(EFFORT, processes=5000))
    saved: list[BenchResult] = []
    pressed = threading.Event()

    def save(result: BenchResult) -> None:
        saved.append(result)
        least = min(sum(len(m.processes) for m in device.measurements) for device in result.devices)
        if least >= 10 and not pressed.is_set():
            pressed.set()
            os.kill(os.getpid(), signal.SIGINT)

    by_address = {"one": first, "two": second}
    with pytest.raises(KeyboardInterrupt):
        run(
            plan,
            open_device=lambda address, watch: by_address[address].opened(watch),
            verify=lambda *_: SAME,
            save=save,
        )
    assert [first.calls[-1][0], second.calls[-1][0]] == ["close", "close"]
    assert all(device.problem is None for device in saved[-1].devices)
