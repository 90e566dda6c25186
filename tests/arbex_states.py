"""Weights and images for ARBEx that a name and a shape decide, so that no file has to hold them.

The script that made the golden files gave them to the authors' network, and the tests give them
to ours.
"""

import json
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

GOLDEN = Path(__file__).parent / "golden" / "arbex"
IMAGES = 8
SIDE = 224


@cache
def shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    """Return the shapes of the authors' state dicts, by part and by their names."""
    parts = json.loads((GOLDEN / "shapes.json").read_text(encoding="utf-8"))
    return {
        part: {name: tuple(shape) for name, shape in entries.items()}
        for part, entries in parts.items()
    }


def state(part: str) -> dict[str, Array]:
    """Return the seeded state dict of a part: "vit", "classifier", "anchors", "attention", …."""
    return {name: values(f"{part}.{name}", shape) for name, shape in shapes()[part].items()}


def values(name: str, shape: tuple[int, ...]) -> Array:
    """Return seeded values that keep the activations alive through the whole depth."""
    if name.endswith(("index_relative", "num_batches_tracked")):
        return np.zeros(shape, np.float32)
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32)
    mean, spread = _mean_and_spread(name, shape)
    found = mean + spread * noise
    if name.endswith("running_var"):
        found = np.maximum(abs(found), 0.3)
    return np.asarray(found, np.float32)


def _mean_and_spread(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "running_var":
        return 1.0, 0.3
    if leaf == "table":
        return 0.0, 0.7
    if leaf.startswith("gamma_"):
        return 0.6, 0.2
    if leaf == "anchors":
        return 0.0, 0.3
    if leaf in {"pos_embed", "cls_token"}:
        return 0.0, 0.5
    if leaf in {"bias", "running_mean", "in_proj_bias"}:
        return 0.0, 0.15
    if len(shape) == 1:
        return _of_a_vector(name)
    inputs = float(np.prod(shape[1:]))
    return 0.0, _gain(name) / np.sqrt(inputs)


def _of_a_vector(name: str) -> tuple[float, float]:
    """PReLU's slopes, which are the second or third of their sequence, and norms' scales."""
    is_slope = (
        ".input_layer.2." in name
        or (".ir.net_" in name and ".res.2." in name)
        or (".landmark." in name and name.endswith(".net.2.weight"))
    )
    return (0.25, 0.1) if is_slope else (0.9, 0.25)


def _gain(name: str) -> float:
    """Residual branches are damped, so that their sums stay of one size; the heads are not."""
    if ".ir.net_" in name:
        return 1.0 if ".shortcut." in name else 0.9
    if ".landmark." in name:
        return 1.0
    if ".attns." in name and "qkv" in name:
        return 0.7
    if ".blocks." in name:
        return 1.8 if "qkv" in name else 1.5
    if name.startswith("classifier"):
        return 1.8
    if name.startswith("attention"):
        return 1.6
    return 1.3


def class_weights() -> Array:
    """Return a weight for each class."""
    return np.linspace(0.5, 2.0, 8, dtype=np.float32)


def images() -> npt.NDArray[np.uint8]:
    """Return RGB images of coloured blocks at three scales, uint8 (8, 224, 224, 3)."""
    rng = np.random.default_rng(2305)
    total: Any = rng.integers(50, 206, (IMAGES, 1, 1, 3))
    for blocks, strength in ((4, 60), (14, 45), (56, 35)):
        size = SIDE // blocks
        pattern = rng.integers(-strength, strength + 1, (IMAGES, blocks, blocks, 3))
        total = total + pattern.repeat(size, axis=1).repeat(size, axis=2)
    return np.asarray(np.clip(total, 0, 255), np.uint8)


def inputs() -> Array:
    """Return the images as the authors' loader normalises them, float32 (8, 224, 224, 3)."""
    mean = np.array((0.485, 0.456, 0.406), np.float32)
    std = np.array((0.229, 0.224, 0.225), np.float32)
    return np.asarray((images() / np.float32(255) - mean) / std, np.float32)
