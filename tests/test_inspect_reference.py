"""`edgefer inspect MODEL --reference FLOAT` as a user runs it."""

import contextlib
import dataclasses
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import equalized
import numpy as np
import pytest
import small_models
from commands import Ended, edgefer, errors

from edgefer import calibration_data, metadata
from edgefer.cli.inspect import command
from edgefer.converters import graph
from edgefer.converters.conversion import convert
from edgefer.converters.insight.reference import Question, look
from edgefer.converters.recipes import FLOAT16, INT8, INT16X8, QuantizationRecipe
from edgefer.errors import EdgeferError, UsageError
from edgefer.models.spec import ModelSpec

SPEC = small_models.SPEC
EACH_CHANNEL = dataclasses.replace(SPEC, mean=(120.0, 110.0, 100.0), std=(60.0, 70.0, 80.0))
OPERATORS = len(graph.read(small_models.small()).operators)

COLUMNS = ("operator", "output", "type", "SQNR, dB", "cosine", "range used", "beyond range")

WITHOUT_EXTRAS = """
import sys
for name in ("tensorflow", "keras", "litert_quantizer", "matplotlib", "jinja2", "h5py"):
    sys.modules[name] = None
from edgefer.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the float models, their conversions, and six faces."""
    folder = tmp_path_factory.mktemp("models")
    recipes: dict[str, tuple[QuantizationRecipe, ModelSpec]] = {
        "int8": (INT8, SPEC),
        "int16x8": (INT16X8, SPEC),
        "float16": (FLOAT16, SPEC),
        "each-int8": (INT8, EACH_CHANNEL),
    }
    for name, (recipe, spec) in recipes.items():
        made = convert(small_models.small(), spec, recipe, small_models.faces(24, seed=1))
        (folder / f"{name}.tflite").write_bytes(made.tflite)
    tflite = small_models.small()
    fewer = dataclasses.replace(SPEC, labels=tuple(reversed(SPEC.labels)))
    wider = dataclasses.replace(SPEC, mean=(0.0,) * 3, std=(255.0,) * 3)
    for name, spec in (
        ("float", SPEC), ("each", EACH_CHANNEL), ("reversed", fewer), ("wider", wider)
    ):  # fmt: skip
        (folder / f"{name}.tflite").write_bytes(metadata.write(tflite, spec, {}))
    (folder / "silent.tflite").write_bytes(tflite)
    (folder / "renamed.tflite").write_bytes(
        metadata.write(small_models.patched(tflite, rename), SPEC, {})
    )
    (folder / "patt-lite.tflite").write_bytes(
        metadata.write(small_models.patt_lite(), small_models.PATT_LITE.spec(), {})
    )
    for label in ("anger", "fear"):
        (folder / "faces" / label).mkdir(parents=True)
        for number, image in enumerate(small_models.pixels(3, seed=len(label))):
            cv2.imwrite(str(folder / "faces" / label / f"{number}.png"), image[:, :, ::-1])
    return folder


def rename(model: Any) -> None:
    for number, tensor in enumerate(model.subgraphs[0].tensors):
        tensor.name = f"other{number}".encode()


def inspected(folder: Path, *arguments: object) -> Ended:
    """Run the command on six faces in the folder of the models."""
    return edgefer("inspect", *arguments, "--data", "faces", cwd=folder)


def found(folder: Path, *arguments: object) -> dict[str, Any]:
    """Return what the command finds, as JSON, without a process of its own."""
    printed = io.StringIO()
    given = [str(argument) for argument in arguments]
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        command.main([*given, "--data", "faces", "--json"], standalone_mode=False)
    result: dict[str, Any] = json.loads(printed.getvalue())
    return result


def test_the_table_holds_what_the_json_does_and_names_the_worst(models: Path) -> None:
    result = found(models, "int8.tflite", "--reference", "float.tflite")
    assert result["kind"] == ".tflite"
    against = result["against_reference"]
    assert (against["reference"], against["faces"]) == ("float.tflite", 6)
    assert (against["sensitivity"], against["sensitivity_recipe"]) == (None, None)
    operators = sorted(against["operators"], key=lambda one: one["sqnr_db"])
    assert sorted(one["position"] for one in operators) == list(range(OPERATORS))
    ended = inspected(models, "int8.tflite", "--reference", "float.tflite")
    assert (ended.code, errors(ended)) == (0, [])
    head, columns, rule, *rows = [line for line in ended.out.splitlines() if line]
    assert head == (
        f"int8.tflite against float.tflite, on 6 faces of faces: all {OPERATORS} operators"
    )
    assert re.split(r"  +", columns) == list(COLUMNS)
    assert set(rule) == {"─"}
    assert [row.split() for row in rows[:-1]] == [
        [
            str(one["position"]),
            one["kind"],
            "/".join(one["tensor"].split(";")[0].split("/")[-2:]),
            "int8",
            f"{one['sqnr_db']:.1f}",
            f"{one['cosine']:.5f}",
            f"{100 * one['range_use']:.0f}%",
            f"{100 * one['saturation']:.2f}%",
        ]
        for one in operators
    ]
    worst = [f"{one['position']} {one['kind']} ({one['sqnr_db']:.1f} dB)" for one in operators]
    assert rows[-1] == f"Least exact: {', '.join(worst[:3])}; errors add up along the graph."


def test_all_shows_every_operator_of_a_larger_model_in_the_order_they_run(models: Path) -> None:
    made = convert(
        small_models.patt_lite(),
        small_models.PATT_LITE.spec(),
        INT8,
        small_models.faces(8, side=48),
    )
    (models / "patt-lite-int8.tflite").write_bytes(made.tflite)
    arguments = ("patt-lite-int8.tflite", "--reference", "patt-lite.tflite", "--faces", "2")
    short, whole = inspected(models, *arguments), inspected(models, *arguments, "--all")
    assert "on 2 faces of faces: the 15 least exact of 27 operators" in short.out
    rows = [line for line in whole.out.splitlines() if re.match(r"\d+ ", line)]
    assert [int(row.split()[0]) for row in rows] == list(range(27))
    assert len([line for line in short.out.splitlines() if re.match(r"\d+ ", line)]) == 15


def test_the_sensitivity_ranks_operators_and_goes_into_the_page(
    models: Path, tmp_path: Path
) -> None:
    page = tmp_path / "where.html"
    arguments = ("int8.tflite", "--reference", "float.tflite", "--sensitivity")
    against = found(models, *arguments, "--report", page)["against_reference"]
    ranking = against["sensitivity"]
    assert (ranking["faces"], ranking["candidates"]) == (6, OPERATORS)
    assert [one["position"] for one in ranking["operators"]] == list(range(OPERATORS))
    assert against["sensitivity_recipe"] == INT8.to_dict() | {
        "precision": "int8", "float_operators": [], "int16_operators": []
    }  # fmt: skip
    assert against["own_recipe"] is True
    html = page.read_text()
    assert html.count("<svg") == 3
    assert re.findall(r"https?://[\w.]+", html.replace("http://www.w3.org/", "")) == []
    printed = inspected(models, *arguments).out
    assert "By the model's own recipe on 6 faces" in printed
    worst = max(ranking["operators"], key=lambda one: one["alone_int8_change"])
    _, _, alone = printed.partition("One operator alone in int8:")
    (first, *_) = [line for line in alone.splitlines() if re.match(r"\d+ ", line)]
    assert first.split()[0] == str(worst["position"])
    assert first.split()[-2:] == [
        f"{worst['alone_int8_change']:.5f}", f"{worst['alone_int8_agreement']:.2%}"
    ]  # fmt: skip


ALIKE = dataclasses.replace(INT8, equalization=True, bias_absorption=True)


def test_a_model_of_equalized_channels_is_compared_with_the_float_model_equalized_alike(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the faces that edgefer brings, which are those that it was calibrated on."""
    chain, spec = equalized.chain(1), dataclasses.replace(SPEC, input_size=equalized.SIDE)
    faces = small_models.faces(24, side=equalized.SIDE, seed=1)
    monkeypatch.setattr(calibration_data, "calibration_faces", lambda: faces)
    made = convert(chain, spec, ALIKE, faces)
    (models / "alike.tflite").write_bytes(made.tflite)
    (models / "alike-silent.tflite").write_bytes(metadata.write(made.tflite, spec, {}))
    (models / "chain.tflite").write_bytes(metadata.write(chain, spec, {}))
    (models / "prepared.tflite").write_bytes(metadata.write(made.prepared.tflite, spec, {}))
    against, wanted, naive = (
        found(models, f"{model}.tflite", "--reference", f"{reference}.tflite")["against_reference"]
        for model, reference in (
            ("alike", "chain"), ("alike-silent", "prepared"), ("alike-silent", "chain")
        )
    )  # fmt: skip
    assert against["notes"] == []
    assert against["operators"] == wanted["operators"]
    assert len(against["operators"]) == len(graph.read(chain).operators)
    worst = [min(one["sqnr_db"] for one in each["operators"]) for each in (against, naive)]
    assert worst[1] < worst[0] - 6


def test_operators_that_other_faces_equalized_are_left_out_and_a_warning_says_so(
    models: Path,
) -> None:
    made = convert(small_models.small(), SPEC, ALIKE, small_models.faces(24, seed=1))
    (models / "others.tflite").write_bytes(made.tflite)
    arguments = ("others.tflite", "--reference", "float.tflite")
    against = found(models, *arguments)["against_reference"]
    left = OPERATORS - len(against["operators"])
    assert 0 < left < OPERATORS
    (note,) = against["notes"]
    assert note.startswith(f"Equalized or absorbed on other faces than edgefer's own, {left} oper")
    assert against["operators"][-1]["kind"] == "SOFTMAX"
    (models / "plain-others.tflite").write_bytes(metadata.write(made.tflite, SPEC, {}))
    every = found(models, "plain-others.tflite", *arguments[1:])["against_reference"]["operators"]
    assert [one for one in every if one in against["operators"]] == against["operators"]
    ended = inspected(models, *arguments)
    assert (ended.code, errors(ended)) == (0, [f"warning: {note}"])
    assert f"all {len(against['operators'])} operators" in ended.out


def test_a_float_file_that_says_nothing_is_fed_as_the_model_says(models: Path) -> None:
    silent = found(models, "int8.tflite", "--reference", "silent.tflite")["against_reference"]
    told = found(models, "int8.tflite", "--reference", "float.tflite")["against_reference"]
    assert silent["operators"] == told["operators"]


def test_a_model_with_a_normalising_layer_in_front_is_compared_with_it(models: Path) -> None:
    operators = found(models, "each-int8.tflite", "--reference", "each.tflite")
    compared = operators["against_reference"]["operators"]
    assert compared[0]["tensor"] == "normalisation"
    assert len(compared) == OPERATORS + 1
    assert all(one["sqnr_db"] > 8 for one in compared)
    stated = ("--mean", "120,110,100", "--std", "60,70,80", "--labels", ",".join(SPEC.labels))
    silent = found(models, "each-int8.tflite", "--reference", "silent.tflite", *stated)
    assert silent["against_reference"]["operators"] == compared


def test_sixteen_bits_are_compared_and_only_eight_ranked(models: Path) -> None:
    arguments = ("int16x8.tflite", "--reference", "float.tflite")
    operators = found(models, *arguments)["against_reference"]["operators"]
    assert {one["dtype"] for one in operators} == {"int16"}
    ended = inspected(models, *arguments, "--sensitivity")
    assert (ended.code, ended.out) == (2, "")
    assert errors(ended) == [
        "edgefer: error: int16x8.tflite is int16x8; --sensitivity is of int8 models"
    ]


AGAIN = "; give the float model it was made from"


@pytest.mark.parametrize(
    ("model", "reference", "code", "complaint"),
    [
        ("int8", "gone.tflite", 4, "gone.tflite: does not exist"),
        ("int8", "int16x8.tflite", 4, "int16x8.tflite: is already quantized"),
        ("int8", "float16.tflite", 4, "float16.tflite: is already quantized"),
        ("float", "float.tflite", 4, "float.tflite: is not quantized; give a .tflite that was"),
        ("gone", "float.tflite", 4, "gone.tflite: does not exist"),
        ("int8", "patt-lite.tflite", 4, "patt-lite.tflite: takes images of 48×48×3, but "
            f"int8.tflite of 32×32×3{AGAIN}"),
        ("int8", "reversed.tflite", 4, "reversed.tflite: has other classes, or another order"),
        ("int8", "wider.tflite", 4, "wider.tflite: normalises pixels otherwise than int8.tflite"),
        ("int8", "renamed.tflite", 4, "renamed.tflite: has no tensor in common with the model"),
        ("each-int8", "silent.tflite", 2, "silent.tflite does not say how to feed it: give"),
    ],
)  # fmt: skip
def test_models_that_do_not_belong_together_are_one_line(
    model: str,
    reference: str,
    code: int,
    complaint: str,
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(models)
    faces = small_models.faces(2)
    question = Question(model=Path(f"{model}.tflite"), reference=Path(reference), faces=faces)
    with pytest.raises(EdgeferError, match=f"^{re.escape(complaint)}.*$") as raised:
        look(question)
    assert raised.value.exit_code == code


def test_another_number_of_classes_is_one_line(models: Path) -> None:
    def drop(model: Any) -> None:
        """Take the last class off the dense layer and off what comes after it."""
        subgraph = model.subgraphs[0]
        dense, softmax = subgraph.operators[-2:]
        for index in (*dense.inputs[1:], dense.outputs[0], softmax.outputs[0]):
            tensor = subgraph.tensors[index]
            axis = 0 if index in dense.inputs else -1
            values = model.buffers[tensor.buffer].data
            if values is not None and len(values):
                size = len(values) // tensor.shape[axis]
                model.buffers[tensor.buffer].data = np.asarray(values)[:-size]
            tensor.shape[axis] -= 1

    fewer = dataclasses.replace(SPEC, labels=SPEC.labels[:-1])
    content = small_models.patched(small_models.small(), drop)
    (models / "fewer.tflite").write_bytes(metadata.write(content, fewer, {}))
    ended = inspected(models, "int8.tflite", "--reference", "fewer.tflite")
    assert (ended.code, ended.out, list(models.glob("*.html"))) == (4, "", [])
    assert errors(ended) == [
        f"edgefer: error: fewer.tflite: has 6 classes, but int8.tflite has 7{AGAIN}"
    ]


@pytest.mark.parametrize(
    "option",
    [["--sensitivity"], ["--all"], ["--faces", "3"], ["--report", "a.html"], ["--data", "faces"]],
)
def test_what_needs_a_reference_is_wrong_usage_without_one(option: list[str], models: Path) -> None:
    complaint = f"^{option[0]} needs --reference, the float model that MODEL was made from$"
    with pytest.raises(UsageError, match=complaint):
        command.main([str(models / "int8.tflite"), *option], standalone_mode=False)


def test_a_page_that_edgefer_did_not_make_is_not_replaced(models: Path, tmp_path: Path) -> None:
    page = tmp_path / "mine.html"
    page.write_text("mine")
    arguments = ("int8.tflite", "--reference", "float.tflite", "--report", page)
    ended = inspected(models, *arguments)
    assert (ended.code, ended.out, page.read_text()) == (2, "", "mine")
    assert inspected(models, *arguments, "--force").code == 0
    assert page.read_text().startswith("<!doctype html>")


@pytest.fixture
def light(models: Path) -> Callable[..., Ended]:
    """Return what runs the command without the packages of any extra."""

    def run(*arguments: str) -> Ended:
        ended = subprocess.run(
            [sys.executable, "-c", WITHOUT_EXTRAS, "inspect", *arguments, "--data", "faces"],
            capture_output=True,
            text=True,
            cwd=models,
            timeout=120,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    return run


def test_a_light_install_compares_two_files(light: Callable[..., Ended]) -> None:
    ended = light("int8.tflite", "--reference", "float.tflite")
    assert (ended.code, errors(ended)) == (0, [])
    assert f"all {OPERATORS} operators" in ended.out


@pytest.mark.parametrize(
    ("arguments", "feature"),
    [
        (("float.tflite", "--sensitivity"), "quantizing a model"),
        (("float.tflite", "--report", "light.html"), "a report"),
        (("patt-lite",), "building a network"),
    ],
)
def test_a_light_install_says_what_the_rest_needs(
    arguments: tuple[str, ...], feature: str, light: Callable[..., Ended]
) -> None:
    ended = light("int8.tflite", "--reference", *arguments)
    assert (ended.code, ended.out) == (2, "")
    (line,) = errors(ended)
    assert line.startswith(f"edgefer: error: {feature}")
    assert line.endswith("needs more packages: pip install 'edgefer[convert]'")
