"""Faces in a folder with one sub-folder a class, with or without train, valid and test above."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgefer.data import images, splits
from edgefer.data.faces import LabelledFaces, SkippedFile
from edgefer.data.labels import CLASS_ORDERS, canonical
from edgefer.data.preprocessing import UInt8Array
from edgefer.data.splits import Split
from edgefer.data.wording import listed
from edgefer.errors import DataError
from edgefer.progress import Progress

KNOWN_CLASSES = tuple(sorted({label for order in CLASS_ORDERS.values() for label in order}))


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A file in a class folder; `name` is its path below the dataset's root."""

    path: Path
    name: str
    label: int


def read_folder(
    root: Path,
    *,
    split: str | None = None,
    class_names: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> LabelledFaces:
    """Read the images in `root`'s class folders.

    A folder's name is matched with the known emotions, or with `class_names` where they are
    given, whose order the labels then follow; otherwise it is the alphabetical one. Raises
    DataError where a class folder's name is unknown.
    """
    top = _split_folder(root, split)
    folders, skipped = _class_folders(top)
    names = _class_names(top, folders, class_names)
    positions = {canonical(name): index for index, name in enumerate(names)}
    entries = [
        _Entry(
            path=path, name=f"{folder.name}/{path.name}", label=positions[canonical(folder.name)]
        )
        for folder in folders
        for path in _children(folder)
    ]
    readable, unreadable = _read_all(root, entries, progress)
    return LabelledFaces(
        source=str(top),
        images=[image for _, image in readable],
        labels=np.array([entry.label for entry, _ in readable], np.int64),
        class_names=names,
        names=[entry.name for entry, _ in readable],
        skipped=(*skipped, *unreadable),
    )


def _read_all(
    root: Path, entries: Sequence[_Entry], progress: Progress | None
) -> tuple[list[tuple[_Entry, UInt8Array]], list[SkippedFile]]:
    readable: list[tuple[_Entry, UInt8Array]] = []
    unreadable: list[SkippedFile] = []
    decoded_bytes = 0
    for done, entry in enumerate(entries, start=1):
        try:
            image = images.read_image(entry.path)
        except DataError as exc:
            reason = str(exc).removeprefix(f"{entry.path}: ")
            unreadable.append(SkippedFile(path=str(entry.path), reason=reason))
        else:
            readable.append((entry, image))
            decoded_bytes += image.nbytes
            if decoded_bytes > images.MAX_DECODED_BYTES:
                raise DataError(root, images.TOO_LARGE)
        if progress is not None:
            progress(done, len(entries))
    return readable, unreadable


def _split_folder(root: Path, wanted: str | None) -> Path:
    """Return the folder that holds the class folders: `root`, or the wanted split below it."""
    parts: dict[Split, Path] = {}
    others = False
    for child in _children(root):
        part = splits.split_named(child.name)
        if part is None or not child.is_dir():
            others = others or (child.is_dir() and not child.name.startswith("."))
        elif part in parts:
            raise DataError(root, f"{parts[part].name!r} and {child.name!r} are the same split")
        else:
            parts[part] = child
    if parts and not others:
        return parts[splits.choose(root, parts, wanted)]
    if wanted is not None:
        raise DataError(root, f"has no splits; leave out the split {wanted!r}")
    return root


def _class_folders(top: Path) -> tuple[list[Path], list[SkippedFile]]:
    """Return the class folders of `top`, and what else lies beside them."""
    folders: list[Path] = []
    skipped: list[SkippedFile] = []
    for child in _children(top):
        if child.is_dir() and not child.name.startswith("."):
            folders.append(child)
        else:
            skipped.append(SkippedFile(path=str(child), reason="is not in a class folder"))
    if not folders:
        raise DataError(top, "has no class folders; it needs one folder a class, named after it")
    return folders, skipped


def _class_names(
    top: Path, folders: Sequence[Path], class_names: Sequence[str] | None
) -> tuple[str, ...]:
    known = KNOWN_CLASSES if class_names is None else class_names
    allowed = {canonical(name) for name in known}
    unknown = [folder.name for folder in folders if canonical(folder.name) not in allowed]
    if unknown:
        raise DataError(
            top,
            f"unknown class folders {listed(unknown)}; known are {', '.join(known)}",
        )
    if class_names is not None:
        return tuple(class_names)
    return tuple(sorted({canonical(folder.name) for folder in folders}))


def _children(folder: Path) -> Iterator[Path]:
    try:
        return iter(sorted(folder.iterdir()))
    except OSError as exc:
        raise DataError(folder, f"cannot be read: {exc.strerror or exc}") from exc
