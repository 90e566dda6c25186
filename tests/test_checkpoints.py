"""Checkpoints in: every format, and everything that can be wrong with a file."""

import io
import json
import lzma
import pickle
import shutil
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from edgefer import child
from edgefer.data.labels import ALPHABETICAL_7, ALPHABETICAL_8
from edgefer.errors import MissingExtraError, ModelError, UsageError
from edgefer.models import checkpoints, networks
from edgefer.models.checkpoints import Checkpoint
from edgefer.models.network import Weights
from edgefer.models.patt_lite.network import Attention, PattLite

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning"),
]

GOLDEN = Path(__file__).parent / "golden" / "patt_lite"

Edit = Callable[[h5py.File], None]


@pytest.fixture(scope="module")
def authors_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the file that Keras 2 wrote."""
    path = tmp_path_factory.mktemp("authors") / "model.h5"
    path.write_bytes(lzma.decompress((GOLDEN / "authors.h5.xz").read_bytes()))
    return path


@pytest.fixture(scope="module")
def authors(authors_path: Path) -> Checkpoint:
    return checkpoints.read(authors_path)


@pytest.fixture(scope="module")
def slim_path(authors_path: Path) -> Path:
    """Copy the authors' file without its optimizer, to be edited quickly."""
    path = authors_path.with_name("slim.h5")
    with h5py.File(authors_path) as source, h5py.File(path, "w") as target:
        target.attrs.update(source.attrs)
        source.copy("model_weights", target)
    return path


@pytest.fixture(scope="module")
def small() -> Checkpoint:
    """Make a small PAtt-Lite with random weights and attention over the batch."""
    import keras

    keras.utils.set_random_seed(5)
    network = PattLite(input_size=48, attention=Attention.BATCH)
    model = network.build()
    model.get_layer("attention").weights[0].assign(0.25)
    spec = network.spec(training_data="noise", licence="CC0")
    return Checkpoint(network=network, spec=spec, weights=checkpoints.named_weights(model))


@pytest.fixture(scope="module")
def saved(small: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save the small network in every format that Keras 3 has."""
    folder = tmp_path_factory.mktemp("saved")
    model = small.build(batch_size=None)
    model.save(folder / "small.keras")
    model.save_weights(folder / "small.weights.h5")
    model.save(folder / "small.h5")
    checkpoints.save(folder / "small.safetensors", small)
    return folder


def assert_equal(found: Weights, expected: Weights) -> None:
    assert set(found) == set(expected)
    for key, values in expected.items():
        assert found[key].dtype == np.float32
        np.testing.assert_array_equal(found[key], values, err_msg=key)


def problem(path: Path, **options: Any) -> str:
    """Read an unusable file and return what is said of it, behind its name."""
    with pytest.raises(ModelError) as caught:
        checkpoints.read(path, **options)
    message = str(caught.value)
    assert caught.value.exit_code == 4
    assert "\n" not in message
    assert len(message) < len(str(path)) + 300
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def edited(source: Path, target: Path, edit: Edit) -> Path:
    shutil.copy(source, target)
    with h5py.File(target, "r+") as file:
        edit(file)
    return target


def put(group: h5py.Group, name: str, values: Any) -> None:
    del group[name]
    group[name] = values


def rezipped(source: Path, target: Path, changes: Mapping[str, bytes | None], **how: Any) -> Path:
    """Copy a .keras with other members; None leaves one out."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(target, "w", **how) as archive:
        for name, content in {**members, **changes}.items():
            if content is not None:
                archive.writestr(name, content)
    return target


def weight_names(group: h5py.Group) -> list[str]:
    return [
        name if isinstance(name, str) else name.decode() for name in group.attrs["weight_names"]
    ]


def set_weight_names(group: h5py.Group, names: list[str]) -> None:
    group.attrs["weight_names"] = [name.encode() for name in names]


# What can be read


def test_our_own_checkpoint_comes_back_as_it_was_saved(small: Checkpoint, saved: Path) -> None:
    for found in (
        checkpoints.load(saved / "small.safetensors"),
        checkpoints.read(saved / "small.safetensors"),
    ):
        assert (found.network, found.spec) == (small.network, small.spec)
        assert_equal(found.weights, small.weights)


@pytest.mark.parametrize("name", ["small.keras", "small.h5"])
def test_keras_3_files_of_our_graph_are_read(name: str, small: Checkpoint, saved: Path) -> None:
    found = checkpoints.read(saved / name)
    assert found.network == small.network
    assert_equal(found.weights, small.weights)


def test_keras_3_weights_need_the_input_size_said(small: Checkpoint, saved: Path) -> None:
    path = saved / "small.weights.h5"
    assert problem(path) == "does not say the size of its input: give it as input_size"
    found = checkpoints.read(path, input_size=48)
    assert found.network == small.network
    assert_equal(found.weights, small.weights)


@pytest.mark.parametrize("attention", [Attention.IDENTITY, Attention.TOKENS])
@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5", "model.h5"])
def test_the_kind_of_attention_is_told_from_the_file(
    name: str, attention: Attention, tmp_path: Path
) -> None:
    model = PattLite(input_size=48, attention=attention).build(dropout=0.1)
    path = tmp_path / name
    if name == "model.weights.h5":
        model.save_weights(path)
    else:
        model.save(path)
    found = checkpoints.read(path, input_size=48)
    assert isinstance(found.network, PattLite)
    assert found.network.attention is attention
    assert_equal(found.weights, checkpoints.named_weights(model))


def test_the_authors_file_is_read_by_the_names_in_it(
    authors: Checkpoint, authors_path: Path
) -> None:
    assert authors.network == PattLite(
        labels=ALPHABETICAL_8, input_size=224, attention=Attention.BATCH
    )
    assert authors.spec.author == ""
    with h5py.File(authors_path) as file:
        root = file["model_weights"]
        for key, place in {
            "conv1/kernel": "base_model/conv1/kernel:0",
            "conv_dw_4/kernel": "base_model/conv_dw_4/depthwise_kernel:0",
            "conv_pw_8_bn/moving_mean": "base_model/conv_pw_8_bn/moving_mean:0",
            "patch_extraction_2/pointwise_kernel":
                "patch_extraction/separable_conv2d_1/pointwise_kernel:0",
            "patch_extraction_3/bias": "patch_extraction/conv2d/bias:0",
            "pre_classification_bn/gamma": "pre_classification/batch_normalization/gamma:0",
            "classification_head/bias": "classification_head/classification_head/bias:0",
        }.items():  # fmt: skip
            np.testing.assert_array_equal(authors.weights[key], root[place][()], err_msg=key)
    assert float(authors.weights["attention/scale"]) == pytest.approx(0.07)


def test_layer_numbers_in_the_authors_file_do_not_matter(
    authors: Checkpoint, slim_path: Path, tmp_path: Path
) -> None:
    """A notebook whose cells ran several times counts on."""
    numbers = {
        "separable_conv2d_1": "separable_conv2d_10",
        "separable_conv2d": "separable_conv2d_9",
        "conv2d": "conv2d_3",
        "dense": "dense_7",
        "batch_normalization": "batch_normalization_2",
    }

    def renumber(file: h5py.File) -> None:
        for outer in ("patch_extraction", "pre_classification"):
            group = file["model_weights"][outer]
            names = [name.split("/") for name in weight_names(group)]
            set_weight_names(group, [f"{numbers[layer]}/{name}" for layer, name in names])
            for layer in list(group):
                group.move(layer, numbers[layer])

    path = edited(slim_path, tmp_path / "renumbered.h5", renumber)
    assert_equal(checkpoints.read(path).weights, authors.weights)


def test_weights_alone_of_the_authors_graph_are_read(
    authors: Checkpoint, slim_path: Path, tmp_path: Path
) -> None:
    """Keras 2's save_weights writes the same groups at the top of the file, and no graph."""
    path = tmp_path / "weights.h5"
    with h5py.File(slim_path) as source, h5py.File(path, "w") as target:
        target.attrs.update(source["model_weights"].attrs)
        for layer in source["model_weights"]:
            source.copy(f"model_weights/{layer}", target)
    assert "input_size" in problem(path)
    assert_equal(checkpoints.read(path, input_size=224).weights, authors.weights)


def test_the_authors_graph_as_keras_3_saves_it_is_read(tmp_path: Path) -> None:
    from keras import Input, Model, Sequential, applications, layers

    mobilenet = applications.MobileNet(input_shape=(224, 224, 3), include_top=False, weights=None)
    image = Input((120, 120, 3), name="universal_input")
    x = layers.Resizing(224, 224, name="resize")(image)
    x = Sequential([layers.RandomFlip("horizontal")], name="augmentation")(x)
    x = applications.mobilenet.preprocess_input(x)
    x = Model(mobilenet.input, mobilenet.layers[-29].output, name="base_model")(x, training=False)
    patches = [
        layers.SeparableConv2D(256, 4, strides=4, padding="same", activation="relu"),
        layers.SeparableConv2D(256, 2, strides=2, activation="relu"),
        layers.Conv2D(256, 1, activation="relu"),
    ]
    x = layers.GlobalAveragePooling2D()(Sequential(patches, name="patch_extraction")(x))
    classifier = [layers.Dense(32, activation="relu"), layers.BatchNormalization()]
    x = Sequential(classifier, name="pre_classification")(x)
    x = layers.Attention(use_scale=True, name="attention")([x, x])
    x = layers.Dense(7, activation="softmax", name="classification_head")(x)
    model = Model(image, x)
    for name in ("authors.keras", "authors.h5"):
        model.save(tmp_path / name)
        found = checkpoints.read(tmp_path / name)
        assert found.network == PattLite(
            labels=ALPHABETICAL_7, input_size=224, attention=Attention.BATCH
        )
        for place, layer in {
            "patch_extraction_1": patches[0],
            "patch_extraction_2": patches[1],
            "patch_extraction_3": patches[2],
            "pre_classification": classifier[0],
            "pre_classification_bn": classifier[1],
            "conv_pw_6": mobilenet.get_layer("conv_pw_6"),
        }.items():
            for weight in layer.weights:
                np.testing.assert_array_equal(
                    found.weights[f"{place}/{weight.name}"], weight.numpy()
                )


def without_names(content: bytes) -> bytes:
    """Take the layers' names from a weights file: Keras before 3.8 did not write them."""
    stream = io.BytesIO(content)
    with h5py.File(stream, "r+") as file:
        file.visititems(lambda _, found: found.attrs.pop("name", None) and None)
    return stream.getvalue()


def test_an_older_keras_3_names_its_layers_in_the_archive_alone(
    small: Checkpoint, saved: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(saved / "small.keras") as archive:
        nameless = without_names(archive.read("model.weights.h5"))
    path = rezipped(saved / "small.keras", tmp_path / "old.keras", {"model.weights.h5": nameless})
    assert_equal(checkpoints.read(path).weights, small.weights)
    alone = tmp_path / "old.weights.h5"
    alone.write_bytes(nameless)
    assert "too old to name its layers; save it there as .keras" in problem(alone, input_size=48)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_half_and_double_precision_are_converted(
    dtype: str, authors: Checkpoint, slim_path: Path, tmp_path: Path
) -> None:
    def convert(file: h5py.File) -> None:
        group = file["model_weights/base_model/conv1"]
        put(group, "kernel:0", group["kernel:0"][()].astype(dtype))

    found = checkpoints.read(edited(slim_path, tmp_path / "model.h5", convert))
    expected = authors.weights["conv1/kernel"].astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(found.weights["conv1/kernel"], expected)
    assert found.weights["conv1/kernel"].dtype == np.float32


def test_bfloat16_weights_of_keras_3_are_converted(tmp_path: Path) -> None:
    import keras

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("bfloat16")
    try:
        model = PattLite(input_size=48).build()
    finally:
        keras.config.set_dtype_policy(policy)
    assert model.get_layer("conv1").weights[0].dtype == "bfloat16"
    model.save(tmp_path / "half.keras")
    found = checkpoints.read(tmp_path / "half.keras")
    assert_equal(found.weights, checkpoints.named_weights(model))


def test_given_labels_and_input_size_take_precedence(saved: Path) -> None:
    labels = tuple(reversed(ALPHABETICAL_8))
    for name in ("small.keras", "small.safetensors"):
        found = checkpoints.read(saved / name, labels=labels, input_size=64)
        assert (found.network.labels, found.network.input_size) == (labels, 64)
        assert (found.spec.labels, found.spec.input_size) == (labels, 64)


@pytest.mark.parametrize("name", ["small.keras", "small.safetensors"])
def test_options_that_do_not_fit_are_refused(name: str, saved: Path) -> None:
    path = saved / name
    assert problem(path, labels=["happy", "sad"]) == "has 8 classes, but 2 labels were given"
    assert "a label stands twice" in problem(path, labels=["happy"] * 8)
    assert "input_size 100 is not a multiple of 16" in problem(path, input_size=100)


def with_classes(count: int) -> Edit:
    def edit(file: h5py.File) -> None:
        head = file["model_weights/classification_head/classification_head"]
        put(head, "kernel:0", np.zeros((32, count), np.float32))
        put(head, "bias:0", np.zeros(count, np.float32))

    return edit


def test_seven_classes_are_alphabetical(slim_path: Path, tmp_path: Path) -> None:
    path = edited(slim_path, tmp_path / "seven.h5", with_classes(7))
    assert checkpoints.read(path).network.labels == ALPHABETICAL_7


def test_another_number_of_classes_needs_labels(slim_path: Path, tmp_path: Path) -> None:
    path = edited(slim_path, tmp_path / "three.h5", with_classes(3))
    assert problem(path) == "has 3 classes and does not name them: give their labels"
    labels = ("good", "bad", "so so")
    assert checkpoints.read(path, labels=labels).network.labels == labels


def test_a_name_does_not_decide_what_a_file_is(
    small: Checkpoint, saved: Path, tmp_path: Path
) -> None:
    shutil.copy(saved / "small.keras", tmp_path / "model.h5")
    shutil.copy(saved / "small.h5", tmp_path / "model.keras")
    for name in ("model.h5", "model.keras"):
        assert_equal(checkpoints.read(tmp_path / name).weights, small.weights)


def test_an_unknown_network_is_a_wrong_usage() -> None:
    with pytest.raises(UsageError, match="no network is called 'resnet'; known are patt-lite, lan"):
        networks.create("resnet", {})


def test_a_missing_h5py_says_what_to_install(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgefer\[convert\]'"):
        checkpoints.read(saved / "small.keras")


# At batch 1


def test_what_is_deployed_has_no_attention_over_the_batch(small: Checkpoint) -> None:
    deployed = checkpoints.deployable(small)
    assert deployed.network == replace(small.network, attention=Attention.IDENTITY)  # type: ignore[type-var]
    assert set(small.weights) - set(deployed.weights) == {"attention/scale"}
    assert deployed.spec == small.spec
    deployed.build()


@pytest.mark.parametrize("attention", [Attention.IDENTITY, Attention.TOKENS])
def test_what_is_not_coupled_is_deployed_as_it_is(attention: Attention, small: Checkpoint) -> None:
    network = replace(small.network, attention=attention)  # type: ignore[type-var]
    checkpoint = replace(small, network=network)
    assert checkpoints.deployable(checkpoint) is checkpoint


# What does not fit


def drop_weight(file: h5py.File) -> None:
    group = file["model_weights/base_model"]
    set_weight_names(group, [n for n in weight_names(group) if n != "conv_pw_3/kernel:0"])


def add_layer(file: h5py.File) -> None:
    group = file["model_weights/pre_classification"]
    group["dense_9/kernel:0"] = np.zeros((32, 16), np.float32)
    set_weight_names(group, [*weight_names(group), "dense_9/kernel:0"])


def set_conv1(values: Any) -> Edit:
    return lambda file: put(file["model_weights/base_model/conv1"], "kernel:0", values)


def objects(file: h5py.File) -> None:
    group = file["model_weights/base_model/conv1"]
    del group["kernel:0"]
    group.create_dataset("kernel:0", data=np.void(pickle.dumps({"kernel": 1})))


def strings(file: h5py.File) -> None:
    group = file["model_weights/base_model/conv1"]
    del group["kernel:0"]
    group.create_dataset("kernel:0", data=["cos\nsystem\n(S'ls'\ntR."], dtype=h5py.string_dtype())


def huge(file: h5py.File) -> None:
    group = file["model_weights/base_model/conv1"]
    del group["kernel:0"]
    group.create_dataset("kernel:0", (2**40,), np.float32, chunks=(1024,))


def elsewhere(file: h5py.File) -> None:
    group = file["model_weights/base_model/conv1"]
    del group["kernel:0"]
    group.create_dataset("kernel:0", (2,), np.float32, external=[("/etc/hostname", 0, 8)])


def add_lambda(file: h5py.File) -> None:
    config = json.loads(file.attrs["model_config"])
    layer = {
        "class_name": "Lambda",
        "config": {"name": "evil", "function": ["4wEAAAA=", None, None]},
    }
    config["config"]["layers"].insert(3, layer)
    file.attrs["model_config"] = json.dumps(config)


def rename_with_newline(file: h5py.File) -> None:
    group = file["model_weights/base_model"]
    group["two\nlines/kernel:0"] = np.zeros(3, np.float32)
    set_weight_names(group, [*weight_names(group), "two\nlines/kernel:0"])


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (drop_weight, "layer conv_pw_3: kernel is missing, expected (1, 1, 128, 128)"),
        (
            set_conv1(np.zeros((3, 3, 1, 32), np.float32)),
            "layer conv1: kernel has shape (3, 3, 1, 32), expected (3, 3, 3, 32)",
        ),
        (
            set_conv1(np.full((3, 3, 3, 32), np.nan, np.float32)),
            "layer conv1: kernel has NaN or infinity",
        ),
        (
            set_conv1(np.full((3, 3, 3, 32), 1e300)),
            "layer conv1: kernel has NaN or infinity",
        ),
        (
            set_conv1(np.zeros((3, 3, 3, 32), np.int8)),
            "layer conv1: int8 weights, expected float",
        ),
        (
            add_layer,
            "layer dense_9 of pre_classification: kernel of shape (32, 16) "
            "has no place in PAtt-Lite",
        ),
        (
            rename_with_newline,
            "layer two?lines of base_model: kernel of shape (3,) has no place in PAtt-Lite",
        ),
        (huge, "has more than 512 MiB of weights"),
        (elsewhere, "layer conv1 has no weights of its own in this file"),
        (
            lambda file: put(
                file["model_weights"], "base_model", h5py.ExternalLink("other.h5", "/")
            ),
            "links from base_model to somewhere else",
        ),
        (
            lambda file: put(file["model_weights/base_model"], "conv1", np.zeros(3)),
            "is damaged, cut short or no Keras model; copy it again",
        ),
        (
            objects,
            "layer conv1 has objects for weights, maybe a pickle, which holds code; "
            "nothing was executed, it is not supported",
        ),
        (
            strings,
            "layer conv1 has objects for weights, maybe a pickle, which holds code; "
            "nothing was executed, it is not supported",
        ),
        (
            add_lambda,
            "has a Lambda in it (evil), which holds code; nothing was executed, "
            "it is not supported",
        ),
        (
            lambda file: file.attrs.update(model_config="{"),
            "is damaged, cut short or no Keras model; copy it again",
        ),
        (
            lambda file: file.attrs.update(model_config="[]"),
            "has a configuration that is not a model's",
        ),
        (
            lambda file: file["model_weights"].attrs.pop("layer_names"),
            "is an HDF5 file, but no Keras model's",
        ),
        (
            lambda file: file["model_weights"].attrs.update(layer_names=[b"gap"]),
            "holds no layer with weights",
        ),
    ],
)
def test_an_h5_that_does_not_fit_says_where(
    edit: Edit, said: str, slim_path: Path, tmp_path: Path
) -> None:
    assert problem(edited(slim_path, tmp_path / "model.h5", edit)) == said


def test_an_hdf5_dataset_of_another_kind_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "faces.h5"
    with h5py.File(path, "w") as file:
        file["X_train"] = np.zeros((2, 4, 4, 3), np.uint8)
    assert problem(path) == "is an HDF5 file, but no Keras model's"


def test_another_network_is_named_by_its_layers(tmp_path: Path) -> None:
    from keras import applications

    model = applications.MobileNetV2(input_shape=(32, 32, 3), alpha=0.35, weights=None, classes=8)
    model.save(tmp_path / "other.h5")
    model.save(tmp_path / "other.keras")
    model.save_weights(tmp_path / "other.weights.h5")
    for name in ("other.h5", "other.keras", "other.weights.h5"):
        said = problem(tmp_path / name, input_size=48)
        assert said.startswith(
            "is neither a PAtt-Lite (no layer classification_head) nor a LANMSFF "
            "(no layer separable_conv2d and no conv2d_transpose): it has "
        )
        assert said.endswith("layers with weights in all)")


def test_a_small_network_with_our_last_layers_name_does_not_fit(tmp_path: Path) -> None:
    from keras import Input, Sequential, layers

    path = tmp_path / "tiny.keras"
    Sequential(
        [
            Input((48, 48, 3)),
            layers.Conv2D(4, 3, name="first"),
            layers.Flatten(),
            layers.Dense(8, name="classification_head"),
        ]
    ).save(path)
    assert problem(path).startswith("layer ")
    assert "has no place in PAtt-Lite" in problem(path)


def test_a_layer_of_an_unknown_kind_is_named(tmp_path: Path) -> None:
    from keras import Input, Sequential, layers

    path = tmp_path / "recurrent.keras"
    Sequential([Input((8, 3)), layers.PReLU(name="slope")]).save(path)
    assert problem(path) == "layer slope is a p_re_lu, which edgefer does not know"


# Archives


def with_lambda(config: bytes) -> bytes:
    content = json.loads(config)
    content["config"]["layers"][1]["config"]["activation"] = {
        "class_name": "__lambda__",
        "config": {"value": ["4wEAAAA=", None, None]},
    }
    return json.dumps(content).encode()


def test_an_archive_with_a_lambda_is_refused(saved: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(saved / "small.keras") as archive:
        config = with_lambda(archive.read("config.json"))
    path = rezipped(saved / "small.keras", tmp_path / "m.keras", {"config.json": config})
    assert problem(path).startswith("has a Lambda in it (")
    assert "nothing was executed" in problem(path)


@pytest.mark.parametrize(
    ("changes", "how", "said"),
    [
        (
            {"assets/vocabulary.pkl": pickle.dumps([1])},
            {},
            "has a pickle in it (assets/vocabulary.pkl), which holds code; "
            "nothing was executed, it is not supported",
        ),
        (
            {"config.json": None},
            {},
            "is a zip without config.json and model.weights.h5: not .keras",
        ),
        (
            {"config.json": b" " * (17 * 2**20)},
            {"compression": zipfile.ZIP_DEFLATED},
            "config.json is larger than 16 MiB",
        ),
        (
            {},
            {"compression": zipfile.ZIP_BZIP2},
            "config.json is compressed in a way that Keras never uses",
        ),
        ({"config.json": b"[" * 100_000}, {}, "is damaged, cut short or no Keras model"),
        ({"config.json": b"\xff\xfe"}, {}, "is damaged, cut short or no Keras model"),
        ({"model.weights.h5": b"none"}, {}, "is damaged, cut short or no Keras model"),
    ],
)
def test_an_archive_that_is_wrong_says_how(
    changes: Mapping[str, bytes | None],
    how: Mapping[str, Any],
    said: str,
    saved: Path,
    tmp_path: Path,
) -> None:
    path = rezipped(saved / "small.keras", tmp_path / "model.keras", changes, **how)
    assert problem(path).startswith(said)


def test_a_member_that_expands_beyond_what_it_says_is_not_expanded(
    saved: Path, tmp_path: Path
) -> None:
    """A config that says 100 bytes and holds 64 MiB."""
    bomb = b" " * 2**26
    path = rezipped(
        saved / "small.keras",
        tmp_path / "bomb.keras",
        {"config.json": bomb},
        compression=zipfile.ZIP_DEFLATED,
    )
    size = len(bomb).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, (100).to_bytes(4, "little")))
    assert problem(path) == "is damaged, cut short or no Keras model; copy it again"


def test_a_pytorch_checkpoint_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"weight": 1}))
    assert problem(path).startswith("has a pickle in it (archive/data.pkl), which holds code;")


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return Path.touch, (tmp_path / "executed",)  # type: ignore[return-value]

    path = tmp_path / "model.h5"
    path.write_bytes(pickle.dumps(Evil()))
    assert problem(path) == (
        "is a pickle, which holds code; nothing was executed, it is not supported"
    )
    assert not (tmp_path / "executed").exists()


# Files that are no checkpoints at all


@pytest.mark.parametrize("suffix", [".safetensors", ".keras", ".weights.h5", ".h5"])
def test_files_without_a_model_in_them_are_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    assert problem(path) == "does not exist; check the path"
    path.mkdir()
    assert problem(path) == "is a folder; give a checkpoint file"
    path.rmdir()
    path.write_bytes(b"")
    assert problem(path) == "is empty; copy or download it again"
    for content in (b"This is a text.\n", np.random.default_rng(1).bytes(5000), b"\x89HDF\r\n"):
        path.write_bytes(content)
        assert problem(path, input_size=48)


@pytest.mark.parametrize("name", ["model.ckpt", "model.txt", "model", "model.tflite"])
def test_another_ending_is_refused(name: str, saved: Path, tmp_path: Path) -> None:
    shutil.copy(saved / "small.keras", tmp_path / name)
    assert problem(tmp_path / name) == (
        "has none of the checkpoints' endings .safetensors, .keras, .h5, .hdf5, .pth, .pt"
    )


def test_a_file_that_may_not_be_read_is_refused(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert problem(saved / "small.h5").startswith("cannot be opened: ")


@pytest.mark.parametrize(
    "name", ["small.safetensors", "small.keras", "small.weights.h5", "small.h5"]
)
@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(name: str, share: float, saved: Path, tmp_path: Path) -> None:
    content = (saved / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: int(share * len(content))])
    assert problem(path, input_size=48)


@pytest.mark.parametrize("seed", range(6))
def test_a_corrupt_file_never_ends_in_anything_but_an_answer(
    seed: int, saved: Path, tmp_path: Path
) -> None:
    """HDF5's own structures damaged: some of this makes the library crash, in the child."""
    generator = np.random.default_rng(seed)
    content = bytearray((saved / "small.weights.h5").read_bytes())
    marks = [content.find(mark) for mark in (b"TREE", b"HEAP", b"SNOD", b"GCOL")]
    for mark in marks:
        for offset in generator.integers(8, 400, 4).tolist():
            content[mark + offset] = int(generator.integers(256))
    path = tmp_path / "corrupt.weights.h5"
    path.write_bytes(content)
    assert problem(path, input_size=48)


def test_a_crash_of_the_reading_process_is_an_error(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = [sys.executable, "-c", "import os; os.abort()"]
    monkeypatch.setattr(child, "command", lambda *_: crash)
    assert problem(saved / "small.h5") == "is damaged, cut short or no Keras model; copy it again"


# Safetensors


@pytest.mark.parametrize(
    "header",
    [
        None,
        "{",
        "[]",
        "[" * 100_000,
        '{"format_version": 2}',
        '{"format_version": 1, "network": "resnet", "options": {}, "spec": {}}',
        '{"format_version": 1, "network": "patt-lite", "options": {"side": 1}, "spec": {}}',
        '{"format_version": 1, "network": "patt-lite", "options": {}, "spec": []}',
    ],
)
def test_safetensors_of_others_are_refused(header: str | None, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    metadata = None if header is None else {"edgefer": header}
    save_file({"conv1/kernel": np.zeros(3, np.float32)}, path, metadata=metadata)
    assert problem(path).startswith("is not an edgefer checkpoint: ")


def test_a_network_and_a_spec_that_differ_are_refused(small: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    checkpoints.save(path, replace(small, spec=replace(small.spec, input_size=64)))
    assert "its network and its spec differ" in problem(path)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (None, "layer conv1: kernel is missing, expected (3, 3, 3, 32)"),
        (np.zeros((3, 3), np.float32), "layer conv1: kernel has shape (3, 3), expected"),
        (np.full((3, 3, 3, 32), np.inf, np.float32), "layer conv1: kernel has NaN or infinity"),
    ],
)
def test_our_own_checkpoint_is_checked_against_its_network(
    values: Any, said: str, small: Checkpoint, tmp_path: Path
) -> None:
    weights = {**small.weights, "conv1/kernel": values}
    if values is None:
        del weights["conv1/kernel"]
    path = tmp_path / "model.safetensors"
    checkpoints.save(path, replace(small, weights=weights))
    assert problem(path).startswith(said)
    with pytest.raises(ModelError, match="layer conv1: kernel"):
        replace(small, weights=weights).build()
