"""Options that several commands share."""

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from edgefer.models import bundled


class ModelPath(click.Path):
    """A model file, or the name of a model that edgefer brings; a file of that name wins."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path that is meant."""
        path = Path(str(super().convert(value, param, ctx)))
        return path if path.exists() else bundled.models().get(str(value), path)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer files, and a name once it is begun: bash shows no files beside names."""
        names = [name for name in bundled.models() if incomplete and name.startswith(incomplete)]
        files = super().shell_complete(ctx, param, incomplete)
        return [*files, *map(CompletionItem, names)]


json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the result as JSON on stdout, and nothing else there.",
)

force_option = click.option(
    "--force", is_flag=True, help="Replace existing files that edgefer did not make."
)

output_option = click.option(
    "--output",
    "-o",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    show_default="the current folder",
    help="Where the files go.",
)

litert_js_option = click.option(
    "--litert-js",
    metavar="PACKAGE",
    type=click.Path(path_type=Path),
    show_default="downloaded",
    default=None,
    help="The npm package @litertjs/core, as a .tgz or a folder, for the web.",
)

debug_option = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    help="Show the traceback of an error, and the libraries' own logs.",
)
"""Accepted everywhere; edgefer.cli.run looks for it before any command is imported."""
