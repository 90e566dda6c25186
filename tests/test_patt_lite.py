"""PAtt-Lite's graph, held against what the authors' graph computes under Keras 2.

The golden files and the script that makes them are in golden/patt_lite.
"""

import lzma
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgefer.models import checkpoints
from edgefer.models.checkpoints import Checkpoint
from edgefer.models.patt_lite.network import Attention, PattLite

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:You are using a softmax over axis:UserWarning"),
]

GOLDEN = Path(__file__).parent / "golden" / "patt_lite"
SMALL = PattLite(input_size=48)

Float32Array = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def golden() -> dict[str, npt.NDArray[Any]]:
    with np.load(GOLDEN / "golden.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def inputs(golden: dict[str, npt.NDArray[Any]]) -> Float32Array:
    """Bring the golden images to what the authors' resizing and preprocessing layers give."""
    from keras import ops

    pixels = ops.image.resize(golden["images"].astype(np.float32), (224, 224))
    return np.asarray(pixels, np.float32) / np.float32(127.5) - 1


@pytest.fixture(scope="module")
def authors(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    path = tmp_path_factory.mktemp("authors") / "model.h5"
    path.write_bytes(lzma.decompress((GOLDEN / "authors.h5.xz").read_bytes()))
    return checkpoints.read(path)


def one_by_one(model: Any, images: Float32Array) -> Float32Array:
    answers = [model(images[i : i + 1], training=False) for i in range(len(images))]
    return np.concatenate([np.asarray(answer, np.float32) for answer in answers])


def together(model: Any, images: Float32Array) -> Float32Array:
    return np.asarray(model(images, training=False), np.float32)


def test_the_golden_answers_could_not_hide_a_difference(
    golden: dict[str, npt.NDArray[Any]],
) -> None:
    """Images differ from each other, and alone from together, far beyond the tolerance."""
    alone = golden["alone"]
    nearest = [
        np.delete(abs(alone - row).max(axis=1), position).min()
        for position, row in enumerate(alone)
    ]
    assert min(nearest) > 0.05
    assert abs(golden["together"] - alone).max(axis=1).min() > 0.01
    assert len(set(alone.argmax(axis=1).tolist())) >= 4


@pytest.mark.parametrize("attention", [Attention.BATCH, Attention.IDENTITY])
def test_one_image_at_a_time_both_attentions_equal_the_authors_graph(
    attention: Attention,
    authors: Checkpoint,
    inputs: Float32Array,
    golden: dict[str, npt.NDArray[Any]],
) -> None:
    checkpoint = authors if attention is Attention.BATCH else checkpoints.deployable(authors)
    assert isinstance(checkpoint.network, PattLite)
    assert checkpoint.network.attention is attention
    np.testing.assert_allclose(
        one_by_one(checkpoint.build(), inputs), golden["alone"], rtol=0, atol=1e-5
    )


def test_batch_attention_equals_the_authors_graph_on_a_batch_of_eight(
    authors: Checkpoint, inputs: Float32Array, golden: dict[str, npt.NDArray[Any]]
) -> None:
    model = authors.build(batch_size=None)
    np.testing.assert_allclose(together(model, inputs), golden["together"], rtol=0, atol=1e-5)


def test_identity_attention_gives_a_batch_what_it_gives_each_image(
    authors: Checkpoint, inputs: Float32Array, golden: dict[str, npt.NDArray[Any]]
) -> None:
    model = checkpoints.deployable(authors).build(batch_size=None)
    np.testing.assert_allclose(together(model, inputs), golden["alone"], rtol=0, atol=1e-5)


def test_token_attention_does_not_look_at_an_images_neighbours(
    authors: Checkpoint, inputs: Float32Array
) -> None:
    network = replace(authors.network, attention=Attention.TOKENS)  # type: ignore[type-var]
    model = replace(authors, network=network).build(batch_size=None)
    alone = one_by_one(model, inputs[:3])
    np.testing.assert_allclose(together(model, inputs[:3]), alone, rtol=0, atol=1e-5)
    np.testing.assert_allclose(together(model, inputs[2::-1])[::-1], alone, rtol=0, atol=1e-5)


def test_token_attention_is_not_the_identity(
    authors: Checkpoint, inputs: Float32Array, golden: dict[str, npt.NDArray[Any]]
) -> None:
    network = replace(authors.network, attention=Attention.TOKENS)  # type: ignore[type-var]
    model = replace(authors, network=network).build()
    assert abs(one_by_one(model, inputs[:1]) - golden["alone"][:1]).max() > 0.01


@pytest.mark.parametrize(
    ("attention", "parameters"),
    [
        (Attention.IDENTITY, 1_102_696),
        (Attention.BATCH, 1_102_697),
        (Attention.TOKENS, 1_102_697),
    ],
)
def test_the_parameters_are_as_many_as_the_authors(attention: Attention, parameters: int) -> None:
    """The paper's network, and one attention scale where there is attention."""
    model = replace(SMALL, attention=attention).build()
    weights = checkpoints.named_weights(model)
    assert sum(values.size for values in weights.values()) == parameters


def test_the_backbone_has_the_parameters_of_mobilenet_cut_after_conv_dw_9() -> None:
    shapes = checkpoints.expected_shapes(SMALL.build())
    backbone = [shape for key, shape in shapes.items() if key.startswith("conv")]
    assert sum(math.prod(shape) for shape in backbone) == 821_952


def test_at_224_the_patch_strides_are_the_authors() -> None:
    assert PattLite(input_size=224).patch_strides == (4, 2)


@pytest.mark.parametrize("input_size", range(48, 513, 16))
def test_every_input_size_leaves_two_by_two_patches(input_size: int) -> None:
    first, second = PattLite(input_size=input_size).patch_strides
    after_first = math.ceil(input_size / 16 / first)
    assert (after_first - 2) // second + 1 == 2


@pytest.mark.parametrize("input_size", [48, 80, 112])
def test_the_graph_has_two_by_two_patches(input_size: int) -> None:
    model = PattLite(input_size=input_size).build()
    assert model.get_layer("patch_extraction_3").output.shape == (1, 2, 2, 256)


def test_dropouts_leave_the_names_of_weights_alone() -> None:
    training = SMALL.build(
        batch_size=None, spatial_dropout=0.2, dropout=0.2, classifier_dropout=0.2
    )
    assert checkpoints.expected_shapes(training) == checkpoints.expected_shapes(SMALL.build())


@pytest.mark.parametrize("input_size", [0, 32, 100, 113, 528])
def test_an_input_size_that_the_graph_cannot_take_is_refused(input_size: int) -> None:
    with pytest.raises(ValueError, match=f"input_size {input_size} is not a multiple of 16"):
        PattLite(input_size=input_size)


def test_options_survive_a_round_trip() -> None:
    network = PattLite(labels=("a", "b", "c"), input_size=96, attention=Attention.TOKENS)
    assert PattLite.from_dict(network.to_dict()) == network


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(ValueError, match="PAtt-Lite has no option width"):
        PattLite.from_dict({"width": 2})
