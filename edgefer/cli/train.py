"""`edgefer train`: a network's own recipe on the user's faces, resumable."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

import click

from edgefer.cli import console
from edgefer.cli.data_options import DATASETS
from edgefer.cli.group import OrderedGroup
from edgefer.cli.options import debug_option, force_option, json_option
from edgefer.cli.text import examples
from edgefer.models.network import Kind
from edgefer.models.networks import NETWORKS
from edgefer.progress import Progress
from edgefer.training import recipes
from edgefer.training.job import TrainingJob, train
from edgefer.training.records import TrainingProgress, TrainingResult

HELP = """Train {title} on labelled faces and keep the weights that validate best.

The recipe `soft` learns from the crowd's votes where the dataset has them, `authors` is that of
the network's own authors. A killed training goes on exactly where it was when the same command
is given again.
"""


def network_command(name: str, kind: Kind) -> click.Command:
    """Return the command that trains one kind of network."""
    recipe_names = [recipe.name for recipe in kind.recipes]

    @click.command(
        name,
        short_help=f"Train {kind.title}.",
        help=HELP.format(title=kind.title),
        epilog=examples(
            f"edgefer train {name} --data my-faces/ --output run1",
            f"edgefer train {name} --data ferplus.npz --epochs 40",
            "edgefer convert run1/best.safetensors --int8",
        ),
    )
    @click.option("--data", type=click.Path(path_type=Path), required=True, help=f"{DATASETS}.")
    @click.option(
        "--output",
        "-o",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path(f"{name}-training"),
        help="Where the weights, the log and the state go; a state found there is resumed.",
    )
    @click.option("--recipe", type=click.Choice(recipe_names), default=recipe_names[0])
    @click.option("--epochs", type=click.IntRange(1, 10000), help="Length of the last stage.")
    @click.option(
        "--learning-rate",
        type=click.FloatRange(0, 1, min_open=True),
        help="Highest learning rate of the last stage.",
    )
    @own_options(kind)
    @click.option(
        "--start",
        type=click.Path(path_type=Path),
        help="Go on from this checkpoint, which may have another input size.",
    )
    @click.option(
        "--bfloat16",
        is_flag=True,
        help="Compute in bfloat16: much faster on a processor with AMX, slower on one without.",
    )
    @click.option("--training-data", help="Noted in the weights.  [default: the name of --data]")
    @click.option("--licence", default="", help="Noted in the weights.")
    @click.option("--seed", type=click.IntRange(0), default=kind.recipes[0].seed)
    @json_option
    @force_option
    @debug_option
    def train_network(
        *,
        data: Path,
        output: Path,
        recipe: str,
        epochs: int | None,
        learning_rate: float | None,
        start: Path | None,
        bfloat16: bool,
        training_data: str | None,
        licence: str,
        seed: int,
        as_json: bool,
        force: bool,
        **own: Any,
    ) -> None:
        chosen = recipes.changed(
            kind.recipes[recipe_names.index(recipe)],
            epochs=epochs,
            learning_rate=learning_rate,
            seed=seed,
            bfloat16=bfloat16,
        )
        job = TrainingJob(
            network=name,
            data=data,
            output=output,
            recipe=chosen,
            sources={origin.option: own.pop(origin.option) for origin in kind.starts},
            options=own,
            start=start,
            training_data=training_data,
            licence=licence,
            force=force,
        )
        with training_progress() as progress:
            result = train(job, progress=progress)
        if as_json:
            console.print_json(to_json(result))
        else:
            show(result)

    return train_network


def own_options(kind: Kind) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options that a network's fields and starting weights state."""
    options = [
        click.option(
            flag(field.name),
            type=option_type(field.default),
            default=field.default.value if isinstance(field.default, Enum) else field.default,
            help=field.metadata["help"],
        )
        for field in dataclasses.fields(kind.network)  # type: ignore[arg-type]
        if "help" in field.metadata
    ] + [
        click.option(
            flag(origin.option), metavar=origin.metavar, default=origin.default, help=origin.help
        )
        for origin in kind.starts
    ]

    def add(function: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def flag(name: str) -> str:
    """Return the option's spelling of a field's name."""
    return f"--{name.replace('_', '-')}"


def option_type(default: object) -> click.ParamType[Any] | type:
    """Return what the command line takes for a field: a choice for an enumeration."""
    if isinstance(default, Enum):
        return click.Choice([member.value for member in type(default)])
    return type(default)


command = OrderedGroup(
    "train",
    help="Train a network on your own labelled faces.",
    epilog=examples(
        "edgefer train patt-lite --data my-faces/ --output run1",
        "edgefer train patt-lite --data raf-db.h5 --recipe authors --input-size 224",
        "edgefer train lanmsff --data ferplus.npz --epochs 40",
        "edgefer train arbex --data my-faces/ --ir50 ir50.pth --mobilefacenet mobilefacenet.pth",
    ),
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
for _name, _kind in NETWORKS.items():
    command.add_command(network_command(_name, _kind))


@contextmanager
def training_progress() -> Iterator["Reporter"]:
    """Yield a callback that shows the running epoch's figures beside a bar."""
    with console.progress_bar("Training") as bar:
        yield Reporter(bar)


class Reporter:
    """Turns a training's progress into a bar of all steps, and an epoch's end into a line."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._console = console.message_console()

    def __call__(self, state: TrainingProgress) -> None:
        """Move the bar; at the end of an epoch print its figures."""
        done = (state.epoch - 1) * state.steps + state.step
        self._bar(done, state.epochs * state.steps)
        if state.step == state.steps:
            self._console.print(
                f"{state.stage} epoch {state.epoch}/{state.epochs}: "
                f"loss {state.loss:.3f}, training accuracy {100 * state.accuracy:.1f}%, "
                f"best validation before {100 * state.best_validation_accuracy:.2f}%"
            )


def show(result: TrainingResult) -> None:
    """Print the last epochs and where the weights are."""
    rows = [
        (
            record.stage,
            str(record.epoch),
            f"{record.loss:.3f}",
            f"{100 * record.accuracy:.1f}%",
            f"{100 * record.validation_accuracy:.2f}%",
        )
        for record in result.records[-5:]
    ]
    out = console.result_console()
    out.print(console.table(("stage", "epoch", "loss", "training", "validation"), rows))
    out.print(f"\nBest validation accuracy {100 * result.best_validation_accuracy:.2f}%")
    out.print(f"Weights: {result.checkpoint}")
    out.print(f"Next: edgefer convert {result.checkpoint} --int8")


def to_json(result: TrainingResult) -> dict[str, object]:
    """Return the whole result as JSON-ready values."""
    return {
        "schema_version": 1,
        "checkpoint": str(result.checkpoint),
        "best_validation_accuracy": result.best_validation_accuracy,
        "epochs": [dataclasses.asdict(record) for record in result.records],
    }
