"""A bundle that was written or checked, as lines and as JSON-ready values."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgefer.records import to_dict
from edgefer.shipping.bundle import Bundle
from edgefer.shipping.golden_format import Golden
from edgefer.shipping.verification import Verification

SCHEMA_VERSION = 1
WHAT_IS_IN = (
    ("contract.md", "every step from a picture to the answer, terms, intended use"),
    ("model/", "the model, its labels, contract.json, the face detector"),
    ("golden/", ""),
    ("README.md", "how to build and test the rest, which is sample code"),
)


def written_rows(bundle: Bundle) -> Sequence[tuple[str, str]]:
    """Return what is in a bundle, a part a row."""
    return [(name, text or golden_text(bundle.golden)) for name, text in WHAT_IS_IN]


def golden_text(golden: Golden) -> str:
    """Return how much there is to test against."""
    found = sum(len(scene.faces) for scene in golden.scenes)
    return (
        f"{len(golden.faces)} faces, {len(golden.scenes)} pictures with {found} faces, "
        f"{len(golden.frames)} camera frames, and what comes out"
    )


def checked_text(verification: Verification) -> str:
    """Return what was compared."""
    files = f"{len(verification.manifest.files)} files by their SHA-256"
    if verification.golden is None:
        return f"{files}; the golden files were not run, as files of theirs or of the model differ"
    return f"{files}; {golden_text(verification.golden)}"


def bundle_to_dict(bundle: Bundle, folder: Path) -> dict[str, Any]:
    """Return what was written as JSON-ready values."""
    return {
        "schema_version": SCHEMA_VERSION,
        "folder": str(folder),
        "target": bundle.target.name,
        "contract": to_dict(bundle.contract),
        "files": {name: len(content) for name, content in sorted(bundle.files.items())},
        "golden": _counts(bundle.golden),
        "next_steps": list(bundle.target.next_steps),
    }


def verification_to_dict(verification: Verification, folder: Path) -> dict[str, Any]:
    """Return what was checked as JSON-ready values; `golden` is null where it was not run."""
    golden = verification.golden
    return {
        "schema_version": SCHEMA_VERSION,
        "folder": str(folder),
        "target": verification.manifest.target,
        "edgefer": verification.manifest.edgefer,
        "runtime": verification.runtime,
        "files": len(verification.manifest.files),
        "golden": None if golden is None else _counts(golden),
        "problems": [dataclasses.asdict(problem) for problem in verification.problems],
    }


def _counts(golden: Golden) -> dict[str, int]:
    return {
        "faces": len(golden.faces),
        "scenes": len(golden.scenes),
        "frames": len(golden.frames),
    }
