"""ARBEx's graph as its authors have it, step by step: for training, and for what is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgefer.models.arbex.layers import arbex_layers, attended, heads_of, merged
from edgefer.models.arbex.network import EMBEDDING, Arbex, Balancing
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
from edgefer.models.batch_normalization import batch_normalization
from edgefer.quiet import load_keras
from edgefer.training.recipes import Parts

if TYPE_CHECKING:
    import keras

BACKBONES = ("ir", "landmark")
"""What the backbones' layers are called at the start."""

LAYER_SCALE = 0.1
"""Where it starts, as for shallow transformers from random weights (Touvron et al. 2021, CaiT).

The authors start at 1e-5, from backbones that are trained already: from random ones the landmarks
are then not heard for a thousand steps.
"""


def build(
    network: Arbex,
    batch_size: int | None,
    *,
    depth_dropout: float = 0.0,
    classifier_dropout: float = 0.0,
    parts: Parts = Parts.WHOLE,
) -> keras.Model:
    """Build the graph; without dropouts it is the inference graph.

    With `parts` of both, each backbone has a classifier of its own (Lee et al. 2015,
    "Deeply-Supervised Nets"), whose answers are further outputs; of backbones alone, the first
    output is the mean of theirs. The attentions behind random features would learn to answer the
    same to all faces, and take long to unlearn it.
    """
    load_keras("building a network")
    from keras import Input, Model, layers

    side = network.input_size
    image = Input((side, side, 3), batch_size=batch_size, name="image")
    seen = arbex_layers().turned(network.step, name="turned")(image)
    landmarks, faces = _landmarks(seen), _faces(seen)
    own = []
    if parts is not Parts.WHOLE:
        own = [
            _own_answer(network, maps[-1], f"auxiliary_{name}")
            for name, maps in zip(BACKBONES, (faces, landmarks), strict=True)
        ]
    if parts is Parts.BACKBONES:
        return Model(image, [layers.Average(dtype="float32")(own), *own], name="arbex")
    found = [
        _attended_scale(scale, network.grid, landmark, face, depth_dropout * share)
        for scale, landmark, face, share in zip(SCALES, landmarks, faces, (0, 0.5, 1), strict=True)
    ]
    embedding = _embedding(_patches(found))
    logits = _classifier(network, embedding, classifier_dropout)
    probabilities = layers.Softmax(name="probabilities", dtype="float32")(
        logits * (1 / network.temperature)
    )
    answer = balanced(network, embedding, probabilities)
    return Model(image, [answer, *own] if own else answer, name="arbex")


def _own_answer(network: Arbex, x: Any, name: str) -> Any:
    from keras import layers

    x = layers.GlobalAveragePooling2D(dtype="float32")(x)
    return layers.Dense(len(network.labels), activation="softmax", dtype="float32", name=name)(x)


def balanced(network: Arbex, embedding: Any, probabilities: Any) -> Any:
    """Correct the classifier's distribution by anchors and attention, as far as there are any."""
    from keras import layers

    if not network.balancing.has_anchors:
        return probabilities
    own, classes = arbex_layers(), len(network.labels)
    embedding = layers.Activation("linear", dtype="float32", name="embedding_float32")(embedding)
    inputs = [
        probabilities,
        own.anchors(classes, network.anchors, dtype="float32", name="anchors")(embedding),
    ]
    if network.balancing.has_attention:
        attention = _attention(network, embedding, classes)
        inputs.append(layers.Softmax(dtype="float32", name="attention_votes")(attention))
    return own.balancing(network.delta, dtype="float32", name="balancing")(*inputs)


def _attention(network: Arbex, embedding: Any, classes: int) -> Any:
    from keras import layers

    if network.balancing is Balancing.SINGLE:
        return layers.Dense(classes, dtype="float32", name="attention_single")(embedding)
    asked = [
        layers.Dense(classes, dtype="float32", name=f"attention_{name}")(embedding)
        for name in ("query", "key", "value")
    ]
    return arbex_layers().batch_attention(dtype="float32", name="attention")(*asked)


def _convolution(
    x: Any, name: str, filters: int, size: int, stride: int = 1, *, bias: bool = False
) -> Any:
    from keras import layers

    return layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding="same",
        use_bias=bias,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def _normalized(x: Any, name: str) -> Any:
    return batch_normalization()(momentum=0.9, epsilon=NORM_EPSILON, name=name)(x)


def _bent(x: Any, name: str) -> Any:
    from keras import initializers, layers

    start = initializers.Constant(0.25)
    return layers.PReLU(alpha_initializer=start, shared_axes=[1, 2], name=name)(x)


def _block(x: Any, name: str, filters: int, size: int, stride: int = 1) -> Any:
    """Convolution, normalization, PReLU."""
    x = _convolution(x, f"{name}_conv", filters, size, stride)
    return _bent(_normalized(x, f"{name}_bn"), f"{name}_prelu")


def _depthwise_block(x: Any, name: str, stride: int) -> Any:
    from keras import layers

    x = layers.DepthwiseConv2D(
        3, strides=stride, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    return _bent(_normalized(x, f"{name}_bn"), f"{name}_prelu")


def _landmarks(x: Any) -> list[Any]:
    """MobileFaceNet without its head: of 112, maps of 28x28x64, 14x14x128 and 7x7x256."""
    x = _block(x, "landmark_stem", LANDMARK_STEM, 3, stride=2)
    x = _depthwise_block(x, "landmark_stem_depthwise", stride=1)
    found = []
    for path in LANDMARK_PATHS:
        for unit in path:
            x = _unit(x, unit)
        found.append(x)
    x = _block(x, "landmark_last", LANDMARK_LAST, 1)
    return [*found[:2], _convolution(x, "landmark_reduce", SCALES[2].width, 3, bias=True)]


def _unit(x: Any, unit: Unit) -> Any:
    inner = _block(x, f"{unit.name}_expand", unit.inner, 1)
    inner = _depthwise_block(inner, f"{unit.name}_depthwise", unit.stride)
    inner = _convolution(inner, f"{unit.name}_project_conv", unit.filters, 1)
    inner = _normalized(inner, f"{unit.name}_project_bn")
    return inner if unit.stride == 2 else inner + x


def _faces(x: Any) -> list[Any]:
    """IR-50 without its head, each stage halved once more: of 112, 28x28x64 to 7x7x256."""
    x = _block(x, "ir_stem", IR_STEM, 3)
    found = []
    for stage, scale in zip(IR_STAGES, SCALES, strict=True):
        for bottleneck in stage:
            x = _bottleneck(x, bottleneck)
        found.append(_convolution(x, f"{scale.name}_conv", scale.width, 3, 2, bias=True))
    return found


def _bottleneck(x: Any, part: Bottleneck) -> Any:
    name, filters, stride = part.name, part.filters, part.stride
    inner = _normalized(x, f"{name}_bn1")
    inner = _bent(_convolution(inner, f"{name}_conv1", filters, 3), f"{name}_prelu")
    inner = _normalized(_convolution(inner, f"{name}_conv2", filters, 3, stride), f"{name}_bn2")
    if part.projected:
        shortcut = _halved(x)
        shortcut = _convolution(shortcut, f"{name}_shortcut_conv", filters, 1)
        return inner + _normalized(shortcut, f"{name}_shortcut_bn")
    return inner + (_halved(x) if stride == 2 else x)


def _halved(x: Any) -> Any:
    """Keep the positions that PyTorch keeps, which in a turned map are the odd ones."""
    return x[:, 1::2, 1::2]


def _attended_scale(scale: Scale, grid: int, landmarks: Any, faces: Any, dropout: float) -> Any:
    """Window cross-attention and an MLP, each scaled and added (GCViT, Hatamizadeh et al.)."""
    from keras import layers

    own, name, width = arbex_layers(), scale.name, scale.width
    faces = layers.LayerNormalization(epsilon=NORM_EPSILON, name=f"{name}_norm1")(faces)
    pairs = layers.Dense(2 * width, name=f"{name}_kv")(faces)
    found = own.scale_attention(scale, grid, name=f"{name}_attention")(landmarks, pairs)
    found = layers.Dense(width, name=f"{name}_project")(found)
    found = own.factor(LAYER_SCALE, name=f"{name}_factor1")(found)
    x = faces + _dropped(found, dropout)
    inner = layers.LayerNormalization(epsilon=NORM_EPSILON, name=f"{name}_norm2")(x)
    inner = own.factor(LAYER_SCALE, name=f"{name}_factor2")(_mlp(inner, name, width))
    return x + _dropped(inner, dropout)


def _mlp(x: Any, name: str, width: int) -> Any:
    from keras import layers, ops

    x = layers.Dense(MLP_RATIO * width, name=f"{name}_mlp1")(x)
    return layers.Dense(width, name=f"{name}_mlp2")(ops.gelu(x, approximate=False))


def _dropped(x: Any, rate: float) -> Any:
    return arbex_layers().depth_dropout(rate)(x) if rate else x


def _patches(scales: list[Any]) -> Any:
    """Embed each scale at the grid's size, 7x7 of 112: (batch, 147, 768)."""
    from keras import ops

    first, second, third = scales
    first = _convolution(first, "embed1_1", EMBEDDING, 3, 2, bias=True)
    embedded = [
        _convolution(first, "embed1_2", EMBEDDING, 3, 2, bias=True),
        _convolution(second, "embed2", EMBEDDING, 3, 2, bias=True),
        _convolution(third, "embed3", EMBEDDING, 1, bias=True),
    ]
    joined = ops.concatenate(embedded, axis=1)
    return ops.reshape(joined, (-1, joined.shape[1] * joined.shape[2], EMBEDDING))


def _embedding(patches: Any) -> Any:
    """Vision transformer (Dosovitskiy et al. 2021) and a gate on its class token: (batch, 768)."""
    from keras import layers

    x = arbex_layers().tokens(name="tokens")(patches)
    for name in BLOCKS:
        inner = layers.LayerNormalization(epsilon=TOKEN_EPSILON, name=f"{name}_norm1")(x)
        x = x + _self_attention(inner, name)
        inner = layers.LayerNormalization(epsilon=TOKEN_EPSILON, name=f"{name}_norm2")(x)
        x = x + _mlp(inner, name, EMBEDDING)
    token = layers.LayerNormalization(epsilon=TOKEN_EPSILON, name="vit_norm")(x[:, 0])
    gate = layers.Dense(EMBEDDING, activation="relu", name="gate1")(token)
    gate = layers.Dense(EMBEDDING, activation="sigmoid", name="gate2")(gate)
    return layers.Multiply(name="embedding")([token, gate])


def _self_attention(x: Any, name: str) -> Any:
    from keras import layers, ops

    asked = layers.Dense(3 * EMBEDDING, name=f"{name}_qkv")(x)
    query, key, value = ops.split(heads_of(asked, 3 * BLOCK_HEADS), 3, axis=1)
    found = attended(query * (EMBEDDING // BLOCK_HEADS) ** -0.5, key, value)
    return layers.Dense(EMBEDDING, name=f"{name}_project")(merged(found, x.shape[1:]))


def _classifier(network: Arbex, x: Any, dropout: float) -> Any:
    from keras import layers

    for number, width in enumerate(HIDDEN, start=1):
        x = layers.Dense(width, activation="relu", name=f"hidden{number}")(x)
        if network.hidden_norm:
            x = _normalized(x, f"hidden{number}_bn")
        x = layers.Dropout(dropout)(x) if dropout else x
    # In whatever precision the rest computes, probabilities are float32. They start out even:
    # unlearning random answers takes hundreds of steps.
    return layers.Dense(
        len(network.labels), kernel_initializer="zeros", dtype="float32", name="classifier"
    )(x)
