"""State dicts as trainings save them: alone, beside an optimizer's, or a file for each part."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from edgefer.errors import ModelError
from edgefer.models.formats import torch_files
from edgefer.models.formats.torch_arrays import Array
from edgefer.models.formats.torch_objects import printable

States = Mapping[str, Array]
"""Arrays by the names that PyTorch's modules have."""

SUFFIXES = (".pth", ".pt")

_WRAPPER = "state_dict."
_OPTIMIZER = "optimizer."


def read(path: Path) -> States:
    """Read a file's state dict, without what a training keeps beside it to go on.

    Nothing in the file is executed. Raises ModelError as `torch_files.read` does.
    """
    found = torch_files.read(path)
    wrapped = {
        name.removeprefix(_WRAPPER): values
        for name, values in found.items()
        if name.startswith(_WRAPPER)
    }
    return wrapped or {n: values for n, values in found.items() if not n.startswith(_OPTIMIZER)}


def read_parts(path: Path, parts: Collection[str]) -> States:
    """Read a state dict, joined to those of the same model's other parts, which lie beside it.

    Files are parts of one model if their names differ in the first word alone, which is one of
    `parts`: `vit.best.0100.pth` and `classifier.best.0100.pth`. A file of any other name is read
    alone. Raises ModelError where an array stands in two of them.
    """
    joined: dict[str, Array] = {}
    for file in _files(path, parts):
        states = read(file)
        twice = next((name for name in states if name in joined), None)
        if twice is not None:
            raise ModelError(
                file, f"holds {printable(twice)}, as a file beside it does; leave one of the two"
            )
        joined.update(states)
    return joined


def _files(path: Path, parts: Collection[str]) -> list[Path]:
    first, _, rest = path.name.partition(".")
    if first not in parts:
        return [path]
    beside = (path.with_name(f"{part}.{rest}") for part in parts)
    return [path, *(file for file in beside if file != path and file.is_file())]
