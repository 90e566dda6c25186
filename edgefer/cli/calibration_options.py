"""Options that say what activations are calibrated on, and the reading of it."""

from collections.abc import Callable
from pathlib import Path

import click

from edgefer.cli import console
from edgefer.cli.data_options import DATASETS
from edgefer.converters.calibration import result
from edgefer.converters.calibration_source import Calibration
from edgefer.data.reading import has_splits, read_faces
from edgefer.data.splits import Split
from edgefer.models import bundled


def calibration_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add --calibration and --save-calibration."""
    for option in reversed(
        (
            click.option(
                "--calibration",
                type=click.Path(path_type=Path),
                help=f"{DATASETS}; of a dataset with splits, the train part. Or a file of "
                "--save-calibration, or the name of a network that edgefer brings, for the file "
                "of the bundled faces.  [default: the bundled faces]",
            ),
            click.option(
                "--save-calibration",
                metavar="FILE",
                type=click.Path(path_type=Path),
                help="Keep what the faces showed as JSON, without the faces; packed if .json.gz.",
            ),
        )
    ):
        function = option(function)
    return function


def read_calibration(path: Path, *, most: int) -> Calibration:
    """Read at most so many faces, of the train part if a dataset has parts, or a calibration."""
    if not path.exists():
        path = bundled.calibrations().get(str(path), path)
    if result.is_calibration(path):
        return result.read(path)
    split = Split.TRAIN if has_splits(path) else None
    with console.progress_bar("Reading calibration faces") as progress:
        faces = read_faces(path, split=split, progress=progress)
    return faces.spread(most)
