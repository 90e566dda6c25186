"""Options that say of a model what its file does not."""

from collections.abc import Callable
from typing import Any

import click

from edgefer.models.contract import StatedContract


class CommaSeparated(click.ParamType):
    """A list of texts or numbers with commas between them."""

    name = "A,B,…"

    def __init__(self, kind: type[str] | type[float]) -> None:
        self._kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...] | tuple[float, ...]:
        """Split the text; a usage error where a part is empty or no number."""
        if isinstance(value, tuple):
            return value
        try:
            parts = tuple(self._kind(part.strip()) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 127.5,127.5,127.5", param, ctx)
        if any(part == "" for part in parts):
            self.fail(f"{value!r} has an empty part", param, ctx)
        return parts


def contract_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add --labels, --mean and --std, for files that do not describe themselves."""
    for option in reversed(
        (
            click.option(
                "--labels",
                type=CommaSeparated(str),
                help="The classes in the order of the model's output.",
            ),
            click.option(
                "--mean",
                type=CommaSeparated(float),
                help="Subtracted from a pixel of 0…255, one value or one a channel.",
            ),
            click.option(
                "--std",
                type=CommaSeparated(float),
                help="What a pixel is then divided by, likewise.",
            ),
        )
    ):
        function = option(function)
    return function


def stated(
    labels: tuple[str, ...] | None, mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> StatedContract:
    """Return the options as one value."""
    return StatedContract(labels=labels, mean=mean, std=std)
