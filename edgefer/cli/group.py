"""The `edgefer` command: its subcommands, each imported only when it is used."""

import importlib
import importlib.util
from typing import Any

import click

from edgefer import __version__
from edgefer.cli.options import debug_option
from edgefer.cli.text import examples

PROGRAM = "edgefer"
COMPLETION_VARIABLE = "_EDGEFER_COMPLETE"

SHORT_HELPS = {
    "convert": "Make a small, verified .tflite of a model.",
    "evaluate": "Measure accuracy on labelled faces, and what a conversion cost.",
    "predict": "Find faces in pictures and videos, and name their expressions.",
    "ship": "Write a folder for an app: model, contract, proof, sample code.",
    "demo": "Show a model at work in the browser, on this machine.",
    "bench": "Measure latency on Raspberry Pi boards and Android devices.",
    "inspect": "Show what is in a model file.",
    "train": "Train a network on your own labelled faces.",
    "completion": "Print the tab-completion script for a shell.",
}
"""The commands in the order a user needs them. They stand here so that help imports none."""


class LazyCommand(click.Command):
    """A stand-in with a name and a short help; its module is imported when it is called.

    The module holds the real click command under the name `command`.
    """

    def __init__(self, name: str, *, module: str, short_help: str) -> None:
        super().__init__(name, short_help=short_help)
        self.module = module

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Import the real command and let it parse; its context then invokes it, not this."""
        command: click.Command = importlib.import_module(self.module).command
        return command.make_context(info_name, args, parent, **extra)


class OrderedGroup(click.Group):
    """A group that lists its commands as they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the commands' names in that order, where click would sort them."""
        return list(self.commands)


@click.group(
    cls=OrderedGroup,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    epilog=examples(
        "edgefer convert --int8",
        "edgefer evaluate patt-lite-int8.tflite --data my-faces/",
        "edgefer predict patt-lite-int8.tflite photo.jpg --annotate marked.png",
        "edgefer ship patt-lite-int8.tflite --target android",
        "edgefer bench on-device patt-lite-int8.tflite --device ssh://pi@raspberrypi.local",
        "edgefer inspect patt-lite-int8.tflite",
        "edgefer train patt-lite --data my-faces/",
    ),
)
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
@debug_option
def cli() -> None:
    """Make facial-expression networks small, and know what that cost in accuracy."""


for name, short_help in SHORT_HELPS.items():
    module = f"edgefer.cli.{name}"
    if importlib.util.find_spec(module) is not None:
        cli.add_command(LazyCommand(name, module=module, short_help=short_help))
