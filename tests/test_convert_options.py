"""Stating and keeping a conversion: recipes, methods and calibrations on the command line."""

import gzip
import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import small_models
from commands import Ended, edgefer, errors

from edgefer import calibration_data, metadata
from edgefer.cli.recipe_options import recipes_for
from edgefer.cli.run import run
from edgefer.converters import graph, recipe_file
from edgefer.converters.calibration import result
from edgefer.converters.conversion import faces_hash
from edgefer.converters.recipes import (
    FLOAT16,
    INT8,
    INT16X8,
    Precision,
    QuantizationRecipe,
    RangeMethod,
)
from edgefer.data.folders import read_folder
from edgefer.errors import UsageError
from edgefer.models import bundled

Convert = Callable[..., Ended]


def write_faces(root: Path, count: int, seed: int) -> Path:
    """Write smooth images of two classes as PNGs."""
    for index, image in enumerate(small_models.pixels(count, seed=seed)):
        folder = root / ("anger", "sadness")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{index:03}.png"), image)
    return root


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a small float model, another one, and faces to calibrate and evaluate."""
    folder = tmp_path_factory.mktemp("desk")
    small = small_models.small()
    (folder / "small.tflite").write_bytes(metadata.write(small, small_models.SPEC, {}))
    weights = graph.read(small).tensors

    def train_on(model: object) -> None:
        for tensor in weights:
            if tensor.is_float and tensor.data is not None:
                index = model.subgraphs[0].tensors[tensor.index].buffer  # type: ignore[attr-defined]
                values = (tensor.data * np.float32(1.01)).reshape(-1).view(np.uint8)
                model.buffers[index].data = values  # type: ignore[attr-defined]

    other = small_models.patched(small, train_on)
    (folder / "other.tflite").write_bytes(metadata.write(other, small_models.SPEC, {}))
    write_faces(folder / "faces", 24, seed=3)
    write_faces(folder / "others", 16, seed=4)
    return folder


@pytest.fixture
def convert(
    desk: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Convert:
    """Run `edgefer convert` on the small model; what it writes goes into the current folder."""
    monkeypatch.chdir(tmp_path)

    def convert(*arguments: object, model: Path = desk / "small.tflite") -> Ended:
        code = run(["convert", str(model), *map(str, arguments)])
        out, err = capfd.readouterr()
        return Ended(code, out, err)

    return convert


def error(ended: Ended) -> str:
    """Return the only line on stderr that is no progress."""
    (line,) = errors(ended)
    assert ended.out == ""
    return line.removeprefix("edgefer: error: ")


def test_a_recipe_file_states_the_whole_conversion(convert: Convert, desk: Path) -> None:
    names = [
        graph.read(small_models.small()).tensors[operator.outputs[0]].name
        for operator in graph.read(small_models.small()).operators
    ]
    Path("mine.toml").write_text(
        'precision = "int8"\ninput_type = "uint8"\nactivation_ranges = "percentile"\n'
        f'float_operators = ["{names[-2]}", "{names[-1]}"]\n'
    )
    ended = convert(
        "--recipe", "mine.toml", "--no-evaluate", "--calibration", desk / "faces", "--json"
    )
    assert ended.code == 0, ended.err
    (model,) = json.loads(ended.out)["models"]
    assert model["file"] == "small-int8.tflite"
    assert model["recipe"]["activation_ranges"] == "percentile"
    assert model["verification"]["input_type"] == "uint8"
    assert model["verification"]["kept_in_float"] == {"FULLY_CONNECTED": 1, "SOFTMAX": 1}


def test_a_saved_recipe_makes_the_same_file_again(convert: Convert, desk: Path) -> None:
    options = ("--no-evaluate", "--calibration", desk / "faces", "--output")
    method = ("--calibration-method", "mse", "--equalize", "--no-bias-correction")
    first = convert("--int8", *method, *options, "first", "--save-recipe", "kept/mine.toml")
    assert first.code == 0, first.err
    assert "  kept/mine.toml\n" in first.out
    kept = tomllib.loads(Path("kept/mine.toml").read_text())
    stated = {key: kept[key] for key in ("activation_ranges", "equalization", "bias_correction")}
    assert stated == {"activation_ranges": "mse", "equalization": True, "bias_correction": False}
    again = convert("--recipe", "kept/mine.toml", *options, "again")
    assert again.code == 0, again.err
    first_file, second_file = (Path(f) / "small-int8.tflite" for f in ("first", "again"))
    assert first_file.read_bytes() == second_file.read_bytes()


@pytest.mark.parametrize("name", ["seen.json", "seen.json.gz", "seen"])
def test_a_calibration_file_stands_for_the_faces(convert: Convert, desk: Path, name: str) -> None:
    """It is known by what is in it, whatever its name, and makes the same bytes."""
    flags = ("--int8", "--dynamic", "--calibration-method", "entropy", "--no-evaluate")
    first = convert(
        *flags, "--calibration", desk / "faces", "--save-calibration", name, "-o", "first"
    )
    assert first.code == 0, first.err
    again = convert(*flags, "--calibration", name, "-o", "again")
    assert again.code == 0, again.err
    for file in ("small-int8.tflite", "small-dynamic.tflite"):
        assert (Path("first") / file).read_bytes() == (Path("again") / file).read_bytes()
    assert "12 of the calibration faces" in Path("first/small-int8.html").read_text()
    assert "12 of the bundled faces" in Path("again/small-int8.html").read_text()
    content = Path(name).read_bytes()
    kept = json.loads(gzip.decompress(content) if name.endswith(".gz") else content)
    assert (kept["kind"], kept["faces"]) == ("edgefer calibration", 24)


def test_one_calibration_file_serves_every_method_of_ranges(convert: Convert, desk: Path) -> None:
    kept = convert(
        "--int8", "--no-evaluate", "--calibration", desk / "faces", "--save-calibration", "seen"
    )
    assert kept.code == 0, kept.err
    files = set()
    for method in RangeMethod:
        flags = ("--int8", "--calibration-method", method, "--no-evaluate", "-o", method)
        assert convert(*flags, "--calibration", "seen").code == 0
        files.add((Path(method) / "small-int8.tflite").read_bytes())
    assert len(files) == len(RangeMethod)


def test_faces_that_a_calibration_file_cannot_tell_apart_are_not_called_disjoint(
    convert: Convert, desk: Path
) -> None:
    faces = ("--calibration", desk / "faces", "--data", desk / "others")
    kept = convert("--int8", *faces, "--json", "--save-calibration", "seen.json")
    assert kept.code == 0, kept.err
    assert json.loads(kept.out)["are_faces_apart"] is True
    ended = convert("--int8", "--calibration", "seen.json", "--data", desk / "others", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["are_faces_apart"] is False
    assert json.loads(Path("small-int8.json").read_text())["are_faces_apart"] is False
    assert "was not checked: a calibration file holds no faces" in Path(
        "small-int8.html"
    ).read_text().replace("&#39;", "'")
    same = convert("--int8", "--calibration", "seen.json", "--data", desk / "faces")
    assert same.code == 4
    assert error(same) == (
        f"{desk / 'faces'}: its faces are those that the calibration file was made of; "
        "evaluate on others"
    )


def kept_calibration(desk: Path) -> Path:
    """Return the small model's calibration file."""
    path = desk / "kept.json"
    if not path.exists():
        faces = read_folder(desk / "faces")
        found = small_models.calibrated(small_models.small(), small_models.inputs(24, seed=3))
        result.write(path, found)
        assert len(faces) == found.faces
    return path


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--int8", "--recipe", "r.toml"), "--recipe states the whole conversion: write --int8"),
        (("--recipe", "r.toml", "--input-type", "int8"), "write --input-type into r.toml"),
        (("--recipe", "r.toml", "--output-type", "int8"), "write --output-type into r.toml"),
        (("--recipe", "r.toml", "--no-bias-correction"), "write --bias-correction into r.toml"),
        (("--recipe", "r.toml", "--calibration-method", "mse"), "write --calibration-method into"),
        (("--recipe", "r.toml", "--equalize"), "write --equalize into r.toml"),
        (("--recipe", "r.toml", "--adaptive-rounding"), "write --adaptive-rounding into r.toml"),
        (("--recipe", "none.toml"), "none.toml: cannot be read: No such file or directory"),
        (("--recipe", "folder"), "folder: cannot be read: Is a directory"),
        (("--recipe", "text.toml"), "text.toml: is not TOML"),
        (("--recipe", "key.toml"), "key.toml: 'equalise': no such key; there are precision, "),
        (("--recipe", "value.toml"), 'value.toml: weight_ranges: expected "min-max" or "mse"'),
        (("--recipe", "operator.toml"), "the recipe names 'conv_99', which no operator writes"),
        ((), "say which precision to make, such as --int8, or give --recipe"),
        (("--float16", "--equalize"), "--equalize changes nothing in float16"),
        (("--dynamic", "--calibration-method", "mse"), "--calibration-method changes nothing in"),
        (("--float32", "--float16", "--adaptive-rounding"), "changes nothing in float32, float16"),
        (("--int8", "--dynamic", "--save-recipe", "s.toml"), "--save-recipe keeps one recipe"),
        (("--float16", "--save-calibration", "s.json"), "--save-calibration has nothing to keep"),
        (("--int8", "--dynamic", "--equalize", "--save-calibration", "s"), "the precisions differ"),
        (("--int8", "--save-recipe", "theirs"), "theirs exists and was not made by edgefer"),
        (("--int8", "--save-calibration", "theirs"), "theirs exists and was not made by edgefer"),
        (("--int8", "--save-recipe", "a", "--save-calibration", "a"), "a would be written twice"),
        (("--int8", "--save-calibration", "./small-int8.json"), "would be written twice"),
        (("--int8", "--equalize", "--max-drop", "1"), "--max-drop searches for the methods: leave"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line(
    options: tuple[str, ...], problem: str, convert: Convert, desk: Path
) -> None:
    Path("folder").mkdir()
    Path("theirs").write_text("precious")
    Path("r.toml").write_text('precision = "int8"\n')
    Path("text.toml").write_text("what I want: int8\n")
    Path("key.toml").write_text('precision = "int8"\nequalise = true\n')
    Path("value.toml").write_text('precision = "int8"\nweight_ranges = "octav"\n')
    Path("operator.toml").write_text('precision = "int8"\nfloat_operators = ["conv_99"]\n')
    evaluate = () if "--max-drop" in options else ("--no-evaluate",)
    ended = convert(*options, *evaluate, "--calibration", desk / "faces")
    assert ended.code == 2
    assert problem in error(ended)
    assert Path("theirs").read_text() == "precious"
    assert list(Path().glob("small-*")) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "given: cannot be read: No such file or directory"),
        (b"precision: int8", "given: is not a dataset: give a folder with one folder a class"),
        (b'{"models": []}', "given: is not a calibration of edgefer's: model: "),
        (b"{", "given: is not a calibration of edgefer's: the whole: "),
        (gzip.compress(b'{"kind": 3}'), "given: is not a calibration of edgefer's: kind: "),
        (gzip.compress(b"{" + b" " * 999)[:24], "given: cannot be read: damaged gzip data"),
    ],
    ids=["missing", "text", "other JSON", "cut", "packed", "cut packed"],
)
def test_what_is_neither_faces_nor_a_calibration_is_one_line(
    content: bytes | None, problem: str, convert: Convert
) -> None:
    if content is not None:
        Path("given").write_bytes(content)
    ended = convert("--int8", "--no-evaluate", "--calibration", "given")
    assert ended.code == 4
    assert problem in error(ended)


@pytest.mark.parametrize(
    ("options", "needs"),
    [
        (("--int8", "--equalize"), "equalization"),
        (("--int8", "--dynamic", "--adaptive-rounding"), "adaptive rounding"),
        (("--recipe", "empirical.toml"), "empirical bias correction"),
    ],
)
def test_a_method_that_needs_faces_says_so_before_any_work(
    options: tuple[str, ...], needs: str, convert: Convert, desk: Path
) -> None:
    text = 'precision = "int8"\nempirical_bias_correction = true\n'
    Path("empirical.toml").write_text(text)
    ended = convert(*options, "--calibration", kept_calibration(desk), model=Path("not-there"))
    assert ended == Ended(
        4,
        "",
        f"edgefer: error: the calibration file: holds no faces, which {needs} needs; "
        "give --calibration the dataset itself\n",
    )


def test_a_search_cannot_do_with_a_calibration_file(convert: Convert, desk: Path) -> None:
    ended = convert("--int8", "--max-drop", "1", "--calibration", kept_calibration(desk))
    assert ended.code == 4
    assert "holds no faces, which the search for a recipe needs" in error(ended)


def test_a_calibration_of_another_model_is_refused(convert: Convert, desk: Path) -> None:
    other = desk / "other.tflite"
    calibration = kept_calibration(desk)
    ended = convert("--int8", "--no-evaluate", "--calibration", calibration, model=other)
    assert ended.code == 4
    assert error(ended) == (
        f"the calibration: is of another float model than {other}; calibrate that one"
    )


def test_a_calibration_of_the_equalized_model_is_not_that_of_the_plain_one(
    convert: Convert, desk: Path
) -> None:
    faces = ("--no-evaluate", "--calibration", desk / "faces")
    kept = convert("--int8", "--equalize", *faces, "--save-calibration", "equalized.json")
    assert kept.code == 0, kept.err
    ended = convert("--int8", "--no-evaluate", "--calibration", "equalized.json", "-o", "again")
    assert ended.code == 4
    assert "is of another float model than" in error(ended)


@pytest.mark.parametrize("option", ["--save-recipe", "--save-calibration"])
def test_where_nothing_can_be_written_is_told_before_the_model_is_opened(
    option: str, convert: Convert
) -> None:
    Path("folder").mkdir()
    Path("file").write_text("")
    for path, problem in (
        ("folder", "folder: is a folder; choose another path"),
        ("file/kept", "file/kept: cannot be written: "),
    ):
        ended = convert("--int8", option, path, "--no-evaluate", model=Path("not-there"))
        assert ended.code == 1
        assert problem in error(ended)


def test_files_of_edgefer_are_replaced_and_others_when_forced(convert: Convert, desk: Path) -> None:
    options = ("--int8", "--no-evaluate", "--calibration", desk / "faces")
    saved = ("--save-recipe", "r.toml", "--save-calibration", "c.json.gz")
    assert convert(*options, *saved).code == 0
    first = Path("r.toml").read_bytes(), Path("c.json.gz").read_bytes()
    assert convert(*options, *saved).code == 0
    assert (Path("r.toml").read_bytes(), Path("c.json.gz").read_bytes()) == first
    Path("r.toml").write_text('precision = "int8"  # mine\n')
    assert convert(*options, *saved).code == 2
    assert convert(*options, *saved, "--force").code == 0
    assert Path("r.toml").read_bytes() == first[0]


def test_options_change_the_precisions_that_they_mean_something_in() -> None:
    changes = {"equalize": True, "adaptive_rounding": True, "calibration_method": "best"}
    int16, half, int8 = recipes_for(
        [Precision.INT16X8, Precision.FLOAT16, Precision.INT8], changes, None
    )
    assert half == FLOAT16
    for recipe, preset in ((int8, INT8), (int16, INT16X8)):
        assert recipe == QuantizationRecipe(
            **{
                **vars(preset),
                "equalization": True,
                "adaptive_rounding": True,
                "activation_ranges": RangeMethod.BEST,
            }
        )
    assert recipes_for([Precision.INT8], {}, None) == (INT8,)
    with pytest.raises(UsageError, match="--adaptive-rounding changes nothing in float16"):
        recipes_for([Precision.FLOAT16], {"adaptive_rounding": True}, None)


def test_the_guide_shows_a_recipe_that_is_read_and_names_every_key(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[1] / "docs/recipes.md").read_text()
    example = guide.split("```toml\n")[1].split("```")[0]
    (tmp_path / "guide.toml").write_text(example)
    recipe = recipe_file.read(tmp_path / "guide.toml")
    assert recipe.precision is Precision.INT8
    assert [key for key in recipe.to_dict() if f"`{key}`" not in guide] == []


def test_the_bundled_calibrations_are_of_the_bundled_faces() -> None:
    assert set(bundled.calibrations()) == set(bundled.models())
    expected = faces_hash(calibration_data.calibration_faces())
    for path in bundled.calibrations().values():
        assert path.stat().st_size < 300_000
        found = result.read(path)
        assert (found.faces_hash, found.faces) == (expected, 300)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(bundled.models()))
def test_the_bundled_calibration_is_what_calibrating_gives_and_makes_the_same_file(
    name: str, tmp_path: Path
) -> None:
    """On another processor the numbers may differ in their last digits, and ranges with them."""
    flags = ("convert", name, "--int8", "--no-evaluate")
    kept = edgefer(*flags, "--save-calibration", "now.json", "-o", "faces", cwd=tmp_path)
    assert kept.code == 0, kept.err
    again = edgefer(*flags, "--calibration", "now.json", "-o", "file", cwd=tmp_path)
    assert again.code == 0, again.err
    made = (tmp_path / folder / f"{name}-int8.tflite" for folder in ("faces", "file"))
    assert len({path.read_bytes() for path in made}) == 1
    shipped = edgefer(*flags, "--calibration", name, "--json", "-o", "shipped", cwd=tmp_path)
    assert shipped.code == 0, shipped.err
    now, then = result.read(tmp_path / "now.json"), result.read(bundled.calibrations()[name])
    assert now.model.structure == then.model.structure
    for method in (RangeMethod.MIN_MAX, RangeMethod.MOVING_AVERAGE, RangeMethod.PERCENTILE):
        ranges, known = now.ranges(method), then.ranges(method)
        assert len(ranges) == len(known)
        for found, expected in zip(ranges.values(), known.values(), strict=True):
            np.testing.assert_allclose(found, expected, atol=0.005 * np.ptp(expected))
    for patch, expected_patch in zip(now.mean_patches, then.mean_patches, strict=True):
        scale = np.abs(expected_patch.values).max()
        np.testing.assert_allclose(patch.values, expected_patch.values, atol=1e-3 * scale)


@pytest.mark.slow
def test_faces_are_compared_one_by_one_where_the_calibration_is_of_the_bundled_ones(
    tmp_path: Path,
) -> None:
    flags = ("convert", "--int8", "--calibration", "patt-lite")
    ended = edgefer(*flags, "--json", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["are_faces_apart"] is True
    folder = tmp_path / "mixed"
    for faces, part in (("calibration", "anger"), ("evaluation", "sadness")):
        source = calibration_data.FOLDER / faces / part
        for path in sorted(source.iterdir())[:5]:
            (folder / part).mkdir(parents=True, exist_ok=True)
            (folder / part / path.name).write_bytes(path.read_bytes())
    shared = edgefer(*flags, "--data", folder, cwd=tmp_path)
    assert shared.code == 4
    assert "5 of its faces are also among the calibration faces" in shared.err


@pytest.mark.slow
def test_a_search_keeps_the_recipe_and_the_calibration_that_it_chose(
    convert: Convert, desk: Path, tmp_path: Path
) -> None:
    """With so much to lose, plain int8 and the usual recipe are tried, and the nearer one taken."""
    faces = ("--calibration", write_faces(tmp_path / "many", 90, seed=5), "--data", desk / "others")
    saved = ("--save-recipe", "chosen.toml", "--save-calibration", "seen.json")
    ended = convert("--int8", "--max-drop", "99", *faces, *saved)
    assert ended.code == 0, ended.err
    assert recipe_file.read(Path("chosen.toml")).bias_correction
    kept = ("--recipe", "chosen.toml", "--calibration", "seen.json")
    again = convert(*kept, "--no-evaluate", "--output", "again")
    assert again.code == 0, again.err
    assert Path("again/small-int8.tflite").read_bytes() == Path("small-int8.tflite").read_bytes()
