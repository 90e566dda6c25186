"""What a search has tried so far, as a file beside its output, so that it can go on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import edgefer
from edgefer.converters.search.candidate import Candidate
from edgefer.files import write_text
from edgefer.records import STRICT, InvalidRecordError, from_json, to_json

MOST_BYTES = 16_000_000


@STRICT
@dataclass(frozen=True, kw_only=True)
class SearchState:
    """Candidates of one search; `identity` tells it from searches of anything else."""

    schema_version: Literal[1] = 1
    edgefer_version: str
    identity: str
    candidates: tuple[Candidate, ...]


def identity(facts: Mapping[str, Any]) -> str:
    """Return a hash of all that decides over what candidates are worth."""
    text = json.dumps({**facts, "edgefer": edgefer.__version__}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read(path: Path, wanted: str) -> tuple[Candidate, ...]:
    """Return the candidates of a search of this identity, none where there is no such file."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        state = from_json(SearchState, content[:MOST_BYTES])
    except (OSError, InvalidRecordError):
        return ()
    return state.candidates if state.identity == wanted else ()


def write(path: Path, wanted: str, candidates: tuple[Candidate, ...]) -> None:
    """Keep the candidates of a search."""
    state = SearchState(edgefer_version=edgefer.__version__, identity=wanted, candidates=candidates)
    write_text(path, to_json(state) + "\n")
