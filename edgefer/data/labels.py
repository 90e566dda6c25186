"""Emotion labels by name: class orders of datasets and models, and how they are matched."""

from collections.abc import Sequence

from edgefer.errors import UsageError

FERPLUS_VOTES = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
    "unknown", "NF",
)  # fmt: skip
"""The columns of FER+'s vote file (github.com/microsoft/FERPlus)."""

ALPHABETICAL_8 = (
    "anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise",
)  # fmt: skip
ALPHABETICAL_7 = tuple(label for label in ALPHABETICAL_8 if label != "contempt")

CLASS_ORDERS = {
    "alphabetical": ALPHABETICAL_8,
    "RAF-DB alphabetical": ALPHABETICAL_7,
    "FER+": FERPLUS_VOTES[:8],
    "FER2013": ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"),
    "RAF-DB": ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"),
    "AffectNet": (
        "neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt",
    ),
    "Aff-Wild2": (
        "neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "other",
    ),
}  # fmt: skip
"""Orders that public projects use for the same emotions, by the project's name."""

_SYNONYMS = {
    "angry": "anger",
    "disgusted": "disgust",
    "disgusting": "disgust",
    "fearful": "fear",
    "afraid": "fear",
    "happy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
    "contemptuous": "contempt",
}


def canonical(label: str) -> str:
    """Return the noun that edgefer uses for a label: `Happy` and `happiness` are the same."""
    word = label.strip().lower()
    return _SYNONYMS.get(word, word)


def match(source: Sequence[str], target: Sequence[str]) -> list[int]:
    """Return, for each label of `source`, its position in `target`, matched by name.

    Raises UsageError where a label of `source` has no counterpart in `target`.
    """
    positions = {canonical(label): index for index, label in enumerate(target)}
    missing = [label for label in source if canonical(label) not in positions]
    if missing:
        raise UsageError(
            f"labels {', '.join(missing)} are not among the model's: {', '.join(target)}"
        )
    return [positions[canonical(label)] for label in source]
