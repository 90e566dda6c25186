"""What stays float in an int8 conversion, and that XNNPACK then takes the graph whole."""

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import arbex_states
import numpy as np
import pytest
import small_models

from edgefer import calibration_data
from edgefer.benchmarks import profiler
from edgefer.converters import conversion, float_model, graph
from edgefer.converters.conversion import ConvertedModel
from edgefer.converters.mixed_precision import SPLITTING_KINDS, mixed_precision
from edgefer.converters.quantize import quantize
from edgefer.converters.recipes import DYNAMIC, INT8, IoType
from edgefer.data.labels import ALPHABETICAL_8
from edgefer.errors import ModelError
from edgefer.models import checkpoints
from edgefer.models.arbex import importing
from edgefer.quiet import quiet
from edgefer.report.delivery import precision_sentence

WITHOUT = dataclasses.replace(INT8, mixed_precision=False)
UNQUANTIZED = {"LOG", "PRELU"}
"""Kinds of which litert-quantizer makes no int8 at all."""


@cache
def transformer() -> bytes:
    """Return a small network with every kind of operator that ARBEx has, as a float .tflite."""
    from keras import Input, Model, layers, ops

    image = Input((small_models.SIDE, small_models.SIDE, 3), batch_size=1, name="image")
    x = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(16, 4, strides=4)(image))
    x = x + layers.DepthwiseConv2D(3, padding="same")(x)
    normal = x * ops.rsqrt(ops.conv(x * x, np.full((1, 1, 16, 1), 1 / 16, np.float32), 1) + 1e-5)
    asked = [ops.reshape(layers.Conv2D(16, 1)(normal), (1, 64, 16)) for _ in range(3)]
    scores = ops.matmul(asked[0], ops.transpose(asked[1], (0, 2, 1)))
    found = ops.reshape(ops.matmul(ops.softmax(scores), asked[2]), (1, 8, 8, 16))
    x = x + layers.Conv2D(16, 1)(ops.gelu(layers.Conv2D(32, 1)(found), approximate=False))
    embedding = layers.GlobalAveragePooling2D()(x)
    first = layers.Dense(7, activation="softmax")(embedding)
    doubt = ops.matmul(first * ops.log(ops.maximum(first, 1e-9)), -np.ones((7, 1), np.float32))
    distances = ops.sqrt(ops.sum((ops.expand_dims(embedding, 1) - _anchors()) ** 2, axis=-1))
    second = ops.softmax(distances * -1.0)
    share = doubt / (doubt + 1.0)
    model = Model(image, first + share * (second - first), name="transformer")
    small_models.randomise(model, seed=5)
    return float_model.from_keras(model)


def _anchors() -> Any:
    return np.random.default_rng(6).normal(size=(1, 7, 16)).astype(np.float32)


@cache
def converted(output_type: IoType = IoType.INT8) -> ConvertedModel:
    recipe = dataclasses.replace(INT8, output_type=output_type)
    return conversion.convert(transformer(), small_models.SPEC, recipe, small_models.faces(24))


def profiled(tflite: bytes, folder: Path) -> dict[str, Any]:
    path = folder / "model.tflite"
    path.write_bytes(tflite)
    with quiet():
        return profiler.profile(str(path), 1, 1, lambda shape, dtype: np.ones(shape, dtype))


def test_xnnpack_takes_the_whole_graph(tmp_path: Path) -> None:
    """All in int8 the same network falls into many pieces, or cannot be made at all."""
    found = profiled(converted().tflite, tmp_path)
    assert (found["partitions"], found["left_out"]) == (1, {})


def test_its_answers_stay_close() -> None:
    images = small_models.pixels(40, seed=3)
    expected = small_models.run(transformer(), small_models.inputs(40, seed=3))
    assert expected.std(axis=0).mean() > 0.02
    answers = small_models.run(converted().tflite, (images.astype(np.int16) - 128).astype(np.int8))
    assert np.abs(small_models.real(converted().tflite, answers) - expected).mean() < 0.01


def test_layers_have_int8_weights_and_the_verification_names_the_rest() -> None:
    found = converted().verification
    assert found.rounding_layers == 6
    assert found.kept_in_float["PRELU"] == found.kept_in_float["LOG"] == 1
    assert found.kept_in_float["BATCH_MATMUL"] == found.kept_in_float["SOFTMAX"] - 1 == 2
    assert not found.kept_in_float.keys() & {"QUANTIZE", "DEQUANTIZE"}
    sentence = precision_sentence(converted())
    assert sentence is not None
    assert "XNNPACK has no int8 kernels for " in sentence
    assert "2 BATCH_MATMUL" in sentence
    assert "the 6 layers between them" in sentence


def test_int8_scores_of_a_float_end_are_probabilities_in_256_steps() -> None:
    content = graph.read(converted().tflite)
    scores = content.tensors[content.outputs[0]].quantization
    assert scores is not None
    assert (float(scores.scales[0]), int(scores.zero_points[0])) == (1 / 256, -128)


def test_float_scores_are_not_rounded_on_the_way() -> None:
    content = graph.read(converted(IoType.FLOAT32).tflite)
    assert content.operators[-1].kind == "ADD"


def test_a_graph_that_int8_does_not_split_is_all_int8() -> None:
    """Its softmax comes last, and splits nothing."""
    for tflite in (small_models.small(), small_models.patt_lite()):
        assert not mixed_precision(graph.read(tflite)).floats
    made = conversion.convert(small_models.small(), small_models.SPEC, INT8, small_models.faces(24))
    assert precision_sentence(made) is None


def test_without_mixed_precision_such_a_graph_is_refused() -> None:
    with pytest.raises(ModelError, match="LOG, PRELU, QUANTIZE still computes in floating point"):
        conversion.convert(transformer(), small_models.SPEC, WITHOUT, small_models.faces(8))


def test_only_int8_is_mixed() -> None:
    with pytest.raises(ValueError, match="mixed precision is a way to make int8, not dynamic"):
        dataclasses.replace(DYNAMIC, mixed_precision=True)


def _kinds() -> dict[str, Callable[[Any], Any]]:
    from keras import ops

    return {
        "BATCH_MATMUL": lambda x: ops.matmul(x, ops.transpose(x, (0, 1, 3, 2))),
        "DIV": lambda x: x / (x[:, :1, :1] + 3.0),
        "GELU": lambda x: ops.gelu(x, approximate=False),
        "MAXIMUM": lambda x: ops.maximum(x, 0.1),
        "RSQRT": lambda x: ops.rsqrt(x * x + 0.1),
        "SOFTMAX": lambda x: ops.softmax(x, axis=-1),
        "SQRT": lambda x: ops.sqrt(x * x),
        "SQUARED_DIFFERENCE": lambda x: ops.square(x - x[:, :1, :1]),
    }


@pytest.mark.parametrize("kind", sorted(SPLITTING_KINDS - UNQUANTIZED))
def test_xnnpack_has_it_in_float_and_not_in_int8(kind: str, tmp_path: Path) -> None:
    """A runtime that has it in int8 as well makes this fail: then the kind can leave the table."""
    from keras import Input, Model, layers

    image = Input((8, 8, 3), batch_size=1, name="image")
    x = _kinds()[kind](layers.Conv2D(8, 1)(image))
    model = Model(image, layers.Dense(7)(layers.Flatten()(layers.Conv2D(8, 1)(x))))
    small_models.randomise(model)
    tflite = float_model.from_keras(model)
    ranges = small_models.ranges(tflite, small_models.inputs(4, side=8))
    integer = quantize(tflite, ranges, WITHOUT, (-1.0, 1.0))
    assert kind in {operator.kind for operator in graph.read(tflite).operators}
    assert kind not in profiled(tflite, tmp_path)["left_out"]
    assert profiled(integer, tmp_path)["left_out"][kind] == 1


def test_a_bias_of_four_axes_gets_one() -> None:
    """As litert-torch writes it; quantized with four, no interpreter would load it."""

    def add_axes(model: Any) -> None:
        subgraph = model.subgraphs[0]
        layer = graph.read(small_models.small()).operators[-2]
        assert layer.kind == "FULLY_CONNECTED"
        subgraph.tensors[layer.inputs[2]].shape = [1, 1, 1, 7]

    written = small_models.patched(small_models.small(), add_axes)
    content = graph.read(float_model.from_tflite(written, source="a.tflite"))
    assert content.tensors[content.operators[-2].inputs[2]].shape == (7,)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You are using a softmax over axis:UserWarning")
def test_arbex_is_whole_and_small_enough(tmp_path: Path) -> None:
    """One stretch, but for the conversion of a float image before it is turned."""
    states = {
        name: values
        for part in ("vit", "classifier", "anchors", "attention")
        for name, values in arbex_states.state(part).items()
    }
    source = Path("seeded")
    network = importing.network(source, states, labels=ALPHABETICAL_8, input_size=None)
    shapes = checkpoints.expected_shapes(network.build())
    deployed, folded = network.deployable(importing.weights(source, states, shapes))
    model = deployed.build(batch_size=1)
    checkpoints.set_weights(model, folded, source="seeded")
    recipe = dataclasses.replace(INT8, input_type=IoType.FLOAT32)
    faces = calibration_data.calibration_faces().spread(8)
    made = conversion.convert(float_model.from_keras(model), network.spec(), recipe, faces)
    assert len(made.tflite) < 50_000_000
    assert sum(made.verification.operators.values()) < 400
    found = profiled(made.tflite, tmp_path)
    assert found["partitions"] <= 2
    assert found["left_out"] == {"STRIDED_SLICE": 1}
