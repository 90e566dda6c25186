"""From Keras, a SavedModel or another tool's file to a float .tflite with a batch of 1."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models
from ai_edge_litert import schema_py_generated as schema

from edgefer.converters import float_model, graph
from edgefer.converters.conversion import read_float_tflite
from edgefer.converters.quantize import quantize
from edgefer.converters.recipes import FLOAT16, INT8
from edgefer.errors import ModelError


def test_a_keras_model_becomes_a_float_file_with_a_batch_of_one() -> None:
    content = graph.read(small_models.small())
    image = content.tensors[content.inputs[0]]
    assert (image.shape, image.dtype) == ((1, 32, 32, 3), "float32")
    assert not any("VAR" in operator.kind for operator in content.operators)
    assert all(tensor.shape[:1] != (-1,) for tensor in content.tensors)


def test_the_float_file_answers_as_keras_does() -> None:
    images = small_models.inputs(5)
    expected = np.concatenate([small_models.small_keras()(image[None]) for image in images])
    np.testing.assert_allclose(small_models.run(small_models.small(), images), expected, atol=1e-5)


def test_conversion_writes_nothing_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """TensorFlow writes from C++, below sys.stderr."""
    float_model.from_keras(small_models.small_keras())
    assert capfd.readouterr() == ("", "")


def test_a_free_batch_is_fixed_and_a_missing_signature_added() -> None:
    def free(model: Any) -> None:
        subgraph = model.subgraphs[0]
        model.signatureDefs = None
        for index in (subgraph.inputs[0], subgraph.outputs[0]):
            tensor = subgraph.tensors[index]
            tensor.shapeSignature = [-1, *list(tensor.shape)[1:]]

    foreign = small_models.patched(small_models.small(), free)
    assert graph.read(foreign).tensors[graph.read(foreign).inputs[0]].shape[0] == -1
    fixed = float_model.from_tflite(foreign, source="foreign.tflite")
    content = graph.read(fixed)
    assert content.tensors[content.inputs[0]].shape == (1, 32, 32, 3)
    ranges = small_models.ranges(fixed, small_models.inputs(4))
    assert len(quantize(fixed, ranges, INT8, (-1, 1))) < len(fixed)


@pytest.mark.parametrize("recipe", [INT8, FLOAT16])
def test_a_quantized_file_is_refused(recipe: Any) -> None:
    ranges = small_models.ranges(small_models.small(), small_models.inputs(4))
    quantized = quantize(small_models.small(), ranges, recipe, (-1, 1))
    with pytest.raises(ModelError, match=r"^q\.tflite: is already quantized .*float model"):
        float_model.from_tflite(quantized, source="q.tflite")


def test_a_fixed_batch_of_several_is_refused() -> None:
    def widen(model: Any) -> None:
        model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].shape[0] = 4

    several = small_models.patched(small_models.small(), widen)
    with pytest.raises(ModelError, match="fixed batch of 4"):
        float_model.from_tflite(several, source="several.tflite")


def test_a_model_of_two_inputs_is_refused() -> None:
    def add(model: Any) -> None:
        subgraph = model.subgraphs[0]
        subgraph.inputs = [*subgraph.inputs, subgraph.operators[0].outputs[0]]

    two = small_models.patched(small_models.small(), add)
    with pytest.raises(ModelError, match="has 2 inputs and 1 outputs"):
        float_model.from_tflite(two, source="two.tflite")


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x20\0\0\0TFL3" + bytes(40)])
def test_a_file_that_is_no_model_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"^[^\n]*bad\.tflite: [^\n]+$"):
        read_float_tflite(path)
    with pytest.raises(ModelError, match=r"^bad: [^\n]+$"):
        float_model.from_tflite(content, source="bad")


def test_damage_anywhere_gives_a_model_error_or_a_readable_graph() -> None:
    random = np.random.default_rng(3)
    whole = small_models.small()
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for position in random.integers(8, 4000, 6):
            damaged[position] ^= int(random.integers(1, 256))
        try:
            graph.read(bytes(damaged[: random.integers(100, len(whole))]))
        except ModelError:
            refused += 1
    assert refused > 50


def test_a_corrupt_file_never_takes_the_process_down(tmp_path: Path) -> None:
    """An operator that reads a tensor out of range crashes some interpreters."""

    def spoil(model: Any) -> None:
        model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].shape = [1, 2**30, 2**30, 3]

    path = tmp_path / "huge.tflite"
    path.write_bytes(small_models.patched(small_models.small(), spoil))
    with pytest.raises(ModelError, match=r"huge\.tflite"):
        read_float_tflite(path)


def test_buffers_are_aligned_as_tensorflow_writes_them() -> None:
    packed = graph.pack(graph.unpack(small_models.small(), source="test"))
    model = schema.Model.GetRootAs(packed, 0)
    buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
    starts = [b._tab.Vector(b._tab.Offset(4)) for b in buffers if b.DataLength()]
    assert len(starts) > 10
    assert [start % 16 for start in starts] == [0] * len(starts)


def saved_model(folder: Path, *, writes: bool = False) -> None:
    import tensorflow as tf

    class Classifier(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec((None, 32, 32, 3), tf.float32, name="face")])  # type: ignore[untyped-decorator]
        def scores(self, face: Any) -> dict[str, Any]:
            if writes:
                tf.io.write_file(str(folder / "written"), "by the model")
            flat = tf.reshape(face, (tf.shape(face)[0], -1))
            return {"p": tf.nn.softmax(tf.linalg.matmul(flat, self.weights))}

        def __init__(self) -> None:
            super().__init__()
            values = np.random.default_rng(1).normal(0, 0.05, (32 * 32 * 3, 7))
            self.weights = tf.Variable(values.astype(np.float32))

    module = Classifier()
    tf.saved_model.save(module, str(folder), signatures=module.scores)


def test_a_saved_model_with_a_free_batch_gets_a_batch_of_one(tmp_path: Path) -> None:
    saved_model(tmp_path)
    content = graph.read(float_model.from_saved_model(tmp_path))
    assert content.tensors[content.inputs[0]].shape == (1, 32, 32, 3)
    assert {operator.kind for operator in content.operators} <= {
        "RESHAPE", "FULLY_CONNECTED", "SOFTMAX",
    }  # fmt: skip


def test_a_saved_model_that_writes_files_is_refused_unloaded(tmp_path: Path) -> None:
    saved_model(tmp_path, writes=True)
    with pytest.raises(ModelError, match="WriteFile"):
        float_model.from_saved_model(tmp_path)
    assert not (tmp_path / "written").exists()


def test_a_folder_that_is_no_saved_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^[^\n]*is not a SavedModel[^\n]*$"):
        float_model.from_saved_model(tmp_path)
