"""Options that name labelled faces, and the reading of them with progress."""

from collections.abc import Callable
from pathlib import Path

import click

from edgefer.cli import console
from edgefer.data.faces import LabelledFaces
from edgefer.data.protocols import MAJORITY, Protocol
from edgefer.data.reading import read_faces
from edgefer.data.splits import Split

DATASETS = "A folder a class, FER+ .npz, PAtt-Lite's HDF5, or fer2013.csv with fer2013new.csv"


def evaluation_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add --data, --split and --protocol, for the faces that a model is measured on."""
    for option in reversed(
        (
            click.option(
                "--data",
                type=click.Path(path_type=Path),
                help=f"{DATASETS}.  [default: the bundled evaluation faces]",
            ),
            click.option(
                "--split",
                type=click.Choice([part.value for part in Split]),
                help="Which part of the dataset.  [default: test]",
            ),
            click.option(
                "--protocol",
                type=click.Choice([rule.value for rule in Protocol]),
                default=MAJORITY.value,
                help="How FER+'s votes become labels.",
            ),
        )
    ):
        function = option(function)
    return function


def evaluation_faces(data: Path | None, split: str | None, protocol: str) -> LabelledFaces:
    """Read the faces that the options name; without a path, the bundled ones."""
    from edgefer import calibration_data

    if data is None:
        return calibration_data.evaluation_faces()
    with console.progress_bar("Reading faces") as progress:
        return read_faces(data, split=split, protocol=Protocol(protocol), progress=progress)
