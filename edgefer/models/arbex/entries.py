"""What the authors' PyTorch code calls ARBEx's arrays, and how each becomes ours.

Their network sees a face upright, ours turned by 180 degrees (`arbex_layers`): kernels, tables of
relative positions and tokens are turned on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.models.arbex.plan import (
    BLOCKS,
    HIDDEN,
    IR_STAGES,
    LANDMARK_PATHS,
    SCALES,
    Bottleneck,
    Unit,
)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Entry:
    """One array: their name, ours, how theirs becomes ours, and how our shape becomes theirs."""

    theirs: str
    ours: str
    values: Callable[[Array], Array]
    shape: Callable[[tuple[int, ...]], tuple[int, ...]]


def _as_is(theirs: str, ours: str) -> Entry:
    return Entry(theirs, ours, lambda x: x, lambda shape: shape)


def _reversed(theirs: str, ours: str) -> Entry:
    return Entry(theirs, ours, lambda x: x[::-1], lambda shape: shape)


def _linear(theirs: str, ours: str, *, has_bias: bool = True) -> Iterator[Entry]:
    yield Entry(f"{theirs}.weight", f"{ours}/kernel", lambda x: x.T, lambda shape: shape[::-1])
    if has_bias:
        yield _as_is(f"{theirs}.bias", f"{ours}/bias")


def _convolution(theirs: str, ours: str, *, has_bias: bool = False) -> Iterator[Entry]:
    yield Entry(
        f"{theirs}.weight",
        f"{ours}/kernel",
        lambda x: x[:, :, ::-1, ::-1].transpose(2, 3, 1, 0),
        lambda shape: (shape[3], shape[2], *shape[:2]),
    )
    if has_bias:
        yield _as_is(f"{theirs}.bias", f"{ours}/bias")


def _depthwise(theirs: str, ours: str) -> Iterator[Entry]:
    yield Entry(
        f"{theirs}.weight",
        f"{ours}/kernel",
        lambda x: x[:, :, ::-1, ::-1].transpose(2, 3, 0, 1),
        lambda shape: (shape[2], shape[3], *shape[:2]),
    )


def _batch_norm(theirs: str, ours: str) -> Iterator[Entry]:
    yield from _layer_norm(theirs, ours)
    yield _as_is(f"{theirs}.running_mean", f"{ours}/moving_mean")
    yield _as_is(f"{theirs}.running_var", f"{ours}/moving_variance")


def _layer_norm(theirs: str, ours: str) -> Iterator[Entry]:
    yield _as_is(f"{theirs}.weight", f"{ours}/gamma")
    yield _as_is(f"{theirs}.bias", f"{ours}/beta")


def _prelu(theirs: str, ours: str) -> Iterator[Entry]:
    yield Entry(
        f"{theirs}.weight",
        f"{ours}/alpha",
        lambda x: x[None, None],
        lambda shape: shape[2:],
    )


def _block(theirs: str, ours: str, *, is_depthwise: bool = False) -> Iterator[Entry]:
    convolution = _depthwise if is_depthwise else _convolution
    yield from convolution(f"{theirs}.net.0", f"{ours}_conv")
    yield from _batch_norm(f"{theirs}.net.1", f"{ours}_bn")
    yield from _prelu(f"{theirs}.net.2", f"{ours}_prelu")


def _unit(theirs: str, unit: Unit) -> Iterator[Entry]:
    yield from _block(f"{theirs}.net.0", f"{unit.name}_expand")
    yield from _block(f"{theirs}.net.1", f"{unit.name}_depthwise", is_depthwise=True)
    yield from _convolution(f"{theirs}.net.2.net.0", f"{unit.name}_project_conv")
    yield from _batch_norm(f"{theirs}.net.2.net.1", f"{unit.name}_project_bn")


def landmark_entries() -> Iterator[Entry]:
    """MobileFaceNet's, by its names in their network."""
    yield from _block("landmark.path_1.0", "landmark_stem")
    yield from _block("landmark.path_1.1", "landmark_stem_depthwise", is_depthwise=True)
    for path, (units, first) in enumerate(zip(LANDMARK_PATHS, (2, 0, 0), strict=True), start=1):
        yield from _unit(f"landmark.path_{path}.{first}", units[0])
        for number, unit in enumerate(units[1:]):
            yield from _unit(f"landmark.path_{path}.{first + 1}.net.{number}", unit)
    yield from _block("landmark.path_3.2", "landmark_last")


def _bottleneck(theirs: str, part: Bottleneck) -> Iterator[Entry]:
    yield from _batch_norm(f"{theirs}.res.0", f"{part.name}_bn1")
    yield from _convolution(f"{theirs}.res.1", f"{part.name}_conv1")
    yield from _prelu(f"{theirs}.res.2", f"{part.name}_prelu")
    yield from _convolution(f"{theirs}.res.3", f"{part.name}_conv2")
    yield from _batch_norm(f"{theirs}.res.4", f"{part.name}_bn2")
    if part.projected:
        yield from _convolution(f"{theirs}.shortcut.0", f"{part.name}_shortcut_conv")
        yield from _batch_norm(f"{theirs}.shortcut.1", f"{part.name}_shortcut_bn")


def ir_entries() -> Iterator[Entry]:
    """IR-50's, by its names in their network."""
    yield from _convolution("ir.input_layer.0", "ir_stem_conv")
    yield from _batch_norm("ir.input_layer.1", "ir_stem_bn")
    yield from _prelu("ir.input_layer.2", "ir_stem_prelu")
    for stage, parts in enumerate(IR_STAGES, start=1):
        for number, part in enumerate(parts):
            yield from _bottleneck(f"ir.net_{stage}.net.{number}", part)


def _scale_entries() -> Iterator[Entry]:
    yield from _convolution("conv", "landmark_reduce", has_bias=True)
    for number, scale in enumerate(SCALES):
        name = scale.name
        yield from _convolution(f"convs.{number}", f"{name}_conv", has_bias=True)
        yield from _layer_norm(f"window_module.{number}.norm", f"{name}_norm1")
        yield _reversed(f"attns.{number}.table", f"{name}_attention/table")
        yield from _linear(f"attns.{number}.qkv", f"{name}_kv")
        yield from _linear(f"attns.{number}.linear", f"{name}_project")
        yield _as_is(f"ffns.{number}.gamma_1", f"{name}_factor1/gamma")
        yield _as_is(f"ffns.{number}.gamma_2", f"{name}_factor2/gamma")
        yield from _linear(f"ffns.{number}.mlp.0", f"{name}_mlp1")
        yield from _linear(f"ffns.{number}.mlp.3", f"{name}_mlp2")
        yield from _layer_norm(f"ffns.{number}.norm", f"{name}_norm2")
    for theirs, ours in (
        ("embs.0.0", "embed1_1"),
        ("embs.0.1", "embed1_2"),
        ("embs.1", "embed2"),
        ("embs.2.proj", "embed3"),
    ):
        yield from _convolution(theirs, ours, has_bias=True)


def _turned_tokens(positions: Array) -> Array:
    """Turn the order of each scale's patches; the class token stays first."""
    first, patches = positions[:, :1], positions[:, 1:]
    turned = patches.reshape(1, len(SCALES), -1, patches.shape[2])[:, :, ::-1]
    return np.concatenate([first, turned.reshape(patches.shape)], axis=1)


def _token_entries() -> Iterator[Entry]:
    yield _as_is("vit.cls_token", "tokens/class_token")
    yield Entry("vit.pos_embed", "tokens/positions", _turned_tokens, lambda shape: shape)
    for number, name in enumerate(BLOCKS):
        yield from _layer_norm(f"vit.blocks.{number}.norm1", f"{name}_norm1")
        yield from _linear(f"vit.blocks.{number}.attn.qkv", f"{name}_qkv")
        yield from _linear(f"vit.blocks.{number}.attn.proj", f"{name}_project")
        yield from _layer_norm(f"vit.blocks.{number}.norm2", f"{name}_norm2")
        yield from _linear(f"vit.blocks.{number}.mlp.fc1", f"{name}_mlp1")
        yield from _linear(f"vit.blocks.{number}.mlp.fc2", f"{name}_mlp2")
    yield from _layer_norm("vit.norm", "vit_norm")
    yield from _linear("vit.se_block.linear1", "gate1")
    yield from _linear("vit.se_block.linear2", "gate2")


def _head_entries(*, hidden_norm: bool) -> Iterator[Entry]:
    """Yield the classifier's, the anchors' and the attention's."""
    step = 4 if hidden_norm else 3
    for number in range(len(HIDDEN)):
        yield from _linear(f"net.{number * step}", f"hidden{number + 1}")
        yield from _batch_norm(f"net.{number * step + 2}", f"hidden{number + 1}_bn")
    yield from _linear(f"net.{len(HIDDEN) * step}", "classifier")
    yield _as_is("anchors", "anchors/anchors")
    for letter, name in (("Q", "query"), ("K", "key"), ("V", "value")):
        yield from _linear(letter, f"attention_{name}")
    for theirs, ours in (("in_proj_", "in_"), ("out_proj.", "out_")):
        yield Entry(
            f"attn_fn.{theirs}weight",
            f"attention/{ours}kernel",
            lambda x: x.T,
            lambda shape: shape[::-1],
        )
        yield _as_is(f"attn_fn.{theirs}bias", f"attention/{ours}bias")


def entries(graph: Container[str]) -> list[Entry]:
    """Return the arrays that a graph has, given our names of all its own, in the authors' order."""
    whole = (
        landmark_entries(),
        ir_entries(),
        _scale_entries(),
        _token_entries(),
        _head_entries(hidden_norm="hidden1_bn/gamma" in graph),
    )
    return [entry for part in whole for entry in part if entry.ours in graph]
