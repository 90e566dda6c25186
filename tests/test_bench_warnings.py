"""Warnings about a benchmark: each one's figure and hint, and that a calm one has none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
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

from edgefer.benchmarks.plan import Effort
from edgefer.benchmarks.result import (
    BenchResult,
    Circumstances,
    Cluster,
    DeviceResult,
    During,
    Measurement,
    Profile,
    Summary,
)
from edgefer.benchmarks.warnings.rules import BenchWarning, WarningKind, warnings_of
from edgefer.benchmarks.warnings.sanity_bands import (
    INT8_SPEEDUP_HIGH,
    PUBLISHED,
    expects_int8_speedup,
    published_on,
)
from edgefer.benchmarks.warnings.speedup import int8_speedups

LITTLE = Cluster(cpus=(0, 1, 2, 3), name="Cortex-A55", maximum_khz=1_800_000)
BIG = Cluster(cpus=(4, 5), name="Cortex-A76", maximum_khz=2_400_000)
PHONE = with_board(name="Fake Phone", clusters=(LITTLE, BIG))


def warned(measured: DeviceResult, whole: BenchResult | None = None) -> list[BenchWarning]:
    return list(warnings_of(measured, whole or result(measured)))


def kinds(measured: DeviceResult, whole: BenchResult | None = None) -> list[WarningKind]:
    return [warning.kind for warning in warned(measured, whole)]


def steady(median_us: float = 10_000.0, *, seed: int = 0, **others: object) -> Measurement:
    runs = noisy(np.random.default_rng(seed), median_us=median_us)
    return of_runs(*runs, **others)  # type: ignore[arg-type]


def in_state(circumstances: Circumstances, **others: object) -> DeviceResult:
    runs = noisy(np.random.default_rng(0))
    measured = measurement(*(process(each, before=circumstances) for each in runs))
    return device(measured, **others)  # type: ignore[arg-type]


def profile(*, share: float = 1.0, partitions: int | None = 1, **left_out: int) -> Profile:
    return Profile(
        operators=(),
        runs=20,
        total_us=100.0,
        delegate="XNNPACK",
        partitions=partitions,
        delegated_share=share,
        left_out=left_out,
    )


def test_a_calm_board_has_no_warnings() -> None:
    assert warned(device(steady())) == []


def test_a_device_that_nothing_was_measured_on_has_no_warnings() -> None:
    nothing = DeviceResult(address="ssh://gone", problem="ssh://gone: cannot be reached")
    assert warned(nothing) == []
    assert warned(device(measurement())) == []


def test_an_emulated_device_is_warned_of_and_its_times_are_not() -> None:
    emulated = with_board(emulated="QEMU user mode")
    wild = of_runs([1.0, 90.0] * 40, [500.0] * 80)
    found = warned(in_state(state(governors=("ondemand",)), description=emulated))
    assert [warning.text for warning in found] == [
        "the device is emulated (QEMU user mode); its times say nothing about a real one; "
        "measure there"
    ]
    assert kinds(device(wild, description=emulated)) == [WarningKind.EMULATED]


def test_a_32_bit_system() -> None:
    found = warned(device(steady(), description=with_board(userland_bits=32)))
    assert [warning.text for warning in found] == [
        "the system is 32-bit (Fake OS 1); the fast kernels are 64-bit: "
        "install a 64-bit system if the board can run one"
    ]


def test_a_governor_comes_with_the_command_that_changes_it() -> None:
    (found,) = warned(in_state(state(governors=("ondemand",))))
    assert found.text == (
        "the governor is ondemand; the clock may change between runs: echo performance | "
        "sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
    )


def test_a_phones_governor_is_left_as_it_is() -> None:
    android = with_board(system="Android 14")
    (found,) = warned(in_state(state(governors=("schedutil",)), description=android))
    assert found.hint == (
        "only root can change that on a phone: compare with results of the same governor"
    )


def test_the_governor_of_cores_that_did_nothing_does_not_matter() -> None:
    mixed = state(governors=("schedutil", "performance"))
    on_big = replace(in_state(mixed).measurements[0], cpus=(4, 5))
    assert warned(device(on_big, description=PHONE)) == []


@pytest.mark.parametrize("governors", [(), (None,)])
def test_an_unknown_governor_is_none_to_warn_of(governors: tuple[str | None, ...]) -> None:
    assert warned(in_state(state(governors=governors))) == []


def test_throttling_says_why_how_often_and_how_hot() -> None:
    runs = noisy(np.random.default_rng(0))
    hot = state(throttling=("soft temperature limit",), temperatures_c={"cpu-thermal": 80.4})
    measured = measurement(process(runs[0]), process(runs[1], after=hot), process(runs[2]))
    (found,) = warned(device(measured))
    assert found.kind is WarningKind.THROTTLED
    assert found.finding == "soft temperature limit in 1 of 3 processes, at up to 80 °C"


def test_throttling_between_two_looks_at_the_device_is_seen() -> None:
    past = state(throttling_since_boot=("throttled",))
    (run,) = noisy(np.random.default_rng(0), processes=1)
    assert kinds(device(measurement(process(run, after=past)))) == [WarningKind.THROTTLED]
    assert kinds(device(measurement(process(run, before=past)))) == []


def test_a_clock_that_fell_is_given_in_megahertz() -> None:
    runs = noisy(np.random.default_rng(0))
    slow = During(lowest_khz=(600_000,), highest_temperature_c=84.9)
    fast = During(lowest_khz=(1_800_000,), highest_temperature_c=60.0)
    during = (slow, fast, None)
    measured = measurement(*(process(each, during=d) for each, d in zip(runs, during, strict=True)))
    (found,) = warned(device(measured))
    assert found.kind is WarningKind.THROTTLED
    assert found.finding == (
        "the clock fell to 600 of 1800 MHz in 1 of 2 processes, at up to 85 °C"
    )


@pytest.mark.parametrize(
    ("circumstances", "when"),
    [
        (state(throttling=("under-voltage",)), "while measuring"),
        (state(throttling_since_boot=("under-voltage",)), "since the device booted"),
    ],
)
def test_under_voltage_points_to_the_power_supply(circumstances: Circumstances, when: str) -> None:
    (found,) = warned(in_state(circumstances))
    assert found.kind is WarningKind.UNDER_VOLTAGE
    assert found.text == (
        f"under-voltage {when}; it lowers the clock: "
        "use the board's own power supply and a short cable"
    )


def test_a_device_that_was_busy_before_is_warned_of() -> None:
    (found,) = warned(in_state(state(load_1min=2.5)))
    assert found.kind is WarningKind.BACKGROUND_LOAD
    assert found.finding == "the device was busy before the measurement (load 2.5)"


def test_the_load_that_the_benchmark_itself_makes_is_not_warned_of() -> None:
    runs = noisy(np.random.default_rng(0))
    later = [process(each, before=state(load_1min=4.0)) for each in runs[1:]]
    assert warned(device(measurement(process(runs[0]), *later))) == []


@pytest.mark.parametrize(
    ("percent", "charging", "expected"),
    [
        (12.0, False, [WarningKind.BATTERY_LOW]),
        (12.0, None, [WarningKind.BATTERY_LOW]),
        (12.0, True, []),
        (80.0, False, []),
    ],
)
def test_a_low_battery_matters_unless_it_charges(
    percent: float,
    charging: bool | None,  # noqa: FBT001
    expected: list[WarningKind],
) -> None:
    assert kinds(in_state(state(battery_percent=percent, charging=charging))) == expected


def on_cpus(*cpus: int) -> DeviceResult:
    return device(replace(steady(), cpus=cpus), description=PHONE)


def test_runs_that_can_move_between_kinds_of_cores_are_warned_of() -> None:
    measured = on_cpus(0, 1, 2, 3, 4, 5)
    (found,) = warned(measured)
    assert found.text == (
        "runs could move between 2 kinds of cores; keep them on the fast ones with --cores big"
    )


def test_a_mask_that_mixes_cores_is_not_told_to_use_a_flag_against_it() -> None:
    measured = on_cpus(3, 4)
    (found,) = warned(measured, result(measured, cores="0x18"))
    assert found.hint == "--cores 0x18 mixes them: name cores of one kind"


def test_only_little_cores_are_warned_of_unless_they_were_asked_for() -> None:
    measured = on_cpus(0, 1, 2, 3)
    assert kinds(measured) == [WarningKind.LITTLE_CORES]
    assert kinds(measured, result(measured, cores="little")) == []


def test_big_cores_and_cores_of_one_kind_are_as_they_should_be() -> None:
    measured = on_cpus(4, 5)
    assert kinds(measured, result(measured, cores="big")) == []
    assert kinds(device(replace(steady(), cpus=(0,)))) == []


def test_scattered_runs_are_given_as_a_share_of_the_median() -> None:
    runs = noisy(np.random.default_rng(3), within=0.3, between=0.0, runs=2000)
    (found,) = warned(device(of_runs(*runs)))
    assert found.kind is WarningKind.UNSTABLE_RUNS
    assert found.finding == "runs of a process scatter by 31% of the median"
    assert found.hint == "end what else runs on the device, and let it cool"


def test_scattered_runs_on_mixed_cores_are_told_to_be_bound() -> None:
    runs = noisy(np.random.default_rng(3), within=0.3, between=0.0, runs=2000)
    measured = device(replace(of_runs(*runs), cpus=(4, 5)), description=PHONE)
    assert warned(measured)[0].hint == "bind them to the fast cores with --cores big"
    assert "--cores" not in warned(measured, result(measured, cores="big"))[0].hint


def test_a_few_interrupted_runs_do_not_make_a_process_unstable() -> None:
    (runs,) = noisy(np.random.default_rng(0), processes=1, runs=200)
    runs[:3] *= 40
    assert warned(device(of_runs(runs))) == []


def test_a_tools_deviation_counts_where_there_are_no_runs() -> None:
    summary = Summary(
        count=50, minimum_us=9000.0, maximum_us=30_000.0, mean_us=10_000.0, std_us=2500.0
    )
    (found,) = warned(device(measurement(process(summary=summary))))
    assert found.finding == "runs of a process scatter by 25% of the median"


def test_processes_that_differ_come_with_both_ends() -> None:
    measured = device(of_runs([10_000.0] * 64, [10_100.0] * 64, [11_300.0] * 64))
    (found,) = warned(measured)
    assert found.kind is WarningKind.UNSTABLE_PROCESSES
    assert found.text == (
        "quadrant-int8.tflite, 1 thread: processes differ by 13% (10.0 ms to 11.3 ms); "
        "something changes between them, heat or other programs; "
        "--processes 10 narrows the interval"
    )
    many = result(measured, effort=Effort(processes=10))
    assert "--processes" not in warned(measured, many)[0].hint


def test_a_slow_first_run_is_told_to_be_run_when_the_app_starts() -> None:
    measured = measurement(process([10_000.0] * 64, first_inference_us=48_000.0), threads=4)
    (found,) = warned(device(measured))
    assert found.text == (
        "quadrant-int8.tflite, 4 threads: the first inference takes 48.0 ms, "
        "4.8 times the later ones; let the app run the model once when it starts"
    )


def test_a_warm_up_that_was_too_short_names_a_longer_one() -> None:
    (run,) = noisy(np.random.default_rng(0), processes=1)
    measured = device(measurement(process(run, steady=False), process(run)))
    (found,) = warned(measured)
    assert found.finding == "1 of 2 processes still got faster after 10 s of warm-up"
    assert found.hint == "try --warmup 30"
    none = result(measured, effort=Effort(warmup_seconds=0))
    assert warned(measured, none)[0].hint == "try --warmup 10"


def test_a_model_without_a_delegated_operator_is_warned_of() -> None:
    measured = replace(steady(), profile=profile(share=0.0, partitions=0, CONV_2D=13))
    (found,) = warned(device(measured))
    assert found.kind is WarningKind.NOTHING_DELEGATED
    assert found.finding == "no operator runs in XNNPACK"


def test_many_partitions_name_the_operators_between_them() -> None:
    measured = replace(steady(), profile=profile(partitions=4, SOFTMAX=1, GATHER=3))
    (found,) = warned(device(measured))
    assert found.kind is WarningKind.MANY_PARTITIONS
    assert found.finding == "the delegate runs it in 4 pieces, around 3 GATHER, 1 SOFTMAX"
    assert warned(device(replace(steady(), profile=profile(partitions=3, SOFTMAX=1)))) == []


def test_threads_that_do_nothing_are_warned_of() -> None:
    measured = device(steady(12_300.0), steady(12_100.0, threads=4))
    (found,) = warned(measured)
    assert found.kind is WarningKind.THREADS_WITHOUT_EFFECT
    assert found.threads == 4
    assert found.finding == "it takes 12.1 ms, with 1 thread 12.3 ms"
    assert found.hint.startswith("the runtime ignores the number")
    assert warned(device(steady(12_300.0), steady(6_100.0, threads=4))) == []


def test_threads_that_share_a_core_are_told_so() -> None:
    alone, several = steady(), replace(steady(threads=4), cpus=(0,))
    (found,) = warned(device(alone, several))
    assert found.hint == "they share 1 core: bind them to more with --cores, or use fewer"


def int8_and_float32(
    times: float, *, processes: int = 3, profiled: Profile | None = None
) -> tuple[Measurement, Measurement]:
    random = np.random.default_rng(4)
    float32 = noisy(random, median_us=10_000.0 * times, processes=processes)
    int8 = noisy(random, median_us=10_000.0, processes=processes)
    return (
        of_runs(*float32, precision="float32"),
        replace(of_runs(*int8), profile=profiled),
    )


@pytest.mark.parametrize(
    ("times", "profiled", "hint"),
    [
        (1.05, profile(share=0.0), "nothing of it runs in the delegate"),
        (1.05, None, "suspect the delegate or the runtime's build: measure with a profile"),
        (
            1.05,
            profile(share=0.97),
            "97% of its time is in the delegate: look for slow kernels in the profile, "
            "and try another version of the runtime",
        ),
        (1.6, profile(), "the profile shows which operators gain nothing"),
    ],
)
def test_int8_that_gains_little_comes_with_the_likely_cause(
    times: float, profiled: Profile | None, hint: str
) -> None:
    measured = device(*int8_and_float32(times, profiled=profiled))
    found = next(w for w in warned(measured) if w.kind is WarningKind.INT8_NOT_FASTER)
    assert found.finding.startswith(str(times)[:3])
    assert found.finding.endswith(
        "times as fast as float32 with 1 thread, where 1.9 to 3.2 is usual"
    )
    assert found.hint == hint


def test_int8_on_a_32_bit_system_is_explained_by_that() -> None:
    measured = device(*int8_and_float32(1.05), description=with_board(userland_bits=32))
    assert warned(measured)[-1].hint == (
        "the 32-bit system is the likely cause: install a 64-bit one"
    )


def test_a_published_figure_of_the_same_board_is_cited() -> None:
    board = with_board(name="Raspberry Pi 4 Model B Rev 1.4")
    (found,) = warned(device(*int8_and_float32(1.3), description=board))
    assert found.finding.endswith("(MobileNetV1 1.0 224 on a Raspberry Pi 4: 3.2)")


def test_int8_within_the_band_or_uncertain_is_as_it_should_be() -> None:
    assert warned(device(*int8_and_float32(2.4))) == []
    one_process = device(*int8_and_float32(1.95, processes=1))
    assert warned(one_process) == []


@pytest.mark.parametrize("architecture", ["x86_64", "riscv64"])
def test_nothing_is_expected_of_int8_outside_arm(architecture: str) -> None:
    board = with_board(architecture=architecture)
    assert warned(device(*int8_and_float32(0.9), description=board)) == []


def test_nothing_is_expected_of_int8_on_an_emulated_device() -> None:
    assert not expects_int8_speedup(with_board(emulated="QEMU"))


def test_int8_is_set_against_the_float32_model_of_the_same_network_threads_and_cores() -> None:
    float32, int8 = int8_and_float32(2.0)
    namesake = replace(float32, model=replace(float32.model, name="other-float32.tflite"))
    elsewhere = replace(float32, cpus=(0,))
    larger = replace(float32, model=replace(float32.model, multiply_accumulates=6000))
    (found,) = int8_speedups(device(namesake, elsewhere, larger, float32, int8))
    assert (found.float32, found.int8) == (float32, int8)
    assert found.ratio.value == pytest.approx(2.0, rel=0.02)
    assert list(int8_speedups(device(elsewhere, larger, int8))) == []


def test_the_published_band_holds_what_was_published_for_boards() -> None:
    boards = [each for each in PUBLISHED if each.device.startswith("Raspberry")]
    assert len(boards) == 5
    for each in boards:
        assert each.int8_speedup >= 1.9
        assert round(each.int8_speedup, 1) <= INT8_SPEEDUP_HIGH


@pytest.mark.parametrize(
    ("name", "count"),
    [("Raspberry Pi 4 Model B Rev 1.4", 3), ("Raspberry Pi 400 Rev 1.0", 0), ("Pixel 4a", 0)],
)
def test_published_figures_are_found_by_whole_words(name: str, count: int) -> None:
    assert len(published_on(with_board(name=name))) == count


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.floats(1.0, 1e6), min_size=1, max_size=8), max_size=4),
    st.integers(1, 8),
    st.lists(st.one_of(st.none(), st.sampled_from(["performance", "ondemand"])), max_size=3),
    st.lists(st.one_of(st.none(), st.integers(0, 3_000_000)), max_size=3),
)
def test_no_record_however_odd_ends_the_warnings(
    runs: list[list[float]],
    threads: int,
    governors: list[str | None],
    lowest: list[int | None],
) -> None:
    before = state(governors=tuple(governors), load_1min=None)
    during = During(lowest_khz=tuple(lowest), highest_temperature_c=None)
    measured = [
        measurement(
            *(process(each, before=before, during=during) for each in runs),
            precision=precision,
            threads=threads,
            profile=profile(share=0.0, partitions=None),
        )
        for precision in ("float32", "int8")
    ]
    for warning in warned(device(*measured, description=PHONE)):
        assert warning.finding
        assert "\n" not in warning.text
