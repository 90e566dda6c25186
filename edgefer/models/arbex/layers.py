"""Keras layers of ARBEx that Keras does not have."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edgefer.models.arbex import balancing
from edgefer.models.arbex.plan import HEAD_WIDTH, Scale


class ArbexLayers(NamedTuple):
    """The layers' classes; each says what it does."""

    turned: Any
    scale_attention: Any
    folded_attention: Any
    factor: Any
    addend: Any
    tokens: Any
    depth_dropout: Any
    anchors: Any
    batch_attention: Any
    balancing: Any


def relative_positions(side: int) -> npt.NDArray[np.int64]:
    """Return where a bias table has the offset from each position to each: (side², side²).

    The table's rows are the offsets down and right, each of −(side − 1)…side − 1, row by row
    (Liu et al., "Swin Transformer", 2021).
    """
    down, right = np.divmod(np.arange(side * side), side)
    rows, columns = (place[:, None] - place[None, :] + side - 1 for place in (down, right))
    return np.asarray(rows * (2 * side - 1) + columns, np.int64)


def heads_of(x: Any, count: int) -> Any:
    """Part (batch, …positions, count × width) into heads: (batch, count, positions, width)."""
    from keras import ops

    positions = math.prod(x.shape[1:-1])
    parted = ops.reshape(x, (-1, positions, count, x.shape[-1] // count))
    return ops.transpose(parted, (0, 2, 1, 3))


def merged(x: Any, shape: tuple[int, ...]) -> Any:
    """Put heads (batch, count, positions, width) side by side, in (batch, *shape)."""
    from keras import ops

    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, *shape))


def attended(query: Any, key: Any, value: Any, bias: Any = None) -> Any:
    """Attend, head by head; the scores' scaling is in the query or the key."""
    from keras import ops

    scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))
    return ops.matmul(ops.softmax(scores if bias is None else scores + bias, axis=-1), value)


@cache
def arbex_layers() -> ArbexLayers:
    """Define the layers; Keras is imported here because it is an optional package."""
    from keras import initializers, layers, ops, random

    class Turned(layers.Layer):  # type: ignore[misc, unused-ignore]
        """The image upside down and mirrored, of 224 pixels every other one that PyTorch takes.

        PyTorch pads a halving convolution in front and behind, of which it needs the front;
        TensorFlow's "same" padding is behind, which a turned image has in front. So every
        convolution here is a plain "same" one, and no map has to be padded for it.
        """

        def __init__(self, step: int, **options: Any) -> None:
            super().__init__(**options)
            self.step = step

        def call(self, x: Any) -> Any:
            last = x.shape[1] - self.step
            return x[:, last :: -self.step, last :: -self.step]

    class ScaleAttention(layers.Layer):  # type: ignore[misc, unused-ignore]
        """Landmark features that ask image features, with a bias for the way between them."""

        def __init__(self, scale: Scale, grid: int, **options: Any) -> None:
            super().__init__(**options)
            self.scale = scale
            self.side = scale.side(grid)

        def build(self, *_shapes: Any) -> None:
            self.table = self.add_weight(
                shape=((2 * self.side - 1) ** 2, self.scale.heads),
                initializer=initializers.TruncatedNormal(stddev=0.02),
                name="table",
            )

        def call(self, landmarks: Any, keys_and_values: Any) -> Any:
            heads = self.scale.heads
            bias = ops.take(self.table, relative_positions(self.side), axis=0)
            key, value = ops.split(heads_of(keys_and_values, 2 * heads), 2, axis=1)
            query = heads_of(landmarks, heads) * HEAD_WIDTH**-0.5
            found = attended(query, key, value, ops.transpose(bias, (2, 0, 1)))
            return merged(found, landmarks.shape[1:])

    class FoldedAttention(layers.Layer):  # type: ignore[misc, unused-ignore]
        """The same with the bias from each position to each, and scaled keys."""

        def __init__(self, scale: Scale, grid: int, **options: Any) -> None:
            super().__init__(**options)
            self.scale = scale
            self.side = scale.side(grid)

        def build(self, *_shapes: Any) -> None:
            positions = self.side**2
            self.bias = self.add_weight(
                shape=(self.scale.heads, positions, positions), initializer="zeros", name="bias"
            )

        def call(self, landmarks: Any, keys_and_values: Any) -> Any:
            heads = self.scale.heads
            key, value = ops.split(heads_of(keys_and_values, 2 * heads), 2, axis=1)
            found = attended(heads_of(landmarks, heads), key, value, self.bias)
            return merged(found, landmarks.shape[1:])

    class Factor(layers.Layer):  # type: ignore[misc, unused-ignore]
        """A factor for each channel."""

        def __init__(self, initial: float = 1.0, **options: Any) -> None:
            super().__init__(**options)
            self.initial = initial

        def build(self, shape: Any) -> None:
            self.gamma = self.add_weight(
                shape=(shape[-1],),
                initializer=initializers.Constant(self.initial),
                name="gamma",
            )

        def call(self, x: Any) -> Any:
            return x * self.gamma

    class Addend(layers.Layer):  # type: ignore[misc, unused-ignore]
        """A constant of a given shape that is added."""

        def __init__(self, addend_shape: tuple[int, ...], **options: Any) -> None:
            super().__init__(**options)
            self.addend_shape = addend_shape

        def build(self, _shape: Any) -> None:
            self.addend = self.add_weight(
                shape=self.addend_shape, initializer="zeros", name="addend"
            )

        def call(self, x: Any) -> Any:
            return x + self.addend

    class Tokens(layers.Layer):  # type: ignore[misc, unused-ignore]
        """A class token before the patches, and each one's position."""

        def build(self, shape: Any) -> None:
            start = initializers.TruncatedNormal(stddev=0.02)
            count, width = shape[-2:]
            self.class_token = self.add_weight(
                shape=(1, 1, width), initializer=start, name="class_token"
            )
            self.positions = self.add_weight(
                shape=(1, count + 1, width), initializer=start, name="positions"
            )

        def call(self, patches: Any) -> Any:
            first = ops.broadcast_to(
                self.class_token, (ops.shape(patches)[0], 1, patches.shape[-1])
            )
            return ops.concatenate([first, patches], axis=1) + self.positions

    class DepthDropout(layers.Layer):  # type: ignore[misc, unused-ignore]
        """Stochastic depth (Huang et al. 2016): in training a branch is left out now and then."""

        def __init__(self, rate: float, **options: Any) -> None:
            super().__init__(**options)
            self.rate = rate
            self.seed_generator = random.SeedGenerator()

        def call(self, x: Any, *, training: bool = False) -> Any:
            if not training:
                return x
            shape = (ops.shape(x)[0], *(1,) * (len(x.shape) - 1))
            kept = random.uniform(shape, dtype="float32", seed=self.seed_generator) >= self.rate
            return x * ops.cast(kept, x.dtype) / (1 - self.rate)

    class Anchors(layers.Layer):  # type: ignore[misc, unused-ignore]
        """Distances of embeddings to the anchors of all classes: (batch, classes × anchors)."""

        def __init__(self, classes: int, count: int, **options: Any) -> None:
            super().__init__(**options)
            self.classes, self.count = classes, count

        def build(self, shape: Any) -> None:
            self.anchors = self.add_weight(
                shape=(self.classes, self.count, shape[-1]), initializer="zeros", name="anchors"
            )

        def call(self, embedding: Any) -> Any:
            every = ops.reshape(self.anchors, (1, -1, embedding.shape[-1]))
            return balancing.distances(embedding, every)

    class BatchAttention(layers.Layer):  # type: ignore[misc, unused-ignore]
        """PyTorch's MultiheadAttention, one head, over the images of a batch."""

        def build(self, query: Any, *_others: Any) -> None:
            width = query[-1]
            for name, outputs in (("in", 3 * width), ("out", width)):
                kernel = self.add_weight(shape=(width, outputs), name=f"{name}_kernel")
                bias = self.add_weight(shape=(outputs,), initializer="zeros", name=f"{name}_bias")
                setattr(self, f"{name}_kernel", kernel)
                setattr(self, f"{name}_bias", bias)

        def call(self, query: Any, key: Any, value: Any) -> Any:
            kernels, biases = ops.split(self.in_kernel, 3, axis=1), ops.split(self.in_bias, 3)
            query, key, value = (
                ops.matmul(x, kernel) + bias
                for x, kernel, bias in zip((query, key, value), kernels, biases, strict=True)
            )
            scores = ops.matmul(query, ops.transpose(key)) * query.shape[-1] ** -0.5
            found = ops.matmul(ops.softmax(scores, axis=-1), value)
            return ops.matmul(found, self.out_kernel) + self.out_bias

    class BalancingLayer(layers.Layer):  # type: ignore[misc, unused-ignore]
        """The corrected distribution.

        `trust` is how far the training had come, 0…1; that is how much of a correction it makes.
        """

        def __init__(self, delta: float, **options: Any) -> None:
            super().__init__(**options)
            self.delta = delta

        def build(self, *_shapes: Any) -> None:
            self.trust = self.add_weight(
                shape=(), initializer="ones", name="trust", trainable=False
            )

        def call(self, probabilities: Any, distances: Any, attention: Any = None) -> Any:
            near = balancing.similarity(distances, probabilities.shape[-1], self.delta)
            if attention is None:
                return balancing.evaluated(probabilities, near, self.trust)
            return balancing.balanced(probabilities, near, attention, self.trust)

    return ArbexLayers(
        Turned,
        ScaleAttention,
        FoldedAttention,
        Factor,
        Addend,
        Tokens,
        DepthDropout,
        Anchors,
        BatchAttention,
        BalancingLayer,
    )
