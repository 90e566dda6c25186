"""What a conversion leaves: each .tflite with its figures as JSON and as a page beside it."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgefer import __version__, files
from edgefer.converters.conversion import ConvertedModel
from edgefer.converters.job import Delivery
from edgefer.converters.mixed_precision import SPLITTING_KINDS
from edgefer.converters.recipes import IoType
from edgefer.evaluation.result import ModelResult
from edgefer.report import evaluation as evaluation_report
from edgefer.report import insight as insight_report
from edgefer.report.coupling import coupling_sentence
from edgefer.report.page import Page, Section, render

SCHEMA_VERSION = 1
MOST_OPERATORS = 5


def write(delivery: Delivery) -> list[Path]:
    """Write every model, and beside it what was measured; return the models' paths."""
    paths = []
    for model in delivery.models:
        path = delivery.job.path_of(model.recipe)
        page = render(page_of(delivery, model))
        values = json.dumps(model_to_dict(delivery, model), indent=2, allow_nan=False)
        files.write_bytes(path, model.tflite)
        files.write_text(path.with_suffix(".json"), values + "\n")
        files.write_text(path.with_suffix(".html"), page)
        paths.append(path)
    delivery.job.search_file.unlink(missing_ok=True)
    return paths


def to_dict(delivery: Delivery) -> dict[str, Any]:
    """Return everything about a conversion as JSON-ready values."""
    return {
        "schema_version": SCHEMA_VERSION,
        "edgefer_version": __version__,
        "models": [_model_facts(delivery, model) for model in delivery.models],
        **_common(delivery),
    }


def model_to_dict(delivery: Delivery, model: ConvertedModel) -> dict[str, Any]:
    """Return what goes beside one model as JSON-ready values."""
    return {
        "schema_version": SCHEMA_VERSION,
        "edgefer_version": __version__,
        **_model_facts(delivery, model),
        **_common(delivery),
    }


def result_of(delivery: Delivery, model: ConvertedModel) -> ModelResult | None:
    """Return the evaluation of one model, None where there was none."""
    if delivery.evaluation is None:
        return None
    name = delivery.job.path_of(model.recipe).name
    return next(result for result in delivery.evaluation.models if result.name == name)


COLUMNS = ("model", "size", "operators", "accuracy", "drop, points", "95% interval", "agreement")


def rows(delivery: Delivery) -> Sequence[tuple[str, ...]]:
    """Return a row a model: its size, and what it lost against the float model."""
    found = []
    for model in delivery.models:
        name = delivery.job.path_of(model.recipe).name
        operators = str(sum(model.verification.operators.values()))
        found.append((name, megabytes(len(model.tflite)), operators, *_lost(delivery, model)))
    return found


def verdict(delivery: Delivery, model: ConvertedModel) -> str:
    """Return the conversion's outcome in one sentence."""
    name = delivery.job.path_of(model.recipe).name
    result = result_of(delivery, model)
    size = megabytes(len(model.tflite))
    if result is None:
        return f"{name} is verified, {size}; its accuracy was not measured."
    accuracy = evaluation_report.percent(result.metrics.accuracy.value)
    lost = result.comparison
    if lost is None:
        return f"{name}: {accuracy} accuracy, {size}."
    return (
        f"{name}: {accuracy} accuracy, {lost.drop_points:+.2f} points of drop "
        f"({lost.drop_low_points:+.2f}…{lost.drop_high_points:+.2f}), "
        f"{evaluation_report.percent(lost.agreement)} agreement with float32, {size}."
    )


def warnings(delivery: Delivery) -> list[str]:
    """Return what a reader must know before using the models."""
    found = list(delivery.original.notes)
    found.extend(dict.fromkeys(note for model in delivery.models for note in model.notes))
    coupling = delivery.original.coupling
    if coupling is not None and coupling.coupled:
        found.append(coupling_sentence(coupling))
    found.extend(
        f"{delivery.job.path_of(model.recipe).name}: {kept}"
        for model in delivery.models
        if (kept := precision_sentence(model)) is not None
    )
    if delivery.evaluation is not None:
        found.extend(evaluation_report.warnings(delivery.evaluation))
    return found


def page_of(delivery: Delivery, model: ConvertedModel) -> Page:
    """Return a conversion as a page about one of its models."""
    sections = [Section(title="What was made", columns=COLUMNS, rows=tuple(rows(delivery)))]
    if delivery.evaluation is not None:
        sections.extend(evaluation_report.sections(delivery.evaluation))
    if model.recipe.precision in delivery.comparisons:
        sections.append(_comparison_section(delivery, model))
    sections.append(Section(title="How to feed it", rows=tuple(contract_rows(model))))
    sections.append(Section(title="How it was made", rows=tuple(_provenance(delivery, model))))
    return Page(
        title=f"{model.spec.name} as {model.recipe.precision}",
        verdict=verdict(delivery, model),
        passed=True,
        warnings=tuple(warnings(delivery)),
        tables=tuple(sections),
    )


def _comparison_section(delivery: Delivery, model: ConvertedModel) -> Section:
    found = delivery.comparisons[model.recipe.precision]
    if found is None:
        name = delivery.job.path_of(model.recipe).name
        reason = (
            "not compared here, since it would take long for a model of this size: "
            f"edgefer inspect {name} --reference {delivery.job.source.name}"
        )
        return Section(title="Operators against float32", rows=(("operators", reason),))
    whose = "evaluation" if delivery.evaluation is not None else "calibration"
    return insight_report.noise_section(
        found.operators, f"{found.faces} of the {whose} faces", most=MOST_OPERATORS
    )


def precision_sentence(model: ConvertedModel) -> str | None:
    """Return which operators of an int8 model stay float, and why; None where none does."""
    found = model.verification
    if not found.kept_in_float:
        return None
    splitting = ", ".join(
        f"{count} {kind}" for kind, count in found.kept_in_float.items() if kind in SPLITTING_KINDS
    )
    return (
        f"{sum(found.kept_in_float.values())} operators stay float, since XNNPACK has no int8 "
        f"kernels for {splitting}, which would split the graph; the {found.rounding_layers} layers "
        "between them have int8 weights and round their input to int8 in each image"
    )


def contract_rows(model: ConvertedModel) -> list[tuple[str, str]]:
    """Return the input and output contract, a fact a row."""
    spec, recipe = model.spec, model.recipe
    values = {
        IoType.INT8: "int8: pixel − 128",
        IoType.UINT8: "uint8: the pixel",
        IoType.FLOAT32: "float32: (pixel − mean) / std, with mean "
        f"{', '.join(f'{v:g}' for v in spec.mean)} and std {', '.join(f'{v:g}' for v in spec.std)}",
    }[recipe.input_type]
    scores = {
        IoType.INT8: "int8: probability = (q + 128) / 256",
        IoType.UINT8: "uint8: probability = q / 256",
        IoType.FLOAT32: "float32: probabilities",
    }[recipe.output_type]
    side = spec.input_size
    return [
        ("image", f"one cropped face, stretched to {side}×{side} ({spec.resize})"),
        ("shape", f"1 × {side} × {side} × {spec.channels}, {spec.colour_order}"),
        ("values", values),
        ("output", scores),
        ("classes in order", ", ".join(spec.labels)),
    ]


def megabytes(size_bytes: int) -> str:
    """Return a size in MB of a million bytes."""
    return f"{size_bytes / 1e6:.2f} MB"


def _lost(delivery: Delivery, model: ConvertedModel) -> tuple[str, str, str, str]:
    result = result_of(delivery, model)
    if result is None:
        return ("not measured", "–", "–", "–")
    accuracy = evaluation_report.percent(result.metrics.accuracy.value)
    lost = result.comparison
    if lost is None:
        return (accuracy, "reference", "–", "–")
    return (
        accuracy,
        f"{lost.drop_points:+.2f}",
        f"{lost.drop_low_points:+.2f}…{lost.drop_high_points:+.2f}",
        evaluation_report.percent(lost.agreement),
    )


def _model_facts(delivery: Delivery, model: ConvertedModel) -> dict[str, Any]:
    return {
        "file": delivery.job.path_of(model.recipe).name,
        "sha256": hashlib.sha256(model.tflite).hexdigest(),
        "size_bytes": len(model.tflite),
        "recipe": model.recipe.to_dict(),
        "verification": dataclasses.asdict(model.verification),
        "calibration_hash": model.calibration_hash,
        "operator_comparison": _comparison(delivery, model),
    }


def _comparison(delivery: Delivery, model: ConvertedModel) -> list[dict[str, Any]] | None:
    """Return each operator against the float model; None for floats and where it takes long."""
    found = delivery.comparisons.get(model.recipe.precision)
    return None if found is None else insight_report.operator_dicts(found.operators)


def _common(delivery: Delivery) -> dict[str, Any]:
    coupling, result = delivery.original.coupling, delivery.evaluation
    return {
        "source": str(delivery.job.source),
        "spec": delivery.original.spec.to_dict(),
        "float_size_bytes": len(delivery.original.tflite),
        "batch_coupling": None if coupling is None else dataclasses.asdict(coupling),
        "evaluation": None if result is None else result.to_dict(),
    }


def _provenance(delivery: Delivery, model: ConvertedModel) -> list[tuple[str, str]]:
    kinds = sorted(model.verification.operators.items(), key=lambda item: -item[1])
    coupling = delivery.original.coupling
    return [
        ("source", delivery.job.source.name),
        ("training data", model.spec.training_data or "not stated"),
        ("licence", model.spec.licence or "not stated"),
        ("recipe", ", ".join(f"{key} {value}" for key, value in model.recipe.to_dict().items())),
        ("operators", ", ".join(f"{count} {kind}" for kind, count in kinds)),
        ("batch coupling", "not measured" if coupling is None else coupling_sentence(coupling)),
        ("calibration faces", model.calibration_hash or "none used"),
        ("SHA-256", hashlib.sha256(model.tflite).hexdigest()),
    ]
