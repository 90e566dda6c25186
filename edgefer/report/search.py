"""How a recipe was searched for, as rows, sentences and a section of a page."""

from edgefer.converters.search.budget import LOCAL, Verdict
from edgefer.converters.search.candidate import Candidate, SearchResult
from edgefer.converters.search.choosing import distance, pareto
from edgefer.report import search_charts
from edgefer.report.page import Drawing, Section

MOST_ROWS = 10
TAKEN = "→ "

COLUMNS = (
    "candidate", "drop, points (95%)", "agreement", "mean |Δp|", "latency, ms", "size", "within?",
)  # fmt: skip

WORDS = {Verdict.WITHIN: "yes", Verdict.OPEN: "open", Verdict.BEYOND: "no"}
"""Whether a candidate's drop is within the budget; `open` is too few faces to tell."""


def rows(found: SearchResult, most: int | None = None) -> list[tuple[str, ...]]:
    """Return a row a candidate in the order in which they were tried, or the best `most` of them.

    The one that was taken is marked, and is always among them.
    """
    positions = range(len(found.candidates))
    best = sorted(positions, key=lambda i: (i != found.chosen, *_goodness(found.candidates[i])))
    shown = sorted(best[:most])
    return [_row(found.candidates[i], is_taken=i == found.chosen) for i in shown]


def title(found: SearchResult) -> str:
    """Say what was searched for, and on what."""
    tried = len(found.candidates) + len(found.failures)
    return (
        f"Searched for a drop of at most {found.max_drop_points:g} points: {_many(tried)} on "
        f"{found.faces:,} calibration faces held out, timed on "
        f"{'this machine' if found.device == LOCAL else found.device}"
    )


def notes(found: SearchResult, most: int | None = None) -> list[str]:
    """Return what was taken and why, what is not shown, and what failed."""
    left = len(found.candidates) - (most or len(found.candidates))
    return [
        f"{TAKEN}{found.choice.name}: {found.reason}.",
        *([f"All {len(found.candidates)} are on the page and in the .json."] if left > 0 else []),
        *(f"Failed: {one.name}: {one.reason}" for one in found.failures),
    ]


def warnings(found: SearchResult) -> list[str]:
    """Return what kept the search from doing better."""
    told = []
    if not found.complete:
        told.append(
            "the search ended at its time limit: the same command goes on from there, and "
            "--time-limit gives it longer"
        )
    if found.least_drop_points > found.max_drop_points:
        told.append(
            f"the {found.faces:,} faces held out show no drop under "
            f"{found.least_drop_points:.1f} points, not even of a conversion that answers all of "
            "them alike: give --calibration more faces of your own"
        )
    return told


def origin(found: SearchResult) -> str:
    """Say where a recipe came from, in a conversion's provenance."""
    return (
        f"a search for a drop of at most {found.max_drop_points:g} points, which tried "
        f"{_many(len(found.candidates) + len(found.failures))} and took {found.choice.name!r}"
    )


def sections(found: SearchResult) -> list[Section]:
    """Return the table of all candidates with charts of drop against latency and size."""
    front = pareto(found.candidates, [one.latency_ms for one in found.candidates])
    columns = (*COLUMNS, "on front")
    table = tuple(
        (*row, "●" if position in front else "") for position, row in enumerate(rows(found))
    )
    drawings = [
        (
            search_charts.drop_against_size(found),
            "The same against the size of the file.",
        )
    ]
    if front:
        caption = (
            f"Drop on {found.faces:,} faces held out, with its 95% interval, against latency. "
            "Candidates that are equally fast stand side by side; no other one has both a lower "
            "latency and an interval that ends lower than one on the Pareto front."
        )
        drawings.insert(0, (search_charts.drop_against_latency(found), caption))
    figures = tuple(Drawing(drawing=drawing, caption=caption) for drawing, caption in drawings)
    return [
        Section(title=title(found), columns=columns, rows=table, figures=(figures,)),
        Section(title="What was taken", rows=_facts(found)),
    ]


def _facts(found: SearchResult) -> tuple[tuple[str, str], ...]:
    return (
        ("taken", found.choice.name),
        ("because", found.reason),
        ("complete", "yes" if found.complete else "no, it ended at the time limit"),
        ("took", f"{found.seconds / 60:.1f} minutes"),
        *(("failed", f"{one.name}: {one.reason}") for one in found.failures),
    )


def _row(one: Candidate, *, is_taken: bool) -> tuple[str, ...]:
    lost = one.comparison
    return (
        f"{TAKEN}{one.name}" if is_taken else one.name,
        f"{lost.drop_points:+.2f} ({lost.drop_low_points:+.2f}…{lost.drop_high_points:+.2f})",
        f"{100 * lost.agreement:.2f}%",
        f"{lost.mean_probability_change:.4f}",
        "–" if one.latency_ms is None else _milliseconds(one.latency_ms),
        f"{one.size_bytes / 1e6:.2f} MB",
        WORDS[one.verdict],
    )


def _milliseconds(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _goodness(one: Candidate) -> tuple[int, float]:
    return list(Verdict).index(one.verdict), distance(one)


def _many(count: int) -> str:
    return "1 conversion" if count == 1 else f"{count} conversions"
