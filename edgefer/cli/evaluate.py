"""`edgefer evaluate`: accuracy of models on labelled faces, and what one lost against another."""

from pathlib import Path

import click

from edgefer import files, outputs
from edgefer.cli import console
from edgefer.cli.contract_options import contract_options
from edgefer.cli.data_options import evaluation_faces, evaluation_options
from edgefer.cli.options import ModelPath, debug_option, force_option, json_option
from edgefer.cli.text import examples
from edgefer.evaluation import contact_sheet
from edgefer.evaluation.opening import open_evaluated
from edgefer.evaluation.result import EvaluationResult, require
from edgefer.evaluation.runner import evaluate
from edgefer.models.contract import StatedContract
from edgefer.report import evaluation as report
from edgefer.report.page import Page, render


@click.command(
    epilog=examples(
        "edgefer evaluate patt-lite-int8.tflite",
        "edgefer evaluate patt-lite-float32.tflite patt-lite-int8.tflite --data ferplus.npz",
        "edgefer evaluate best.safetensors model.tflite --data my-faces/ --max-drop 0.3",
        "edgefer evaluate a.tflite b.tflite --show-disagreements differing.png",
        "edgefer evaluate foreign.tflite --labels angry,happy,sad --mean 127.5 --std 127.5",
    )
)
@click.argument("models", nargs=-1, required=True, type=ModelPath())
@evaluation_options
@contract_options
@click.option("--max-drop", type=float, metavar="POINTS", help="Exit with 3 if a model loses more.")
@click.option(
    "--min-accuracy", type=click.FloatRange(0, 100), metavar="PERCENT", help="… or has less."
)
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one a core]")
@click.option(
    "--show-disagreements",
    "sheet",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.png",
    help="Draw the faces on which the last model differs from the first.",
)
@click.option(
    "--report",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Write everything as a page with charts.",
)
@json_option
@force_option
@debug_option
def command(
    *,
    models: tuple[Path, ...],
    data: Path | None,
    split: str | None,
    protocol: str,
    stated: StatedContract,
    max_drop: float | None,
    min_accuracy: float | None,
    workers: int | None,
    sheet: Path | None,
    page: Path | None,
    as_json: bool,
    force: bool,
) -> None:
    """Measure MODELS on labelled faces, each face alone, and compare them with the first.

    A model is a .tflite, a checkpoint, or patt-lite or lanmsff, which edgefer brings. Classes are
    matched by name. Without --data the faces are the 1,200 of FER+'s test split that edgefer
    brings.
    """
    outputs.require_writable([path for path in (sheet, page) if path], force=force)
    faces = evaluation_faces(data, split, protocol)
    opened = [open_evaluated(path, stated) for path in models]
    with console.progress_bar("Evaluating") as progress:
        result = evaluate(opened, faces, workers=workers, progress=progress)
    if sheet is not None:
        picture = contact_sheet.disagreements(result, result.models[-1])
        files.write_bytes(sheet, contact_sheet.to_png(picture))
    if page is not None:
        files.write_text(page, render(page_of(result)))
    if as_json:
        console.print_json(result.to_dict())
    else:
        show(result)
    least = None if min_accuracy is None else min_accuracy / 100
    require(result, max_drop_points=max_drop, min_accuracy=least)


def show(result: EvaluationResult) -> None:
    """Print the tables of a result, and its warnings on stderr."""
    out = console.result_console()
    out.print(f"{len(result.faces):,} faces of {result.faces.source}, each alone\n")
    out.print(console.table(report.ACCURACY_COLUMNS, report.accuracy_rows(result)))
    if len(result.models) > 1:
        out.print(f"\nAgainst {result.models[0].name} (a positive drop is a loss)\n")
        out.print(console.table(report.DROP_COLUMNS, report.drop_rows(result)))
    columns, rows = report.recall_rows(result)
    out.print("\nRecall\n")
    out.print(console.table(columns, rows))
    messages = console.message_console()
    for warning in report.warnings(result):
        messages.print(f"warning: {warning}", style="yellow")


def page_of(result: EvaluationResult) -> Page:
    """Return the result as a page."""
    last = result.models[-1]
    verdict = f"{last.name}: {report.percent(last.metrics.accuracy.value)}"
    if last.comparison is not None:
        verdict += (
            f", {last.comparison.drop_points:+.2f} points of drop against {result.models[0].name}"
        )
    return Page(
        title=f"Accuracy on {result.faces.source}",
        verdict=verdict,
        passed=True,
        warnings=tuple(report.warnings(result)),
        tables=tuple(report.sections(result)),
    )
