"""Metrics against scikit-learn 1.9, statsmodels 0.15 and published examples.

The golden numbers were computed on `faces()` by sklearn.metrics (log_loss, f1_score,
recall_score, confusion_matrix), and by statsmodels' proportion_confint(method="wilson") and
mcnemar(exact=True).
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgefer.evaluation import metrics, proportions
from edgefer.evaluation.metrics import FloatArray, IntArray

counts = st.integers(0, 3000)


def faces() -> tuple[IntArray, FloatArray]:
    """60 faces of four classes, for a model that knows five."""
    random = np.random.default_rng(2024)
    truth = random.integers(0, 4, 60)
    logits = random.normal(size=(60, 5)) * 2
    logits[np.arange(60), truth] += 1.5
    odds = np.exp(logits)
    return truth, (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def test_metrics_equal_scikit_learns() -> None:
    measured = metrics.measure(*faces())
    assert measured.confusion == (
        (5, 4, 1, 7, 2),
        (3, 9, 3, 1, 0),
        (1, 2, 6, 0, 0),
        (3, 1, 3, 6, 3),
        (0, 0, 0, 0, 0),
    )
    assert measured.recall[:4] == pytest.approx(
        [0.2631578947368421, 0.5625, 0.6666666666666666, 0.375]
    )
    assert measured.macro_f1 == pytest.approx(0.36610703812316714)
    assert measured.negative_log_likelihood == pytest.approx(1.6358366549597194, rel=1e-6)
    assert (measured.accuracy.correct, measured.accuracy.total) == (26, 60)


def test_a_class_without_faces_has_no_recall() -> None:
    assert metrics.measure(*faces()).recall[4] is None


@pytest.mark.parametrize(
    ("correct", "total", "interval"),
    [
        (0, 10, (0.0, 0.27753279986288926)),
        (10, 10, (0.7224672001371106, 1.0)),
        (45, 60, (0.6276792992295218, 0.8422347746994333)),
        (2700, 3226, (0.8238027706567852, 0.8492952831386442)),
        (1, 3, (0.06149194472039626, 0.7923403991979523)),
    ],
)
def test_wilson_intervals_equal_statsmodels(
    correct: int, total: int, interval: tuple[float, float]
) -> None:
    assert proportions.wilson_interval(correct, total) == pytest.approx(interval)


@pytest.mark.parametrize(
    ("lost", "won", "p"), [(6, 16, 0.052478790283203125), (1, 7, 0.0703125), (0, 4, 0.125)]
)
def test_mcnemar_equals_statsmodels(lost: int, won: int, p: float) -> None:
    assert proportions.mcnemar_p(lost, won) == pytest.approx(p)


def test_mcnemar_of_equal_models_is_certain() -> None:
    assert proportions.mcnemar_p(25, 25) == proportions.mcnemar_p(0, 0) == 1


@pytest.mark.parametrize(
    ("table", "interval"),
    [
        # Altman et al., Statistics with Confidence (2nd ed., 2000), p. 52
        ((14, 5, 0, 22), (0.011, 0.226)),
        # Bentur et al. 2009, as in Fagerland et al., BMC Med. Res. Methodol. 14 (2014)
        ((1, 1, 7, 12), (-0.507, -0.026)),
        # Cavo et al. 2012, as in Fagerland et al., Statistical Analysis of Contingency Tables
        ((59, 6, 16, 80), (-0.1186, -0.0046)),
    ],
)
def test_paired_intervals_equal_published_examples(
    table: tuple[int, int, int, int], interval: tuple[float, float]
) -> None:
    digits = 4 if table[0] == 59 else 3
    found = proportions.paired_difference_interval(*table)
    assert tuple(round(limit, digits) for limit in found) == interval


@given(both=counts, first=counts, second=counts, neither=counts)
def test_a_paired_interval_holds_its_difference_and_turns_over_with_the_models(
    both: int, first: int, second: int, neither: int
) -> None:
    total = both + first + second + neither
    if total == 0:
        return
    low, high = proportions.paired_difference_interval(both, first, second, neither)
    assert -1 - 1e-9 <= low <= (first - second) / total + 1e-12
    assert (first - second) / total - 1e-12 <= high <= 1 + 1e-9
    assert proportions.paired_difference_interval(both, second, first, neither) == pytest.approx(
        (-high, -low), abs=1e-9
    )


def test_calibration_error_of_a_worked_example() -> None:
    """Two faces at 0.9, one right; two at 0.6, both right: |0.5-0.9|/2 + |1-0.6|/2."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]], np.float32)
    error = metrics.calibration_error(np.array([0, 1, 0, 0]), probabilities)
    assert error == pytest.approx(0.4, abs=1e-6)


def test_calibration_error_equals_its_definition_bin_by_bin() -> None:
    truth, probabilities = faces()
    confidences, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    expected = 0.0
    for edge in range(15):
        inside = (confidences > edge / 15) & (confidences <= (edge + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidences[inside].mean())
    assert metrics.calibration_error(truth, probabilities) == pytest.approx(expected, rel=1e-5)


@given(
    arrays.arrays(np.int64, 40, elements=st.integers(0, 3)),
    arrays.arrays(np.int64, 40, elements=st.integers(0, 3)),
)
def test_macro_f1_lies_between_0_and_1_and_perfect_answers_have_1(
    truth: IntArray, answers: IntArray
) -> None:
    assert 0 <= metrics.macro_f1(metrics.confusion_matrix(truth, answers, 4)) <= 1
    assert metrics.macro_f1(metrics.confusion_matrix(truth, truth, 4)) == 1


def test_a_quantized_zero_counts_as_half_a_step() -> None:
    certain = np.array([[1.0, 0.0]], np.float32)
    loss = metrics.negative_log_likelihood(np.array([1]), certain, 1 / 512)
    assert loss == pytest.approx(np.log(512))


def test_scores_that_are_no_probabilities_have_no_likelihood() -> None:
    truth, probabilities = faces()
    measured = metrics.measure(truth, np.log(probabilities))
    assert measured.negative_log_likelihood is None
    assert measured.calibration_error is None
    assert measured.accuracy == metrics.measure(truth, probabilities).accuracy


def test_a_comparison_counts_who_is_right_where() -> None:
    truth = np.array([0, 0, 0, 0, 1])
    reference, model = np.array([0, 0, 1, 0, 0]), np.array([0, 1, 0, 1, 1])
    first = np.eye(2, dtype=np.float32)[reference]
    second = np.eye(2, dtype=np.float32)[model]
    compared = metrics.compare(truth, (reference, model), (first, second))
    assert (compared.only_reference_right, compared.only_model_right) == (2, 2)
    assert compared.drop_points == 0
    assert compared.agreement == pytest.approx(0.2)
    assert compared.mean_probability_change == pytest.approx(0.8)
    assert compared.drop_low_points < 0 < compared.drop_high_points


def test_a_worse_model_has_a_positive_drop() -> None:
    truth = np.zeros(200, np.int64)
    reference, model = truth.copy(), truth.copy()
    model[:10] = 1
    one_hot = np.eye(2, dtype=np.float32)
    compared = metrics.compare(truth, (reference, model), (one_hot[reference], one_hot[model]))
    assert compared.drop_points == pytest.approx(5)
    assert 0 < compared.drop_low_points < 5 < compared.drop_high_points
    assert compared.mcnemar_p == pytest.approx(2 / 2**10)
