"""LANMSFF's graph, held against what the authors' code computes, and its files.

The golden files, their README and the script that makes them are in golden/lanmsff.
"""

import lzma
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import numpy.typing as npt
import pytest
import small_models

from edgefer.converters import conversion, float_model, graph
from edgefer.converters.recipes import INT8
from edgefer.data.labels import ALPHABETICAL_7, ALPHABETICAL_8
from edgefer.data.preprocessing import normalise, to_pixels
from edgefer.errors import ModelError
from edgefer.models import batch_coupling, checkpoints
from edgefer.models.checkpoints import Checkpoint
from edgefer.models.lanmsff.network import (
    SHUFFLED_WIDTHS,
    Channels,
    Lanmsff,
    aligned_order,
    regular_shuffle,
)
from edgefer.models.spec import ColourOrder
from edgefer.training.recipes import Schedule, Stage

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

GOLDEN = Path(__file__).parent / "golden" / "lanmsff"
GRAY = Lanmsff(colour_order=ColourOrder.GRAY)
SMALL = Lanmsff(input_size=32)
STAGE = Stage(name="all", epochs=1, learning_rate=1e-3, schedule=Schedule.COSINE)

Float32Array = npt.NDArray[np.float32]
Golden = dict[str, npt.NDArray[Any]]


def golden(state: str) -> Golden:
    with np.load(GOLDEN / f"golden-{state}.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the files that Keras wrote."""
    folder = tmp_path_factory.mktemp("authors")
    for packed in GOLDEN.glob("*.xz"):
        (folder / packed.stem).write_bytes(lzma.decompress(packed.read_bytes()))
    return folder


@pytest.fixture(scope="module")
def authors(files: Path) -> Checkpoint:
    return checkpoints.read(files / "authors-2026.h5")


@pytest.fixture(scope="module")
def authors_2024(files: Path) -> Checkpoint:
    return checkpoints.read(files / "authors-2024.h5")


def seeing(checkpoint: Checkpoint, colour_order: ColourOrder) -> Checkpoint:
    network = replace(checkpoint.network, colour_order=colour_order)  # type: ignore[type-var]
    return replace(checkpoint, network=network, spec=network.spec())


def inputs(checkpoint: Checkpoint, images: npt.NDArray[np.uint8]) -> Float32Array:
    pixels = np.stack([to_pixels(image, checkpoint.spec) for image in images])
    return normalise(pixels, checkpoint.spec)


def one_by_one(model: Any, images: Float32Array) -> Float32Array:
    answers = [model(images[i : i + 1], training=False) for i in range(len(images))]
    return np.concatenate([np.asarray(answer, np.float32) for answer in answers])


# What it computes


def test_the_golden_answers_could_not_hide_a_difference() -> None:
    """Images differ from each other far beyond the tolerance."""
    for state in ("2024", "2026"):
        answers = golden(state)["answers"]
        nearest = [
            np.delete(abs(answers - row).max(axis=1), position).min()
            for position, row in enumerate(answers)
        ]
        assert min(nearest) > 0.05


@pytest.mark.parametrize("colour_order", list(ColourOrder))
@pytest.mark.parametrize("state", ["2024", "2026"])
def test_the_answers_equal_the_authors(
    state: str, colour_order: ColourOrder, authors: Checkpoint, authors_2024: Checkpoint
) -> None:
    """A gray image, given as gray or as RGB, alone, to the graph that is deployed."""
    checkpoint = seeing({"2024": authors_2024, "2026": authors}[state], colour_order)
    expected = golden(state)
    found = one_by_one(checkpoint.build(), inputs(checkpoint, expected["images"]))
    np.testing.assert_allclose(found, expected["answers"], rtol=0, atol=1e-5)


def test_every_blocks_output_equals_the_authors(authors: Checkpoint) -> None:
    """Blocks 1 and 3 hold their channels in another order, which their readers know."""
    from keras import Model

    expected = golden("2026")
    gray = seeing(authors, ColourOrder.GRAY)
    model = gray.build()
    names = ["block1", "block2", "block3", "block4"]
    blocks = Model(model.input, [model.get_layer(name).output for name in names])
    orders = {
        name: list(aligned_order(regular_shuffle(width)))
        for name, width in zip(("block1", "block3"), SHUFFLED_WIDTHS, strict=True)
    }
    for position, image in enumerate(inputs(gray, expected["images"])):
        for name, found in zip(names, blocks(image[None], training=False), strict=True):
            channels = np.argsort(orders[name]) if name in orders else slice(None)
            wanted = expected[name][position]
            step = found.shape[1] // wanted.shape[0]
            np.testing.assert_allclose(
                np.asarray(found)[0, ::step, ::step][:, :, channels],
                wanted,
                rtol=1e-5,
                atol=1e-5 * abs(wanted).max(),
                err_msg=name,
            )


@pytest.mark.parametrize("state", ["2024", "2026"])
def test_the_graph_that_is_trained_computes_the_same(
    state: str, authors: Checkpoint, authors_2024: Checkpoint
) -> None:
    checkpoint = {"2024": authors_2024, "2026": authors}[state]
    model = checkpoint.network.training_graph(STAGE)
    checkpoints.set_weights(model, checkpoint.weights, source="test")
    expected = golden(state)
    found = one_by_one(model, inputs(checkpoint, expected["images"]))
    np.testing.assert_allclose(found, expected["answers"], rtol=0, atol=1e-5)


def test_in_training_a_batch_is_normalized_as_keras_does_it() -> None:
    """Answers and gradients, beside layers of Keras's own."""
    import tensorflow as tf
    from keras import layers

    from edgefer.models.lanmsff.layers import folded_layers

    maps = np.random.default_rng(0).normal(2, 3, (5, 4, 4, 10)).astype(np.float32)
    ours, theirs = folded_layers().normalization(10), layers.BatchNormalization()

    def answer_and_gradient(apply: Callable[[Any], Any]) -> tuple[Float32Array, Float32Array]:
        x = tf.Variable(maps)
        with tf.GradientTape() as tape:
            y = apply(x)
            loss = tf.reduce_sum(y**2)
        return np.asarray(y), np.asarray(tape.gradient(loss, x))

    found = answer_and_gradient(lambda x: ours([x[..., :4], x[..., 4:]], training=True))
    wanted = answer_and_gradient(lambda x: layers.ReLU()(theirs(x, training=True)))
    np.testing.assert_allclose(found[0], wanted[0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[1], wanted[1], rtol=0, atol=1e-4)


def test_running_statistics_are_keras_own_after_the_first_batch() -> None:
    """The first replaces what Keras would remember of the values they are made with."""
    from keras import layers

    from edgefer.models.lanmsff.layers import folded_layers

    random = np.random.default_rng(0)
    batches = [random.normal(2, 0.1, (5, 4, 4, 10)).astype(np.float32) for _ in range(3)]
    ours, theirs = folded_layers().normalization(10), layers.BatchNormalization()
    theirs.build(batches[0].shape)
    theirs.moving_mean.assign(batches[0].mean(axis=(0, 1, 2)))
    theirs.moving_variance.assign(batches[0].var(axis=(0, 1, 2)))
    for batch in batches:
        ours([batch], training=True)
    for batch in batches[1:]:
        theirs(batch, training=True)
    for name in ("moving_mean", "moving_variance"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-5)


def test_rgb_is_seen_as_the_gray_that_opencv_makes_of_it(authors: Checkpoint) -> None:
    """Of floats, which OpenCV does not round to whole grays."""
    images = np.random.default_rng(2).integers(0, 256, (3, 64, 64, 3)).astype(np.float32)
    grays = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images])[..., None]
    found = one_by_one(seeing(authors, ColourOrder.RGB).build(), images)
    expected = one_by_one(seeing(authors, ColourOrder.GRAY).build(), grays)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_no_image_depends_on_its_neighbours(authors: Checkpoint) -> None:
    images = inputs(authors, golden("2026")["images"])
    found = batch_coupling.of_keras(authors.build(batch_size=None), images)
    assert found.coupled is False
    assert not authors.network.batch_coupled
    assert checkpoints.deployable(authors) is authors


# The shuffle


@pytest.mark.parametrize("width", SHUFFLED_WIDTHS)
def test_regular_shuffles_become_slices(width: int) -> None:
    """The halves lie one behind the other, and the triples that are compared in three thirds."""
    shuffle = regular_shuffle(width)
    order = aligned_order(shuffle)
    assert sorted(order) == list(range(width))
    assert set(order[: width // 2]) == set(shuffle[: width // 2])
    third = width // 3
    assert [
        {order[i] % third, order[i + third] % third, order[i + 2 * third] % third}
        for i in range(third)
    ] == [{channel % third} for channel in order[:third]]


def test_where_a_random_shuffle_parts_triples_unevenly_channels_stay(
    authors_2024: Checkpoint,
) -> None:
    assert isinstance(authors_2024.network, Lanmsff)
    for shuffle, width in zip(authors_2024.network.shuffles or (), SHUFFLED_WIDTHS, strict=True):
        assert aligned_order(shuffle) == tuple(range(width))


def test_a_maps_matrix_finds_the_channels() -> None:
    channels = Channels((2, 0, 1), present=4)
    np.testing.assert_array_equal(np.array([10, 20, 30, 0]) @ channels.matrix, [20, 30, 10])


# What it is made of


def test_the_parameters_are_as_many_as_the_authors() -> None:
    """As the summary in their notebook counts them, for 8 classes."""
    weights = checkpoints.named_weights(Lanmsff().build())
    assert sum(values.size for values in weights.values()) == 358_563


@pytest.mark.parametrize("colour_order", list(ColourOrder))
def test_every_graph_has_the_same_weights(colour_order: ColourOrder) -> None:
    network = replace(SMALL, colour_order=colour_order)
    expected = checkpoints.expected_shapes(SMALL.build())
    assert checkpoints.expected_shapes(network.build()) == expected
    training = network.training_graph(replace(STAGE, dropout=0.4))
    assert checkpoints.expected_shapes(training) == expected


def test_what_a_batch_norm_takes_away_is_not_trained() -> None:
    """A convolution's bias in front of one; those with an activation of their own keep theirs."""
    model = SMALL.training_graph(STAGE)
    trained = {
        layer.name
        for layer in model.layers
        for weight in layer.trainable_weights
        if weight.name == "bias"
    }
    own = {"squeeze", "excite", "down1", "down2", "up1", "up2"}
    expected = {f"{block}_{name}" for block in ("block2", "block4") for name in own}
    assert trained == expected | {"classifier"}


@pytest.mark.parametrize("input_size", [32, 64, 96])
def test_the_answer_is_a_distribution_at_every_input_size(input_size: int) -> None:
    network = Lanmsff(labels=("a", "b", "c"), input_size=input_size)
    answer = network.build()(np.full((1, input_size, input_size, 3), 90, np.float32))
    assert answer.shape == (1, 3)
    np.testing.assert_allclose(np.sum(answer), 1, atol=1e-6)


@pytest.mark.parametrize("input_size", [0, 16, 48, 63, 544])
def test_an_input_size_that_the_graph_cannot_take_is_refused(input_size: int) -> None:
    with pytest.raises(ValueError, match=f"input_size {input_size} is not a multiple of 32"):
        Lanmsff(input_size=input_size)


def test_options_survive_a_round_trip(authors_2024: Checkpoint) -> None:
    for network in (replace(GRAY, labels=("a", "b"), input_size=96), authors_2024.network):
        assert Lanmsff.from_dict(network.to_dict()) == network


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"width": 2}, "LANMSFF has no option width"),
        ({"colour_order": "BGR"}, "'BGR' is not a valid ColourOrder"),
        ({"shuffles": [[0, 1], [0, 1]]}, "a shuffle is not an order of 66 channels"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Lanmsff.from_dict(options)


# What becomes of it in a .tflite


@pytest.fixture(scope="module")
def trained() -> Checkpoint:
    """Make a network with weights of a trained one's size, and statistics that fit faces."""
    model = SMALL.training_graph(STAGE)
    small_models.randomise(model)
    pixels = small_models.pixels(64, SMALL.input_size).astype(np.float32)
    for layer in model.layers:
        if hasattr(layer, "moving_variance"):
            layer.moving_variance.assign(np.ones(layer.channels))
    model(pixels, training=True)
    weights = checkpoints.named_weights(model)
    return Checkpoint(network=SMALL, spec=SMALL.spec(), weights=weights)


def test_a_tflite_has_the_operators_it_needs_and_no_other(trained: Checkpoint) -> None:
    """No shuffle, no gray, no mean over channels, no batch norm, no ReLU of its own."""
    content = graph.read(float_model.from_keras(trained.build()))
    assert Counter(operator.kind for operator in content.operators) == {
        "CONV_2D": 28,
        "DEPTHWISE_CONV_2D": 6,
        "TRANSPOSE_CONV": 4,
        "FULLY_CONNECTED": 1,
        "MAX_POOL_2D": 4,
        "MEAN": 9,
        "MUL": 4,
        "SUB": 9,
        "LOGISTIC": 4,
        "SPLIT": 5,
        "CONCATENATION": 8,
        "SOFTMAX": 1,
    }


def test_an_int8_file_computes_in_integers_alone_and_is_small(trained: Checkpoint) -> None:
    faces = small_models.faces(32, SMALL.input_size)
    made = conversion.convert_checkpoint(trained, INT8, faces)
    assert made.verification.float_operators == 0
    assert len(made.tflite) < 550_000
    (image,) = graph.read(made.tflite).inputs
    quantization = graph.read(made.tflite).tensors[image].quantization
    assert quantization is not None
    assert (float(quantization.scales[0]), int(quantization.zero_points[0])) == (1.0, -128)
    batch = small_models.pixels(16, SMALL.input_size, seed=5)
    floats = one_by_one(trained.build(), batch.astype(np.float32))
    found = small_models.run(made.tflite, (batch.astype(np.int16) - 128).astype(np.int8))
    assert abs(small_models.real(made.tflite, found) - floats).mean() < 0.04


# Files


NAMES = (
    "authors-2026.h5", "authors-2026.keras", "authors-2026.weights.h5",
    "authors-2024.h5", "authors-2024.keras",
)  # fmt: skip


def problem(path: Path, **options: Any) -> str:
    """Read an unusable file and return what is said of it, behind its name."""
    with pytest.raises(ModelError) as caught:
        checkpoints.read(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("name", NAMES)
def test_files_of_the_authors_code_are_read(
    name: str, files: Path, authors: Checkpoint, authors_2024: Checkpoint
) -> None:
    found = checkpoints.read(files / name, input_size=64 if "weights" in name else None)
    expected = authors_2024 if "2024" in name else authors
    assert found.network == expected.network
    assert found.spec == expected.spec
    assert (found.spec.labels, found.spec.input_size) == (ALPHABETICAL_8, 64)
    assert (found.spec.mean, found.spec.std) == ((0.0,) * 3, (1.0,) * 3)
    assert set(found.weights) == set(expected.weights)
    for key, values in expected.weights.items():
        np.testing.assert_array_equal(found.weights[key], values, err_msg=key)


def test_our_own_file_says_which_network_it_holds(authors_2024: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    checkpoints.save(path, authors_2024)
    found = checkpoints.read(path)
    assert (found.network, found.spec) == (authors_2024.network, authors_2024.spec)


def test_a_given_normalisation_takes_precedence(files: Path) -> None:
    """Who trains with the authors' code may well scale the pixels before."""
    found = checkpoints.read(files / "authors-2026.h5", mean=(0.0,), std=(255.0,))
    assert (found.spec.mean, found.spec.std) == ((0.0,) * 3, (255.0,) * 3)
    assert "mean and std need one value for each channel" in problem(
        files / "authors-2026.h5", mean=(0.0, 1.0)
    )


def test_weights_alone_need_the_input_size_said(files: Path) -> None:
    said = problem(files / "authors-2026.weights.h5")
    assert said == "does not say the size of its input: give it as input_size"


def edited(source: Path, folder: Path, edit: Callable[[h5py.File], None]) -> Path:
    path = folder / "edited.h5"
    shutil.copy(source, path)
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def test_weights_alone_with_random_shuffles_are_refused(files: Path, tmp_path: Path) -> None:
    """Keras 2's save_weights writes the groups of a whole model at the top, and no graph."""
    path = tmp_path / "weights.h5"
    with h5py.File(files / "authors-2024.h5") as source, h5py.File(path, "w") as target:
        target.attrs.update(source["model_weights"].attrs)
        for layer in source["model_weights"]:
            source.copy(f"model_weights/{layer}", target)
    assert problem(path, input_size=64) == (
        "was trained with random channel shuffles, which only a whole model holds: "
        "give the .h5 or .keras of model.save()"
    )


def test_layers_are_numbered_as_the_session_went(
    files: Path, authors: Checkpoint, tmp_path: Path
) -> None:
    """A graph made anew in the same notebook has later numbers, whose digits sort otherwise."""

    def renumber(file: h5py.File) -> None:
        root = file["model_weights"]
        numbers = {f"conv2d_{n}" if n else "conv2d": f"conv2d_{n + 95}" for n in range(18)}
        names = [str(name) for name in root.attrs["layer_names"]]
        root.attrs["layer_names"] = [numbers.get(name, name) for name in names]
        for name, new in numbers.items():
            root.move(name, new)

    found = checkpoints.read(edited(files / "authors-2026.h5", tmp_path, renumber))
    for key, values in authors.weights.items():
        np.testing.assert_array_equal(found.weights[key], values, err_msg=key)


def put(path: str, values: npt.NDArray[np.float32]) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        group = file["model_weights"][path.split("/")[0]]
        name = next(str(n) for n in group.attrs["weight_names"] if n.endswith(path.split("/")[1]))
        del group[name]
        group[name] = values

    return edit


def without(layer: str) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        root = file["model_weights"]
        names = [str(name) for name in root.attrs["layer_names"]]
        root.attrs["layer_names"] = [name for name in names if name != layer]

    return edit


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (
            put("conv2d_3/kernel", np.zeros((3, 3, 33, 40), np.float32)),
            "layer conv2d_3 (block2_far_conv1): kernel has shape (3, 3, 33, 40), "
            "expected (3, 3, 33, 36)",
        ),
        (
            put("batch_normalization_4/gamma", np.zeros(35, np.float32)),
            "layer batch_normalization_4 (block2_bn1): gamma has shape (35,), expected (36,)",
        ),
        (
            put("dense_2/kernel", np.full((84, 21), np.nan, np.float32)),
            "layer block4_squeeze: kernel has NaN or infinity",
        ),
        (
            without("separable_conv2d_5"),
            "is no LANMSFF: it has 5 separable_conv2d layers, expected 6",
        ),
    ],
)
def test_a_file_that_does_not_fit_says_where(
    edit: Callable[[h5py.File], None], said: str, files: Path, tmp_path: Path
) -> None:
    assert problem(edited(files / "authors-2026.h5", tmp_path, edit)) == said


def test_a_bias_too_many_for_the_labels_is_named(files: Path) -> None:
    assert problem(files / "authors-2026.h5", labels=ALPHABETICAL_7) == (
        "has 8 classes, but 7 labels were given"
    )


def test_a_lambda_more_than_the_authors_have_is_refused(files: Path, tmp_path: Path) -> None:
    def add(file: h5py.File) -> None:
        config = str(file.attrs["model_config"])
        layer = '{"class_name": "Lambda", "config": {"name": "evil"}}, '
        file.attrs["model_config"] = config.replace('"layers": [', f'"layers": [{layer}', 1)

    said = problem(edited(files / "authors-2026.h5", tmp_path, add))
    assert "has a Lambda in it (" in said
    assert "nothing was executed" in said
