"""`edgefer inspect MODEL --reference FLOAT`: its options, and what it prints."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from edgefer import files, outputs
from edgefer.cli import console
from edgefer.cli.data_options import DATASETS, evaluation_faces
from edgefer.cli.options import ModelPath, force_option
from edgefer.cli.text import one_line
from edgefer.converters.insight.reference import (
    COMPARED_FACES,
    SENSITIVITY_FACES,
    Insight,
    Question,
    look,
)
from edgefer.data.protocols import MAJORITY
from edgefer.errors import UsageError
from edgefer.models.contract import StatedContract
from edgefer.report import insight as report
from edgefer.report.page import render, require_packages

BUNDLED = "the bundled sample"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the options ask for; `data` of None stands for the bundled faces."""

    reference: Path
    sensitivity: bool
    data: Path | None
    most_faces: int | None
    shows_all: bool
    page: Path | None


def reference_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add --reference and the options that need it, passed on as `asked`; None without it."""

    @functools.wraps(function)
    def command(
        *,
        reference: Path | None,
        sensitivity: bool,
        data: Path | None,
        most_faces: int | None,
        shows_all: bool,
        page: Path | None,
        force: bool,
        **others: Any,
    ) -> None:
        if reference is None:
            _refuse_alone(
                {
                    "--sensitivity": sensitivity,
                    "--data": data,
                    "--faces": most_faces,
                    "--all": shows_all,
                    "--report": page,
                }
            )
            function(asked=None, **others)
            return
        if page is not None:
            outputs.require_writable([page], force=force)
            require_packages()
        asked = Asked(
            reference=reference,
            sensitivity=sensitivity,
            data=data,
            most_faces=most_faces,
            shows_all=shows_all,
            page=page,
        )
        function(asked=asked, **others)

    decorated: Callable[..., None] = command
    for option in reversed(
        (
            click.option(
                "--reference",
                type=ModelPath(),
                metavar="FLOAT",
                help="The float model that MODEL was made from: show where they differ.",
            ),
            click.option(
                "--sensitivity",
                is_flag=True,
                help="Measure what each operator alone does to the output, too.",
            ),
            click.option(
                "--data",
                type=click.Path(path_type=Path),
                help=f"Faces to compare on. {DATASETS}.  [default: the bundled evaluation faces]",
            ),
            click.option(
                "--faces",
                "most_faces",
                type=click.IntRange(1),
                metavar="N",
                show_default=f"{COMPARED_FACES}, for the sensitivity {SENSITIVITY_FACES}",
                default=None,
                help="How many of them, evenly spread.",
            ),
            click.option(
                "--all",
                "shows_all",
                is_flag=True,
                help=f"Show every operator, not the worst {report.MOST_ROWS}.",
            ),
            click.option(
                "--report",
                "page",
                type=click.Path(dir_okay=False, path_type=Path),
                metavar="FILE.html",
                help="Write the comparison as a page with charts.",
            ),
            force_option,
        )
    ):
        decorated = option(decorated)
    return decorated


def compared(model: Path, stated: StatedContract, asked: Asked) -> Insight:
    """Compare the model with its reference, and write the page that was asked for."""
    faces = evaluation_faces(asked.data, None, MAJORITY.value)
    if asked.data is None:
        faces = dataclasses.replace(faces, source=BUNDLED)
    question = Question(
        model=model,
        reference=asked.reference,
        faces=faces,
        stated=stated,
        most_faces=asked.most_faces,
        with_sensitivity=asked.sensitivity,
    )
    with console.stages() as progress:
        found = look(question, progress=progress)
    if asked.page is not None:
        files.write_text(asked.page, render(report.page_of(found)))
    return found


def show(found: Insight, *, shows_all: bool) -> None:
    """Print the tables: the worst operators first, or all of them in the graph's order."""
    out = console.result_console()
    worst = report.worst_first(found.operators)[: report.MOST_ROWS]
    shown = found.operators if shows_all else worst
    extent = report.extent(len(shown), len(found.operators), report.LEAST_EXACT)
    names = f"{one_line(found.model.name)} against {one_line(found.reference.name)}"
    out.print(f"{names}, on {one_line(report.measured_on(found))}: {extent}\n")
    out.print(console.table(report.COLUMNS, report.rows(shown), text_columns=report.TEXT_COLUMNS))
    out.print(f"\n{one_line(report.worst_sentence(found.operators))}")
    for note in found.notes:
        console.message_console().print(f"warning: {note}", style="yellow")
    ranking = found.sensitivity
    if ranking is None:
        return
    most = len(ranking.operators) if shows_all else report.MOST_ROWS
    alone = report.alone_rows(ranking.by_alone_int8()[:most])
    left = report.left_rows(ranking.by_left_float()[:most])
    out.print(f"\n{report.sensitivity_sentence(found, ranking)}")
    for title, rows, which in (
        (report.ALONE_TITLE, alone, "worst"),
        (report.LEFT_TITLE, left, "most helpful"),
    ):
        extent = report.extent(len(rows), len(ranking.operators), which)
        out.print(f"\n{title}: {extent}\n")
        columns = report.ALONE_COLUMNS
        out.print(console.table(columns, rows, text_columns=report.ALONE_TEXT_COLUMNS))


def _refuse_alone(options: dict[str, object]) -> None:
    given = [name for name, value in options.items() if value not in (None, False)]
    if given:
        raise UsageError(f"{given[0]} needs --reference, the float model that MODEL was made from")
