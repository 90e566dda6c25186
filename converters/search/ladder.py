"""The methods in the order in which a search tries them: cheap ones first.

Each rung tries its options on the best recipe so far, and the best of them, if it is better, is
what the next rung builds on. None of these methods adds an operator, so that all these candidates
are equally fast; single operators in float come after them.
"""

from dataclasses import dataclass, replace
from typing import Any

from edgefer.converters.recipes import QuantizationRecipe, RangeMethod, WeightRange


@dataclass(frozen=True, kw_only=True)
class Option:
    """One change of a recipe: fields of QuantizationRecipe and their values."""

    name: str
    changes: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Rung:
    """Options of which at most one is taken."""

    title: str
    options: tuple[Option, ...]


RUNGS = (
    Rung(
        title="activation ranges",
        options=tuple(
            Option(name=f"{method} ranges", changes={"activation_ranges": method})
            for method in RangeMethod
            if method not in (RangeMethod.MIN_MAX, RangeMethod.BEST)
        ),
    ),
    Rung(
        title="equalization",
        options=(
            Option(name="equalization", changes={"equalization": True}),
            Option(
                name="equalization and bias absorption",
                changes={"equalization": True, "bias_absorption": True},
            ),
        ),
    ),
    Rung(
        title="bias correction",
        options=(
            Option(name="bias correction", changes={"bias_correction": True}),
            Option(
                name="bias correction, empirical too",
                changes={"bias_correction": True, "empirical_bias_correction": True},
            ),
        ),
    ),
    Rung(
        title="rounding",
        options=(
            Option(name="mse weight ranges", changes={"weight_ranges": WeightRange.MSE}),
            Option(name="adaptive rounding", changes={"adaptive_rounding": True}),
        ),
    ),
)

PLAIN = {
    "activation_ranges": RangeMethod.MIN_MAX,
    "weight_ranges": WeightRange.MIN_MAX,
    "equalization": False,
    "bias_absorption": False,
    "adaptive_rounding": False,
    "bias_correction": False,
    "empirical_bias_correction": False,
    "float_operators": (),
    "int16_operators": (),
}
"""Where a search starts: no method at all."""


def plain(recipe: QuantizationRecipe) -> QuantizationRecipe:
    """Return the recipe without methods; precision, types and mixed precision stay."""
    return replace(recipe, **PLAIN)
