"""`edgefer convert`: the main job, from a model to verified .tflite files and what they lost."""

from pathlib import Path

import click

from edgefer.benchmarks import devices as reachable
from edgefer.cli import console
from edgefer.cli.bench.on_device import complete_device
from edgefer.cli.calibration_options import calibration_options, read_calibration
from edgefer.cli.contract_options import contract_options
from edgefer.cli.data_options import evaluation_faces, evaluation_options
from edgefer.cli.options import ModelPath, debug_option, force_option, json_option, output_option
from edgefer.cli.recipe_options import recipe_options
from edgefer.cli.text import examples
from edgefer.converters.job import ConversionJob, Delivery, deliver, require_budget
from edgefer.converters.recipes import INT8, Precision, QuantizationRecipe
from edgefer.converters.search.budget import Budget
from edgefer.converters.search.candidate import SearchResult
from edgefer.converters.search.held_out import MOST_CALIBRATION_FACES as MOST_FACES
from edgefer.converters.search.held_out import MOST_HELD_OUT_FACES
from edgefer.errors import UsageError
from edgefer.evaluation.result import require
from edgefer.models.contract import StatedContract
from edgefer.report import delivery as report
from edgefer.report import search as search_report
from edgefer.report.coupling import coupling_sentence

MOST_SEARCH_FACES = MOST_FACES + MOST_HELD_OUT_FACES


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
        "edgefer convert --int8 --equalize --adaptive-rounding --save-recipe mine.toml",
        "edgefer convert best.safetensors --recipe mine.toml",
        "edgefer convert --int8 --save-calibration seen.json",
        "edgefer convert --int8 --calibration seen.json  # the same file, without the faces",
    )
)
@click.argument("model", required=False, type=ModelPath())
@recipe_options
@calibration_options
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
    help=f"Of a search; {Budget.time_limit_s / 60:g} if not given.",
)
@click.option(
    "--device",
    metavar="DEVICE",
    shell_complete=complete_device,
    help="Where a search measures latency, as for edgefer bench; this machine if not given.",
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
    recipes: tuple[QuantizationRecipe, ...],
    stated_methods: tuple[str, ...],
    save_recipe: Path | None,
    calibration: Path | None,
    save_calibration: Path | None,
    data: Path | None,
    split: str | None,
    protocol: str,
    is_evaluated: bool,
    max_drop: float | None,
    time_limit: float | None,
    device: str | None,
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
    if not is_evaluated and (max_drop is not None or min_accuracy is not None):
        raise UsageError("--max-drop and --min-accuracy need the evaluation")
    budget = None if max_drop is None else budget_of(max_drop, time_limit, device)
    makes_int8 = any(recipe.precision is Precision.INT8 for recipe in recipes)
    is_searched = budget is not None and makes_int8 and "--recipe" not in stated_methods
    if not is_searched and (time_limit, device) != (None, None):
        option = "--device" if time_limit is None else "--time-limit"
        raise UsageError(
            f"{option} is of a search, and nothing is searched for: give --int8 with --max-drop, "
            "and no --recipe"
        )
    if is_searched and stated_methods:
        raise UsageError(
            f"--max-drop searches for the methods: leave out {stated_methods[0]}, or state all of "
            "them in --recipe"
        )
    job = ConversionJob(
        model=model,
        recipes=recipes,
        output=output,
        stated=stated,
        calibration=None
        if calibration is None
        else read_calibration(calibration, most=MOST_SEARCH_FACES if is_searched else MOST_FACES),
        recipe_path=save_recipe,
        calibration_path=save_calibration,
        evaluation=evaluation_faces(data, split, protocol) if is_evaluated else None,
        is_evaluated=is_evaluated,
        budget=budget if is_searched else None,
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
            except_drop_of=job.path_of(INT8).name if is_searched else None,
        )
    require_budget(delivery)


def budget_of(max_drop: float, time_limit: float | None, device: str | None) -> Budget:
    """Return the budget that the options state; UsageError unless it is one device."""
    devices = reachable.expand((Budget.device if device is None else device,))
    if len(devices) != 1:
        raise UsageError(f"--device {device} is {', '.join(devices)}: give one of them")
    return Budget(
        max_drop_points=max_drop,
        time_limit_s=Budget.time_limit_s if time_limit is None else 60 * time_limit,
        device=devices[0],
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
    if delivery.search is not None:
        show_search(delivery.search)
    out.print("\nHow to feed it")
    for name, value in report.contract_rows(delivery.models[-1]):
        out.print(f"  {name}: {value}")
    out.print("\nWritten")
    for path in paths:
        out.print(f"  {path}  (figures: {path.stem}.json, {path.stem}.html)")
    for path in delivery.job.kept:
        out.print(f"  {path}")
    messages = console.message_console()
    for warning in report.warnings(delivery):
        messages.print(f"warning: {warning}", style="yellow")


def show_search(found: SearchResult) -> None:
    """Print the best candidates, which one was taken, and why."""
    out = console.result_console()
    out.print(f"\n{search_report.title(found)}\n")
    rows = search_report.rows(found, search_report.MOST_ROWS)
    out.print(console.table(search_report.COLUMNS, rows))
    for note in search_report.notes(found, search_report.MOST_ROWS):
        out.print(f"\n{note}")
