"""What the user gives to look at, and where its annotated copy goes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgefer.errors import DataError, UsageError
from edgefer.prediction.videos import CODECS

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".pgm", ".ppm", ".pnm")


def is_video(path: Path) -> bool:
    """Say whether a file is read as a video, which its suffix tells."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Return the files, and for a folder all images and videos below it, in the order of names.

    A file that is named stays, whatever its suffix. Raises DataError for a folder without any.
    """
    found: list[Path] = []
    for path in paths:
        found += _files_below(path) if path.is_dir() else [path]
    return list(dict.fromkeys(found))


def annotated_paths(inputs: Sequence[Path], out: Path) -> Mapping[Path, Path]:
    """Return where the annotated copy of each input goes.

    `out` is a file for one input where it has a suffix, and otherwise a folder, in which images
    become .png and videos .mp4. Raises UsageError where the suffix does not fit, two inputs would
    get the same name, or a copy would take the place of an input.
    """
    places = _places(inputs, out)
    if len(set(places.values())) < len(places):
        raise UsageError("--annotate: two inputs have the same name; annotate them one by one")
    taken = {path.resolve() for path in inputs} & {path.resolve() for path in places.values()}
    if taken:
        raise UsageError(f"--annotate {out}: would replace the input {min(taken).name}")
    return places


def require_kind(out: Path, *, video: bool) -> None:
    """Raise UsageError unless `out` can be written as a video or an image."""
    allowed = tuple(CODECS) if video else (".png", ".jpg", ".jpeg")
    if out.suffix.lower() not in allowed:
        kind = "video" if video else "image"
        raise UsageError(f"--annotate {out}: an annotated {kind} is {', '.join(allowed)}")


def _places(inputs: Sequence[Path], out: Path) -> Mapping[Path, Path]:
    if not out.suffix or out.is_dir():
        return {path: out / (path.stem + (".mp4" if is_video(path) else ".png")) for path in inputs}
    if len(inputs) > 1:
        raise UsageError(f"--annotate {out}: there are {len(inputs)} inputs; give a folder")
    require_kind(out, video=is_video(inputs[0]))
    return {inputs[0]: out}


def _files_below(folder: Path) -> list[Path]:
    known = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in known and path.is_file() and not path.name.startswith(".")
    )
    if not found:
        raise DataError(folder, "has no images or videos")
    return found
