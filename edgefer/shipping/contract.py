"""What code has to know to feed a model and to read its answer, as contract.json says it."""

from dataclasses import dataclass
from typing import Literal, Self

from edgefer.models.spec import ColourOrder, ModelSpec
from edgefer.records import STRICT
from edgefer.runtime import TfliteModel

FORMAT: Literal[1] = 1
FLOAT_STEP = 1 / 256
"""What counts as one quantization step where the output is not quantized."""


@STRICT
@dataclass(frozen=True, kw_only=True)
class InputContract:
    """A square image of `size` pixels; for each channel, value = (pixel − mean) / std.

    `colour` is rgb or gray. Where `type` is an integer type, q = value / scale + zero_point;
    otherwise `scale` is 0.
    """

    size: int
    channels: int
    colour: str
    type: str
    scale: float
    zero_point: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@STRICT
@dataclass(frozen=True, kw_only=True)
class OutputContract:
    """A score a label, scale · (q − zero_point) where `type` is an integer type."""

    type: str
    scale: float
    zero_point: int

    @property
    def step(self) -> float:
        """The smallest difference between two scores that counts."""
        return self.scale or FLOAT_STEP


@STRICT
@dataclass(frozen=True, kw_only=True)
class Contract:
    """All of contract.json."""

    format: Literal[1]
    name: str
    version: str
    input: InputContract
    output: OutputContract
    labels: tuple[str, ...]

    @classmethod
    def of(cls, spec: ModelSpec, model: TfliteModel, *, version: str) -> Self:
        """State the contract of a model that fits `spec`."""
        return cls(
            format=FORMAT,
            name=spec.name,
            version=version,
            input=InputContract(
                size=spec.input_size,
                channels=spec.channels,
                colour=spec.colour_order.lower(),
                type=model.input.dtype.name,
                scale=model.input.scale,
                zero_point=model.input.zero_point,
                mean=spec.mean,
                std=spec.std,
            ),
            output=OutputContract(
                type=model.output.dtype.name,
                scale=model.output.scale,
                zero_point=model.output.zero_point,
            ),
            labels=spec.labels,
        )

    def spec(self) -> ModelSpec:
        """Return it as edgefer's own code takes it; ValueError where it is no contract."""
        return ModelSpec(
            name=self.name,
            labels=self.labels,
            input_size=self.input.size,
            channels=self.input.channels,
            colour_order=ColourOrder(self.input.colour.upper()),
            mean=self.input.mean,
            std=self.input.std,
        )
