"""The input contract of a file: what it says of itself, completed by what the user says."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from edgefer.errors import ModelError, UsageError
from edgefer.models.spec import ColourOrder, ModelSpec


@dataclass(frozen=True, kw_only=True)
class StatedContract:
    """What the user says about a model; None leaves it to the file.

    `mean` and `std` are one value for all channels, or one for each. `input_size` is for weights
    files, which do not hold it. `spec` is a whole description, from a spec file; single values
    go before its own.
    """

    labels: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    input_size: int | None = None
    spec: ModelSpec | None = None


def complete(
    path: Path,
    known: ModelSpec | None,
    stated: StatedContract,
    *,
    input_shape: tuple[int, ...],
    classes: int,
) -> ModelSpec:
    """Return the contract of the model at `path`, the user's word before the file's.

    `input_shape` is (1, size, size, channels). Raises UsageError that names the options that are
    missing, ModelError where contract and model do not fit together.
    """
    height, width, channels = input_shape[1:]
    if height != width or channels not in (1, 3):
        raise ModelError(path, f"has an input of {height}x{width}x{channels}, not a square image")
    if stated.spec is not None:
        _require_fit(path, stated.spec, height, channels)
        known = stated.spec
    labels = stated.labels or (known.labels if known else None)
    mean = _each(stated.mean, channels) or (known.mean if known else None)
    std = _each(stated.std, channels) or (known.std if known else None)
    if labels is None or mean is None or std is None:
        missing = {"--labels": labels, "--mean": mean, "--std": std}
        names = " and ".join(name for name, value in missing.items() if value is None)
        raise UsageError(f"{path} does not say how to feed it: give {names}")
    if len(labels) != classes:
        raise ModelError(path, f"has {classes} outputs, but {len(labels)} labels are given for it")
    base = known or ModelSpec(name=path.stem, labels=labels, input_size=height)
    try:
        return dataclasses.replace(
            base,
            labels=labels,
            input_size=height,
            channels=channels,
            colour_order=ColourOrder.RGB if channels == 3 else ColourOrder.GRAY,
            mean=mean,
            std=std,
        )
    except ValueError as exc:
        raise ModelError(path, str(exc)) from exc


def _require_fit(path: Path, spec: ModelSpec, side: int, channels: int) -> None:
    if (spec.input_size, spec.channels) != (side, channels):
        raise ModelError(
            path,
            f"takes {side}x{side} pixels of {channels} channels, but its spec file says "
            f"{spec.input_size}x{spec.input_size} of {spec.channels}",
        )


def _each(values: tuple[float, ...] | None, channels: int) -> tuple[float, ...] | None:
    return values * channels if values is not None and len(values) == 1 else values
