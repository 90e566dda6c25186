"""ARBEx's weights for the folded graph: every linear step merged with the one before or after it.

Merged are batch norms, layer norms' scales and offsets, the mean that they subtract, layer
scales, the scaling of scores, relative positions, two convolutions in a row, and biases that a
softmax or a sum of votes passes on. All of it is exact, and computed in float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.models.arbex.layers import relative_positions
from edgefer.models.arbex.network import EMBEDDING, Arbex
from edgefer.models.arbex.plan import (
    BLOCK_HEADS,
    BLOCKS,
    HEAD_WIDTH,
    HIDDEN,
    IR_STAGES,
    LANDMARK_PATHS,
    NORM_EPSILON,
    SCALES,
    Bottleneck,
    Scale,
)

Array = npt.NDArray[Any]
Float32Array = npt.NDArray[np.float32]

MOST_DEVIATIONS = 100.0
"""The farthest that a map is shifted, in its deviations.

A batch norm before a zero-padded convolution is that convolution of a shifted map: γ(x + c). c
grows without bound as γ vanishes beside β, and rounding with it. Such a channel is as good as
constant; beyond the bound the rest of the constant is added inside the map and at its border alike.
"""


def without_coupling(weights: Mapping[str, Float32Array]) -> dict[str, Float32Array]:
    """Reduce the attention over the batch to what it is for one image: a linear layer."""
    classes = weights["attention/out_bias"].size
    kernel, bias = weights["attention_value/kernel"], weights["attention_value/bias"]
    steps = (
        (weights["attention/in_kernel"][:, -classes:], weights["attention/in_bias"][-classes:]),
        (weights["attention/out_kernel"], weights["attention/out_bias"]),
    )
    kernel, bias = kernel.astype(np.float64), bias.astype(np.float64)
    for matrix, addend in steps:
        kernel, bias = kernel @ matrix, bias @ matrix + addend
    dropped = ("attention/", "attention_query/", "attention_key/", "attention_value/")
    kept = {key: values for key, values in weights.items() if not key.startswith(dropped)}
    kept["attention_single/kernel"] = np.asarray(kernel, np.float32)
    kept["attention_single/bias"] = np.asarray(bias, np.float32)
    return kept


def fold(network: Arbex, weights: Mapping[str, Float32Array]) -> dict[str, Float32Array]:
    """Return the folded graph's weights by `layer/variable`.

    `network` is the one that the weights belong to, without coupling.
    """
    folding = _Folding(weights, network.grid)
    folding.landmarks()
    for stage in IR_STAGES:
        folding.stage(stage)
    folding.normalized_convolution("ir_stem_conv", "ir_stem_bn")
    folding.copy("ir_stem_prelu/alpha")
    for scale in SCALES:
        folding.scale(scale)
    folding.tokens()
    folding.transformer()
    folding.classifier(network)
    return {key: np.asarray(values, np.float32) for key, values in folding.found.items()}


def _centered(values: Array) -> Array:
    """Take away the mean over channels, which a layer norm takes away in any case."""
    return np.asarray(values - values.mean(axis=-1, keepdims=True))


def _as_kernel(matrix: Array) -> Array:
    return matrix[None, None]


class _Folding:
    """The weights given, in float64, and those found so far."""

    def __init__(self, weights: Mapping[str, Float32Array], grid: int) -> None:
        self.given = {key: values.astype(np.float64) for key, values in weights.items()}
        self.found: dict[str, Array] = {}
        self.grid = grid

    def put(self, layer: str, kernel: Array, bias: Array | None = None) -> None:
        self.found[f"{layer}/kernel"] = kernel
        if bias is not None:
            self.found[f"{layer}/bias"] = bias

    def copy(self, *keys: str) -> None:
        for key in keys:
            self.found[key] = self.given[key]

    def linear(self, layer: str) -> tuple[Array, Array]:
        return self.given[f"{layer}/kernel"], self.given[f"{layer}/bias"]

    def statistics(self, layer: str) -> tuple[Array, Array]:
        """Return a batch norm's scale and offset."""
        deviation = np.sqrt(self.given[f"{layer}/moving_variance"] + NORM_EPSILON)
        scale = self.given[f"{layer}/gamma"] / deviation
        return scale, self.given[f"{layer}/beta"] - self.given[f"{layer}/moving_mean"] * scale

    def normalized_convolution(self, layer: str, norm: str) -> None:
        """Fold a convolution and the batch norm behind it."""
        scale, offset = self.statistics(norm)
        self.put(layer, self.given[f"{layer}/kernel"] * scale, offset)

    def block(self, name: str, *, is_depthwise: bool = False) -> None:
        scale, offset = self.statistics(f"{name}_bn")
        factor = scale[:, None] if is_depthwise else scale
        self.put(f"{name}_conv", self.given[f"{name}_conv/kernel"] * factor, offset)
        self.copy(f"{name}_prelu/alpha")

    def landmarks(self) -> None:
        self.block("landmark_stem")
        self.block("landmark_stem_depthwise", is_depthwise=True)
        for unit in (unit for path in LANDMARK_PATHS for unit in path):
            self.block(f"{unit.name}_expand")
            self.block(f"{unit.name}_depthwise", is_depthwise=True)
            self.normalized_convolution(f"{unit.name}_project_conv", f"{unit.name}_project_bn")
        self.block("landmark_last")
        self.copy("landmark_reduce/kernel", "landmark_reduce/bias")

    def stage(self, parts: tuple[Bottleneck, ...]) -> None:
        """IR-50's stage; its first residual shifts the map, its last one shifts it back."""
        shifts = [self.shift(part) for part in parts]
        self.found[f"{parts[0].name}_shift/addend"] = shifts[0]
        before = [np.zeros_like(shifts[1]), *shifts[1:]]
        after = [*shifts[1:], np.zeros_like(shifts[1])]
        for part, shift, old, new in zip(parts, shifts, before, after, strict=True):
            self.bottleneck(part, shift, new - old)

    def shift(self, part: Bottleneck) -> Array:
        """Return what to add to the map, so that its batch norm is a mere factor."""
        name = f"{part.name}_bn1"
        gamma, beta = self.given[f"{name}/gamma"], self.given[f"{name}/beta"]
        deviation = np.sqrt(self.given[f"{name}/moving_variance"] + NORM_EPSILON)
        bound = MOST_DEVIATIONS * abs(gamma)
        ratio = np.clip(beta, -bound, bound) / np.where(gamma == 0, 1.0, gamma)
        return np.asarray(ratio * deviation - self.given[f"{name}/moving_mean"])

    def bottleneck(self, part: Bottleneck, shift: Array, change: Array) -> None:
        name = part.name
        scale, offset = self.statistics(f"{name}_bn1")
        kernel = self.given[f"{name}_conv1/kernel"]
        rest = np.einsum("hwio,i->o", kernel, offset - scale * shift)
        self.put(f"{name}_conv1", kernel * scale[:, None], rest)
        self.copy(f"{name}_prelu/alpha")
        self.normalized_convolution(f"{name}_conv2", f"{name}_bn2")
        self.found[f"{name}_conv2/bias"] = self.found[f"{name}_conv2/bias"] + change
        if part.stride == 2:
            self.found[f"{name}_pick/kernel"] = _pick(kernel.shape[2])
        if part.projected:
            self.normalized_convolution(f"{name}_shortcut_conv", f"{name}_shortcut_bn")

    def behind_norm(self, layer: str, norm: str) -> tuple[Array, Array]:
        """Fold the scale and offset of a layer norm into the linear layer behind it."""
        kernel, bias = self.linear(layer)
        gamma, beta = self.given[f"{norm}/gamma"], self.given[f"{norm}/beta"]
        return gamma[:, None] * kernel, bias + beta @ kernel

    def scale(self, scale: Scale) -> None:
        name = scale.name
        kernel, bias = self.linear(f"{name}_conv")
        self.put(f"{name}_conv", _centered(kernel), _centered(bias))
        self.copy(f"{name}_norm1/gamma")
        self.scale_attention(scale)
        kernel, bias = self.behind_norm(f"{name}_mlp1", f"{name}_norm2")
        self.put(f"{name}_mlp1", _as_kernel(kernel), bias)
        kernel, bias = self.linear(f"{name}_mlp2")
        factor = self.given[f"{name}_factor2/gamma"]
        self.put(f"{name}_mlp2", _as_kernel(kernel * factor), bias * factor)

    def scale_attention(self, scale: Scale) -> None:
        """Keys need no bias, which moves all scores of a row alike; values' goes to the sum."""
        name, offset = scale.name, self.given[f"{scale.name}_norm1/beta"]
        pairs, bias = self.linear(f"{name}_kv")
        keys, values = np.split(pairs, 2, axis=1)
        self.put(f"{name}_kv", _as_kernel(np.hstack([keys * HEAD_WIDTH**-0.5, values])))
        table = self.given[f"{name}_attention/table"]
        self.found[f"{name}_attention/bias"] = table[
            relative_positions(scale.side(self.grid))
        ].transpose(2, 0, 1)
        kernel, added = self.linear(f"{name}_project")
        added = added + (offset @ values + bias[scale.width :]) @ kernel
        factor = self.given[f"{name}_factor1/gamma"]
        self.put(f"{name}_project", _as_kernel(kernel * factor), added * factor + offset)

    def tokens(self) -> None:
        """Patch embeddings, whose biases are added with the positions."""
        (first, first_bias), (second, second_bias) = map(self.linear, ("embed1_1", "embed1_2"))
        self.put("embed1", _centered(_joined(first, second)))
        added = [_bias_map(first_bias, second, self.grid) + second_bias]
        for name in ("embed2", "embed3"):
            kernel, bias = self.linear(name)
            self.put(name, _centered(kernel))
            added.append(np.broadcast_to(bias, (self.grid**2, EMBEDDING)))
        rows = np.concatenate([self.given["tokens/class_token"][0], *added])
        self.found["tokens/addend"] = _centered(rows + self.given["tokens/positions"][0])

    def transformer(self) -> None:
        """Fold the two blocks; of the last one, all but keys and values is for one vector."""
        first, last = BLOCKS
        (query, key, value), query_bias = self.asked(first)
        bias = np.concatenate([query_bias, np.zeros(2 * EMBEDDING)])
        self.put(f"{first}_qkv", _as_kernel(np.hstack([query, key, value])), bias)
        (query, key, value), query_bias = self.asked(last)
        self.put(f"{last}_kv", _as_kernel(np.hstack([key, value])))
        self.put(f"{last}_query", query, query_bias)
        for name in BLOCKS:
            shaped = _as_kernel if name == first else np.asarray
            kernel, bias = self.linear(f"{name}_project")
            bias = bias + self.behind_norm(f"{name}_qkv", f"{name}_norm1")[1][-EMBEDDING:] @ kernel
            self.put(f"{name}_project", shaped(_centered(kernel)), _centered(bias))
            kernel, bias = self.behind_norm(f"{name}_mlp1", f"{name}_norm2")
            self.put(f"{name}_mlp1", shaped(kernel), bias)
            kernel, bias = self.linear(f"{name}_mlp2")
            self.put(f"{name}_mlp2", shaped(_centered(kernel)), _centered(bias))
        self.found["vit_norm_factor/gamma"] = self.given["vit_norm/gamma"]
        self.found["vit_norm_addend/addend"] = self.given["vit_norm/beta"]
        self.copy("gate1/kernel", "gate1/bias", "gate2/kernel", "gate2/bias")

    def asked(self, name: str) -> tuple[tuple[Array, Array, Array], Array]:
        """Return kernels of query, key and value, and the query's bias, scores' scaling within."""
        kernel, bias = self.behind_norm(f"{name}_qkv", f"{name}_norm1")
        query, key, value = np.split(kernel, 3, axis=1)
        scaling = (EMBEDDING // BLOCK_HEADS) ** -0.5
        return (query * scaling, key, value), bias[:EMBEDDING] * scaling

    def classifier(self, network: Arbex) -> None:
        """Hidden layers, with the norm of the one before, and what corrects their answer."""
        scale, offset = np.ones(EMBEDDING), np.zeros(EMBEDDING)
        names = [f"hidden{number}" for number in range(1, len(HIDDEN) + 1)]
        for name in (*names, "classifier"):
            kernel, bias = self.linear(name)
            factor = 1 / network.temperature if name == "classifier" else 1.0
            self.put(name, scale[:, None] * kernel * factor, (offset @ kernel + bias) * factor)
            if network.hidden_norm and name != "classifier":
                scale, offset = self.statistics(f"{name}_bn")
            else:
                scale, offset = np.ones(len(bias)), np.zeros(len(bias))
        if network.balancing.has_anchors:
            self.copy("anchors/anchors", "balancing/trust")
        if network.balancing.has_attention:
            self.copy("attention_single/kernel", "attention_single/bias")


def _pick(channels: int) -> Array:
    """Return a depthwise kernel of 2x2 that takes the last of four positions."""
    kernel = np.zeros((2, 2, channels, 1))
    kernel[1, 1] = 1
    return kernel


def _joined(first: Array, second: Array) -> Array:
    """Make one 7x7 kernel, stride 4, of two 3x3 kernels, stride 2, one after the other."""
    kernel = np.zeros((7, 7, first.shape[2], second.shape[3]))
    for row in range(3):
        for column in range(3):
            place = kernel[2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            place += first @ second[row, column]
    return kernel


def _bias_map(bias: Array, kernel: Array, grid: int) -> Array:
    """Return what the first convolution's bias gives behind the second, (grid², channels).

    The second's padding, behind the map, is without it.
    """
    side = 2 * grid
    inside = np.zeros((side + 1, side + 1))
    inside[:side, :side] = 1
    taps = np.einsum("hwio,i->hwo", kernel, bias)
    found = sum(
        inside[row : row + side : 2, column : column + side : 2, None] * taps[row, column]
        for row in range(3)
        for column in range(3)
    )
    return np.asarray(found).reshape(grid * grid, -1)
