"""ARBEx's graph for a device: what `arbex_folding` leaves of it, in as few operators as it takes.

Each layer norm is four operators: its input has no mean, because whatever feeds it was centered
in its weights, and its scale and offset are in what follows. Of the transformer's last block only
the class token is computed, since nothing else of it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgefer.models.arbex.graph import balanced
from edgefer.models.arbex.layers import arbex_layers, attended, heads_of, merged
from edgefer.models.arbex.network import EMBEDDING, Arbex
from edgefer.models.arbex.plan import (
    BLOCK_HEADS,
    BLOCKS,
    HIDDEN,
    IR_STAGES,
    IR_STEM,
    LANDMARK_LAST,
    LANDMARK_PATHS,
    LANDMARK_STEM,
    MLP_RATIO,
    NORM_EPSILON,
    SCALES,
    TOKEN_EPSILON,
    Bottleneck,
    Scale,
    Unit,
)
from edgefer.quiet import load_keras

if TYPE_CHECKING:
    import keras


def build(network: Arbex, batch_size: int | None) -> keras.Model:
    """Build the inference graph, float32 (batch, size, size, 3) to class probabilities."""
    load_keras("building a network")
    from keras import Input, Model, layers

    side = network.input_size
    image = Input((side, side, 3), batch_size=batch_size, name="image")
    seen = arbex_layers().turned(network.step, name="turned")(image)
    found = [
        _attended_scale(scale, network.grid, landmarks, faces)
        for scale, landmarks, faces in zip(SCALES, _landmarks(seen), _faces(seen), strict=True)
    ]
    embedding = x = _embedding(_tokens(found))
    for number, width in enumerate(HIDDEN, start=1):
        x = layers.Dense(width, activation="relu", name=f"hidden{number}")(x)
    probabilities = layers.Dense(len(network.labels), activation="softmax", name="classifier")(x)
    return Model(image, balanced(network, embedding, probabilities), name="arbex")


def _convolution(
    x: Any, name: str, filters: int, size: int = 1, stride: int = 1, **options: Any
) -> Any:
    from keras import layers

    options = {"padding": "same", **options}
    return layers.Conv2D(filters, size, strides=stride, name=name, **options)(x)


def _bent(x: Any, name: str) -> Any:
    from keras import layers

    return layers.PReLU(shared_axes=[1, 2], name=f"{name}_prelu")(x)


def _block(x: Any, name: str, filters: int, size: int = 1, stride: int = 1) -> Any:
    return _bent(_convolution(x, f"{name}_conv", filters, size, stride), name)


def _depthwise_block(x: Any, name: str, stride: int) -> Any:
    from keras import layers

    x = layers.DepthwiseConv2D(3, strides=stride, padding="same", name=f"{name}_conv")(x)
    return _bent(x, name)


def _landmarks(x: Any) -> list[Any]:
    x = _block(x, "landmark_stem", LANDMARK_STEM, 3, 2)
    x = _depthwise_block(x, "landmark_stem_depthwise", 1)
    found = []
    for path in LANDMARK_PATHS:
        for unit in path:
            x = _unit(x, unit)
        found.append(x)
    x = _block(x, "landmark_last", LANDMARK_LAST)
    return [*found[:2], _convolution(x, "landmark_reduce", SCALES[2].width, 3)]


def _unit(x: Any, unit: Unit) -> Any:
    inner = _block(x, f"{unit.name}_expand", unit.inner)
    inner = _depthwise_block(inner, f"{unit.name}_depthwise", unit.stride)
    inner = _convolution(inner, f"{unit.name}_project_conv", unit.filters)
    return inner if unit.stride == 2 else inner + x


def _faces(x: Any) -> list[Any]:
    x = _block(x, "ir_stem", IR_STEM, 3)
    found = []
    for stage, scale in zip(IR_STAGES, SCALES, strict=True):
        for part in stage:
            x = _bottleneck(x, part)
        found.append(_convolution(x, f"{scale.name}_conv", scale.width, 3, 2))
    return found


def _bottleneck(x: Any, part: Bottleneck) -> Any:
    """Add a residual; within a stage the map has an offset that makes the norms mere factors."""
    name, filters = part.name, part.filters
    is_first = part.stride == 2
    shifted = arbex_layers().addend(x.shape[-1:], name=f"{name}_shift")(x) if is_first else x
    inner = _bent(_convolution(shifted, f"{name}_conv1", filters, 3), name)
    inner = _convolution(inner, f"{name}_conv2", filters, 3, part.stride)
    if not is_first:
        return inner + x
    x = _picked(x, name)
    return inner + (_convolution(x, f"{name}_shortcut_conv", filters) if part.projected else x)


def _picked(x: Any, name: str) -> Any:
    """Take every other position, as a convolution: delegates have no strided slices."""
    from keras import layers

    return layers.DepthwiseConv2D(2, strides=2, use_bias=False, name=f"{name}_pick")(x)


def _linear(x: Any, name: str, width: int, **options: Any) -> Any:
    """Apply a linear layer at each position of a map, or to a vector."""
    from keras import layers

    if len(x.shape) == 2:
        return layers.Dense(width, name=name, **options)(x)
    return _convolution(x, name, width, **options)


def _normalized(x: Any, epsilon: float) -> Any:
    """Divide by the root mean square over channels, which of centered ones is the deviation."""
    from keras import ops

    return x * ops.rsqrt(_mean(x * x) + epsilon)


def _mean(x: Any) -> Any:
    """Average over channels, as a layer with one channel, to which an engine adds an epsilon."""
    from keras import ops

    width = x.shape[-1]
    mean = np.full((width, 1), 1 / width, np.float32)
    return ops.matmul(x, mean) if len(x.shape) == 2 else ops.conv(x, mean[None, None], 1, "valid")


def _centered(x: Any) -> Any:
    """Subtract the mean over channels; as one matrix it would not outlast rounding to int8."""
    return x - _mean(x)


def _mlp(x: Any, name: str, width: int) -> Any:
    from keras import ops

    x = ops.gelu(_linear(x, f"{name}_mlp1", MLP_RATIO * width), approximate=False)
    return _linear(x, f"{name}_mlp2", width)


def _attended_scale(scale: Scale, grid: int, landmarks: Any, faces: Any) -> Any:
    own, name, width = arbex_layers(), scale.name, scale.width
    faces = own.factor(name=f"{name}_norm1")(_normalized(faces, NORM_EPSILON))
    pairs = _linear(faces, f"{name}_kv", 2 * width, use_bias=False)
    found = own.folded_attention(scale, grid, name=f"{name}_attention")(landmarks, pairs)
    x = _linear(found, f"{name}_project", width) + faces
    return x + _mlp(_normalized(_centered(x), NORM_EPSILON), name, width)


def _tokens(scales: list[Any]) -> Any:
    """Embed each scale, with a class token before them: of 112, (batch, 1, 148, 768)."""
    from keras import layers, ops

    first, second, third = scales
    first = layers.ZeroPadding2D(((0, 3), (0, 3)), name="embed1_pad")(first)
    options = {"use_bias": False}
    embedded = [
        _convolution(first, "embed1", EMBEDDING, 7, 4, padding="valid", **options),
        _convolution(second, "embed2", EMBEDDING, 3, 2, **options),
        _convolution(third, "embed3", EMBEDDING, **options),
    ]
    joined = ops.concatenate(embedded, axis=1)
    count = joined.shape[1] * joined.shape[2]
    tokens = ops.reshape(joined, (-1, 1, count, EMBEDDING))
    padded = layers.ZeroPadding2D(((0, 0), (1, 0)), name="class_token")(tokens)
    return arbex_layers().addend((count + 1, EMBEDDING), name="tokens")(padded)


def _embedding(x: Any) -> Any:
    """Apply the transformer, and the gate to its class token: (batch, 768)."""
    from keras import layers

    own = arbex_layers()
    first, last = BLOCKS
    found = _linear(_normalized(x, TOKEN_EPSILON), f"{first}_qkv", 3 * EMBEDDING)
    parted = heads_of(found, 3 * BLOCK_HEADS)
    x = x + _linear(_self_attended(parted, x.shape[1:]), f"{first}_project", EMBEDDING)
    x = x + _mlp(_normalized(x, TOKEN_EPSILON), first, EMBEDDING)
    token = _normalized(_class_token(x, last), TOKEN_EPSILON)
    token = own.factor(name="vit_norm_factor")(token)
    token = own.addend((EMBEDDING,), name="vit_norm_addend")(token)
    gate = layers.Dense(EMBEDDING, activation="relu", name="gate1")(token)
    gate = layers.Dense(EMBEDDING, activation="sigmoid", name="gate2")(gate)
    return layers.Multiply(name="embedding")([token, gate])


def _self_attended(parted: Any, shape: tuple[int, ...]) -> Any:
    from keras import ops

    query, key, value = ops.split(parted, 3, axis=1)
    return merged(attended(query, key, value), shape)


def _class_token(x: Any, name: str) -> Any:
    """Compute a block for the class token alone: (batch, 768)."""
    from keras import ops

    every = _normalized(x, TOKEN_EPSILON)
    pairs = _linear(every, f"{name}_kv", 2 * EMBEDDING, use_bias=False)
    key, value = ops.split(heads_of(pairs, 2 * BLOCK_HEADS), 2, axis=1)
    query = _linear(_first(every), f"{name}_query", EMBEDDING)
    query = ops.reshape(query, (-1, BLOCK_HEADS, 1, EMBEDDING // BLOCK_HEADS))
    found = ops.reshape(attended(query, key, value), (-1, EMBEDDING))
    token = _linear(found, f"{name}_project", EMBEDDING) + _first(x)
    return _mlp(_normalized(token, TOKEN_EPSILON), name, EMBEDDING) + token


def _first(x: Any) -> Any:
    """Take the class token, (batch, 768); a slice that drops dimensions is not delegated."""
    from keras import ops

    return ops.reshape(x[:, :, :1], (-1, EMBEDDING))
