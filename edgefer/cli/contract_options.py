"""Options that say of a model what its file does not."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edgefer.models import spec_file
from edgefer.models.contract import StatedContract


class CommaSeparated(click.ParamType[tuple[str, ...] | tuple[float, ...]]):
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
        parts = tuple(part.strip() for part in str(value).split(","))
        if "" in parts:
            self.fail(f"{value!r} has an empty part", param, ctx)
        if self._kind is str:
            return parts
        try:
            return tuple(float(part) for part in parts)
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 127.5,127.5,127.5", param, ctx)


def contract_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options for files that do not describe themselves, passed on as `stated`."""

    @functools.wraps(function)
    def command(
        *,
        labels: tuple[str, ...] | None,
        mean: tuple[float, ...] | None,
        std: tuple[float, ...] | None,
        input_size: int | None,
        spec: Path | None,
        **others: Any,
    ) -> None:
        stated = StatedContract(
            labels=labels,
            mean=mean,
            std=std,
            input_size=input_size,
            spec=None if spec is None else spec_file.read(spec),
        )
        function(stated=stated, **others)

    decorated: Callable[..., None] = command
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
            click.option(
                "--input-size",
                type=click.IntRange(8, 4096),
                help="Height and width in pixels, for a weights file, which does not hold them.",
            ),
            click.option(
                "--spec",
                type=click.Path(path_type=Path),
                help="A file that says all of this and more; docs/pytorch.md describes it.",
            ),
        )
    ):
        decorated = option(decorated)
    return decorated
