"""Options that say what to make of a model, and how."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from edgefer.converters import recipe_file
from edgefer.converters.recipes import PRESETS, IoType, Precision, QuantizationRecipe, RangeMethod
from edgefer.errors import UsageError

IO_TYPE = click.Choice([kind.value for kind in IoType])

# An option's name, the field of QuantizationRecipe that it sets, and in which precisions.
_CHANGES: Mapping[str, tuple[str, Callable[[Precision], bool]]] = {
    "input_type": ("input_type", lambda _precision: True),
    "output_type": ("output_type", lambda _precision: True),
    "bias_correction": ("bias_correction", lambda precision: precision.rounds_weights),
    "calibration_method": ("activation_ranges", lambda precision: precision.needs_calibration),
    "equalize": ("equalization", lambda precision: precision.needs_calibration),
    "adaptive_rounding": ("adaptive_rounding", lambda precision: precision.rounds_weights),
}


def recipe_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options for precisions and methods, and --save-recipe.

    They are passed on as `recipes` and `stated_methods`, the options that chose methods by hand.
    """

    @functools.wraps(function)
    def command(
        *,
        int8: bool,
        int16x8: bool,
        dynamic: bool,
        float16: bool,
        float32: bool,
        recipe: Path | None,
        **others: Any,
    ) -> None:
        wanted = {
            Precision.FLOAT32: float32,
            Precision.FLOAT16: float16,
            Precision.DYNAMIC: dynamic,
            Precision.INT16X8: int16x8,
            Precision.INT8: int8,
        }
        chosen = [precision for precision, is_wanted in wanted.items() if is_wanted]
        stated = {name: others.pop(name) for name in _CHANGES}
        changes = {name: value for name, value in stated.items() if value is not None}
        methods = [_option(name) for name in changes if name not in ("input_type", "output_type")]
        function(
            recipes=recipes_for(chosen, changes, recipe),
            stated_methods=("--recipe",) if recipe else tuple(methods),
            **others,
        )

    decorated: Callable[..., None] = command
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def recipes_for(
    precisions: list[Precision], changes: Mapping[str, Any], path: Path | None
) -> tuple[QuantizationRecipe, ...]:
    """Return the recipe in a file, or the presets of precisions with what options change.

    `changes` are the options that were given, by name. Raises UsageError where these do not go
    together.
    """
    if path is not None:
        if precisions or changes:
            first = _option(precisions[0] if precisions else next(iter(changes)))
            raise UsageError(f"--recipe states the whole conversion: write {first} into {path}")
        return (recipe_file.read(path),)
    if not precisions:
        raise UsageError("say which precision to make, such as --int8, or give --recipe")
    _require_effect(precisions, changes)
    return tuple(_recipe_for(precision, changes) for precision in precisions)


def _recipe_for(precision: Precision, changes: Mapping[str, Any]) -> QuantizationRecipe:
    preset = PRESETS[precision]
    fields: dict[str, Any] = {}
    for name, value in changes.items():
        field, is_possible = _CHANGES[name]
        if is_possible(precision):
            fields[field] = (
                value if isinstance(value, bool) else type(getattr(preset, field))(value)
            )
    return replace(preset, **fields)


def _require_effect(precisions: list[Precision], changes: Mapping[str, Any]) -> None:
    """Raise UsageError for a method that changes none of the precisions."""
    for name, value in changes.items():
        _, is_possible = _CHANGES[name]
        if value and not any(is_possible(precision) for precision in precisions):
            raise UsageError(f"{_option(name)} changes nothing in {', '.join(precisions)}")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


_OPTIONS = (
    click.option("--int8", is_flag=True, help="Weights and activations in 8 bits."),
    click.option("--int16x8", is_flag=True, help="Weights in 8 bits, activations in 16."),
    click.option("--dynamic", is_flag=True, help="Weights in 8 bits, activations as floats."),
    click.option("--float16", is_flag=True, help="Weights in half precision."),
    click.option("--float32", is_flag=True, help="As it is, for comparison."),
    click.option(
        "--recipe",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="State it all in TOML instead, single operators too; docs/recipes.md describes it.",
    ),
    click.option(
        "--save-recipe",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Keep what was done as a file for --recipe.",
    ),
    click.option(
        "--input-type",
        type=IO_TYPE,
        help="int8: pixel − 128; uint8: the pixel; float32: normalised.",
    ),
    click.option("--output-type", type=IO_TYPE, help="int8 and uint8: probability in 256 steps."),
    click.option(
        "--bias-correction/--no-bias-correction",
        default=None,
        help="Undo the mean shift that rounding weights causes.  [default: where weights are "
        "rounded]",
    ),
    click.option(
        "--calibration-method",
        type=click.Choice([method.value for method in RangeMethod]),
        help="How activations get ranges. min-max: all that was seen; moving-average: the average "
        "of each face's; percentile: without the outer 0.01%; mse: least squared error; entropy: "
        "least loss of information; best: for each tensor the one with the least noise.  "
        f"[default: {PRESETS[Precision.INT8].activation_ranges}]",
    ),
    click.option(
        "--equalize",
        is_flag=True,
        default=None,
        help="Make channels that share a scale alike, with the same answers in float.",
    ),
    click.option(
        "--adaptive-rounding",
        is_flag=True,
        default=None,
        help="Round each weight up or down by what its layer puts out; takes minutes.",
    ),
)
