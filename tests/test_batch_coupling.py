"""Batch coupling: seen where it is, and not where there is none."""

import lzma
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgefer.errors import ModelError
from edgefer.models import batch_coupling, checkpoints
from edgefer.models.batch_coupling import TOLERANCE, BatchCoupling
from edgefer.models.checkpoints import Checkpoint
from edgefer.models.patt_lite.network import Attention, PattLite

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

GOLDEN = Path(__file__).parent / "golden" / "patt_lite"

Float32Array = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def images() -> Float32Array:
    return np.random.default_rng(3).normal(size=(9, 8, 8, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def authors(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Read the golden weights into the smallest PAtt-Lite."""
    path = tmp_path_factory.mktemp("authors") / "model.h5"
    path.write_bytes(lzma.decompress((GOLDEN / "authors.h5.xz").read_bytes()))
    return checkpoints.read(path, input_size=48)


def softmax(logits: Float32Array) -> Float32Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def alone(batch: Float32Array) -> Float32Array:
    """Answer from each image's own first pixels."""
    return softmax(batch.reshape(len(batch), -1)[:, :4])


def among(batch: Float32Array) -> Float32Array:
    """Answer from what sets an image apart from its batch."""
    flat = batch.reshape(len(batch), -1)[:, :4]
    return softmax(flat - 0.5 * flat.mean(axis=0))


def small_model(*middle: Any) -> Any:
    """Build convolution, pooling, the layers given, and a softmax over 4 classes."""
    from keras import Input, Sequential, layers, utils

    utils.set_random_seed(1)
    return Sequential(
        [
            Input((8, 8, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            *middle,
            layers.Dense(4, activation="softmax", kernel_initializer="random_normal"),
        ]
    )


def write_tflite(path: Path, function: Callable[..., Any], batch: int | None) -> Path:
    """Convert `function` of float32 (batch, 8, 8, 1) with TensorFlow's own converter."""
    import tensorflow as tf

    signature = tf.TensorSpec((batch, 8, 8, 1), tf.float32)
    concrete = tf.function(function).get_concrete_function(signature)
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert())
    return path


def test_an_answer_that_depends_on_neighbours_is_coupled(images: Float32Array) -> None:
    coupling = batch_coupling.measure(among, images)
    assert coupling.coupled is True
    assert coupling.largest_change is not None
    assert coupling.largest_change > 0.01
    assert coupling.changed_answers is not None
    assert coupling.changed_answers > 0
    assert coupling.changed_share == coupling.changed_answers / 9


def test_an_answer_from_the_image_alone_is_not_coupled(images: Float32Array) -> None:
    assert batch_coupling.measure(alone, images) == BatchCoupling(
        images=9, largest_change=0.0, changed_answers=0, coupled=False
    )


def test_the_largest_change_is_that_of_a_probability(images: Float32Array) -> None:
    """A neighbour moves every first probability by a quarter, and nothing else."""

    def shifted(batch: Float32Array) -> Float32Array:
        answers = np.tile(np.array([0.5, 0.2, 0.2, 0.1], np.float32), (len(batch), 1))
        answers[:, 0] -= 0.25 * (len(batch) > 1)
        return answers

    coupling = batch_coupling.measure(shifted, images)
    assert coupling.largest_change == pytest.approx(0.25)
    assert coupling.changed_answers == 0


@pytest.mark.parametrize(("change", "is_coupled"), [(0.5, False), (2.0, True)])
def test_a_change_counts_from_the_tolerance_on(
    change: float, *, is_coupled: bool, images: Float32Array
) -> None:
    def rounded(batch: Float32Array) -> Float32Array:
        return alone(batch) + np.float32(change * TOLERANCE * (len(batch) > 1))

    assert batch_coupling.measure(rounded, images).coupled is is_coupled


def test_the_tolerance_grows_with_the_size_of_logits(images: Float32Array) -> None:
    """Rounding is relative: 50 times the tolerance is none of a logit's thousand."""

    def logits(batch: Float32Array) -> Float32Array:
        return 1000 * alone(batch) + np.float32(50 * TOLERANCE * (len(batch) > 1))

    assert batch_coupling.measure(logits, images).coupled is False


@pytest.mark.parametrize("position", [0, 4, 8])
def test_one_influential_image_is_enough(position: int, images: Float32Array) -> None:
    """Whichever image it is, it gets into a batch with others."""
    marked = images.copy()
    marked[position] += 100

    def swayed(batch: Float32Array) -> Float32Array:
        is_marked = batch.reshape(len(batch), -1).mean(axis=1) > 50
        return alone(batch) + np.float32(0.1 * (is_marked.any() and not is_marked.all()))

    assert batch_coupling.measure(swayed, marked).coupled is True


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_few_images_suffice(count: int, images: Float32Array) -> None:
    assert batch_coupling.measure(among, images[:count]).coupled is True


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_images_show_nothing(count: int, images: Float32Array) -> None:
    with pytest.raises(ValueError, match="at least two different images"):
        batch_coupling.measure(among, images[:count])


def test_equal_images_show_nothing(images: Float32Array) -> None:
    """Attention over copies of one image is the identity."""
    with pytest.raises(ValueError, match="at least two different images"):
        batch_coupling.measure(among, images[[0, 0, 0]])


def test_answers_that_are_not_finite_are_an_error(images: Float32Array) -> None:
    def broken(batch: Float32Array) -> Float32Array:
        return np.full((len(batch), 4), np.nan, np.float32)

    with pytest.raises(ModelError, match=r"^broken\.h5: gives no finite answer"):
        batch_coupling.measure(broken, images, source="broken.h5")


def test_progress_reaches_its_end(images: Float32Array) -> None:
    steps: list[tuple[int, int]] = []
    batch_coupling.measure(alone, images, progress=lambda *step: steps.append(step))
    assert steps == [(9, 36), (18, 36), (27, 36), (36, 36)]


@pytest.mark.parametrize(
    ("attention", "is_coupled"),
    [(Attention.BATCH, True), (Attention.IDENTITY, False), (Attention.TOKENS, False)],
)
def test_of_the_three_attentions_only_that_over_the_batch_couples(
    attention: Attention, *, is_coupled: bool, authors: Checkpoint
) -> None:
    network = replace(authors.network, attention=attention)  # type: ignore[type-var]
    model = replace(authors, network=network).build(batch_size=None)
    with np.load(GOLDEN / "golden.npz", allow_pickle=False) as file:
        faces = file["images"][:5, ::2, ::2].astype(np.float32) / 127.5 - 1
    coupling = batch_coupling.of_keras(model, faces[:, :48, :48])
    assert coupling.coupled is is_coupled
    assert coupling.largest_change is not None
    assert (coupling.largest_change > 0.01) is is_coupled


def test_an_ordinary_keras_model_is_not_coupled(images: Float32Array) -> None:
    coupling = batch_coupling.of_keras(small_model(), images)
    assert coupling.coupled is False
    assert coupling.largest_change is not None
    assert coupling.largest_change < 1e-5


def test_any_keras_layer_over_the_batch_couples(images: Float32Array) -> None:
    """A layer of the user's own, in a model of another kind."""
    from keras import layers, ops

    class Centre(layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x - ops.mean(x, axis=0, keepdims=True)

    coupling = batch_coupling.of_keras(small_model(Centre()), images)
    assert coupling.coupled is True


def test_a_keras_model_of_fixed_batch_cannot_be_measured(images: Float32Array) -> None:
    model = PattLite(input_size=48).build(batch_size=1)
    assert batch_coupling.of_keras(model, images) == BatchCoupling(
        images=9, reason="its batch size is fixed at 1"
    )
    assert batch_coupling.of_keras(model, images).changed_share is None


def test_a_keras_model_of_two_inputs_cannot_be_measured(images: Float32Array) -> None:
    from keras import Input, Model, layers

    first, second = Input((4,)), Input((4,))
    model = Model([first, second], layers.add([first, second]))
    coupling = batch_coupling.of_keras(model, images)
    assert coupling.coupled is None
    assert coupling.reason == "it has more than one input or output"


def test_a_tflite_with_a_free_batch_is_measured(tmp_path: Path, images: Float32Array) -> None:
    import tensorflow as tf

    weights = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)

    def ordinary(batch: Any) -> Any:
        return tf.nn.softmax(tf.reshape(batch, (-1, 64)) @ weights)

    def centred(batch: Any) -> Any:
        flat = tf.reshape(batch, (-1, 64))
        return tf.nn.softmax((flat - tf.reduce_mean(flat, axis=0, keepdims=True)) @ weights)

    apart = batch_coupling.of_tflite(write_tflite(tmp_path / "a.tflite", ordinary, None), images)
    mixed = batch_coupling.of_tflite(write_tflite(tmp_path / "b.tflite", centred, None), images)
    assert (apart.coupled, apart.changed_answers) == (False, 0)
    assert mixed.coupled is True
    assert mixed.largest_change is not None
    assert mixed.largest_change > 0.1


def test_a_tflite_of_fixed_batch_cannot_be_measured(tmp_path: Path, images: Float32Array) -> None:
    import tensorflow as tf

    path = write_tflite(
        tmp_path / "fixed.tflite", lambda batch: tf.nn.softmax(tf.reshape(batch, (1, 64))), 1
    )
    coupling = batch_coupling.of_tflite(path, images)
    assert coupling == BatchCoupling(images=9, reason="its batch size is fixed at 1")


def test_what_is_no_tflite_is_an_error(tmp_path: Path, images: Float32Array) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"not a model at all")
    with pytest.raises(ModelError, match=r"model\.tflite: is not a \.tflite file"):
        batch_coupling.of_tflite(path, images)
