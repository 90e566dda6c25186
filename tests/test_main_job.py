"""The commands as a user runs them: processes with arguments, output, exit codes and files."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import Ended, edgefer, errors

from edgefer import calibration_data, metadata, runtime
from edgefer.data.faces import LabelledFaces
from edgefer.data.preprocessing import normalise, to_pixels
from edgefer.evaluation import runner
from edgefer.evaluation.scoring import EvaluatedModel
from edgefer.models import bundled, checkpoints
from edgefer.models.patt_lite.network import ATTENTION_SCALE, Attention, PattLite

QUADRANT = ("--labels", "anger,happiness,neutral,surprise", "--mean", "127.5", "--std", "127.5")
BUNDLED_MODEL = bundled.models()[bundled.DEFAULT]
PRECISIONS = ("float32", "float16", "dynamic", "int16x8", "int8")


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Run the main job once, in every precision."""
    folder = tmp_path_factory.mktemp("delivered")
    flags = [f"--{precision}" for precision in PRECISIONS]
    ended = edgefer("convert", *flags, "--json", "--output", folder)
    assert ended.code == 0, ended.err
    assert errors(ended) == []
    return folder, json.loads(ended.out)


@pytest.fixture(scope="module")
def face_folder(tmp_path_factory: pytest.TempPathFactory, quadrant_faces: LabelledFaces) -> Path:
    """Write the quadrant faces as PNGs, a folder a class."""
    root = tmp_path_factory.mktemp("faces")
    write_faces(root, quadrant_faces)
    return root


def write_faces(root: Path, faces: LabelledFaces) -> None:
    for index, (image, label) in enumerate(zip(faces.images, faces.labels, strict=True)):
        folder = root / faces.class_names[label]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(
            str(folder / f"{index:03}.png"), image[:, :, ::-1] if image.ndim == 3 else image
        )


def test_the_main_job_leaves_each_model_with_its_figures_and_a_page(
    delivered: tuple[Path, dict[str, Any]],
) -> None:
    folder, result = delivered
    expected = {f"patt-lite-{p}{s}" for p in PRECISIONS for s in (".tflite", ".json", ".html")}
    assert {path.name for path in folder.iterdir()} == expected
    for model in result["models"]:
        content = (folder / model["file"]).read_bytes()
        assert model["sha256"] == hashlib.sha256(content).hexdigest()
        assert model["size_bytes"] == len(content)
        beside = json.loads((folder / model["file"]).with_suffix(".json").read_text())
        assert beside["evaluation"] == result["evaluation"]
        assert beside["operator_comparison"] == model["operator_comparison"]
        page = (folder / model["file"]).with_suffix(".html").read_text()
        assert page.startswith("<!doctype html>")
        assert re.findall(r"https?://[\w.]+", page.replace("http://www.w3.org/", "")) == []


def test_the_bundled_int8_model_is_small_whole_and_loses_little(
    delivered: tuple[Path, dict[str, Any]],
) -> None:
    _, result = delivered
    int8 = next(m for m in result["models"] if m["recipe"]["precision"] == "int8")
    assert int8["size_bytes"] <= 1_300_000
    assert int8["verification"]["float_operators"] == 0
    assert sum(int8["verification"]["operators"].values()) <= 27
    figures = {m["name"]: m for m in result["evaluation"]["models"]}
    comparison = figures["patt-lite-int8.tflite"]["comparison"]
    assert comparison["drop_low_points"] <= 0.3
    assert comparison["agreement"] >= 0.965
    assert figures["patt-lite-float32.tflite"]["metrics"]["accuracy"]["value"] > 0.8
    assert result["evaluation"]["dataset"]["faces"] == 1200
    assert result["batch_coupling"]["coupled"] is False


def test_each_quantized_model_is_compared_operator_by_operator(
    delivered: tuple[Path, dict[str, Any]],
) -> None:
    folder, result = delivered
    compared = {m["recipe"]["precision"]: m["operator_comparison"] for m in result["models"]}
    assert compared["float32"] is None
    assert compared["float16"] is None
    for precision in ("dynamic", "int16x8", "int8"):
        assert [one["position"] for one in compared[precision]] == list(range(27))
        page = (folder / f"patt-lite-{precision}.html").read_text()
        assert "Operators against float32: the 5 least exact of 27 operators" in page
        assert "Measured on 12 of the evaluation faces." in page
    noise = {precision: compared[precision][2]["sqnr_db"] for precision in ("int16x8", "int8")}
    assert noise["int16x8"] > noise["int8"]


def test_what_was_reported_is_what_the_written_file_does(
    delivered: tuple[Path, dict[str, Any]],
) -> None:
    folder, result = delivered
    path = folder / "patt-lite-int8.tflite"
    faces = calibration_data.evaluation_faces()
    again = runner.evaluate([EvaluatedModel.from_tflite(path)], faces).models[0].metrics.accuracy
    figures = {m["name"]: m for m in result["evaluation"]["models"]}
    assert figures[path.name]["metrics"]["accuracy"]["correct"] == again.correct


def test_raw_bytes_go_in_without_arithmetic(delivered: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = delivered
    spec = metadata.read_spec(folder / "patt-lite-int8.tflite")
    assert spec is not None
    model = runtime.open_model(folder / "patt-lite-int8.tflite")
    pixels = to_pixels(calibration_data.evaluation_faces().images[0], spec)
    quantized = model.input.quantize(normalise(pixels, spec))
    np.testing.assert_array_equal(quantized, pixels.astype(np.int16) - 128)


def test_the_float_file_computes_what_the_checkpoint_does(
    delivered: tuple[Path, dict[str, Any]],
) -> None:
    folder, _ = delivered
    checkpoint = checkpoints.load(BUNDLED_MODEL)
    faces = calibration_data.evaluation_faces().spread(8)
    spec = checkpoint.spec
    inputs = normalise(np.stack([to_pixels(image, spec) for image in faces.images]), spec)
    expected = np.asarray(checkpoint.build(batch_size=None)(inputs))
    found = runtime.open_model(folder / "patt-lite-float32.tflite").probabilities(inputs)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_file_that_edgefer_did_not_make_is_not_replaced(tmp_path: Path) -> None:
    theirs = tmp_path / "patt-lite-int8.tflite"
    theirs.write_bytes(b"precious")
    ended = edgefer("convert", "--int8", "--output", tmp_path)
    assert ended == Ended(
        2, "", f"edgefer: error: {theirs} exists and was not made by edgefer: --force replaces it\n"
    )
    assert theirs.read_bytes() == b"precious"


def test_evaluate_prints_whole_tables(
    quadrant_tflites: Mapping[str, Path], face_folder: Path
) -> None:
    models = quadrant_tflites["float32"], quadrant_tflites["int8"]
    ended = edgefer("evaluate", *models, "--data", face_folder, *QUADRANT)
    assert (ended.code, errors(ended)) == (0, [])
    lines = ended.out.splitlines()
    assert lines[0] == f"160 faces of {face_folder}, each alone"
    assert lines[2].split() == ["model", "accuracy", "95%", "interval", "macro-F1", "NLL", "ECE"]
    assert [line.split()[0] for line in lines[4:6]] == ["float32.tflite", "int8.tflite"]
    assert "Against float32.tflite (a positive drop is a loss)" in lines
    assert [line.split()[0] for line in lines[-4:]] == QUADRANT[1].split(",")


def test_evaluate_writes_a_sheet_a_page_and_json(
    quadrant_tflites: Mapping[str, Path], face_folder: Path, tmp_path: Path
) -> None:
    sheet, page = tmp_path / "it's a sheet.png", tmp_path / "page.html"
    models = quadrant_tflites["float32"], quadrant_tflites["uint8"]
    options = ("--data", face_folder, "--show-disagreements", sheet, "--report", page, "--json")
    ended = edgefer("evaluate", *models, *options, *QUADRANT)
    assert (ended.code, errors(ended)) == (0, [])
    result = json.loads(ended.out)
    assert result["schema_version"] == 1
    assert [model["name"] for model in result["models"]] == ["float32.tflite", "uint8.tflite"]
    assert cv2.imread(str(sheet)) is not None
    assert "float32.tflite" in page.read_text()


def test_a_gate_that_is_not_met_exits_with_3_after_the_tables(
    quadrant_tflites: Mapping[str, Path], face_folder: Path
) -> None:
    options = ("--data", face_folder, *QUADRANT, "--min-accuracy", 99.9)
    ended = edgefer("evaluate", quadrant_tflites["float32"], *options)
    assert ended.code == 3
    assert "float32.tflite" in ended.out
    assert len(errors(ended)) == 1
    assert errors(ended)[0].endswith("is under the 99.90% required")


def test_labels_in_the_wrong_order_are_noticed(
    quadrant_tflites: Mapping[str, Path], face_folder: Path
) -> None:
    wrong = ("--labels", "happiness,anger,surprise,neutral", *QUADRANT[2:])
    ended = edgefer("evaluate", quadrant_tflites["float32"], "--data", face_folder, *wrong)
    assert ended.code == 0
    assert "labels are probably in the wrong order" in ended.err
    assert "anger, happiness, neutral, surprise" in ended.err


def test_a_model_without_metadata_says_which_options_it_needs(
    quadrant_tflites: Mapping[str, Path],
) -> None:
    path = quadrant_tflites["float32"]
    ended = edgefer("evaluate", path, "--labels", "anger,happiness,neutral,surprise")
    assert (ended.code, ended.out) == (2, "")
    assert errors(ended) == [
        f"edgefer: error: {path} does not say how to feed it: give --mean and --std"
    ]


def test_inspect_shows_inputs_operators_and_cost(quadrant_tflites: Mapping[str, Path]) -> None:
    ended = edgefer("inspect", quadrant_tflites["int8"], *QUADRANT)
    assert (ended.code, errors(ended)) == (0, [])
    assert "1×16×16×3 int8, value = 0.007843" in ended.out
    assert "multiply-accumulates" in ended.out


def test_inspect_reports_batch_coupling_of_a_free_batch(
    quadrant_tflites: Mapping[str, Path],
) -> None:
    ended = edgefer("inspect", quadrant_tflites["free_batch"], *QUADRANT, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["coupling"]["coupled"] is False


@pytest.mark.parametrize("name", ["patt-lite", "lanmsff"])
def test_a_model_that_edgefer_brings_is_called_by_its_name(name: str, tmp_path: Path) -> None:
    ended = edgefer("inspect", name, "--json", cwd=tmp_path)
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["kind"] == f"checkpoint of {name}"
    assert found["coupling"]["coupled"] is False
    assert "FER2013" in found["spec"]["training_data"]
    (tmp_path / name).write_bytes(b"a file of that name comes first")
    assert errors(edgefer("inspect", name, cwd=tmp_path))[0].startswith(f"edgefer: error: {name}:")


@pytest.mark.slow
def test_inspect_tells_what_a_coupled_checkpoint_owes_to_the_batch(tmp_path: Path) -> None:
    """Attention across the batch mixes faces; alone it is nothing, as `evaluate` measures."""
    bundled = checkpoints.load(BUNDLED_MODEL)
    plain = replace(bundled, network=PattLite(input_size=48), spec=PattLite(input_size=48).spec())
    network = PattLite(input_size=48, attention=Attention.BATCH)
    scale = {ATTENTION_SCALE: np.asarray(0.05, np.float32)}
    coupled = replace(plain, network=network, weights={**plain.weights, **scale})
    for name, checkpoint in (("plain", plain), ("coupled", coupled)):
        checkpoints.save(tmp_path / f"{name}.safetensors", checkpoint)
    ended = edgefer("inspect", "coupled.safetensors", "--json", cwd=tmp_path)
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["coupling"]["coupled"] is True
    evaluated = edgefer("evaluate", "plain.safetensors", "--json", cwd=tmp_path)
    (model,) = json.loads(evaluated.out)["models"]
    accuracy = found["batch_accuracy"]
    assert accuracy["alone"] == pytest.approx(model["metrics"]["accuracy"]["value"])
    assert accuracy["in_batches"] < accuracy["alone"] - 0.05
    assert (accuracy["faces"], accuracy["batch_size"]) == (1200, 64)


@pytest.fixture(scope="module")
def bad_models(
    tmp_path_factory: pytest.TempPathFactory, quadrant_tflites: Mapping[str, Path]
) -> Mapping[str, Path]:
    """Files that are no models, each with a name that a shell would stumble over."""
    folder = tmp_path_factory.mktemp("it's $(bad)")
    whole = quadrant_tflites["float32"].read_bytes()
    contents = {
        "empty.tflite": b"",
        "truncated.tflite": whole[: len(whole) // 2],
        "random.tflite": np.random.default_rng(0).bytes(5000),
        "header.tflite": whole[:8] + np.random.default_rng(1).bytes(3000),
        "crashing.tflite": quadrant_tflites["crashing"].read_bytes(),
        "empty.h5": b"",
        "text.h5": b"no HDF5 at all",
        "truncated.safetensors": BUNDLED_MODEL.read_bytes()[:100_000],
        "random.keras": np.random.default_rng(2).bytes(5000),
        "model.pt": b"\x80\x04cos\nsystem\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    names = (*contents, "missing.tflite", "missing.h5")
    return {name: folder / name for name in names}


BAD_MODELS = (
    "empty.tflite", "truncated.tflite", "random.tflite", "header.tflite", "crashing.tflite",
    "empty.h5", "text.h5", "truncated.safetensors", "random.keras", "model.pt",
    "missing.tflite", "missing.h5",
)  # fmt: skip


@pytest.mark.parametrize("name", BAD_MODELS)
@pytest.mark.parametrize("command", ["convert --int8", "evaluate", "inspect"])
def test_an_unusable_model_is_one_line_that_names_it(
    command: str, name: str, bad_models: Mapping[str, Path], tmp_path: Path
) -> None:
    verb, *options = command.split()
    ended = edgefer(verb, bad_models[name], *options, cwd=tmp_path)
    assert (ended.code, ended.out) == (4, "")
    assert len(errors(ended)) == 1
    assert errors(ended)[0].startswith(f"edgefer: error: {bad_models[name]}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("folders", "complaint"),
    [
        (("anger", "joyousness"), "joyousness"),
        (("anger",), "one class only"),
        ((), "no "),
    ],
)
def test_an_unusable_dataset_is_one_line_that_names_it(
    folders: tuple[str, ...],
    complaint: str,
    quadrant_tflites: Mapping[str, Path],
    tmp_path: Path,
) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for folder in folders:
        (root / folder).mkdir()
        cv2.imwrite(str(root / folder / "a.png"), np.zeros((16, 16), np.uint8))
    ended = edgefer("evaluate", quadrant_tflites["float32"], "--data", root, *QUADRANT)
    assert (ended.code, ended.out) == (4, "")
    assert len(errors(ended)) == 1
    assert str(root) in errors(ended)[0]
    assert complaint in errors(ended)[0]


def test_calibration_on_the_evaluation_faces_is_refused(tmp_path: Path) -> None:
    faces = calibration_data.FOLDER / "evaluation"
    ended = edgefer("convert", "--int8", "--calibration", faces, "--output", tmp_path)
    assert (ended.code, ended.out) == (4, "")
    assert len(errors(ended)) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_output_below_a_file_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    started = time.monotonic()
    ended = edgefer("convert", "--int8", "--output", tmp_path / "file" / "below")
    assert ended.code == 1
    assert len(errors(ended)) == 1
    assert "is not a writable folder" in errors(ended)[0]
    assert time.monotonic() - started < 60


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of one megabyte, which an int8 PAtt-Lite does not fit on."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = [
        shutil.which("mount") or "no-mount",
        "-t",
        "tmpfs",
        "-o",
        "size=1m",
        "tmpfs",
        str(folder),
    ]
    if mount[0] == "no-mount" or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("needs root and mount, for a small file system to fill")
    yield folder
    subprocess.run([mount[0].replace("mount", "umount"), str(folder)], check=True)


def test_a_full_disk_is_one_line_and_leaves_nothing_behind(small_disk: Path) -> None:
    ended = edgefer("convert", "--int8", "--no-evaluate", "--output", small_disk)
    assert (ended.code, ended.out) == (1, "")
    assert len(errors(ended)) == 1
    assert "No space left on device" in errors(ended)[0]
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("delay_s", [0.5, 3.0, 9.0])
def test_an_interrupt_at_any_point_leaves_nothing_behind(delay_s: float, tmp_path: Path) -> None:
    """Any from when Python itself has started, which takes long where much else runs."""
    script = "print('started', flush=True); import edgefer.__main__"
    process = subprocess.Popen(
        [sys.executable, "-c", script, "convert", "--int8", "--float16", "--int16x8"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    time.sleep(delay_s)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    assert errors(Ended(130, out, err)) == ["edgefer: interrupted"]
    assert list(tmp_path.iterdir()) == []


def test_train_writes_weights_that_convert_and_goes_on_when_run_again(
    face_folder: Path, tmp_path: Path
) -> None:
    weights = checkpoints.named_weights(PattLite(input_size=48).build())
    backbone = {key: value for key, value in weights.items() if key.startswith("conv")}
    np.savez(tmp_path / "backbone.npz", allow_pickle=False, **backbone)
    run = tmp_path / "run"
    options = ("--data", face_folder, "--backbone", tmp_path / "backbone.npz", "--output", run)
    first = edgefer("train", "patt-lite", *options, "--input-size", 48, "--epochs", 1)
    assert (first.code, [line for line in errors(first) if "epoch 1/1" not in line]) == (0, [])
    assert f"Next: edgefer convert {run / 'best.safetensors'} --int8" in first.out
    log = (run / "training.csv").read_text().splitlines()
    assert log[0].startswith("stage,epoch,learning_rate,loss,accuracy,validation_loss")
    assert len(log) == 2
    again = edgefer("train", "patt-lite", *options, "--input-size", 48, "--epochs", 1, "--json")
    assert again.code == 0
    assert len(json.loads(again.out)["epochs"]) == 1  # it was finished
    other = edgefer("train", "patt-lite", *options, "--input-size", 64, "--epochs", 1)
    assert other.code == 2
    assert "belongs to another training" in errors(other)[0]
    best = run / "best.safetensors"
    made = edgefer("convert", best, "--int8", "--no-evaluate", "--output", tmp_path)
    assert made.code == 0, made.err
    assert metadata.read_spec(tmp_path / "best-int8.tflite") == checkpoints.load(best).spec
