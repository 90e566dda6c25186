"""`edgefer train`: a network's own recipe on the user's faces, resumable."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from edgefer.cli import console
from edgefer.cli.options import debug_option, force_option, json_option
from edgefer.cli.text import examples
from edgefer.models.networks import NETWORKS
from edgefer.models.patt_lite import Attention
from edgefer.progress import Progress
from edgefer.training import recipes
from edgefer.training.job import TrainingJob, train
from edgefer.training.records import TrainingProgress, TrainingResult


@click.command(
    epilog=examples(
        "edgefer train patt-lite --data my-faces/ --output run1",
        "edgefer train patt-lite --data ferplus.npz --input-size 160 --epochs 40",
        "edgefer train patt-lite --data raf-db.h5 --recipe authors --input-size 224",
        "edgefer convert run1/best.safetensors --int8",
    )
)
@click.argument("network", type=click.Choice(list(NETWORKS)))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="A folder a class, FER+ .npz, PAtt-Lite's HDF5, or fer2013.csv with fer2013new.csv.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("patt-lite-training"),
    help="Where the weights, the log and the state go; a state found there is resumed.",
)
@click.option("--recipe", type=click.Choice(list(recipes.RECIPES)), default=recipes.SOFT.name)
@click.option("--epochs", type=click.IntRange(1, 10000), help="Length of the last stage.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, 1, min_open=True),
    help="Highest learning rate of the last stage.",
)
@click.option("--input-size", type=int, default=TrainingJob.input_size, help="In pixels.")
@click.option(
    "--attention",
    type=click.Choice([kind.value for kind in Attention]),
    default=TrainingJob.attention.value,
)
@click.option(
    "--backbone",
    metavar="imagenet|FILE",
    default=TrainingJob.backbone,
    help="MobileNetV1 weights: Keras's download, or an .npz file.",
)
@click.option(
    "--start",
    type=click.Path(path_type=Path),
    help="Go on from this checkpoint, which may have another input size.",
)
@click.option("--training-data", help="Noted in the weights.  [default: the name of --data]")
@click.option("--licence", default="", help="Noted in the weights.")
@click.option("--seed", type=click.IntRange(0), default=recipes.SOFT.seed)
@json_option
@force_option
@debug_option
def command(
    *,
    network: str,  # noqa: ARG001 - one network so far; the argument is the interface
    data: Path,
    output: Path,
    recipe: str,
    epochs: int | None,
    learning_rate: float | None,
    input_size: int,
    attention: Attention,
    backbone: str,
    start: Path | None,
    training_data: str | None,
    licence: str,
    seed: int,
    as_json: bool,
    force: bool,
) -> None:
    """Train NETWORK on labelled faces and keep the weights that validate best.

    The recipe `soft` learns from the crowd's votes where the dataset has them; `authors` is the
    PAtt-Lite authors' own in two stages. A killed training goes on exactly where it was when the
    same command is given again.
    """
    chosen = recipes.changed(
        recipes.named(recipe), epochs=epochs, learning_rate=learning_rate, seed=seed
    )
    job = TrainingJob(
        data=data,
        output=output,
        recipe=chosen,
        input_size=input_size,
        attention=Attention(attention),
        backbone=backbone,
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
