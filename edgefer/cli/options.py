"""Options that several commands share."""

from pathlib import Path

import click

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

debug_option = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    help="Show the traceback of an error, and the libraries' own logs.",
)
"""Accepted everywhere; edgefer.cli.run looks for it before any command is imported."""
