"""What a conversion shall make: precision, input and output types, and methods."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self


class Precision(StrEnum):
    """How weights and activations are stored.

    `float16` stores weights in half precision; `dynamic` stores weights as int8 and computes
    from float activations; `int16x8` has int8 weights and int16 activations; `int8` has both in
    int8.
    """

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC = "dynamic"
    INT16X8 = "int16x8"
    INT8 = "int8"

    @property
    def needs_calibration(self) -> bool:
        """Whether activations get fixed ranges, which have to be seen on faces."""
        return self in (Precision.INT8, Precision.INT16X8)

    @property
    def rounds_weights(self) -> bool:
        """Whether weights become int8, which shifts the mean of what layers put out."""
        return self is Precision.DYNAMIC or self.needs_calibration


class IoType(StrEnum):
    """The type of the input or output: int8 is pixel − 128, uint8 the pixel, float32 normalised."""

    INT8 = "int8"
    UINT8 = "uint8"
    FLOAT32 = "float32"


class RangeMethod(StrEnum):
    """How the range of an activation follows from what faces showed of it.

    `min-max` takes the smallest and largest value, `moving-average` the average of those of the
    faces, `percentile` leaves out 0.01% at both ends, `mse` has the least mean squared error,
    `entropy` the least loss of information, and `best` takes, for each tensor, that of the others
    with the least noise.
    """

    MIN_MAX = "min-max"
    MOVING_AVERAGE = "moving-average"
    PERCENTILE = "percentile"
    MSE = "mse"
    ENTROPY = "entropy"
    BEST = "best"


class WeightRange(StrEnum):
    """How far a channel's int8 grid reaches: to its largest weight, or to where errors are least.

    `mse` makes the sum of a channel's squared rounding errors least, and clips what is beyond.
    """

    MIN_MAX = "min-max"
    MSE = "mse"


@dataclass(frozen=True, kw_only=True)
class QuantizationRecipe:
    """One way to convert; the presets below are varied with `dataclasses.replace`.

    `activation_ranges` and `weight_ranges` say how far the integers' grids reach. `equalization`
    and `bias_absorption` make channels of the float model alike, `adaptive_rounding` chooses each
    weight's rounding by what the layer puts out. `bias_correction` makes up for rounded weights,
    `empirical_bias_correction` for all that quantization did before a layer as well; the latter
    needs int8 activations. `bias_correction` needs int8 weights; `head_in_float`, which keeps the
    last fully-connected layers and the softmax as they are, needs integer activations.
    `mixed_precision` keeps an int8 graph whole: activations are floats from the first operator on
    that would split it, as `mixed_precision` the module says. `float_operators` and
    `int16_operators` name operators, by the tensor that they write, whose activations are floats
    or int16 in an int8 model.
    """

    precision: Precision
    input_type: IoType = IoType.FLOAT32
    output_type: IoType = IoType.FLOAT32
    activation_ranges: RangeMethod = RangeMethod.MIN_MAX
    weight_ranges: WeightRange = WeightRange.MIN_MAX
    equalization: bool = False
    bias_absorption: bool = False
    adaptive_rounding: bool = False
    bias_correction: bool = False
    empirical_bias_correction: bool = False
    head_in_float: bool = False
    mixed_precision: bool = False
    float_operators: tuple[str, ...] = ()
    int16_operators: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.bias_correction and not self.precision.rounds_weights:
            raise ValueError(f"{self.precision} rounds no weights, so no bias needs correction")
        if self.weight_methods and not self.precision.rounds_weights:
            raise ValueError(
                f"{self.precision} rounds no weights, so {self.weight_methods[0]} changes nothing"
            )
        if self.activation_methods and not self.precision.needs_calibration:
            raise ValueError(
                f"{self.precision} rounds no activations, so {self.activation_methods[0]} changes "
                "nothing"
            )
        if self.empirical_bias_correction and self.precision is not Precision.INT8:
            raise ValueError(f"empirical bias correction is for int8, not {self.precision}")
        if self.head_in_float and not self.precision.needs_calibration:
            raise ValueError(f"{self.precision} leaves the head in floating point anyway")
        if self.mixed_precision and self.precision is not Precision.INT8:
            raise ValueError(f"mixed precision is a way to make int8, not {self.precision}")
        if (self.float_operators or self.int16_operators) and self.precision is not Precision.INT8:
            raise ValueError(f"only in int8 can operators differ, not in {self.precision}")
        if both := set(self.float_operators) & set(self.int16_operators):
            raise ValueError(f"{min(both)} cannot be both float and int16")

    @property
    def weight_methods(self) -> tuple[str, ...]:
        """The methods among the fields that change how weights are rounded."""
        clips = self.weight_ranges is not WeightRange.MIN_MAX
        return ("weight_ranges",) * clips + ("adaptive_rounding",) * self.adaptive_rounding

    @property
    def activation_methods(self) -> tuple[str, ...]:
        """The methods among the fields that change how activations are rounded."""
        return (
            ("activation_ranges",) * (self.activation_ranges is not RangeMethod.MIN_MAX)
            + ("equalization",) * self.equalization
            + ("bias_absorption",) * self.bias_absorption
        )

    @property
    def needs_faces(self) -> bool:
        """Whether something has to be known of faces to convert."""
        return self.precision.needs_calibration or self.bias_correction or self.needs_face_images

    @property
    def needs_face_images(self) -> bool:
        """Whether the faces themselves have to be there, and no calibration can stand for them."""
        return bool(self.face_methods)

    @property
    def face_methods(self) -> tuple[str, ...]:
        """The methods asked for that look at faces themselves, in words."""
        return (
            ("equalization",) * self.equalization
            + ("bias absorption",) * self.bias_absorption
            + ("adaptive rounding",) * self.adaptive_rounding
            + ("empirical bias correction",) * self.empirical_bias_correction
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the recipe that `to_dict` made these of; TypeError or ValueError for others."""
        read: Mapping[str, Callable[[Any], Any]] = {
            "precision": Precision,
            "input_type": IoType,
            "output_type": IoType,
            "activation_ranges": RangeMethod,
            "weight_ranges": WeightRange,
            "float_operators": _names,
            "int16_operators": _names,
        }
        checked: dict[str, Any] = {
            key: read[key](value) if key in read else _flag(value) for key, value in values.items()
        }
        return cls(**checked)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _names(values: Any) -> tuple[str, ...]:
    if isinstance(values, str) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{values!r} is no list of names")
    return tuple(values)


# Per-channel symmetric weights and per-tensor activations, as LiteRT's 8-bit quantization
# specification asks (ai.google.dev/edge/litert/models/quantization_spec); analytic bias
# correction as in Nagel et al. 2019 (arXiv 1906.04721), section 4.2.
INT8 = QuantizationRecipe(
    precision=Precision.INT8,
    input_type=IoType.INT8,
    output_type=IoType.INT8,
    bias_correction=True,
    mixed_precision=True,
)
# 16-bit activations with 8-bit weights, same specification, for what 8-bit activations break.
INT16X8 = QuantizationRecipe(
    precision=Precision.INT16X8,
    input_type=IoType.INT8,
    output_type=IoType.INT8,
    bias_correction=True,
)
# Weights alone, by LiteRT's post-training quantization guide; inputs and outputs stay floats.
DYNAMIC = QuantizationRecipe(precision=Precision.DYNAMIC, bias_correction=True)
FLOAT16 = QuantizationRecipe(precision=Precision.FLOAT16)
FLOAT32 = QuantizationRecipe(precision=Precision.FLOAT32)

PRESETS: Mapping[Precision, QuantizationRecipe] = {
    recipe.precision: recipe for recipe in (FLOAT32, FLOAT16, DYNAMIC, INT16X8, INT8)
}
