"""`edgefer predict`: the expressions of the faces in pictures, videos, or before a camera."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

from edgefer import outputs
from edgefer.cli import console
from edgefer.cli.contract_options import contract_options
from edgefer.cli.options import ModelPath, debug_option, force_option, json_option
from edgefer.cli.text import examples, one_line
from edgefer.errors import UsageError
from edgefer.evaluation.opening import open_evaluated
from edgefer.models.contract import StatedContract
from edgefer.prediction import inputs
from edgefer.prediction.classifier import open_classifier
from edgefer.prediction.detector import FaceDetector
from edgefer.prediction.predictor import Predictor
from edgefer.prediction.result import Prediction
from edgefer.prediction.runner import Outcome, predict, predict_camera
from edgefer.progress import Progress
from edgefer.report import prediction as report

CAMERA_SECONDS = 10.0


@click.command(
    epilog=examples(
        "edgefer predict patt-lite-int8.tflite photo.jpg",
        "edgefer predict patt-lite-int8.tflite holiday/ clip.mp4 --annotate marked/",
        "edgefer predict patt-lite-int8.tflite face.png --no-detect --json",
        "edgefer predict patt-lite-int8.tflite --camera 0 --seconds 30 --annotate me.mp4",
        "edgefer predict foreign.tflite photo.jpg --labels angry,happy,sad --mean 0 --std 255",
    )
)
@click.argument("model", type=ModelPath())
@click.argument("paths", metavar="[INPUT]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--no-detect", is_flag=True, help="Take each picture as one face that is already cut out."
)
@click.option(
    "--camera", type=click.IntRange(0), metavar="NUMBER", help="Watch a camera; 0 is the first."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=CAMERA_SECONDS,
    help="How long to watch the camera.",
)
@click.option(
    "--annotate",
    "out",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Draw boxes, labels and scores: a file for one input, otherwise a folder.",
)
@contract_options
@json_option
@force_option
@debug_option
def command(
    *,
    model: Path,
    paths: tuple[Path, ...],
    no_detect: bool,
    camera: int | None,
    seconds: float,
    out: Path | None,
    stated: StatedContract,
    as_json: bool,
    force: bool,
) -> None:
    """Name the expressions of the faces in each INPUT: images, videos, and folders of both.

    MODEL is a .tflite, a checkpoint, or the name of a model that edgefer brings. Faces are found
    with BlazeFace. In a video a face keeps its number, and its scores are smoothed over time. An
    input that cannot be read is reported, and the others are answered.
    """
    if bool(paths) == (camera is not None):
        raise UsageError("give INPUTs or --camera, one of the two")
    work = (
        _files_work(inputs.files_of(paths), out, force=force)
        if camera is None
        else _camera_work(camera, seconds, out, force=force)
    )
    classifier = open_classifier(open_evaluated(model, stated))
    predictor = Predictor(classifier, None if no_detect else FaceDetector())
    with console.progress_bar("Predicting") as progress:
        outcome = work(predictor, progress)
    if as_json:
        console.print_json(outcome.prediction.to_dict())
    else:
        show(outcome.prediction)
    _raise_last(outcome)


Work = Callable[[Predictor, Progress], Outcome]
"""Does everything that was asked for, once the model is open."""


def show(prediction: Prediction) -> None:
    """Print a table of the pictures' faces and one of the videos'."""
    out = console.result_console()
    tables = [
        console.table(columns, rows, text_columns=text_columns)
        for columns, rows, text_columns in (
            (report.picture_columns(prediction), report.picture_rows(prediction), 3),
            (report.video_columns(prediction), report.video_rows(prediction), 2),
        )
        if rows
    ]
    for position, table in enumerate(tables):
        if position:
            out.print()
        out.print(table)


def _files_work(files: Sequence[Path], out: Path | None, *, force: bool) -> Work:
    copies: Mapping[Path, Path] = {} if out is None else inputs.annotated_paths(files, out)
    outputs.require_writable(copies.values(), force=force)
    return lambda predictor, progress: predict(predictor, files, copies=copies, progress=progress)


def _camera_work(camera: int, seconds: float, out: Path | None, *, force: bool) -> Work:
    if out is not None:
        inputs.require_kind(out, video=True)
        outputs.require_writable([out], force=force)
    return lambda predictor, progress: predict_camera(
        predictor, camera, seconds=seconds, copy=out, progress=progress
    )


def _raise_last(outcome: Outcome) -> None:
    """Report what could not be read, a line each; the last is the command's error."""
    for failure in outcome.failures[:-1]:
        console.message_console().print(f"edgefer: error: {one_line(str(failure))}")
    if outcome.failures:
        raise outcome.failures[-1]
