"""What people and programs read of a benchmark."""

import csv
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from edgefer.benchmarks.fake_harness import BOARD, FakeHarness
from edgefer.benchmarks.plan import BenchPlan, Effort
from edgefer.benchmarks.result import Agreement, BenchResult, Verification
from edgefer.benchmarks.runner import run
from edgefer.report import bench, bench_export, bench_page
from edgefer.report.page import render

CLOSE = Verification(
    agreement=Agreement.WITHIN_ONE_STEP,
    inputs=16,
    identical=12,
    largest_difference=1 / 256,
    step=1 / 256,
    same_top_class=16,
)


@pytest.fixture(scope="module")
def result(quadrant_tflites: Mapping[str, Path]) -> BenchResult:
    """Return a float32 model of 2 ms and an int8 one of 1 ms on a made-up board."""
    models = (quadrant_tflites["float32"], quadrant_tflites["int8"])
    harness = FakeHarness({models[0].name: 2000.0, models[1].name: 1000.0})
    return run(
        BenchPlan(models=models, devices=("fake",), effort=Effort(), verify=True),
        open_device=lambda _, watch: harness.opened(watch),
        verify=lambda *_: CLOSE,
        save=lambda _: None,
    )


def test_the_heading_says_what_the_device_is(result: BenchResult) -> None:
    assert bench.heading(result.devices[0]) == (
        "fake  Fake Board, FK1, 4× Cortex-A72 1.8 GHz, Fake OS 1, fake-litert 1.0"
    )


def test_the_heading_of_an_emulated_device_says_so(result: BenchResult) -> None:
    board = replace(BOARD, emulated="QEMU user mode")
    assert "EMULATED (QEMU user mode)" in bench.heading(
        replace(result.devices[0], description=board)
    )


def test_a_device_that_was_never_reached_has_only_its_address(result: BenchResult) -> None:
    device = replace(result.devices[0], description=None, measurements=(), problem="fake: is off")
    assert bench.heading(device) == "fake"
    assert bench.tables(device) == []
    assert bench.problems(device) == ["fake: is off"]


def rows_of(table: bench.Table) -> list[dict[str, str]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_the_latency_table_has_the_figures_of_each_model(result: BenchResult) -> None:
    table = bench.tables(result.devices[0])[0]
    assert table.title == "Latency (1 thread)"
    rows = rows_of(table)
    assert [row["model"] for row in rows] == ["float32", "int8"]
    assert float(rows[0]["median ms"]) == pytest.approx(2.0, rel=0.02)
    assert float(rows[1]["per second"]) == pytest.approx(1000, rel=0.02)
    assert rows[0]["speed-up"] == "–"
    assert float(rows[1]["speed-up"].split("×")[0]) == pytest.approx(2.0, rel=0.03)


def test_several_numbers_of_threads_have_a_column(result: BenchResult) -> None:
    device = result.devices[0]
    more = tuple(replace(measurement, threads=4) for measurement in device.measurements)
    table = bench.tables(replace(device, measurements=(*device.measurements, *more)))[0]
    assert table.title == "Latency"
    assert [row["threads"] for row in rows_of(table)] == ["1", "1", "4", "4"]


def test_the_start_table_has_loading_memory_and_the_delegates_share(result: BenchResult) -> None:
    row = rows_of(bench.tables(result.devices[0])[1])[1]
    assert row == {
        "model": "int8",
        "load cold ms": "20.0",
        "warm ms": "4.00",
        "first run ms": row["first run ms"],
        "memory MB": "6.3",
        "in delegate": "80%",
    }
    assert float(row["first run ms"]) == pytest.approx(2.0, rel=0.02)


def test_the_profile_table_has_the_costliest_kind_first(result: BenchResult) -> None:
    table = bench.tables(result.devices[0])[2]
    assert [row[1:] for row in table.rows[:2]] == [
        ("Convolution", "yes", "1", "1600", "80.0%"),
        ("SOFTMAX", "no", "1", "400", "20.0%"),
    ]


def test_many_kinds_of_operators_are_summed_up_in_one_row(result: BenchResult) -> None:
    measurement = result.devices[0].measurements[0]
    assert measurement.profile is not None
    operator = measurement.profile.operators[0]
    operators = tuple(
        replace(operator, position=n, type=f"kind {n}", mean_us=100.0 - n) for n in range(10)
    )
    profile = replace(measurement.profile, operators=operators)
    device = replace(result.devices[0], measurements=(replace(measurement, profile=profile),))
    table = bench.tables(device)[2]
    assert len(table.rows) == bench.MOST_TYPES_SHOWN + 1
    assert table.rows[-1][1] == "6 other kinds"
    shares = [float(row[-1].rstrip("%")) for row in table.rows]
    assert sum(shares) == pytest.approx(100, abs=0.5)


def test_the_verification_table_says_how_close_the_outputs_are(result: BenchResult) -> None:
    table = bench.tables(result.devices[0])[3]
    assert table.rows[0] == ("float32", "within a step", "12 of 16", "0.0039", "0.0039", "16 of 16")


def test_csv_holds_a_row_a_measurement_in_plain_units(result: BenchResult) -> None:
    rows = list(csv.DictReader(io.StringIO(bench_export.as_csv(result))))
    assert [row["model"] for row in rows] == ["float32.tflite", "int8.tflite"]
    assert float(rows[0]["latency_us"]) == pytest.approx(2000, rel=0.02)
    assert float(rows[0]["low_us"]) < float(rows[0]["latency_us"]) < float(rows[0]["high_us"])
    assert (rows[0]["processes"], rows[0]["runs"]) == ("3", "192")
    assert rows[0]["agreement"] == "within one quantization step"


def test_markdown_cannot_be_broken_by_a_models_name(result: BenchResult) -> None:
    measurement = result.devices[0].measurements[0]
    named = replace(measurement, model=replace(measurement.model, name="a|b<script>\n.tflite"))
    device = replace(result.devices[0], measurements=(named,))
    text = bench_export.as_markdown(replace(result, devices=(device,)))
    row = next(line for line in text.splitlines() if "script" in line)
    assert row.startswith(r"| a\|b\<script\>  | ")


def test_the_page_is_whole_and_draws_every_model(result: BenchResult) -> None:
    html = render(bench_page.page_of(result))
    assert html.count("<svg") == 3
    assert "Fastest: int8.tflite on fake" in html


def test_the_page_of_a_failed_device_says_what_failed(result: BenchResult) -> None:
    failed = replace(result.devices[0], measurements=(), problem="fake: is <off>")
    html = render(bench_page.page_of(replace(result, devices=(failed,))))
    assert "fake: is &lt;off&gt;" in html
    assert "Nothing was measured." in html
