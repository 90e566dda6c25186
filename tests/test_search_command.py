"""`edgefer convert --int8 --max-drop` as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import cv2
import hard_cases
import pytest
import small_models
from commands import Ended, edgefer

from edgefer import calibration_data
from edgefer.converters import float_model
from edgefer.evaluation.inference import inputs_of
from edgefer.models import bundled, checkpoints

STATE = "small-int8.search.json"
FILES = {"small-int8.tflite", "small-int8.json", "small-int8.html"}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small float model, and faces labelled by its own answers."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "small.tflite").write_bytes(small_models.small())
    for name, seed, count in (("calibration", 1, 90), ("evaluation", 2, 60)):
        images = small_models.pixels(count, seed=seed)
        answers = small_models.run(small_models.small(), small_models.inputs(count, seed=seed))
        for number, (image, answer) in enumerate(zip(images, answers.argmax(axis=1), strict=True)):
            place = folder / name / small_models.SPEC.labels[answer]
            place.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place / f"{number:03}.png"), image[:, :, ::-1])
    return folder


def arguments(work: Path, output: Path, *more: object) -> list[object]:
    labels = ",".join(small_models.SPEC.labels)
    return [
        "convert", work / "small.tflite", "--int8", "--output", output, "--labels", labels,
        "--mean", "127.5", "--std", "127.5", "--calibration", work / "calibration",
        "--data", work / "evaluation", *more,
    ]  # fmt: skip


def problems(ended: Ended) -> list[str]:
    """Return the lines on stderr that edgefer ended with."""
    return [line for line in ended.err.splitlines() if line.startswith("edgefer: ")]


def test_a_budget_that_is_met_ends_with_0_and_all_candidates(work: Path, tmp_path: Path) -> None:
    ended = edgefer(*arguments(work, tmp_path, "--max-drop", 100, "--json"))
    assert (ended.code, problems(ended)) == (0, [])
    assert {path.name for path in tmp_path.iterdir()} == FILES
    (model,) = json.loads(ended.out)["models"]
    found = model["search"]
    assert [one["name"] for one in found["candidates"]] == ["plain", "as given"]
    taken = found["candidates"][found["chosen"]]
    assert (taken["sha256"], taken["verdict"]) == (model["sha256"], "within")
    assert (taken["latency_ms"] > 0, found["faces"], found["complete"]) == (True, 30, True)
    assert json.loads((tmp_path / "small-int8.json").read_text())["search"] == found
    page = (tmp_path / "small-int8.html").read_text()
    assert "Searched for a drop of at most 100 points: 2 conversions" in page
    assert "recipe found by" in page


@pytest.mark.slow
def test_a_budget_that_cannot_be_met_ends_with_3_and_the_nearest(
    work: Path, tmp_path: Path
) -> None:
    ended = edgefer(*arguments(work, tmp_path, "--max-drop", 0))
    assert ended.code == 3
    assert {path.name for path in tmp_path.iterdir()} == FILES
    (problem,) = problems(ended)
    assert problem.startswith("edgefer: error: small-int8.tflite: loses ")
    assert "it is the nearest that was found" in problem
    assert "Searched for a drop of at most 0 points" in ended.out
    assert "→ " in ended.out
    assert "warning: the 30 faces held out show no drop under" in ended.err
    assert 'class="verdict bad"' in (tmp_path / "small-int8.html").read_text()


@pytest.mark.slow
def test_ctrl_c_leaves_what_was_found_and_the_same_command_goes_on(
    work: Path, tmp_path: Path
) -> None:
    command = [str(one) for one in arguments(work, tmp_path, "--max-drop", 0, "--json")]
    process = subprocess.Popen(
        [sys.executable, "-m", "edgefer", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    state = tmp_path / STATE
    while process.poll() is None and (not state.exists() or len(kept(state)) < 3):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    assert problems(Ended(130, out, err)) == ["edgefer: interrupted"]
    assert [path.name for path in tmp_path.iterdir()] == [STATE]
    before = kept(state)
    ended = edgefer(*command)
    assert ended.code == 3, ended.err
    assert {path.name for path in tmp_path.iterdir()} == FILES
    (model,) = json.loads(ended.out)["models"]
    after = {one["name"]: one for one in model["search"]["candidates"]}
    assert len(after) > len(before)
    for one in before:
        # What was kept was taken over, to the time that it had taken.
        assert (after[one["name"]]["sha256"], after[one["name"]]["seconds"]) == (
            one["sha256"],
            one["seconds"],
        )


def kept(state: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(state.read_text())["candidates"]
    return found


def test_a_state_file_that_edgefer_did_not_make_is_not_replaced(work: Path, tmp_path: Path) -> None:
    (tmp_path / STATE).write_text("precious")
    ended = edgefer(*arguments(work, tmp_path, "--max-drop", 1))
    assert (ended.code, ended.out) == (2, "")
    assert "exists and was not made by edgefer" in problems(ended)[0]
    assert (tmp_path / STATE).read_text() == "precious"


def test_a_conversion_without_a_search_leaves_a_state_alone(work: Path, tmp_path: Path) -> None:
    (tmp_path / STATE).write_text("precious")
    ended = edgefer(*arguments(work, tmp_path))
    assert ended.code == 0, ended.err
    assert (tmp_path / STATE).read_text() == "precious"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--int8", "--max-drop", "-0.1"), "give 0 or more"),
        (("--float16", "--max-drop", "nan"), "give 0 or more"),
        (("--int8", "--max-drop", "1", "--no-evaluate"), "need the evaluation"),
        (("--int8", "--max-drop", "1", "--device", "toaster"), "toaster"),
        (("--int8", "--device", "local"), "--device is of a search"),
        (("--float16", "--max-drop", "1", "--time-limit", "5"), "--time-limit is of a search"),
    ],
)
def test_a_budget_that_makes_no_sense_is_one_line(
    options: tuple[str, ...], complaint: str, tmp_path: Path
) -> None:
    ended = edgefer("convert", *options, "--output", tmp_path)
    assert (ended.code, ended.out) == (2, "")
    (problem,) = problems(ended)
    assert complaint in problem
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Write models that plain int8 ruins, made from the bundled one."""
    folder = tmp_path_factory.mktemp("hard")
    checkpoint = checkpoints.read(bundled.models()[bundled.DEFAULT])
    original = float_model.from_keras(checkpoint.build(batch_size=1))
    images = calibration_data.calibration_faces().images
    found = {}
    for case, content in hard_cases.cases(original, inputs_of(images, checkpoint.spec)).items():
        found[case] = folder / f"{case.replace(' ', '-')}.tflite"
        found[case].write_bytes(content)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "more_than", "method"),
    [
        ("rescaled channels", 20, ("equalization", True)),
        ("outliers", 20, ("activation_ranges", "percentile")),
        ("unused channels", 1, ("equalization", True)),
    ],
)
def test_hard_models_are_brought_back_to_half_a_point(
    case: str,
    more_than: float,
    method: tuple[str, object],
    hard: Mapping[str, Path],
    tmp_path: Path,
) -> None:
    """Plain int8 loses more than `more_than` points of it; the search finds the method."""
    labels = ",".join(checkpoints.read(bundled.models()[bundled.DEFAULT]).spec.labels)
    ended = edgefer(
        "convert", hard[case], "--int8", "--labels", labels, "--mean", "127.5", "--std", "127.5",
        "--max-drop", 5, "--json", "--output", tmp_path,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    found = result["models"][0]["search"]
    plain, taken = found["candidates"][0], found["candidates"][found["chosen"]]
    assert plain["comparison"]["drop_points"] > more_than
    assert taken["recipe"][method[0]] == method[1]
    lost = result["evaluation"]["models"][1]["comparison"]
    assert lost["drop_points"] <= 0.5
