"""Proportions and their differences, with 95% intervals and an exact test."""

import math

Z_95 = 1.959963984540054
"""The normal distribution's 97.5% quantile."""


def wilson_interval(successes: int, total: int) -> tuple[float, float]:
    """Return the 95% score interval of a proportion, without continuity correction.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    J. Am. Stat. Assoc. 22 (1927).
    """
    square = Z_95**2
    centre = successes + square / 2
    margin = Z_95 * math.sqrt(successes * (total - successes) / total + square / 4)
    low = (centre - margin) / (total + square) if successes else 0.0
    high = (centre + margin) / (total + square) if successes < total else 1.0
    return low, high


def paired_difference_interval(
    both: int, only_first: int, only_second: int, neither: int
) -> tuple[float, float]:
    """Return the 95% interval of p(first) - p(second) for two outcomes on the same subjects.

    R. G. Newcombe, "Improved confidence intervals for the difference between binomial
    proportions based on paired data", Stat. Med. 17 (1998), method 10: the two Wilson intervals,
    squared and added, with a correlation that has a continuity correction.
    """
    total = both + only_first + only_second + neither
    first, second = (both + only_first) / total, (both + only_second) / total
    low_first, high_first = wilson_interval(both + only_first, total)
    low_second, high_second = wilson_interval(both + only_second, total)
    correlation = _corrected_correlation(both, only_first, only_second, neither)

    def margin(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))

    difference = (only_first - only_second) / total
    return (
        difference - margin(first - low_first, high_second - second),
        difference + margin(second - low_second, high_first - first),
    )


def _corrected_correlation(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Return Newcombe's phi: 0 where a margin is empty."""
    total = both + only_first + only_second + neither
    margins = (
        (both + only_first)
        * (only_second + neither)
        * (both + only_second)
        * (only_first + neither)
    )
    if margins == 0:
        return 0.0
    product = both * neither - only_first * only_second
    corrected = product if product < 0 else max(product - total / 2, 0.0)
    return corrected / math.sqrt(margins)


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p that the two are equally often right.

    A binomial test on the subjects on which just one is right. Q. McNemar, "Note on the sampling
    error of the difference between correlated proportions or percentages", Psychometrika 12
    (1947); exact form: F. Mosteller, Biometrics 8 (1952).
    """
    from scipy.stats import binomtest

    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second, 0.5).pvalue)
