"""LANMSFF out of the Keras files that the authors' code writes.

Their layers have the numbers that Keras gives, in the order in which the code makes them; that
order, class by class, is what their graph is recognised by. Their files hold two Lambda layers,
which average over channels, and a layer of their own, which no Keras can load: neither is run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgefer.errors import ModelError
from edgefer.models import file_contract
from edgefer.models.formats.keras_files import FileLayer, Float32Array, KerasFile, code_error
from edgefer.models.lanmsff.network import SHUFFLED_WIDTHS, Lanmsff

LAYERS: Mapping[str, tuple[str, ...]] = {
    "conv2d": (
        "block1_conv1", "block1_conv2",
        "block2_near_conv1", "block2_far_conv1", "block2_near_conv2", "block2_far_conv2",
        "block2_down1", "block2_down2", "block2_mix",
        "block3_conv1", "block3_conv2",
        "block4_near_conv1", "block4_far_conv1", "block4_near_conv2", "block4_far_conv2",
        "block4_down1", "block4_down2", "block4_mix",
    ),
    "separable_conv2d": (
        "block1_separable", "block2_near_separable", "block2_far_separable",
        "block3_separable", "block4_near_separable", "block4_far_separable",
    ),
    "conv2d_transpose": ("block2_up1", "block2_up2", "block4_up1", "block4_up2"),
    "dense": (
        "block2_squeeze", "block2_excite", "block4_squeeze", "block4_excite", "classifier",
    ),
    "batch_normalization": (
        "block1_bn1", "block1_bn2", "block1_bn3",
        "block2_bn1", "block2_bn1", "block2_bn2", "block2_bn2", "block2_bn3", "block2_bn3",
        "block2_bn4",
        "block3_bn1", "block3_bn2", "block3_bn3",
        "block4_bn1", "block4_bn1", "block4_bn2", "block4_bn2", "block4_bn3", "block4_bn3",
        "block4_bn4",
    ),
}  # fmt: skip
"""What our graph calls the authors' layers of each class, in the order of their numbers.

Where both paths of a stage are normalized, ours has one layer for the two.
"""

LAMBDAS = 2
RANDOM_SHUFFLE = "gather"

_NUMBER = re.compile(r"(.+?)(?:_(\d+))?")


def misfit(file: KerasFile) -> str | None:
    """Say what the file lacks to be a LANMSFF."""
    present = {_class_and_number(layer.name)[0] for layer in file.layers}
    missing = [kind for kind in ("separable_conv2d", "conv2d_transpose") if kind not in present]
    return f"no layer {' and no '.join(missing)}" if missing else None


def network(
    path: Path, file: KerasFile, *, labels: Sequence[str] | None, input_size: int | None
) -> Lanmsff:
    """Tell from a file's layers which LANMSFF it holds; given options take precedence.

    Raises ModelError where it does not fit, or does not say what is needed.
    """
    if len(file.lambdas) > LAMBDAS:
        raise code_error(path, f"has a Lambda in it ({file.lambdas[LAMBDAS]})")
    classifier = next((layer for name, layer in _named(path, file) if name == "classifier"), None)
    classes = 0 if classifier is None else classifier.arrays["bias"].size
    try:
        return Lanmsff(
            labels=file_contract.labels(path, classes, labels),
            input_size=file_contract.input_size(path, file, input_size),
            shuffles=_shuffles(path, file),
        )
    except ValueError as exc:
        raise ModelError(path, f"does not fit LANMSFF: {exc}") from exc


def weights(
    path: Path, file: KerasFile, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Float32Array]:
    """Bring a file's weights under our graph's names, `shapes`' keys.

    Raises ModelError that names the first layer that does not fit.
    """
    placed: dict[str, Float32Array] = {}
    for name, layer in _named(path, file):
        for variable, values in layer.arrays.items():
            key = f"{name}/{variable}"
            ours = shapes.get(key)
            expected = (ours[0] // 2,) if ours and name in _SHARED else ours
            if values.shape != expected:
                raise ModelError(
                    path,
                    f"layer {layer.name} ({name}): {variable} has shape {values.shape}, "
                    f"expected {expected or 'none'}",
                )
            placed[key] = np.concatenate([placed[key], values]) if key in placed else values
    return placed


_SHARED = {
    name for name in LAYERS["batch_normalization"] if LAYERS["batch_normalization"].count(name) > 1
}


def _named(path: Path, file: KerasFile) -> list[tuple[str, FileLayer]]:
    """Pair the file's layers with our names for them; ModelError where their number differs."""
    pairs = []
    for kind, names in LAYERS.items():
        found = sorted(
            (number, position)
            for position, layer in enumerate(file.layers)
            for name, number in (_class_and_number(layer.name),)
            if name == kind
        )
        if len(found) != len(names):
            raise ModelError(
                path, f"is no LANMSFF: it has {len(found)} {kind} layers, expected {len(names)}"
            )
        pairs += [
            (name, file.layers[position]) for name, (_, position) in zip(names, found, strict=True)
        ]
    if len(pairs) != len(file.layers):
        known = {id(layer) for _, layer in pairs}
        other = next(layer for layer in file.layers if id(layer) not in known)
        raise ModelError(path, f"layer {other.name} has no place in LANMSFF")
    return pairs


def _class_and_number(name: str) -> tuple[str, int]:
    """Part `conv2d_12` into its class and its number; the first of a class has none."""
    match = _NUMBER.fullmatch(name)
    stem, number = match.groups() if match else (name, None)
    return stem, int(number or 0)


def _shuffles(path: Path, file: KerasFile) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return the shuffles that the authors' code of 2024 drew, None for the regular one."""
    if not any(RANDOM_SHUFFLE in name for name in file.layer_names):
        return None
    if len(file.gathers) != len(SHUFFLED_WIDTHS):
        raise ModelError(
            path,
            "was trained with random channel shuffles, which only a whole model holds: "
            "give the .h5 or .keras of model.save()",
        )
    first, second = file.gathers
    return first, second
