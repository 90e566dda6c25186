"""`edgefer completion`: the script that teaches a shell to complete edgefer's commands."""

import click
from click.shell_completion import get_completion_class

from edgefer.cli.group import COMPLETION_VARIABLE, PROGRAM, cli
from edgefer.cli.options import debug_option
from edgefer.cli.text import examples


@click.command(
    epilog=examples(
        "edgefer completion bash > ~/.local/share/bash-completion/completions/edgefer",
        "edgefer completion zsh > ~/.zfunc/_edgefer    # a folder in your fpath",
        "edgefer completion fish > ~/.config/fish/completions/edgefer.fish",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@debug_option
def command(shell: str) -> None:
    """Print the tab-completion script for a shell.

    Save it where the shell looks for completions, as below, and open a new shell.
    """
    completion = get_completion_class(shell)
    if completion is None:
        raise click.UsageError(f"click cannot complete in {shell}")
    click.echo(completion(cli, {}, PROGRAM, COMPLETION_VARIABLE).source())
