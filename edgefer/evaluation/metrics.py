"""What an evaluation measures: pure functions on arrays.

`truth` is int (n,), the position of each face's class; `probabilities` is float32 (n, classes).
A face's answer is the class of the highest probability, the first of equals.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgefer.evaluation.proportions import mcnemar_p, paired_difference_interval, wilson_interval

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]

CALIBRATION_BINS = 15
LEAST_PROBABILITY = 1e-7


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """A share of correct answers, with its 95% Wilson interval; all of 0…1."""

    correct: int
    total: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ModelMetrics:
    """How one model does on labelled faces; classes are in the order of the model's output.

    `recall` is None for a class without faces. `confusion` has a row a true class and a column
    an answer. The last two are None for a model whose scores are not probabilities.
    """

    accuracy: Accuracy
    macro_f1: float
    recall: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]
    negative_log_likelihood: float | None
    calibration_error: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How a model differs from a reference on the same faces.

    The drop is the reference's accuracy minus the model's, in percentage points, with its 95%
    interval: positive where the model is worse. `only_reference_right` and `only_model_right`
    count the faces on which just one of them is right.
    """

    only_reference_right: int
    only_model_right: int
    drop_points: float
    drop_low_points: float
    drop_high_points: float
    mcnemar_p: float
    agreement: float
    mean_probability_change: float


def measure(
    truth: IntArray, probabilities: FloatArray, *, least_probability: float = LEAST_PROBABILITY
) -> ModelMetrics:
    """Return all metrics of one model; `least_probability` as in `negative_log_likelihood`."""
    answers = probabilities.argmax(axis=1)
    confusion = confusion_matrix(truth, answers, probabilities.shape[1])
    genuine = are_probabilities(probabilities)
    return ModelMetrics(
        accuracy=accuracy(truth, answers),
        macro_f1=macro_f1(confusion),
        recall=recall(confusion),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        negative_log_likelihood=(
            negative_log_likelihood(truth, probabilities, least_probability) if genuine else None
        ),
        calibration_error=calibration_error(truth, probabilities) if genuine else None,
    )


def compare(
    truth: IntArray,
    answers: tuple[IntArray, IntArray],
    probabilities: tuple[FloatArray, FloatArray],
) -> Comparison:
    """Compare a reference with a model; both pairs hold the reference first.

    The positions in `truth` and `answers` and the columns of `probabilities` mean the same
    classes for both.
    """
    reference_right, model_right = answers[0] == truth, answers[1] == truth
    both = int((reference_right & model_right).sum())
    lost = int((reference_right & ~model_right).sum())
    won = int((~reference_right & model_right).sum())
    low, high = paired_difference_interval(both, lost, won, len(truth) - both - lost - won)
    return Comparison(
        only_reference_right=lost,
        only_model_right=won,
        drop_points=100 * (lost - won) / len(truth),
        drop_low_points=100 * low,
        drop_high_points=100 * high,
        mcnemar_p=mcnemar_p(lost, won),
        agreement=int((answers[0] == answers[1]).sum()) / len(truth),
        mean_probability_change=mean_probability_change(*probabilities),
    )


def mean_probability_change(first: FloatArray, second: FloatArray) -> float:
    """Return the mean over faces and classes of |p - q|."""
    return float(np.abs(np.subtract(first, second, dtype=np.float64)).mean())


def accuracy(truth: IntArray, answers: IntArray) -> Accuracy:
    """Return the share of correct answers with its 95% interval."""
    correct = int((truth == answers).sum())
    low, high = wilson_interval(correct, len(truth))
    return Accuracy(
        correct=correct, total=len(truth), value=correct / len(truth), low=low, high=high
    )


def confusion_matrix(truth: IntArray, answers: IntArray, classes: int) -> IntArray:
    """Return int (classes, classes): a row a true class, a column an answer."""
    counts = np.bincount(truth * classes + answers, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def recall(confusion: IntArray) -> tuple[float | None, ...]:
    """Return each class's share of faces that were recognised; None for a class without faces."""
    return tuple(
        int(row[position]) / int(row.sum()) if row.any() else None
        for position, row in enumerate(confusion)
    )


def macro_f1(confusion: IntArray) -> float:
    """Return the unweighted mean of the classes' F1 scores.

    F1 is 2·TP / (2·TP + FP + FN). Classes count that occur in the truth or among the answers,
    as in scikit-learn's f1_score(average="macro"). C. J. van Rijsbergen, "Information
    Retrieval" (1979).
    """
    occurrences = confusion.sum(axis=0) + confusion.sum(axis=1)
    present = occurrences > 0
    return float((2 * confusion.diagonal()[present] / occurrences[present]).mean())


def are_probabilities(scores: FloatArray) -> bool:
    """Say whether every row is a distribution, within what 8-bit outputs can hold."""
    tolerance = 0.02 + scores.shape[1] / 512
    sums = scores.sum(axis=1, dtype=np.float64)
    return bool((scores >= 0).all() and (np.abs(sums - 1) <= tolerance).all())


def negative_log_likelihood(
    truth: IntArray, probabilities: FloatArray, least_probability: float = LEAST_PROBABILITY
) -> float:
    """Return the mean of -ln p(true class), in nats.

    Probabilities under `least_probability` count as that. For a quantized output it is half a
    step, which is all that its 0 says. I. J. Good, "Rational decisions", J. R. Stat. Soc. B 14
    (1952).
    """
    likelihoods = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return float(-np.log(np.clip(likelihoods, least_probability, 1)).mean())


def calibration_error(
    truth: IntArray, probabilities: FloatArray, bins: int = CALIBRATION_BINS
) -> float:
    """Return the expected calibration error over equal-width bins of confidence.

    The confidence is the highest probability; bin i holds those in (i/bins, (i+1)/bins]. The
    error is the bins' |accuracy - mean confidence|, weighted by their faces. C. Guo et al.,
    "On calibration of modern neural networks", ICML 2017, equation 3.
    """
    confidences = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == truth
    places = np.clip(np.ceil(confidences * bins) - 1, 0, bins - 1).astype(np.int64)
    surplus = np.bincount(places, weights=right - confidences, minlength=bins)
    return float(np.abs(surplus).sum() / len(truth))
