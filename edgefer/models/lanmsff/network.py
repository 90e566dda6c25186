"""LANMSFF: a small convolutional network with mass attention and point-wise feature selection.

Ezati et al., "A Lightweight Attention-based Deep Network via Multi-Scale Feature Fusion for
Multi-View Facial Expression Recognition", 2024 (arXiv 2403.14318). Where the paper and the
authors' code (repository AE-1129/LANMSFF) differ, this follows the code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgefer.data.labels import ALPHABETICAL_8
from edgefer.models.configured import Configured
from edgefer.models.lanmsff.layers import Matrix, folded_layers
from edgefer.models.spec import ColourOrder, ModelSpec
from edgefer.quiet import load_keras

if TYPE_CHECKING:
    import keras

    from edgefer.training.recipes import Stage

WIDTHS = (66, 72, 78, 84)
"""Channels of the four blocks' outputs."""

SHUFFLED_WIDTHS = (WIDTHS[0], WIDTHS[2])
"""Channels of the maps that are shuffled: the inputs of blocks 2 and 4."""

STRIDE = 32
"""Halved three times, a map must still be a multiple of 4 for the fourth block's attention."""

VECTOR = 16
"""Channels that a processor takes at once, as floats in a vector of AVX-512."""

LUMA = (0.299, 0.587, 0.114)
"""Gray from RGB, as OpenCV's cvtColor weighs it (ITU-R BT.601)."""

Shuffle = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Lanmsff(Configured):
    """One LANMSFF: what it looks at, and how it shuffles channels.

    With RGB input the gray image that the network was designed for is made inside of it.
    `shuffles` are the orders in which blocks 2 and 4 read the channels before them; None is the
    regular shuffle of two groups. The authors' code of 2024 drew them at random.
    """

    title = "LANMSFF"

    labels: tuple[str, ...] = ALPHABETICAL_8
    input_size: int = field(default=64, metadata={"help": "In pixels."})
    colour_order: ColourOrder = field(
        default=ColourOrder.RGB, metadata={"help": "Of the input; both see the same gray image."}
    )
    shuffles: tuple[Shuffle, Shuffle] | None = None

    def __post_init__(self) -> None:
        if self.input_size % STRIDE or not STRIDE <= self.input_size <= 512:
            raise ValueError(f"input_size {self.input_size} is not a multiple of 32 in 32…512")
        for shuffle, width in zip(self.shuffles or (), SHUFFLED_WIDTHS, strict=False):
            if sorted(shuffle) != list(range(width)):
                raise ValueError(f"a shuffle is not an order of {width} channels")

    def spec(self, *, training_data: str = "", licence: str = "") -> ModelSpec:
        """Return the input contract: pixels of 0…255 as they are, as the authors feed them."""
        channels = 3 if self.colour_order is ColourOrder.RGB else 1
        return ModelSpec(
            name=self.title,
            labels=self.labels,
            input_size=self.input_size,
            channels=channels,
            colour_order=self.colour_order,
            mean=(0.0,) * channels,
            std=(1.0,) * channels,
            description="Facial expression of one cropped face (arXiv 2403.14318)",
            training_data=training_data,
            author="edgefer",
            licence=licence,
        )

    def build(self, *, batch_size: int | None = 1) -> keras.Model:
        """Build the inference graph: float32 (batch, size, size, channels) to probabilities.

        Its maps have just the channels they need, in an order in which shuffles are slices.
        """
        return _Graph(self, vector=1).build(batch_size)

    def training_graph(self, stage: Stage) -> keras.Model:
        """Build the same network as a processor trains it fastest, with a stage's dropout."""
        return _Graph(self, vector=VECTOR, dropout=stage.dropout).build(None)


def regular_shuffle(channels: int) -> Shuffle:
    """Return the order of a shuffle of two groups (ShuffleNet, Zhang et al. 2018)."""
    return tuple(np.arange(channels).reshape(2, -1).T.ravel().tolist())


def aligned_order(shuffle: Shuffle) -> Shuffle:
    """Order a map's channels so that what reads it finds plain slices.

    The first half are the channels that the shuffle puts first; and the three thirds hold, at
    each position, a triple that feature selection compares. Where the shuffle does not part the
    triples evenly, which the regular one does, there is no such order: the channels stay.
    """
    third = len(shuffle) // 3
    first = set(shuffle[: len(shuffle) // 2])
    triples = [(i, i + third, i + 2 * third) for i in range(third)]
    parted = [([c for c in t if c in first], [c for c in t if c not in first]) for t in triples]
    twice_first = [high + low for high, low in parted if len(high) == 2]
    once_first = [high + low for high, low in parted if len(high) == 1]
    if not len(twice_first) == len(once_first) == third / 2:
        return tuple(range(len(shuffle)))
    (a, b, c), (d, e, f) = (list(zip(*part, strict=True)) for part in (twice_first, once_first))
    return (*a, *d, *b, *e, *c, *f)


@dataclass(frozen=True)
class Channels:
    """What a map holds: at each position a channel of the network, or zeros behind them all."""

    order: Sequence[int]
    present: int

    @property
    def matrix(self) -> Matrix:
        """The map (…, present) times this gives the network's channels (…, known) in order."""
        matrix = np.zeros((self.present, len(self.order)), np.float32)
        matrix[np.arange(len(self.order)), self.order] = 1
        return matrix


class _Graph:
    """The graph, as an inference engine or as a training wants its maps."""

    def __init__(self, network: Lanmsff, *, vector: int, dropout: float = 0.0) -> None:
        load_keras("building a network")
        self.network = network
        self.vector = vector
        self.dropout = dropout
        self.layers = folded_layers()

    def build(self, batch_size: int | None) -> keras.Model:
        from keras import Input, Model, ops

        network = self.network
        spec = network.spec()
        image = Input(
            (spec.input_size, spec.input_size, spec.channels), batch_size=batch_size, name="image"
        )
        luma = np.array(LUMA, np.float32)[:, None] if spec.channels == 3 else None
        shuffles = network.shuffles or tuple(map(regular_shuffle, SHUFFLED_WIDTHS))
        one, two, three, four = self.outputs(shuffles)
        first = self.plain_block("block1", image, luma, one)
        second = self.attentive_block("block2", first, one, shuffles[0], two)
        third = self.plain_block("block3", second, two.matrix, three)
        fourth = self.attentive_block("block4", third, three, shuffles[1], four)
        selected = [_selection(*pair) for pair in ((first, one), (second, two), (third, three))]
        pooled = [feature for features, _ in selected for feature in features]
        source = _block_diagonal([*(matrix for _, matrix in selected), four.matrix])
        classifier = self.layers.linear(
            len(network.labels),
            source=source,
            activation="softmax",
            name="classifier",
            dtype="float32",
        )
        # XNNPACK takes at most five inputs.
        lower, upper = ops.concatenate(pooled[:4], axis=-1), [*pooled[4:], _mean(fourth)]
        features = ops.concatenate([lower, *upper], axis=-1)
        return Model(image, classifier(features), name="lanmsff")

    def outputs(self, shuffles: Sequence[Shuffle]) -> list[Channels]:
        """Return what the four blocks put out."""
        if self.vector > 1:
            return [self.channels(width) for width in WIDTHS]
        one, three = (Channels(aligned_order(shuffle), len(shuffle)) for shuffle in shuffles)
        return [one, self.channels(WIDTHS[1]), three, self.channels(WIDTHS[3])]

    def channels(self, known: int) -> Channels:
        """Return a map's channels in their order, filled up to whole vectors."""
        return Channels(range(known), -(-known // self.vector) * self.vector)

    def plain_block(self, name: str, x: Any, source: Matrix | None, target: Channels) -> Any:
        """Blocks 1 and 3."""
        width = len(target.order)
        inner = self.channels(width)
        layers = self.layers
        x = layers.convolution(
            width, 3, source=source, target=inner.matrix.T, name=f"{name}_conv1"
        )(x)
        x = layers.normalization(width, target=inner.matrix.T, name=f"{name}_bn1")([x])
        x = layers.separable(
            width, source=inner.matrix, target=inner.matrix.T, name=f"{name}_separable"
        )(x)
        x = layers.normalization(width, target=inner.matrix.T, name=f"{name}_bn2")([x])
        x = layers.convolution(
            width, 3, source=inner.matrix, target=target.matrix.T, name=f"{name}_conv2"
        )(x)
        return self.finish(name, "bn3", x, target)

    def attentive_block(
        self, name: str, x: Any, source: Channels, shuffle: Shuffle, target: Channels
    ) -> Any:
        """Blocks 2 and 4."""
        width = len(target.order)
        x = self.two_paths(name, x, source, shuffle, target)
        x = self.attended(name, x, target)
        x = self.layers.convolution(
            width, 1, source=target.matrix, target=target.matrix.T, name=f"{name}_mix"
        )(x)
        return self.finish(name, "bn4", x, target)

    def finish(self, name: str, normalization: str, x: Any, target: Channels) -> Any:
        """Normalize, halve and drop; the authors' ReLU behind the pooling is the same before it."""
        from keras import layers

        x = self.layers.normalization(
            len(target.order), target=target.matrix.T, name=f"{name}_{normalization}"
        )([x])
        x = layers.MaxPooling2D(2, name=name)(x)
        return layers.Dropout(self.dropout, name=f"{name}_dropout")(x) if self.dropout else x

    def two_paths(
        self, name: str, x: Any, source: Channels, shuffle: Shuffle, target: Channels
    ) -> Any:
        """Two paths of near and far neighbours over three stages, which meet after each."""
        half = len(target.order) // 2
        to_end = Channels(range(half), target.present - half).matrix.T
        inputs = _halves(x, source, shuffle)
        for stage, kind in enumerate(("conv1", "separable", "conv2"), start=1):
            paths = []
            for path, dilation, (x, known), place in zip(
                ("near", "far"), (1, 2), inputs, (None, to_end), strict=True
            ):
                options = {"source": known, "target": place, "dilation": dilation}
                layer = (
                    self.layers.separable(half, name=f"{name}_{path}_{kind}", **options)
                    if kind == "separable"
                    else self.layers.convolution(half, 3, name=f"{name}_{path}_{kind}", **options)
                )
                paths.append(layer(x))
            x = self.layers.normalization(
                2 * half, target=target.matrix.T, name=f"{name}_bn{stage}"
            )(paths)
            inputs = [(x, target.matrix)] * 2
        return x

    def attended(self, name: str, x: Any, channels: Channels) -> Any:
        """Mass attention: weigh each channel as a whole and each position as a whole."""
        from keras import layers, ops

        width = len(channels.order)
        known, own = channels.matrix, self.layers
        weight = ops.mean(x, axis=(1, 2), keepdims=True)
        weight = own.linear(width // 4, source=known, activation="relu", name=f"{name}_squeeze")(
            weight
        )
        weight = own.linear(width, target=known.T, activation="sigmoid", name=f"{name}_excite")(
            weight
        )
        mean = known.sum(axis=1, keepdims=True) / width
        place = own.convolution(
            2, 3, stride=2, source=mean, activation="relu", name=f"{name}_down1"
        )(x)
        place = own.convolution(4, 3, stride=2, activation="relu", name=f"{name}_down2")(place)
        for step, (filters, activation) in enumerate(((4, "relu"), (1, "sigmoid")), start=1):
            place = layers.Conv2DTranspose(
                filters, 3, 2, padding="same", activation=activation, name=f"{name}_up{step}"
            )(place)
        return x * weight * place


def _halves(x: Any, channels: Channels, shuffle: Shuffle) -> list[tuple[Any, Matrix]]:
    """Return a map for each half of a shuffle, and the matrix that finds the half in it.

    Where the halves lie one behind the other the map is split, else each path reads all of it.
    """
    from keras import ops

    near, far = np.split(channels.matrix[:, shuffle], 2, axis=1)
    half = channels.present // 2
    if near[half:].any() or far[:half].any():
        return [(x, near), (x, far)]
    first, second = ops.split(x, 2, axis=-1)
    return [(first, near[:half]), (second, far[half:])]


def _selection(x: Any, channels: Channels) -> tuple[list[Any], Matrix]:
    """Point-wise feature selection: (max + median) / 2 of three channels, averaged over positions.

    The two largest of a, b and c sum to b + c + max(0, a − min(b, c)), and min(b, c) is
    b − max(0, b − c): subtractions, which every integer engine has, where it often lacks minima.
    Returned are the means of all channels and of that third summand, and the matrix that adds up.
    """
    from keras import ops

    third = len(channels.order) // 3
    is_filled_up = channels.present > 3 * third
    a, b, c, *_ = ops.split(x, [third, 2 * third, 3 * third] if is_filled_up else 3, axis=-1)
    gain = ops.relu(a - (b - ops.relu(b - c)))
    triple = channels.matrix @ np.tile(np.eye(third, dtype=np.float32), (3, 1))
    unused = np.zeros_like(triple[:third])
    summands = np.concatenate([unused, triple[third:], triple[:third]])
    return [_mean(x), _mean(gain)], np.asarray(summands / 2, np.float32)


def _mean(x: Any) -> Any:
    from keras import ops

    return ops.mean(x, axis=(1, 2))


def _block_diagonal(blocks: Sequence[Matrix]) -> Matrix:
    from scipy.linalg import block_diag

    return np.asarray(block_diag(*blocks), np.float32)
