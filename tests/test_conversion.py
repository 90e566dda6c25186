"""The whole way from a float model to a verified file that describes itself."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import small_models

from edgefer import metadata, runtime
from edgefer.converters import graph
from edgefer.converters.conversion import (
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
    PRESETS,
    QuantizationRecipe,
)
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
        "bias_correction": True,
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


def test_progress_runs_once_from_start_to_end() -> None:
    seen: list[tuple[int, int]] = []
    convert(
        small_models.small(),
        small_models.SPEC,
        INT8,
        small_models.faces(9),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(done, 9) for done in range(1, 10)]


@pytest.mark.parametrize("recipe", [INT8, DYNAMIC])
def test_faces_are_needed_and_missing_ones_named(recipe: QuantizationRecipe) -> None:
    with pytest.raises(DataError, match="no faces to calibrate on"):
        convert(small_models.small(), small_models.SPEC, recipe)
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


def test_recipes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="rounds no weights"):
        dataclasses.replace(FLOAT16, bias_correction=True)
    with pytest.raises(ValueError, match="head in floating point anyway"):
        dataclasses.replace(DYNAMIC, head_in_float=True)
