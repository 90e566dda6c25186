"""An evaluation as sections of a report."""

from collections.abc import Sequence

from edgefer.evaluation import contact_sheet
from edgefer.evaluation.result import EvaluationResult, ModelResult
from edgefer.report import charts
from edgefer.report.page import Drawing, Section, png_element

MOST_FACES_SHOWN = 24


def accuracy_rows(result: EvaluationResult) -> Sequence[tuple[str, ...]]:
    """Return a row a model: name, accuracy, interval, macro-F1, NLL, calibration error."""
    return [
        (
            model.name,
            percent(model.metrics.accuracy.value),
            f"{percent(model.metrics.accuracy.low)}…{percent(model.metrics.accuracy.high)}",
            f"{100 * model.metrics.macro_f1:.2f}",
            number(model.metrics.negative_log_likelihood, 3),
            number(model.metrics.calibration_error, 3),
        )
        for model in result.models
    ]


ACCURACY_COLUMNS = ("model", "accuracy", "95% interval", "macro-F1", "NLL", "ECE")
DROP_COLUMNS = ("model", "drop, points", "95% interval", "McNemar p", "agreement", "mean |Δp|")


def drop_rows(result: EvaluationResult) -> Sequence[tuple[str, ...]]:
    """Return a row a model after the first: what it lost against the first."""
    rows = []
    for model in result.models:
        lost = model.comparison
        if lost is not None:
            interval = f"{lost.drop_low_points:+.2f}…{lost.drop_high_points:+.2f}"
            rows.append(
                (
                    model.name,
                    f"{lost.drop_points:+.2f}",
                    interval,
                    f"{lost.mcnemar_p:.3g}",
                    percent(lost.agreement),
                    f"{lost.mean_probability_change:.4f}",
                )
            )
    return rows


def recall_rows(result: EvaluationResult) -> tuple[tuple[str, ...], Sequence[tuple[str, ...]]]:
    """Return the columns and rows of the recall of each class by each model."""
    labels = result.models[0].labels
    rows = []
    for label in labels:
        recalls = [_recall(model, label) for model in result.models]
        rows.append((label, *("–" if value is None else percent(value) for value in recalls)))
    return ("class", *(model.name for model in result.models)), rows


def warnings(result: EvaluationResult) -> list[str]:
    """Return what a reader must know before believing the figures."""
    found = [
        f"{model.name}: its labels are probably in the wrong order. With "
        f"{', '.join(model.permuted.labels)}"
        + (f" (the order of {model.permuted.known_order})" if model.permuted.is_known else "")
        + f" it would gain {model.permuted.gain_points:.1f} points"
        for model in result.models
        if model.permuted is not None
    ]
    if result.faces.skipped:
        first = result.faces.skipped[0]
        found.append(
            f"{len(result.faces.skipped)} files were skipped, such as {first.path}: {first.reason}"
        )
    return found


def sections(result: EvaluationResult) -> list[Section]:
    """Return the tables and drawings of an evaluation."""
    names = [model.name for model in result.models]
    recall_columns, recalls = recall_rows(result)
    reference = result.models[0]
    shared = [[_recall(model, label) for label in reference.labels] for model in result.models]
    title = f"Accuracy on {len(result.faces):,} faces at batch 1"
    found = [
        Section(
            title=title,
            columns=ACCURACY_COLUMNS,
            rows=tuple(accuracy_rows(result)),
            figures=(
                (
                    Drawing(
                        drawing=charts.accuracies(
                            names, [model.metrics.accuracy for model in result.models]
                        ),
                        caption="Accuracy of each model on the same faces.",
                    ),
                ),
            ),
        )
    ]
    if len(result.models) > 1:
        found.append(
            Section(
                title=f"Against {reference.name}",
                columns=DROP_COLUMNS,
                rows=tuple(drop_rows(result)),
            )
        )
    found.append(
        Section(
            title="Recall by class",
            columns=recall_columns,
            rows=tuple(recalls),
            figures=(
                (
                    Drawing(
                        drawing=charts.recalls(names, reference.labels, shared),
                        caption="Share of each class's faces that are recognised.",
                    ),
                ),
                tuple(
                    Drawing(
                        drawing=charts.confusion(model.name, model.labels, model.metrics.confusion),
                        caption=f"{model.name}: a row a true class, a column an answer.",
                    )
                    for model in result.models
                ),
            ),
        )
    )
    found.extend(_disagreements(model, result) for model in result.models if len(model.differing))
    return found


def percent(share: float) -> str:
    """Return a share of 0…1 as percent."""
    return f"{100 * share:.2f}%"


def number(value: float | None, digits: int) -> str:
    """Return a number, or a dash for none."""
    return "–" if value is None else f"{value:.{digits}f}"


def _recall(model: ModelResult, label: str) -> float | None:
    return model.metrics.recall[model.labels.index(label)] if label in model.labels else None


def _disagreements(model: ModelResult, result: EvaluationResult) -> Section:
    sheet = contact_sheet.disagreements(result, model, most_faces=MOST_FACES_SHOWN)
    image = png_element(contact_sheet.to_png(sheet), "faces on which two models differ")
    shown = min(len(model.differing), MOST_FACES_SHOWN)
    return Section(
        title=f"Where {model.name} differs",
        rows=((f"{len(model.differing)} of {len(result.faces)} faces", f"{shown} shown"),),
        figures=((Drawing(drawing=image, caption="The true class, then both answers."),),),
    )
