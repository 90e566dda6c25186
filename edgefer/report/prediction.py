"""Predictions as the rows of tables."""

from collections.abc import Sequence

import numpy as np

from edgefer.evaluation.metrics import are_probabilities
from edgefer.prediction.boxes import Box
from edgefer.prediction.result import Face, PictureResult, Prediction, VideoResult

NO_FACE = "no face found"


def picture_columns(prediction: Prediction) -> tuple[str, ...]:
    """Return the titles of `picture_rows`."""
    return ("file", "face", "label", _score_name(prediction), "box")


def picture_rows(prediction: Prediction) -> Sequence[tuple[str, ...]]:
    """Return a row a face, and one for each picture without any."""
    rows: list[tuple[str, ...]] = []
    genuine = has_probabilities(prediction)
    for result in prediction.inputs:
        if not isinstance(result, PictureResult):
            continue
        if not result.faces:
            rows.append((result.source, "–", NO_FACE, "", ""))
        rows += [
            (
                result.source,
                str(face.number),
                prediction.labels[face.top],
                _score(face.probability, genuine=genuine),
                box_text(face.box),
            )
            for face in result.faces
        ]
    return rows


def video_columns(prediction: Prediction) -> tuple[str, ...]:
    """Return the titles of `video_rows`."""
    return (
        "file",
        "face",
        "from",
        "to",
        "mostly",
        "of its frames",
        f"mean {_score_name(prediction)}",
    )


def video_rows(prediction: Prediction) -> Sequence[tuple[str, ...]]:
    """Return a row for each face of each video, and one for each video without any."""
    rows: list[tuple[str, ...]] = []
    genuine = has_probabilities(prediction)
    for result in prediction.inputs:
        if not isinstance(result, VideoResult):
            continue
        appearances = result.appearances()
        if not appearances:
            rows.append((result.source, "–", "", "", NO_FACE, "", ""))
        for number, states in appearances.items():
            label, share, score = _mostly([face for _, face in states])
            rows.append(
                (
                    result.source,
                    str(number),
                    f"{states[0][0]:.1f} s",
                    f"{states[-1][0]:.1f} s",
                    prediction.labels[label],
                    f"{100 * share:.0f}%",
                    _score(score, genuine=genuine),
                )
            )
    return rows


def has_probabilities(prediction: Prediction) -> bool:
    """Say whether the scores that the model gave are probabilities; yes where it gave none."""
    scores = [face.probabilities for result in prediction.inputs for face in result.all_faces()]
    return not scores or are_probabilities(np.stack(scores))


def box_text(box: Box) -> str:
    """Return a box as width × height at its upper left corner."""
    return f"{box.width}×{box.height} at {box.left}, {box.top}"


def _mostly(faces: Sequence[Face]) -> tuple[int, float, float]:
    """Return the most frequent answer, its share of the frames, and its mean probability there."""
    answers = [face.top for face in faces]
    label = max(dict.fromkeys(answers), key=answers.count)
    scores = [face.probability for face in faces if face.top == label]
    return label, len(scores) / len(faces), float(np.mean(scores))


def _score_name(prediction: Prediction) -> str:
    return "probability" if has_probabilities(prediction) else "score"


def _score(value: float, *, genuine: bool) -> str:
    return f"{100 * value:.1f}%" if genuine else f"{value:.3g}"
