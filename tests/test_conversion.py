"""The whole way from a float model to a verified file that describes itself."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import small_models
from recipes_to_try import EVERY_METHOD

from edgefer import metadata, runtime
from edgefer.converters import graph
from edgefer.converters.calibration.result import CalibrationResult
from edgefer.converters.conversion import (
    Conversion,
    ConvertedModel,
    convert,
    convert_checkpoint,
    faces_hash,
    read_float_tflite,
)
from edgefer.converters.recipes import (
    DYNAMIC,
    FLOAT16,
    FLOAT32,
    INT8,
    INT16X8,
    PRESETS,
    IoType,
    QuantizationRecipe,
)
from edgefer.converters.weights import weighted_layers
from edgefer.data.preprocessing import normalise
from edgefer.errors import DataError, ModelError
from edgefer.models.checkpoints import Checkpoint, named_weights

PATT_LITE_SPEC = small_models.PATT_LITE.spec(training_data="noise", licence="MIT")
FACES = small_models.faces(12, side=48)


def patt_lite_int8() -> ConvertedModel:
    return convert(small_models.patt_lite(), PATT_LITE_SPEC, INT8, FACES)


def test_patt_lite_becomes_27_integer_operators_in_1_3_megabytes() -> None:
    found = patt_lite_int8().verification
    assert found.operators == {
        "CONV_2D": 12, "DEPTHWISE_CONV_2D": 11, "FULLY_CONNECTED": 2, "MEAN": 1, "SOFTMAX": 1,
    }  # fmt: skip
    assert (found.float_operators, found.per_channel_layers) == (0, 25)
    assert found.size_bytes <= 1_300_000


def test_the_file_needs_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "patt-lite-int8.tflite"
    made = patt_lite_int8()
    path.write_bytes(made.tflite)
    found = metadata.read(path)
    assert found.spec == PATT_LITE_SPEC
    assert found.info["recipe"] == {
        "precision": "int8",
        "input_type": "int8",
        "output_type": "int8",
        "activation_ranges": "min-max",
        "weight_ranges": "min-max",
        "equalization": False,
        "bias_absorption": False,
        "adaptive_rounding": False,
        "bias_correction": True,
        "empirical_bias_correction": False,
        "head_in_float": False,
        "float_operators": [],
        "int16_operators": [],
        "mixed_precision": True,
    }
    assert found.info["calibration_hash"] == made.calibration_hash == faces_hash(FACES)
    assert set(found.info["versions"]) == {
        "edgefer", "tensorflow", "litert-quantizer", "ai-edge-litert",
    }  # fmt: skip
    model = runtime.open_model(path)
    scores = model.probabilities(small_models.inputs(3, side=48))
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=0.03)


@pytest.mark.parametrize("recipe", PRESETS.values(), ids=list(PRESETS))
def test_every_precision_comes_from_one_float_model(recipe: QuantizationRecipe) -> None:
    made = convert(small_models.small(), small_models.SPEC, recipe, small_models.faces(24))
    types = {"int8": "int8", "int16x8": "int8"}
    assert made.verification.input_type == types.get(made.recipe.precision, "float32")


def test_bias_correction_is_on_by_default_and_matters() -> None:
    faces = small_models.faces(48, seed=5)
    images = (small_models.pixels(80, seed=6).astype(np.int16) - 128).astype(np.int8)
    expected = small_models.run(small_models.small(), small_models.inputs(80, seed=6)).argmax(
        axis=1
    )

    def agreement(made: ConvertedModel) -> float:
        return float((small_models.run(made.tflite, images).argmax(axis=1) == expected).mean())

    plain = dataclasses.replace(INT8, bias_correction=False)
    corrected = agreement(convert(small_models.small(), small_models.SPEC, INT8, faces))
    assert (
        corrected > agreement(convert(small_models.small(), small_models.SPEC, plain, faces)) + 0.2
    )


def test_a_checkpoint_converts_too() -> None:
    model = small_models.PATT_LITE.build()
    small_models.randomise(model)
    checkpoint = Checkpoint(
        network=small_models.PATT_LITE, spec=PATT_LITE_SPEC, weights=named_weights(model)
    )
    made = convert_checkpoint(checkpoint, FLOAT32)
    assert made.verification.weights_bytes > 4_000_000
    assert made.calibration_hash is None
    images = small_models.inputs(2, side=48)
    np.testing.assert_allclose(
        small_models.run(made.tflite, images), small_models.run(small_models.patt_lite(), images),
        atol=1e-6,
    )  # fmt: skip


def test_a_float_file_of_another_tool_converts_too(tmp_path: Path) -> None:
    path = tmp_path / "theirs.tflite"
    path.write_bytes(small_models.small())
    made = convert(read_float_tflite(path), small_models.SPEC, FLOAT16, source=path)
    assert made.verification.operators["DEQUANTIZE"] == 8


def test_the_hash_is_of_the_faces_whatever_their_order() -> None:
    faces = small_models.faces(5)
    assert faces_hash(faces) == faces_hash(faces.select([4, 2, 0, 1, 3]))
    assert faces_hash(faces) != faces_hash(faces.select([0, 1, 2, 3]))
    assert faces_hash(faces) != faces_hash(small_models.faces(5, seed=1))


def test_progress_names_each_method_in_order_and_runs_from_its_start_to_its_end() -> None:
    seen: dict[str, list[tuple[int, int]]] = {}
    convert(
        small_models.small(),
        small_models.SPEC,
        EVERY_METHOD,
        small_models.faces(9),
        report=lambda what, done, total: seen.setdefault(what, []).append((done, total)),
    )
    assert list(seen) == [
        "Equalizing channels",
        "Absorbing biases",
        "Calibrating",
        "Rounding weights",
        "Correcting biases by what layers put out",
    ]
    assert seen["Calibrating"] == [(done, 9) for done in range(1, 10)]
    for steps in seen.values():
        assert steps == sorted(steps)
        assert steps[-1] == (9, 9)


def test_one_conversion_calibrates_once_for_all_recipes_of_the_same_channels() -> None:
    calibrated: list[int] = []

    def report(what: str, done: int, _total: int) -> None:
        if what == "Calibrating":
            calibrated.append(done)

    faces = small_models.faces(8)
    conversion = Conversion(small_models.small(), small_models.SPEC, faces, report=report)
    made = [conversion.to(recipe) for recipe in (INT8, INT16X8, DYNAMIC)]
    assert calibrated == list(range(1, 9))
    alone = convert(small_models.small(), small_models.SPEC, INT16X8, faces)
    assert made[1].tflite == alone.tflite
    conversion.to(dataclasses.replace(INT8, equalization=True))
    assert calibrated == [*range(1, 9), *range(1, 9)]


def test_every_method_together_makes_answers_nearer_to_the_float_models() -> None:
    """On faces that were not used to calibrate."""
    faces = small_models.faces(48, seed=5)
    fresh = small_models.inputs(80, seed=6)
    expected = small_models.run(small_models.small(), fresh)
    conversion = Conversion(small_models.small(), small_models.SPEC, faces)

    def error(recipe: QuantizationRecipe) -> float:
        made = conversion.to(
            dataclasses.replace(recipe, input_type=IoType.FLOAT32, output_type=IoType.FLOAT32)
        )
        return float(np.abs(small_models.run(made.tflite, fresh) - expected).mean())

    assert error(EVERY_METHOD) < 0.8 * error(INT8)


def test_the_prepared_model_answers_as_the_original_and_is_what_was_calibrated() -> None:
    conversion = Conversion(small_models.small(), small_models.SPEC, small_models.faces(8))
    prepared = conversion.to(EVERY_METHOD).prepared
    assert prepared.tflite != small_models.small()
    images = small_models.inputs(8)
    np.testing.assert_allclose(
        small_models.run(prepared.tflite, images),
        small_models.run(small_models.small(), images),
        atol=1e-5,
    )
    assert prepared.calibration is not None
    assert prepared.calibration == prepared.calibration.fitted_to(prepared.tflite)


def calibration() -> CalibrationResult:
    """Return what a calibration file would hold of the same faces."""
    made = convert(small_models.small(), small_models.SPEC, INT8, small_models.faces(8))
    assert made.prepared.calibration is not None
    return made.prepared.calibration


@pytest.mark.parametrize("recipe", [INT8, INT16X8, DYNAMIC], ids=["int8", "int16x8", "dynamic"])
def test_a_calibration_makes_the_same_file_as_its_faces(recipe: QuantizationRecipe) -> None:
    small, spec = small_models.small(), small_models.SPEC
    of_faces = convert(small, spec, recipe, small_models.faces(8))
    assert convert(small, spec, recipe, calibration()).tflite == of_faces.tflite


@pytest.mark.parametrize(
    "recipe",
    [
        dataclasses.replace(INT8, equalization=True),
        dataclasses.replace(INT8, bias_absorption=True),
        dataclasses.replace(DYNAMIC, adaptive_rounding=True),
        dataclasses.replace(INT8, empirical_bias_correction=True),
    ],
    ids=["equalization", "absorption", "adaptive", "empirical"],
)
def test_what_needs_faces_themselves_is_refused_with_a_calibration(
    recipe: QuantizationRecipe,
) -> None:
    """Also where the same calibration served a recipe that needs none of them before."""
    conversion = Conversion(small_models.small(), small_models.SPEC, calibration())
    conversion.to(INT8)
    with pytest.raises(
        DataError, match=r"holds no faces, which .* give --calibration the dataset itself"
    ):
        conversion.to(recipe)


def test_operators_in_float_keep_their_weights_where_all_others_round_adaptively() -> None:
    """What is rounded once for all recipes is taken back where one leaves an operator in float."""
    conversion = Conversion(small_models.small(), small_models.SPEC, small_models.faces(8))
    content = graph.read(small_models.small())
    adaptive = dataclasses.replace(INT8, adaptive_rounding=True)
    name = content.tensors[content.operators[2].outputs[0]].name
    mixed = dataclasses.replace(adaptive, float_operators=(name,))
    exact, rounded, found = (
        weighted_layers(graph.read(tflite))
        for tflite in (
            small_models.small(), conversion.integers(adaptive), conversion.integers(mixed)
        )
    )  # fmt: skip
    for one, whole, part in zip(exact, rounded, found, strict=True):
        expected = one if one.operator.index == 2 else whole
        np.testing.assert_array_equal(
            np.asarray(part.weights.data), np.asarray(expected.weights.data)
        )


@pytest.mark.parametrize("recipe", [INT8, DYNAMIC])
def test_faces_are_needed_and_missing_ones_named(recipe: QuantizationRecipe) -> None:
    with pytest.raises(DataError, match="no faces to calibrate on"):
        convert(small_models.small(), small_models.SPEC, recipe)
    adaptive = dataclasses.replace(recipe, adaptive_rounding=True)
    with pytest.raises(DataError, match="no faces to calibrate on"):
        convert(small_models.small(), small_models.SPEC, adaptive)
    with pytest.raises(DataError, match=r"^smooth noise: has no faces"):
        convert(small_models.small(), small_models.SPEC, recipe, small_models.faces(1).select([]))


BY_CHANNEL = dataclasses.replace(
    small_models.SPEC, mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4)
)


def test_channels_with_a_normalisation_each_get_one_for_all_and_a_layer_in_front() -> None:
    """The answers to the same pixels stay; what the pixels are brought to is -1…1."""
    made = convert(small_models.small(), BY_CHANNEL, FLOAT32)
    assert (made.spec.mean, made.spec.std) == ((127.5,) * 3, (127.5,) * 3)
    assert len(graph.read(made.tflite).operators) == 1 + len(
        graph.read(small_models.small()).operators
    )
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    np.testing.assert_allclose(
        small_models.run(made.tflite, normalise(pixels, made.spec)),
        small_models.run(small_models.small(), normalise(pixels, BY_CHANNEL)),
        atol=1e-5,
    )


def test_their_int8_takes_raw_pixels() -> None:
    made = convert(small_models.small(), BY_CHANNEL, INT8, small_models.faces(8))
    assert made.verification.float_operators == 0
    image = graph.read(made.tflite).tensors[graph.read(made.tflite).inputs[0]]
    assert image.quantization is not None
    assert float(image.quantization.scales[0]) == pytest.approx(1 / 127.5)
    assert int(image.quantization.zero_points[0]) == -1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_size": 48}, r"takes an image of \(1, 32, 32, 3\)"),
        ({"labels": ("a", "b")}, r"answers with \(1, 7\), for 2 labels"),
    ],
)
def test_a_model_that_does_not_fit_its_spec_is_refused(
    changes: dict[str, object], message: str
) -> None:
    spec = dataclasses.replace(small_models.SPEC, **changes)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=message):
        convert(small_models.small(), spec, FLOAT32)
