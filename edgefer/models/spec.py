"""What has to be known about a model to run it: the facts that travel with every file."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class ColourOrder(StrEnum):
    """The meaning of an input's channels, first to last."""

    RGB = "RGB"
    GRAY = "GRAY"


class ResizeMethod(StrEnum):
    """How a face is brought to the input size; `bilinear` is `edgefer.data.resizing.stretch`."""

    BILINEAR = "bilinear"


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """The input contract, the labels and the provenance of one model.

    The network sees `(pixel - mean) / std` for pixels of 0…255; `mean` and `std` hold one
    value for each channel. `input_size` is the height and width in pixels. `labels` are in
    the order of the model's output.
    """

    name: str
    labels: tuple[str, ...]
    input_size: int
    channels: int = 3
    colour_order: ColourOrder = ColourOrder.RGB
    mean: tuple[float, ...] = (127.5, 127.5, 127.5)
    std: tuple[float, ...] = (127.5, 127.5, 127.5)
    resize: ResizeMethod = ResizeMethod.BILINEAR
    description: str = ""
    training_data: str = ""
    author: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        if len(self.labels) < 2:
            raise ValueError("a classifier needs at least two labels")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("a label stands twice")
        if not all(label.strip() == label and label for label in self.labels):
            raise ValueError("a label is empty or has spaces around it")
        if not 8 <= self.input_size <= 4096:
            raise ValueError(f"input_size {self.input_size} is outside 8…4096")
        if self.channels != {ColourOrder.RGB: 3, ColourOrder.GRAY: 1}[self.colour_order]:
            raise ValueError(f"{self.colour_order} does not have {self.channels} channels")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError("mean and std need one value for each channel")
        if not all(value > 0 for value in self.std):
            raise ValueError("std must be positive")

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as JSON-ready values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a spec from `to_dict`'s values; ValueError for anything that does not fit."""
        unknown = set(values) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"unknown keys: {', '.join(sorted(unknown))}")
        try:
            return cls(
                **{
                    **values,
                    "labels": tuple(str(label) for label in values["labels"]),
                    "input_size": int(values["input_size"]),
                    "colour_order": ColourOrder(values.get("colour_order", "RGB")),
                    "mean": tuple(float(value) for value in values.get("mean", (127.5,) * 3)),
                    "std": tuple(float(value) for value in values.get("std", (127.5,) * 3)),
                    "resize": ResizeMethod(values.get("resize", "bilinear")),
                }
            )
        except (KeyError, TypeError) as exc:
            raise ValueError(f"not a model spec: {exc}") from exc
