"""`edgefer ship`: a folder with a model, its contract, proof and code, for an app to take in."""

import shlex
from pathlib import Path

import click

from edgefer.cli import console
from edgefer.cli.contract_options import contract_options
from edgefer.cli.options import ModelPath, debug_option, json_option, litert_js_option
from edgefer.cli.text import examples, one_line
from edgefer.errors import UsageError
from edgefer.models.contract import StatedContract
from edgefer.report import shipping as report
from edgefer.shipping.bundle import Bundle
from edgefer.shipping.job import ShippingJob, ship
from edgefer.shipping.targets import TARGETS, WEB
from edgefer.shipping.verification import Verification, require_intact, verify


@click.command(
    epilog=examples(
        "edgefer ship patt-lite-int8.tflite --target android",
        "edgefer ship patt-lite-int8.tflite --target linux -o board --golden my-pictures/",
        "edgefer ship foreign.tflite --target web --labels angry,happy,sad --mean 0 --std 255",
        "edgefer ship --verify patt-lite-int8-android",
    )
)
@click.argument("model", required=False, type=ModelPath())
@click.option("--target", type=click.Choice(tuple(TARGETS)), help="Where the model is to run.")
@click.option(
    "--output",
    "-o",
    "out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    show_default="MODEL-TARGET",
    default=None,
    help="The folder to write.",
)
@click.option(
    "--golden",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Make the golden files of these pictures with faces, not of the bundled faces.",
)
@click.option(
    "--verify",
    "bundle",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write nothing: check the bundle in DIR.",
)
@litert_js_option
@contract_options
@json_option
@click.option("--force", is_flag=True, help="Replace the bundle that is in the folder.")
@debug_option
def command(
    *,
    model: Path | None,
    target: str | None,
    out: Path | None,
    golden: Path | None,
    bundle: Path | None,
    litert_js: Path | None,
    stated: StatedContract,
    as_json: bool,
    force: bool,
) -> None:
    """Write a folder to drop into an app: MODEL, its contract, proof and sample code.

    MODEL is a .tflite. In the folder are the model, its labels, the contract of every step from
    a picture to the answer, golden files to test against, and code for the target that passes
    them. Nothing in it needs edgefer.
    """
    if bundle is not None:
        others = (model, target, out, golden, litert_js, force)
        if any(others) or stated != StatedContract():
            raise UsageError("--verify checks a bundle as it is: give nothing but --json with it")
        _check(bundle, as_json=as_json)
    elif model is None or target is None:
        raise UsageError("give a MODEL and a --target, or --verify DIR")
    elif litert_js and target != WEB.name:
        raise UsageError(f"--litert-js is for --target {WEB.name}")
    else:
        job = ShippingJob(
            model=model,
            target=TARGETS[target],
            folder=out or Path(f"{model.stem}-{target}"),
            stated=stated,
            golden=golden,
            litert_js=litert_js,
            force=force,
        )
        with console.progress_bar("Shipping") as progress:
            made = ship(job, progress=progress)
        if as_json:
            console.print_json(report.bundle_to_dict(made, job.folder))
        else:
            show_bundle(made, job.folder)


def show_bundle(bundle: Bundle, folder: Path) -> None:
    """Print what was written, and what to do with it."""
    out = console.result_console()
    size_mb = sum(map(len, bundle.files.values())) / 1e6
    out.print(f"Written for {bundle.target.title}: {len(bundle.files)} files, {size_mb:.1f} MB\n")
    rows = [(one_line(f"{folder}/{name}"), text) for name, text in report.written_rows(bundle)]
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        out.print(f"  {name:<{width}}  {text}")
    out.print("\nNext\n")
    for step in (f"cd {shlex.quote(str(folder))}", *bundle.target.next_steps):
        out.print(f"  {one_line(step)}")


def show_verification(verification: Verification) -> None:
    """Print what was compared, then each file that differs."""
    out = console.result_console()
    out.print(f"Compared: {report.checked_text(verification)}")
    if verification.problems:
        rows = [(problem.file, problem.problem) for problem in verification.problems]
        out.print()
        out.print(console.table(("file", "differs"), rows, text_columns=2))
    else:
        out.print("All as edgefer made it.")


def _check(folder: Path, *, as_json: bool) -> None:
    verification = verify(folder)
    if as_json:
        console.print_json(report.verification_to_dict(verification, folder))
    else:
        show_verification(verification)
    require_intact(verification, folder)
