"""`edgefer bench` as a user runs it, on this machine."""

import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import Ended, edgefer

from edgefer.benchmarks.result import BenchResult
from edgefer.benchmarks.result_files import read_result
from edgefer.records import from_json, to_json

QUICK = ("--processes", 2, "--runs", 16, "--seconds", 0, "--warmup", 0.05, "--profile-runs", 3)
NOBODY = "ssh://nobody@127.0.0.1:9"


def bench(*arguments: object, **options: Any) -> Ended:
    return edgefer("bench", "on-device", *arguments, *QUICK, **options)


@pytest.fixture(scope="module")
def measured(
    tmp_path_factory: pytest.TempPathFactory, quadrant_tflites: Mapping[str, Path]
) -> tuple[Ended, Path]:
    """Measure two models on this machine, and write all that can be written."""
    folder = tmp_path_factory.mktemp("measured")
    models = (quadrant_tflites["float32"], quadrant_tflites["int8"])
    files = ("--csv", "r.csv", "--markdown", "r.md", "--report", "r.html", "--output", "r.json")
    ended = bench(*models, "--verify", *files, cwd=folder)
    assert ended.code == 0, ended.err
    return ended, folder


def test_the_table_shows_each_model_and_where_its_time_goes(measured: tuple[Ended, Path]) -> None:
    """Kernels of so small a model take no whole microsecond on a fast machine: "other kinds"."""
    ended, folder = measured
    assert ended.out.startswith("local  ")
    assert "Latency (1 thread)" in ended.out
    assert "× (" in ended.out
    assert "Where the time goes" in ended.out
    assert "identical" in ended.out
    for measurement in read_result(folder / "r.json").devices[0].measurements:
        assert measurement.profile is not None
        operators = measurement.profile.operators
        assert "Fully Connected" in {one.type for one in operators}
        total = sum(one.mean_us for one in operators)
        for one in operators:
            assert one.mean_us <= 0.1 * total or one.type in ended.out


def test_the_saved_result_holds_the_raw_samples(measured: tuple[Ended, Path]) -> None:
    result = read_result(measured[1] / "r.json")
    for measurement in result.devices[0].measurements:
        assert [len(p.latencies_us) >= 16 for p in measurement.processes] == [True, True]
        assert measurement.profile is not None
        assert measurement.problem is None


def test_csv_markdown_and_page_are_written(measured: tuple[Ended, Path]) -> None:
    _, folder = measured
    with (folder / "r.csv").open(newline="") as file:
        assert [row["model"] for row in csv.DictReader(file)] == ["float32.tflite", "int8.tflite"]
    assert (folder / "r.md").read_text().startswith("### local")
    assert "<svg" in (folder / "r.html").read_text()


def test_json_is_the_only_thing_on_stdout(
    quadrant_tflites: Mapping[str, Path], tmp_path: Path
) -> None:
    ended = bench(quadrant_tflites["int8"], "--json", cwd=tmp_path)
    assert ended.code == 0, ended.err
    printed = json.loads(ended.out)
    (row,) = printed.pop("summary")
    assert row["model"] == "int8.tflite"
    assert row["low_us"] <= row["latency_us"] <= row["high_us"]
    assert {"kind", "finding", "hint"} <= printed.pop("warnings")[0].keys()
    (saved,) = tmp_path.glob("bench-*.json")
    assert read_result(saved) == from_json(BenchResult, json.dumps(printed))


def test_a_device_that_fails_costs_exit_code_5_and_nobody_elses_results(
    quadrant_tflites: Mapping[str, Path], tmp_path: Path
) -> None:
    ended = bench(
        quadrant_tflites["int8"], "-d", NOBODY, "-d", "local", "-o", "r.json", cwd=tmp_path
    )
    assert ended.code == 5
    assert ended.err.splitlines()[-1].startswith(f"edgefer: error: {NOBODY}: ")
    failed, local = read_result(tmp_path / "r.json").devices
    assert failed.problem is not None
    assert len(local.measurements[0].processes) == 2


def test_resume_measures_only_what_is_missing(measured: tuple[Ended, Path], tmp_path: Path) -> None:
    whole = read_result(measured[1] / "r.json")
    device = whole.devices[0]
    first, second = device.measurements
    cut = replace(second, processes=second.processes[:1], profile=None)
    partial = replace(whole, devices=(replace(device, measurements=(first, cut)),))
    (tmp_path / "p.json").write_text(to_json(partial))
    folder = Path(__file__).parent / "golden" / "tflite"
    ended = bench(
        folder / "float32.tflite", folder / "int8.tflite", "--verify", "--resume", "p.json",
        cwd=tmp_path,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    done = read_result(tmp_path / "p.json").devices[0].measurements
    assert done[0] == first
    assert done[1].processes[0] == second.processes[0]
    assert len(done[1].processes) == 2
    assert done[1].profile is not None


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("missing.tflite",), 4, "missing.tflite: does not exist"),
        (("empty.tflite",), 4, "empty.tflite: is empty"),
        (("int8.tflite", "--device", "http://pi"), 2, "'http://pi'"),
        (("int8.tflite", "--device", "ssh://-oProxyCommand=x"), 2, "ssh://-oProxyCommand"),
        (("int8.tflite", "-d", "local", "-d", "local"), 2, "stands twice"),
        (("int8.tflite", "--cores", "0x800000000000"), 2, "--cores"),
        (("int8.tflite", "--threads", "1,x"), 2, "1,2,4"),
        (("int8.tflite", "--resume", "empty.tflite"), 4, "empty.tflite: is not a result"),
        (("int8.tflite", "--output", "precious.json"), 2, "was not made by edgefer"),
        (("int8.tflite", "--output", "/proc/x.json"), 1, "/proc"),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(
    arguments: tuple[str, ...],
    code: int,
    words: str,
    quadrant_tflites: Mapping[str, Path],
    tmp_path: Path,
) -> None:
    (tmp_path / "int8.tflite").write_bytes(quadrant_tflites["int8"].read_bytes())
    (tmp_path / "empty.tflite").touch()
    (tmp_path / "precious.json").write_text("{}")
    before = sorted(tmp_path.iterdir())
    ended = edgefer("bench", "on-device", *arguments, cwd=tmp_path)
    assert (ended.code, ended.out) == (code, ""), ended.err
    (line,) = ended.err.splitlines()
    assert words in line
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["a b", "it's", '"quoted"', "$(touch owned)", "new\nline", "-x"])
def test_a_models_path_may_hold_anything(
    name: str, quadrant_tflites: Mapping[str, Path], tmp_path: Path
) -> None:
    model = tmp_path / f"{name}.tflite"
    model.write_bytes(quadrant_tflites["int8"].read_bytes())
    ended = bench("-o", "r.json", f"./{model.name}", "--profile-runs", 0, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert read_result(tmp_path / "r.json").devices[0].measurements[0].model.name == model.name
    assert not (tmp_path / "owned").exists()


def test_ctrl_c_keeps_what_was_measured_and_leaves_the_device_clean(
    quadrant_tflites: Mapping[str, Path], tmp_path: Path
) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "edgefer", "bench", "on-device"),
            *(str(quadrant_tflites["int8"]), "-o", str(tmp_path / "r.json")),
            *("--processes", "500", "--seconds", "0", "--warmup", "0"),
        ],
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while measured_processes(tmp_path / "r.json") < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "edgefer: interrupted"
    assert measured_processes(tmp_path / "r.json") >= 2
    assert list(scratch.iterdir()) == []


def measured_processes(path: Path) -> int:
    """Return how many processes a saved result has, 0 where there is no result yet."""
    if not path.exists():
        return 0
    return sum(len(m.processes) for m in read_result(path).devices[0].measurements)


def test_comparing_a_result_with_itself_shows_no_difference(measured: tuple[Ended, Path]) -> None:
    ended = edgefer("bench", "compare", "r.json", "r.json", cwd=measured[1])
    assert ended.code == 0, ended.err
    assert ended.out.count("no difference shown") == 2


def slowed(result: BenchResult, factor: float) -> BenchResult:
    """Return the result with every run longer by `factor`."""
    devices = [
        replace(
            device,
            measurements=tuple(
                replace(
                    m,
                    processes=tuple(
                        replace(p, latencies_us=tuple(factor * t for t in p.latencies_us))
                        for p in m.processes
                    ),
                )
                for m in device.measurements
            ),
        )
        for device in result.devices
    ]
    return replace(result, devices=tuple(devices))


def calm(result: BenchResult) -> BenchResult:
    """Return the result with processes that hardly differ: those of a quiet machine."""
    devices = [
        replace(
            device,
            measurements=tuple(
                replace(
                    m,
                    processes=tuple(
                        replace(m.processes[0], latencies_us=(100.0 + n, 101.0 + n, 102.0 + n))
                        for n in range(3)
                    ),
                )
                for m in device.measurements
            ),
        )
        for device in result.devices
    ]
    return replace(result, devices=tuple(devices))


def test_a_regression_is_exit_code_3(measured: tuple[Ended, Path], tmp_path: Path) -> None:
    old = calm(read_result(measured[1] / "r.json"))
    (tmp_path / "old.json").write_text(to_json(old))
    (tmp_path / "new.json").write_text(to_json(slowed(old, 1.5)))
    ended = edgefer("bench", "compare", "old.json", "new.json", cwd=tmp_path)
    assert ended.code == 3
    assert "slower by more than the 3.0% allowed" in ended.err
    assert ended.out.count("slower, beyond the limit") == 2
    allowed = edgefer(
        "bench", "compare", "old.json", "new.json", "--max-slowdown", "80%", cwd=tmp_path
    )
    assert allowed.code == 0
    faster = edgefer("bench", "compare", "new.json", "old.json", "--json", cwd=tmp_path)
    assert faster.code == 0
    assert {m["verdict"] for m in json.loads(faster.out)["models"]} == {"faster"}


def test_other_circumstances_are_refused_by_name_unless_forced(
    measured: tuple[Ended, Path], tmp_path: Path
) -> None:
    old = calm(read_result(measured[1] / "r.json"))
    device = replace(old.devices[0], runtime="ai-edge-litert 1.0.0")
    (tmp_path / "old.json").write_text(to_json(old))
    (tmp_path / "new.json").write_text(to_json(replace(old, devices=(device,))))
    ended = edgefer("bench", "compare", "old.json", "new.json", cwd=tmp_path)
    assert ended.code == 2
    assert "ai-edge-litert 1.0.0" in ended.err
    forced = edgefer("bench", "compare", "old.json", "new.json", "--force", cwd=tmp_path)
    assert forced.code == 0
    assert "ai-edge-litert 1.0.0" in forced.err


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"schema_version": 1e999}', "\x00\xff"])
def test_a_file_that_is_no_result_is_exit_code_4(content: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(content, encoding="latin-1")
    ended = edgefer("bench", "compare", "bad.json", "bad.json", cwd=tmp_path)
    assert (ended.code, ended.out) == (4, "")
    (line,) = ended.err.splitlines()
    assert "bad.json: is not a result of 'edgefer bench on-device'" in line


def test_devices_says_what_this_machine_is_and_who_cannot_be_reached() -> None:
    ended = edgefer("bench", "devices", "local", NOBODY)
    assert ended.code == 5
    assert f"{os.cpu_count()}×" in ended.out or "cores" in ended.out
    assert NOBODY in ended.err
    described = edgefer("bench", "devices", "local", "--json")
    assert described.code == 0
    device = json.loads(described.out)["devices"]["local"]
    assert device["architecture"] == os.uname().machine
    assert device["runtime"].startswith("ai-edge-litert ")


def test_help_of_the_group_lists_its_commands() -> None:
    ended = edgefer("bench", "--help")
    assert ended.code == 0
    places = [ended.out.index(f"  {name} ") for name in ("on-device", "compare", "devices")]
    assert places == sorted(places)


def test_a_devices_address_completes() -> None:
    ended = edgefer(
        _EDGEFER_COMPLETE="bash_complete",
        COMP_WORDS="edgefer bench on-device --device ad",
        COMP_CWORD="4",
    )
    assert ended.out.split() == ["plain,adb", "plain,adb:all"]


def test_nothing_is_left_in_the_temporary_folder(
    quadrant_tflites: Mapping[str, Path], tmp_path: Path
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        ended = bench(quadrant_tflites["int8"], cwd=tmp_path, TMPDIR=scratch)
        assert ended.code == 0, ended.err
        left = [path.name for path in Path(scratch).iterdir()]
    assert left == []
