"""`edgefer bench compare`: whether a second benchmark is slower than a first."""

from pathlib import Path

import click

from edgefer.benchmarks.comparison.compare import DEFAULT_MAX_SLOWDOWN, compare, require
from edgefer.benchmarks.result_files import read_result
from edgefer.cli import console
from edgefer.cli.options import debug_option, json_option
from edgefer.cli.text import examples
from edgefer.records import to_dict
from edgefer.report import bench_comparison as report


def percentage(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """Read a share like 3% or 0.03 as a fraction."""
    text = value.strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError as exc:
        raise click.BadParameter(f"{value!r} is not a percentage such as 3%", ctx, param) from exc
    if not 0 <= share <= 10:
        raise click.BadParameter(f"{value!r} is not between 0% and 1000%", ctx, param)
    return share


@click.command(
    "compare",
    epilog=examples(
        "edgefer bench compare old.json new.json",
        "edgefer bench compare old.json new.json --max-slowdown 5%    # exit code 3 beyond it",
        "edgefer bench compare pi4.json pi5.json --force",
    ),
)
@click.argument("old", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("new", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--max-slowdown",
    callback=percentage,
    metavar="PERCENT",
    default=f"{DEFAULT_MAX_SLOWDOWN:.0%}",
    help="Exit with 3 if a model is slower by more than this.",
)
@click.option(
    "--force", is_flag=True, help="Compare although the circumstances differ; they are listed."
)
@json_option
@debug_option
def command(*, old: Path, new: Path, max_slowdown: float, force: bool, as_json: bool) -> None:
    """Say for each model, device and number of threads whether NEW is slower than OLD.

    OLD and NEW are results of `edgefer bench on-device`. A verdict comes with the interval of
    the ratio of both medians, from the differences between processes; "no difference shown" is
    an answer too.
    """
    comparison = compare(read_result(old), read_result(new), max_slowdown=max_slowdown, force=force)
    if as_json:
        console.print_json(to_dict(comparison))
    else:
        out = console.result_console()
        out.print(console.table(report.COLUMNS, report.rows(comparison), text_columns=2))
        for line in report.remarks(comparison):
            console.message_console().print(f"note: {line}", style="yellow")
    require(comparison)
