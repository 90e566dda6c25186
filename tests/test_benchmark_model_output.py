"""What benchmark_model prints is read exactly, in every form; golden/benchmark_model has samples.

The samples are written for these tests after the tools' sources; their numbers are made up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefer.benchmarks.native.benchmark_model_delegates import Delegation
from edgefer.benchmarks.native.benchmark_model_lines import UnknownFormError
from edgefer.benchmarks.native.benchmark_model_output import (
    MemoryGrowth,
    ToolReport,
    failure_reason,
    parse,
)
from edgefer.benchmarks.native.benchmark_model_profile import OperatorRow
from edgefer.benchmarks.native.benchmark_model_statistics import RunStatistics, read_statistics

FOLDER = Path(__file__).parent / "golden" / "benchmark_model"
SAMPLES = sorted(FOLDER.glob("*.txt"))
MB = 1024 * 1024

SMALLEST = (
    "Running benchmark for at least 1 iterations and at least 0.5 seconds\n"
    "count=1 curr=9\n"
    "Running benchmark for at least 50 iterations and at least 1 seconds\n"
    "count=2 first=7 curr=5 min=5 max=7 avg=6 std=1\n"
)


def sample(name: str) -> str:
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


def runs(
    count: int, first: float, last: float, low: float, high: float, mean: float, std: float
) -> RunStatistics:
    return RunStatistics(
        count=count,
        first_us=first,
        last_us=last,
        minimum_us=low,
        maximum_us=high,
        mean_us=mean,
        std_us=std,
    )


def kernels(report: ToolReport) -> list[tuple[str, bool, float, int]]:
    return [(row.kernel, row.delegated, row.mean_us, row.calls) for row in report.operators]


def test_the_oldest_tools_output_is_read() -> None:
    report = parse(sample("tensorflow-1.13"))
    assert report.init_us == pytest.approx(4217)
    assert report.warmup == runs(1, 2950000, 2950000, 2950000, 2950000, 2950000, 0)
    assert report.inference == runs(51, 2941003, 2948112, 2931877, 2990450, 2.95e6, 11874)
    assert report.memory is None
    assert report.delegations == ()
    assert kernels(report) == [
        ("CONV_2D", False, 3105, 1),
        ("DEPTHWISE_CONV_2D", False, 2087, 1),
        ("CONV_2D", False, 4391, 1),
        ("MEAN", False, 209, 1),
        ("FULLY_CONNECTED", False, 39, 1),
        ("SOFTMAX", False, 6, 1),
    ]
    assert report.operators[0].name == "[patt_lite/conv1/Relu6]"


def test_a_profile_from_before_xnnpacks_own_kernels_is_read() -> None:
    report = parse(sample("tensorflow-2.3"))
    assert report.inference == runs(110, 9044, 9013, 8954, 9388, 9031.6, 58)
    assert report.memory == MemoryGrowth(
        init_bytes=int(3.25 * MB), overall_bytes=int(9.5 * MB), peak_bytes=None
    )
    assert report.delegations == (Delegation(name="TfLiteXNNPackDelegate", partitions=3, nodes=24),)
    assert kernels(report) == [
        ("QUANTIZE", False, 198, 1),
        ("TfLiteXNNPackDelegate", True, 8702, 1),
        ("SOFTMAX", False, 10, 1),
    ]
    assert report.operators[1].name == (
        "[StatefulPartitionedCall/conv2d_12/Relu6;StatefulPartitionedCall/bn, dw:0]:31"
    )


def test_warm_up_and_inference_are_told_apart_though_footers_look_alike() -> None:
    report = parse(sample("tensorflow-2.16"))
    assert report.warmup == runs(380, 1911, 1305, 1294, 1911, 1311.42, 34)
    assert report.inference == runs(20, 1400, 1400, 1400, 1400, 1400, 0)


def test_kernels_memory_and_delegate_of_a_newer_tool_are_read() -> None:
    report = parse(sample("tensorflow-2.16"))
    assert report.memory == MemoryGrowth(
        init_bytes=int(6.125 * MB), overall_bytes=int(8.5 * MB), peak_bytes=int(12.25 * MB)
    )
    assert report.delegations == (
        Delegation(name="XNNPACK", stretches=2),
        Delegation(name="TfLiteXNNPackDelegate", partitions=3, nodes=26),
    )
    assert kernels(report) == [
        ("Convolution (NHWC, QC8) IGEMM", True, 604, 1),
        ("Convolution (NHWC, QC8) DWConv", True, 418, 1),
        ("Convolution (NHWC, QC8) GEMM", True, 151, 2),
        ("Add (ND, QS8)", True, 23, 1),
        ("SOFTMAX", False, 11, 1),
        ("Fully Connected (NC, QS8, QC8W) GEMM", True, 17, 1),
    ]
    assert not report.counts_all_runs


def test_logcat_is_read_and_only_the_main_graphs_delegate_counts() -> None:
    report = parse(sample("logcat"))
    assert report.init_us == pytest.approx(95112)
    assert report.inference.count == 31
    assert (report.inference.p5_us, report.inference.median_us, report.inference.p95_us) == (
        226088,
        252767,
        303407,
    )
    assert report.delegations == (Delegation(name="TfLiteXNNPackDelegate", partitions=7, nodes=19),)
    assert len(report.operators) == 6


def test_litert_s_own_tool_is_read() -> None:
    report = parse(sample("litert-2.2"))
    assert report.init_us == pytest.approx(7318)
    assert report.warmup is not None
    assert (report.warmup.count, report.warmup.median_us) == (1, 1911)
    assert (report.inference.mean_us, report.inference.p95_us) == (1401.35, 1433)
    assert report.memory == MemoryGrowth(
        init_bytes=int(10.25 * MB), overall_bytes=int(12.5 * MB), peak_bytes=int(31.75 * MB)
    )
    assert report.unconsumed_flags == ("--use_xnnpack=true", "--enable_op_profiling=true")
    assert report.counts_all_runs
    assert kernels(report) == [
        ("QUANTIZE", False, 98, 21),
        ("Convolution (NHWC, QC8) IGEMM", True, 604, 21),
        ("Convolution (NHWC, QC8) DWConv", True, 418, 21),
        ("Fully Connected (NC, QS8, QC8W) GEMM", True, 17, 42),
        ("SOFTMAX", False, 11, 21),
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "failed-corrupt-model",
            "Model provided has model identifier 'GARB', should be 'TFL3'",
        ),
        ("failed-old", "Failed to mmap model model-0.tflite"),
        ("failed-in-litert", "Failed to compile model: unresolved custom op FlexAddV2"),
    ],
)
def test_a_failure_is_told_in_the_tools_own_words(name: str, reason: str) -> None:
    assert failure_reason(sample(name)) == reason
    with pytest.raises(UnknownFormError, match="prints no statistics of warm-up and inference"):
        parse(sample(name))


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("count=0", None),
        ("count=0 p5=0 median=0 p95=0", None),
        ("count=1 curr=7", runs(1, 7, 7, 7, 7, 7, 0)),
        ("count=3 curr=7(all same)", runs(3, 7, 7, 7, 7, 7, 0)),
        (
            "count=50 first=11221 curr=10865 min=10698 max=12049 avg=10981.2 std=240",
            runs(50, 11221, 10865, 10698, 12049, 10981.2, 240),
        ),
        (
            "count=2 first=2950001 curr=2949999 min=2949999 max=2950001 avg=2.95e+06 std=1",
            runs(2, 2950001, 2949999, 2949999, 2950001, 2.95e6, 1),
        ),
    ],
)
def test_every_form_of_statistics_is_read(line: str, known: RunStatistics | None) -> None:
    assert read_statistics(line) == known


@pytest.mark.parametrize(
    "line",
    [
        "count=",
        "count=5",
        "count=-1 curr=3",
        "count=2 curr=7",
        "count=1 curr=7(all same)",
        "count=0 curr=7",
        "count=1 first=7 curr=7 min=7 max=7 avg=7 std=0",
        "count=2 first=7 curr=5 min=5 max=7 avg=nan std=1",
        "count=2 first=7 curr=5 min=5 max=7 avg=8 std=1",
        "count=2 first=7 curr=5 min=6 max=7 avg=6.5 std=0",
        "count=2 first=7 curr=5 min=5 max=7 avg=6 std=-9223372036854775808",
        "count=2 first=7 curr=5 min=5 max=7 avg=6 std=1 p5=5 median=6",
        "count=2 first=7 curr=5 min=5 max=7 avg=6 std=1 p5=5 median=9 p95=7",
        "count=2 first=7 curr=5 min=5 max=7 avg=6 std=1 and more",
        "count=1 curr=" + "9" * 5000,
    ],
)
def test_statistics_in_an_unknown_form_are_shown(line: str) -> None:
    with pytest.raises(UnknownFormError) as caught:
        parse(SMALLEST.replace("count=2 first=7 curr=5 min=5 max=7 avg=6 std=1", line))
    assert line[:40] in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "line",
    [
        "Running benchmark until tea",
        "Inference timings in us: Init: 1, First: 2",
        "Average inference timings in us: Warmup: 1, Init: 2, median: 6",
        "Inference timings in us: Init: 1, First inference: 9, Warmup (avg): 9, Inference (avg): 8",
        "Inference (avg): 1.4 s",
        "Initialized session in a moment",
        "Memory footprint delta from the start of the tool (KB): init=1 overall=2",
        "Overall peak memory footprint (MB) via periodic monitoring: much",
        "Init footprint: 12 KB",
        "Explicitly applied XNNPACK delegate, and the model graph will be somehow executed",
        "Replacing all nodes with delegate (X)",
    ],
)
def test_a_line_that_matters_in_an_unknown_form_is_shown(line: str) -> None:
    with pytest.raises(UnknownFormError) as caught:
        parse(SMALLEST + "INFO: " + line)
    assert line[:40] in str(caught.value)


def test_other_lines_are_remarks() -> None:
    remarks = "I0000 registered.\nMin num runs: [50]\n--- beginning of main\n\x1b[0m\n=== x ===\n"
    assert parse(remarks + SMALLEST + remarks) == parse(SMALLEST)


@pytest.mark.parametrize(
    "row",
    [
        "\tCONV_2D\t0.1\t0.1\t50.0%\t50.0%\t0.000\t1.5\tname",
        "\tCONV_2D\t0.1\tfast\t50.0%\t50.0%\t0.000\t1\tname",
        "\tCONV_2D\t0.1\t50.0%\t50.0%\t0.000\t1\tname",
        "\t0.1\t0.1\t50.0%\t50.0%\t0.000\t1\tname",
        "\tCONV_2D\t0.1\t0.1\t50.0%\t50.0%",
        "and then it stopped",
    ],
)
def test_a_row_of_the_profile_in_an_unknown_form_is_shown(row: str) -> None:
    table = sample("tensorflow-2.16").split("Benchmark Runs:\n")[1].split("\n")
    with pytest.raises(UnknownFormError) as caught:
        parse(SMALLEST + "\n".join([*table[:2], row, *table[2:]]))
    assert "a row of the profile" in str(caught.value)
    assert " ".join(row.split()) in str(caught.value)


def test_unknown_columns_and_a_second_profile_are_errors() -> None:
    title = "====== Run Order ======\n"
    with pytest.raises(UnknownFormError, match="unknown columns: 'type time'"):
        parse(SMALLEST + title + "type time\n")
    with pytest.raises(UnknownFormError, match="unknown columns"):
        parse(SMALLEST + title.strip())
    text = sample("tensorflow-2.16")
    profile = text[text.index("INFO: Operator-wise") :]
    with pytest.raises(UnknownFormError, match="prints 2 profiles of the main graph"):
        parse(text + profile)


def test_what_is_shown_of_a_line_does_no_harm() -> None:
    with pytest.raises(UnknownFormError) as caught:
        parse(f"{SMALLEST}Replacing \x1b[31m\x00{'x' * 5000}")
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 300


PREFIXES: dict[str, Callable[[str], str]] = {
    "none": lambda text: text,
    "INFO": lambda text: f"INFO: {text}",
    "LiteRT": lambda text: f"INFO: [some_file.h:12] {text}",
    "logcat": lambda text: f"07-14 13:23:08.133 25289  1289 I tflite  : {text}",
    "logcat of LiteRT": lambda text: f"07-14 13:23:08.133  1 2 I litert  : [file.cc:9] {text}",
    "logcat -v time": lambda text: f"07-08 15:40:34.287 I/tflite  ( 6794): {text}",
    "CRLF": lambda text: f"INFO: {text}\r",
}


@st.composite
def some_runs(draw: st.DrawFn) -> RunStatistics:
    times = draw(st.lists(st.integers(1, 10**9), min_size=1, max_size=8))
    mean = float(f"{sum(times) / len(times):g}")
    exact = sum(times) / len(times)
    deviation = math.sqrt(sum((time - exact) ** 2 for time in times) / len(times))
    percentiles = sorted(times)
    given_percentiles = draw(st.booleans())
    return RunStatistics(
        count=len(times),
        first_us=times[0],
        last_us=times[-1],
        minimum_us=min(times),
        maximum_us=max(times),
        mean_us=float(times[0]) if len(set(times)) == 1 else mean,
        std_us=float(int(deviation)) if len(set(times)) > 1 else 0.0,
        p5_us=percentiles[0] if given_percentiles else None,
        median_us=percentiles[len(times) // 2] if given_percentiles else None,
        p95_us=percentiles[-1] if given_percentiles else None,
    )


def printed(told: RunStatistics) -> str:
    """Print statistics as tensorflow/core/util/stats_calculator.h does."""
    text = f"count={told.count}"
    if told.minimum_us == told.maximum_us:
        text += f" curr={told.last_us:.0f}" + "(all same)" * (told.count > 1)
    else:
        text += (
            f" first={told.first_us:.0f} curr={told.last_us:.0f} min={told.minimum_us:.0f} "
            f"max={told.maximum_us:.0f} avg={told.mean_us:g} std={told.std_us:.0f}"
        )
    if told.median_us is not None:
        text += f" p5={told.p5_us:.0f} median={told.median_us:.0f} p95={told.p95_us:.0f}"
    return text


KINDS = (
    st.text(st.sampled_from("CONV_2D (NHWC, QC8)[]%.0123456789é"), min_size=1, max_size=40)
    .map(lambda text: " ".join(text.split()))
    .filter(bool)
)


@st.composite
def some_rows(draw: st.DrawFn) -> list[OperatorRow]:
    rows = []
    for index in range(draw(st.integers(0, 5))):
        kind, delegated = draw(KINDS), draw(st.booleans())
        name = f"Delegate/{kind}:{index}" if delegated else f"[{draw(KINDS)}]:{index}"
        rows.append(
            OperatorRow(
                kernel=kind,
                delegated=delegated,
                mean_us=draw(st.integers(0, 10**7)) / 1000 * 1000,
                calls=draw(st.integers(1, 99)),
                name=name,
            )
        )
    return rows


def table(rows: list[OperatorRow], separator: str, *, start: bool) -> list[str]:
    before = ["[start]"] if start else []
    heads = ["[node type]", *before, "[first]", "[avg ms]", "[%]", "[cdf%]", "[mem KB]"]
    lines = [f"{'=' * 30} Run Order {'=' * 30}"]
    lines.append(separator.join(["", *heads, "[times called]", "[Name]"]))
    for row in rows:
        cells = [row.kernel, *["1.5"] * start, "0.1", f"{row.mean_us / 1000:.3f}", "-nan%", "9.5%"]
        lines.append(separator.join(["", *cells, "0.000", str(row.calls), row.name]))
    return [*lines, ""]


@given(
    prefix=st.sampled_from(sorted(PREFIXES)),
    warmup=st.none() | some_runs(),
    inference=some_runs(),
    rows=some_rows(),
    separator=st.sampled_from(["\t", "\t   ", "      "]),
    start=st.booleans(),
    summary=st.sampled_from(["newer", "oldest", "older", "LiteRT", "none"]),
    growth=st.none() | st.tuples(st.integers(0, 999), st.integers(0, 999)),
    peak=st.none() | st.integers(1, 999),
    heading=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_what_is_printed_in_any_form_comes_back(
    prefix: str,
    warmup: RunStatistics | None,
    inference: RunStatistics,
    rows: list[OperatorRow],
    separator: str,
    start: bool,  # noqa: FBT001
    summary: str,
    growth: tuple[int, int] | None,
    peak: int | None,
    heading: bool,  # noqa: FBT001
) -> None:
    mean = f"{inference.mean_us:g}"
    summaries = {
        "newer": f"Inference timings in us: Init: 1500, First inference: 9, Warmup (avg): 9, "
        f"Inference (avg): {mean}",
        "oldest": f"Average inference timings in us: Warmup: 9, Init: 1500, no stats: {mean}",
        "older": f"Average inference timings in us: Warmup: 9, Init: 1500, Inference: {mean}",
        "LiteRT": f"Inference (avg):      {inference.mean_us / 1000:.2f} ms (9 runs)",
        "none": "",
    }
    lines = [
        "STARTING!",
        "Initialized session in 1.5ms.",
        "Running benchmark for at least 1 iterations and at least 0.5 seconds",
        printed(warmup) if warmup else "count=0",
        "",
        "Running benchmark for 50 iterations",
        printed(inference),
        "",
        summaries[summary],
    ]
    if growth:
        init, overall = (str(value) for value in growth)
        lines.append(
            f"Memory footprint delta from the start of the tool (MB): init={init} overall={overall}"
        )
        lines += [f"Overall peak memory footprint (MB) via periodic monitoring: {peak}"] * bool(
            peak
        )
    lines += ["Operator-wise Profiling Info for Regular Benchmark Runs:"] * heading
    lines += table(rows, separator, start=start)
    report = parse("\n".join(map(PREFIXES[prefix], lines)))

    assert (report.warmup, report.inference, report.init_us) == (warmup, inference, 1500)
    assert [(row.kernel, row.delegated, row.calls, row.name) for row in report.operators] == [
        (row.kernel, row.delegated, row.calls, row.name) for row in rows
    ]
    assert [row.mean_us for row in report.operators] == pytest.approx(
        [row.mean_us for row in rows], abs=0.51
    )
    assert report.memory == (
        MemoryGrowth(
            init_bytes=growth[0] * MB,
            overall_bytes=growth[1] * MB,
            peak_bytes=peak * MB if peak else None,
        )
        if growth
        else None
    )


def parse_or_refuse(text: str) -> None:
    """Anything but a report or the parser's own error is an error of the test."""
    try:
        parse(text)
    except UnknownFormError as exc:
        assert str(exc).isprintable()  # noqa: PT017
        assert len(str(exc)) < 300  # noqa: PT017
    failure_reason(text)


@given(st.text())
def test_random_text_is_refused(text: str) -> None:
    parse_or_refuse(text)


@given(
    path=st.sampled_from(SAMPLES),
    edits=st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(0, 30), st.text(max_size=20)), max_size=4
    ),
)
@settings(max_examples=300, deadline=None)
def test_damaged_output_is_read_or_refused(path: Path, edits: list[tuple[int, int, str]]) -> None:
    text = path.read_text(encoding="utf-8")
    for place, length, replacement in edits:
        start = place % (len(text) + 1)
        text = text[:start] + replacement + text[start + length :]
    parse_or_refuse(text)


@pytest.mark.parametrize("piece", [" ", "\t", "1 ", "%", "x", "[", "=", "count=", "I a : "])
def test_a_flood_is_refused_quickly(piece: str) -> None:
    """A million characters take about a second at most; nothing backtracks over them."""
    flood = piece * (1_000_000 // len(piece))
    parse_or_refuse(SMALLEST + flood)
    parse_or_refuse(SMALLEST + "Replacing " + flood)
    parse_or_refuse(SMALLEST + "====== Run Order ======\n" + flood)
    header = "\t[node type]\t[first]\t[avg ms]\t[%]\t[cdf%]\t[mem KB]\t[times called]\t[Name]\n"
    parse_or_refuse(SMALLEST + "====== Run Order ======\n" + header + flood)
