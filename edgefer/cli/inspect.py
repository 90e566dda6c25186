"""`edgefer inspect`: what is in a model file."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from edgefer import calibration_data
from edgefer.cli import against_reference, console
from edgefer.cli.against_reference import Asked, reference_options
from edgefer.cli.contract_options import contract_options
from edgefer.cli.options import ModelPath, debug_option, json_option
from edgefer.cli.text import examples, one_line
from edgefer.inspection import Inspection, TensorFacts, inspect
from edgefer.metadata import Metadata
from edgefer.metadata.reading import NEWEST_PARSER
from edgefer.models.contract import StatedContract
from edgefer.report import insight as insight_report
from edgefer.report.coupling import coupling_sentence

SCHEMA_VERSION = 1
MOST_LABELS = 20


@click.command(
    epilog=examples(
        "edgefer inspect patt-lite-int8.tflite",
        "edgefer inspect their-model.h5     # does its accuracy depend on the batch?",
        "edgefer inspect foreign.tflite --json",
        "edgefer inspect patt-lite-int8.tflite --reference patt-lite",
        "edgefer inspect int8.tflite --reference float.tflite --sensitivity --report where.html",
    )
)
@click.argument("model", type=ModelPath())
@contract_options
@reference_options
@json_option
@debug_option
def command(
    *,
    model: Path,
    stated: StatedContract,
    asked: Asked | None,
    as_json: bool,
) -> None:
    """Show what is in MODEL, a .tflite or a checkpoint.

    Inputs and outputs, operators, cost, what it says of itself, and whether its answer for one
    face depends on the other faces of its batch.

    With --reference, the float model that an int8 .tflite was made from, show where quantization
    hurts: both run on real faces side by side, and each operator's outputs are compared.
    """
    insight = None if asked is None else against_reference.compared(model, stated, asked)
    if asked is not None and insight is not None and not as_json:
        against_reference.show(insight, shows_all=asked.shows_all)
        return
    with console.progress_bar("Inspecting") as progress:
        result = inspect(
            model,
            stated,
            calibration_data.evaluation_faces(),
            progress=progress,
        )
    if as_json:
        against = None if insight is None else insight_report.to_dict(insight)
        console.print_json({**to_json(result), "against_reference": against})
    else:
        show(result)


def show(result: Inspection) -> None:
    """Print the facts, then the operators."""
    out = console.result_console()
    for name, value in fact_rows(result):
        out.print(f"{name:>14}  {value}")
    if result.operators:
        rows = [(kind, str(count)) for kind, count in result.operators.items()]
        out.print()
        out.print(console.table(("operator, output type", "count"), rows))


def fact_rows(result: Inspection) -> list[tuple[str, str]]:
    """Return what is known, a fact a row."""
    rows = [
        ("file", f"{one_line(str(result.path))}, {result.kind}"),
        ("size", f"{result.size_bytes / 1e6:.2f} MB, {result.parameters:,} parameters"),
    ]
    if result.multiply_accumulates is not None:
        rows.append(("cost", f"{result.multiply_accumulates / 1e6:.1f} M multiply-accumulates"))
    rows += [("input", tensor_text(tensor)) for tensor in result.inputs]
    rows += [("output", tensor_text(tensor)) for tensor in result.outputs]
    rows += description_rows(result)
    rows.append(("batch", coupling_sentence(result.coupling)))
    accuracy = result.batch_accuracy
    if accuracy is not None:
        text = (
            f"{100 * accuracy.in_batches:.2f}% of {accuracy.faces:,} faces right in batches of "
            f"{accuracy.batch_size}, {100 * accuracy.alone:.2f}% alone, as on a device"
        )
        rows.append(("accuracy", text))
    return rows


def description_rows(result: Inspection) -> list[tuple[str, str]]:
    """Return what is known of the model's meaning, from its metadata and from the user."""
    rows = []
    spec, described = result.spec, result.metadata
    if spec is not None:
        rows.append(("model", f"{spec.name}. {spec.description}"))
        rows.append(("classes", ", ".join(spec.labels)))
        rows.append(("normalised", normalisation_text(spec.colour_order, spec.mean, spec.std)))
        rows.append(("training data", spec.training_data or "not stated"))
        rows.append(("licence", spec.licence or "not stated"))
    elif described is not None and described.is_present:
        rows.append(("model", f"{described.name}. {described.description}"))
        rows.append(("classes", labels_text(described.labels, result.outputs)))
        if described.mean and described.std:
            rows.append(("normalised", normalisation_text("", described.mean, described.std)))
        rows.append(("licence", described.licence or "not stated"))
    rows += [] if described is None else metadata_rows(described)
    if result.metadata is not None:
        obstacle = result.mediapipe_obstacle
        takes = (
            "its ImageClassifier loads it"
            if obstacle is None
            else f"its ImageClassifier cannot: {obstacle}"
        )
        rows.append(("MediaPipe", takes))
    return [(name, one_line(value)) for name, value in rows]


def metadata_rows(described: Metadata) -> list[tuple[str, str]]:
    """Return what else a .tflite says of itself."""
    if not described.is_present:
        return [("metadata", "none: the file says nothing of itself")]
    rows = [
        ("author", described.author or "not stated"),
        ("version", described.version or "not stated"),
        ("scores", described.scores or "not stated"),
        ("files in it", ", ".join(described.files) or "none"),
    ]
    if described.missing_files:
        rows.append(("missing files", ", ".join(described.missing_files)))
    if described.needs_newer_parser:
        known = ".".join(map(str, NEWEST_PARSER))
        asked = described.min_parser_version
        rows.append(("parser", f"asks for version {asked}, but {known} is the newest known here"))
    return rows


def labels_text(labels: tuple[str, ...], outputs: tuple[TensorFacts, ...]) -> str:
    """Return labels that stand in a file, of which there may be a thousand or too few."""
    if not labels:
        return "not named"
    shown = ", ".join(labels[:MOST_LABELS])
    if len(labels) > MOST_LABELS:
        shown += f", … {len(labels):,} in all"
    fits = any((len(labels),) == output.shape[-1:] for output in outputs)
    return shown if fits else f"{shown}; they do not fit the output"


def normalisation_text(colours: str, mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    """Return how a pixel becomes what the network sees."""
    return f"({colours} pixel − {values(mean)}) / {values(std)}".replace("( ", "(")


def values(each: tuple[float, ...]) -> str:
    """Return one number where all channels share it, otherwise all of them."""
    return f"{each[0]:g}" if len(set(each)) == 1 else f"[{', '.join(f'{v:g}' for v in each)}]"


def tensor_text(tensor: TensorFacts) -> str:
    """Return a tensor's shape, type and quantization."""
    shape = "×".join("any" if side < 0 else str(side) for side in tensor.shape)
    text = f"{one_line(tensor.name)} {shape} {tensor.dtype}"
    if tensor.scale is not None:
        offset = -(tensor.zero_point or 0)
        text += f", value = {tensor.scale:.7g} · (q {'+' if offset >= 0 else '−'} {abs(offset)})"
    return text


def to_json(result: Inspection) -> dict[str, Any]:
    """Return everything as JSON-ready values."""
    values = dataclasses.asdict(result)
    return {"schema_version": SCHEMA_VERSION, **values, "path": str(result.path)}
