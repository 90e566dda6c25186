"""`edgefer convert`: the main job, from a model to verified .tflite files and what they lost."""

import dataclasses
from pathlib import Path

import click

from edgefer.benchmarks import devices as reachable
from edgefer.cli import console
from edgefer.cli.bench.on_device import complete_device
from edgefer.cli.contract_options import contract_options
from edgefer.cli.data_options import DATASETS, evaluation_faces, evaluation_options
from edgefer.cli.options import ModelPath, debug_option, force_option, json_option, output_option
from edgefer.cli.text import examples
from edgefer.converters.job import ConversionJob, Delivery, deliver, require_budget
from edgefer.converters.recipes import INT8, PRESETS, IoType, Precision, QuantizationRecipe
from edgefer.converters.search.budget import Budget
from edgefer.converters.search.held_out import MOST_CALIBRATION_FACES as MOST_FACES
from edgefer.converters.search.held_out import MOST_HELD_OUT_FACES
from edgefer.data.faces import LabelledFaces
from edgefer.data.reading import has_splits, read_faces
from edgefer.data.splits import Split
from edgefer.errors import UsageError
from edgefer.evaluation.result import require
from edgefer.models.contract import StatedContract
from edgefer.report import delivery as report
from edgefer.report.coupling import coupling_sentence

MOST_SEARCH_FACES = MOST_FACES + MOST_HELD_OUT_FACES
IO_TYPE = click.Choice([kind.value for kind in IoType])


@click.command(
    epilog=examples(
        "edgefer convert --int8                       # the bundled PAtt-Lite",
        "edgefer convert lanmsff --int8",
        "edgefer convert best.safetensors --int8 --float16",
        "edgefer convert their-model.h5 --int8 --input-type uint8 --output-type float32",
        "edgefer convert float.tflite --int8 --labels angry,happy,sad --mean 127.5 --std 127.5",
        "edgefer convert model.pt2 --int8 --spec model.toml",
        "edgefer convert best.safetensors --int8 --calibration my-faces/train \\",
        "    --data my-faces/test --max-drop 0.5 --device ssh://pi@raspberrypi.local",
    )
)
@click.argument("model", required=False, type=ModelPath())
@click.option("--int8", is_flag=True, help="Weights and activations in 8 bits.")
@click.option("--int16x8", is_flag=True, help="Weights in 8 bits, activations in 16.")
@click.option("--dynamic", is_flag=True, help="Weights in 8 bits, activations as floats.")
@click.option("--float16", is_flag=True, help="Weights in half precision.")
@click.option("--float32", is_flag=True, help="As it is, for comparison.")
@click.option(
    "--input-type", type=IO_TYPE, help="int8: pixel − 128; uint8: the pixel; float32: normalised."
)
@click.option("--output-type", type=IO_TYPE, help="int8 and uint8: probability in 256 steps.")
@click.option(
    "--bias-correction/--no-bias-correction",
    default=True,
    help="Undo the mean shift that rounding weights causes.",
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    help=f"{DATASETS}; of a dataset with splits, the train part.  [default: the bundled faces]",
)
@evaluation_options
@click.option(
    "--evaluate/--no-evaluate", "is_evaluated", default=True, help="Measure what was lost."
)
@click.option(
    "--max-drop",
    type=float,
    metavar="POINTS",
    help="Search for the fastest int8 whose drop is shown to be within this; exit with 3 if there "
    "is none, or if another precision loses more.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MINUTES",
    default=Budget.time_limit_s / 60,
    help="Of a search.",
)
@click.option(
    "--device",
    metavar="DEVICE",
    default=Budget.device,
    shell_complete=complete_device,
    help="Where a search measures latency, as for edgefer bench.",
)
@click.option(
    "--min-accuracy", type=click.FloatRange(0, 100), metavar="PERCENT", help="… or has less."
)
@contract_options
@output_option
@json_option
@force_option
@debug_option
def command(
    *,
    model: Path | None,
    int8: bool,
    int16x8: bool,
    dynamic: bool,
    float16: bool,
    float32: bool,
    input_type: str | None,
    output_type: str | None,
    bias_correction: bool,
    calibration: Path | None,
    data: Path | None,
    split: str | None,
    protocol: str,
    is_evaluated: bool,
    max_drop: float | None,
    time_limit: float,
    device: str,
    min_accuracy: float | None,
    stated: StatedContract,
    output: Path,
    as_json: bool,
    force: bool,
) -> None:
    """Convert MODEL to .tflite, verify it, and measure what that cost in accuracy.

    MODEL is a checkpoint (.safetensors, .keras, .h5, .weights.h5, .pth), a SavedModel, a PyTorch
    program (.pt2), a float .tflite from any tool, or a network that edgefer brings, patt-lite or
    lanmsff; without it, patt-lite. Several precisions at once make several files and one table.
    Beside each NAME-PRECISION.tflite are its figures as .json and .html.
    """
    wanted = {
        Precision.FLOAT32: float32,
        Precision.FLOAT16: float16,
        Precision.DYNAMIC: dynamic,
        Precision.INT16X8: int16x8,
        Precision.INT8: int8,
    }
    chosen = [precision for precision, is_wanted in wanted.items() if is_wanted]
    if not chosen:
        raise UsageError("say which precision to make, such as --int8")
    if not is_evaluated and (max_drop is not None or min_accuracy is not None):
        raise UsageError("--max-drop and --min-accuracy need the evaluation")
    budget = None
    if max_drop is not None and int8:
        (device,) = reachable.expand((device,))
        budget = Budget(max_drop_points=max_drop, time_limit_s=60 * time_limit, device=device)
    job = ConversionJob(
        model=model,
        recipes=tuple(
            recipe_for(precision, input_type, output_type, bias_correction=bias_correction)
            for precision in chosen
        ),
        output=output,
        stated=stated,
        calibration=None
        if calibration is None
        else read_calibration(calibration, most=MOST_SEARCH_FACES if budget else MOST_FACES),
        evaluation=evaluation_faces(data, split, protocol) if is_evaluated else None,
        is_evaluated=is_evaluated,
        budget=budget,
        force=force,
    )
    with console.stages() as progress:
        delivery = deliver(job, progress=progress)
        progress("Writing", 0, 1)
        paths = report.write(delivery)
    if as_json:
        console.print_json(report.to_dict(delivery))
    else:
        show(delivery, paths)
    if delivery.evaluation is not None:
        least = None if min_accuracy is None else min_accuracy / 100
        require(
            delivery.evaluation,
            max_drop_points=max_drop,
            min_accuracy=least,
            except_drop_of=job.path_of(INT8).name if budget else None,
        )
    require_budget(delivery)


def read_calibration(path: Path, *, most: int) -> LabelledFaces:
    """Read calibration faces: the train part where a dataset has parts."""
    split = Split.TRAIN if has_splits(path) else None
    with console.progress_bar("Reading calibration faces") as progress:
        faces = read_faces(path, split=split, progress=progress)
    return faces.spread(most)


def recipe_for(
    precision: Precision, input_type: str | None, output_type: str | None, *, bias_correction: bool
) -> QuantizationRecipe:
    """Return the precision's preset with what the options change."""
    preset = PRESETS[precision]
    return dataclasses.replace(
        preset,
        input_type=IoType(input_type) if input_type else preset.input_type,
        output_type=IoType(output_type) if output_type else preset.output_type,
        bias_correction=preset.bias_correction and bias_correction,
    )


def show(delivery: Delivery, paths: list[Path]) -> None:
    """Print the table, how to feed the last model, and its warnings on stderr."""
    out = console.result_console()
    out.print(console.table(report.COLUMNS, report.rows(delivery)))
    faces = delivery.evaluation and delivery.evaluation.faces
    if faces:
        out.print(f"\nMeasured on {len(faces):,} faces, each alone; a positive drop is a loss.")
    if delivery.original.coupling is not None:
        out.print(coupling_sentence(delivery.original.coupling) + ".")
    out.print("\nHow to feed it")
    for name, value in report.contract_rows(delivery.models[-1]):
        out.print(f"  {name}: {value}")
    out.print("\nWritten")
    for path in paths:
        out.print(f"  {path}  (figures: {path.stem}.json, {path.stem}.html)")
    messages = console.message_console()
    for warning in report.warnings(delivery):
        messages.print(f"warning: {warning}", style="yellow")
