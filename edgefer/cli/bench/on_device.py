"""`edgefer bench on-device`: latency, memory and operators of models on devices."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from edgefer import files, outputs
from edgefer.benchmarks import devices as reachable
from edgefer.benchmarks.plan import ALL_CORES, BenchPlan, Effort
from edgefer.benchmarks.result import BenchResult
from edgefer.benchmarks.result_files import read_result, require_measured
from edgefer.benchmarks.runner import run
from edgefer.cli import console
from edgefer.cli.options import debug_option, force_option, json_option
from edgefer.cli.text import examples
from edgefer.records import to_json
from edgefer.report import bench as report
from edgefer.report import bench_export, bench_page
from edgefer.report.page import render, require_packages

MOST_THREADS = 256


def thread_counts(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """Read a list like 1,2,4, each number once."""
    try:
        counts = tuple(dict.fromkeys(int(part) for part in value.split(",")))
    except ValueError as exc:
        problem = f"{value!r} is not a list of numbers like 1,2,4"
        raise click.BadParameter(problem, ctx, param) from exc
    if min(counts) < 1 or max(counts) > MOST_THREADS:
        raise click.BadParameter(f"numbers of threads are 1 to {MOST_THREADS}", ctx, param)
    return counts


def complete_device(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """Offer the forms of a device's address."""
    forms = ("local", "ssh://", "adb", "adb:all")
    return [CompletionItem(form) for form in forms if form.startswith(incomplete)]


@click.command(
    "on-device",
    epilog=examples(
        "edgefer bench on-device patt-lite-int8.tflite",
        "edgefer bench on-device patt-lite-float32.tflite patt-lite-int8.tflite \\",
        "    --device ssh://pi@raspberrypi.local --setup --threads 1,4",
        "edgefer bench on-device patt-lite-int8.tflite --device adb:all --cores big",
        "edgefer bench on-device *.tflite -d local -d ssh://pi5 --verify --report bench.html",
        "edgefer bench on-device *.tflite -d ssh://pi5 --resume bench-20260501-101500.json",
    ),
)
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--device",
    "-d",
    "devices",
    multiple=True,
    metavar="DEVICE",
    default=BenchPlan.devices,
    shell_complete=complete_device,
    help="local, ssh://[user@]host[:port], adb[:serial] or adb:all; several run side by side.",
)
@click.option(
    "--threads",
    callback=thread_counts,
    metavar="N,N,…",
    default=",".join(map(str, BenchPlan.threads)),
    help="Numbers of threads, each measured by itself.",
)
@click.option(
    "--cores",
    default=ALL_CORES,
    metavar="all|big|little|MASK",
    help="Cores to run on, by the device's clusters or as a mask such as 0xf0.",
)
@click.option("--setup", is_flag=True, help="First install the runtime on a board reached by ssh.")
@click.option(
    "--verify", is_flag=True, help="Also compare the device's outputs with this machine's."
)
@click.option(
    "--tool",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="LiteRT's benchmark_model for adb devices.  [default: downloaded]",
)
@click.option(
    "--processes", type=click.IntRange(1, 1000), default=Effort.processes, help="For each model."
)
@click.option(
    "--runs",
    type=click.IntRange(1, 1_000_000),
    default=Effort.minimum_runs,
    help="At least, in each process.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 3600),
    default=Effort.minimum_seconds,
    help="At least, in each process.",
)
@click.option(
    "--warmup",
    type=click.FloatRange(0, 3600),
    default=Effort.warmup_seconds,
    help="Seconds at most; it ends when runs no longer get faster.",
)
@click.option(
    "--profile-runs",
    type=click.IntRange(0, 10_000),
    default=Effort.profile_runs,
    help="Runs under the profiler; 0 leaves it out.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(1, 86_400),
    default=Effort.timeout_s,
    help="Seconds for one process on the device.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.json",
    show_default="bench-DATE-TIME.json",
    help="Everything measured, raw samples too; written after each process.",
)
@click.option(
    "--resume",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.json",
    help="Measure only what is missing in this result, and complete it.",
)
@click.option("--csv", "csv_file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@click.option("--markdown", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
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
    devices: tuple[str, ...],
    threads: tuple[int, ...],
    cores: str,
    setup: bool,
    verify: bool,
    tool: Path | None,
    processes: int,
    runs: int,
    seconds: float,
    warmup: float,
    profile_runs: int,
    timeout: float,
    output: Path | None,
    resume: Path | None,
    csv_file: Path | None,
    markdown: Path | None,
    page: Path | None,
    as_json: bool,
    force: bool,
) -> None:
    """Measure MODELS, .tflite files, on devices.

    Every model runs in several processes, in turns with the others. Each process is warmed up
    until it is steady, then runs at least 64 times and 3 seconds. Nothing stays on a device but
    what --setup installs.
    """
    plan = BenchPlan(
        models=models,
        devices=reachable.expand(devices),
        threads=threads,
        cores=cores,
        effort=Effort(
            processes=processes,
            minimum_runs=runs,
            maximum_runs=max(runs, Effort.maximum_runs),
            minimum_seconds=seconds,
            warmup_seconds=warmup,
            profile_runs=profile_runs,
            timeout_s=timeout,
        ),
        verify=verify,
        setup=setup,
        tool=tool,
    )
    previous = read_result(resume) if resume else None
    path = output or resume or Path(f"bench-{datetime.now(UTC):%Y%m%d-%H%M%S}.json")
    if page is not None:
        require_packages()
    outputs.require_writable([p for p in (path, csv_file, markdown, page) if p], force=force)
    with console.parallel_bars() as bars:
        result = run(
            plan,
            open_device=partial(reachable.opened, plan=plan, say=bars.say),
            verify=reachable.verify,
            save=lambda whole: files.write_text(path, to_json(whole)),
            previous=previous,
            report=bars.report,
        )
    if csv_file is not None:
        files.write_text(csv_file, bench_export.as_csv(result))
    if markdown is not None:
        files.write_text(markdown, bench_export.as_markdown(result))
    if page is not None:
        files.write_text(page, render(bench_page.page_of(result)))
    if as_json:
        console.print_json(bench_export.as_dict(result))
    else:
        show(result)
        console.message_console().print(f"Written: {path}")
    require_measured(result)


def show(result: BenchResult) -> None:
    """Print each device's tables, then its warnings on stderr."""
    out, messages = console.result_console(), console.message_console()
    for device in result.devices:
        out.print(report.heading(device), style="bold")
        for table in report.tables(device):
            out.print()
            out.print(table.title)
            out.print(console.table(table.columns, table.rows, text_columns=table.text_columns))
        out.print()
        for problem in report.problems(device):
            messages.print(f"error: {problem}", style="red")
        for warning in report.warnings(device, result):
            messages.print(f"warning: {warning}", style="yellow")
