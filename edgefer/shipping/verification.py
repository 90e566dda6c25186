"""A bundle checked: its files against their list, then its model against its golden files."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgefer import runtime
from edgefer.errors import DataError
from edgefer.prediction import detector
from edgefer.prediction.detector import FaceDetector
from edgefer.records import InvalidRecordError, Record, from_json
from edgefer.shipping import bundle
from edgefer.shipping.contract import Contract
from edgefer.shipping.golden import GOLDEN_FILE
from edgefer.shipping.golden_check import GoldenCheck, Problem
from edgefer.shipping.golden_format import Golden
from edgefer.shipping.manifest import (
    Manifest,
    differences,
    read_json_bytes,
    read_manifest,
    shortened,
)

PROVEN_BY = ("golden/", "model/")
"""Where the files are that the golden check reads; it is left out if one of them differs."""

MOST_NAMES = 5
"""How many files an error names."""

REQUIRED = (bundle.MODEL, bundle.CONTRACT, bundle.LABELS, bundle.DETECTOR, f"golden/{GOLDEN_FILE}")


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was compared; `golden` is None where it was not run, as files differ."""

    manifest: Manifest
    runtime: str
    golden: Golden | None
    problems: tuple[Problem, ...]


def verify(folder: Path) -> Verification:
    """Check the bundle in `folder`.

    Raises DataError where it is no bundle or its own statements cannot be read, ModelError where
    its model is unusable. Nothing is read that its list does not name, nor run unless its hash
    is the listed one.
    """
    manifest = read_manifest(folder)
    absent = [name for name in REQUIRED if name not in manifest.files]
    if absent:
        raise DataError(folder, f"is no whole bundle: it does not list {absent[0]}")
    problems = list(_of_files(folder, manifest))
    golden = None
    if not any(problem.file.startswith(PROVEN_BY) for problem in problems):
        golden = _record(folder / "golden" / GOLDEN_FILE, Golden)
        problems += _of_answers(folder, manifest, golden)
    return Verification(
        manifest=manifest,
        runtime=runtime.runtime_version(),
        golden=golden,
        problems=tuple(problems),
    )


def require_intact(verification: Verification, folder: Path) -> None:
    """Raise DataError that names what differs, where anything does."""
    names = list(dict.fromkeys(problem.file for problem in verification.problems))
    if names:
        shown = ", ".join(map(shortened, names[:MOST_NAMES]))
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        if len(names) == 1:
            raise DataError(folder, f"1 file is not as edgefer made it: {shown}")
        raise DataError(folder, f"{len(names)} files are not as edgefer made them: {shown}{more}")


def _of_files(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    found = differences(folder, manifest)
    for names, problem in (
        (found.changed, "was changed"),
        (found.missing, "is missing"),
        (found.added, "was added"),
    ):
        yield from (Problem(file=name, problem=problem) for name in names)


def _of_answers(folder: Path, manifest: Manifest, golden: Golden) -> Iterator[Problem]:
    contract = _record(folder / bundle.CONTRACT, Contract)
    try:
        spec = contract.spec()
    except ValueError as exc:
        raise DataError(folder / bundle.CONTRACT, f"is no contract: {exc}") from exc
    model = runtime.open_model(folder / bundle.MODEL)
    model.require_spec(spec)
    if Contract.of(spec, model, version=contract.version) != contract:
        yield Problem(file=bundle.CONTRACT, problem=f"does not describe {bundle.MODEL}")
    if (folder / bundle.LABELS).read_bytes() != bundle.labels_file(contract):
        yield Problem(file=bundle.LABELS, problem=f"has other labels than {bundle.CONTRACT}")
    check = GoldenCheck(
        folder,
        frozenset(manifest.files),
        model,
        contract,
        _open_detector(folder / bundle.DETECTOR),
    )
    yield from check.problems(golden)


def _open_detector(path: Path) -> FaceDetector:
    """Open a bundle's detector; one that is not edgefer's own is tried in a child process first."""
    if path.read_bytes() != detector.MODEL.read_bytes():
        runtime.require_loadable(path)
    try:
        opened = FaceDetector(path)
        opened.find(np.zeros((16, 16, 3), np.uint8))
    except (*runtime.RUNTIME_ERRORS, LookupError) as exc:
        raise DataError(path, "is no face detector that edgefer knows; ship it again") from exc
    return opened


def _record(path: Path, kind: type[Record]) -> Record:
    try:
        return from_json(kind, read_json_bytes(path))
    except InvalidRecordError as exc:
        raise DataError(path, f"is not what edgefer writes ({exc}); ship it again") from exc
