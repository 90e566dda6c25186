"""Files that other code than edgefer's wrote: which network one holds, and who reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from edgefer.errors import ModelError
from edgefer.models import networks
from edgefer.models.formats import keras_files, state_dicts
from edgefer.models.formats.keras_files import KerasFile
from edgefer.models.formats.state_dicts import States
from edgefer.models.formats.torch_objects import printable
from edgefer.models.network import Importer, Network, Shapes, Weights

SavedT = TypeVar("SavedT", KerasFile, States)

_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class ForeignFile(Generic[SavedT]):
    """What was read of a file, and the importer of the network that it holds."""

    path: Path
    saved: SavedT
    importer: Importer[SavedT]

    def network(self, *, labels: Sequence[str] | None, input_size: int | None) -> Network:
        """Tell which network of its kind it is; given options take precedence.

        Raises ModelError where it does not fit, does not say what is needed, or cannot be so.
        """
        found = self.importer.network(self.path, self.saved, labels=labels, input_size=input_size)
        try:
            found.spec()
        except ValueError as exc:
            raise ModelError(self.path, f"does not go with these options: {exc}") from exc
        return found

    def weights(self, shapes: Shapes) -> Weights:
        """Return the weights under the graph's names, `shapes`' keys."""
        return self.importer.weights(self.path, self.saved, shapes)


def open_foreign(path: Path) -> ForeignFile[KerasFile] | ForeignFile[States]:
    """Read a Keras file or a state dict, and find out which network it holds.

    Raises ModelError where it cannot be read, or says why it is none of the networks.
    """
    kinds = networks.NETWORKS.values()
    if path.suffix.lower() in state_dicts.SUFFIXES:
        parts = dict.fromkeys(part for kind in kinds for part in kind.parts)
        states = state_dicts.read_parts(path, parts)
        readers = {kind.title: kind.torch_importer for kind in kinds if kind.torch_importer}
        return _recognised(path, states, readers, list(states), "tensors")
    file = keras_files.read(path)
    importers = {kind.title: kind.keras_importer for kind in kinds if kind.keras_importer}
    names = [layer.name for layer in file.layers]
    return _recognised(path, file, importers, names, "layers with weights")


def _recognised(
    path: Path,
    saved: SavedT,
    importers: Mapping[str, Importer[SavedT]],
    names: Sequence[str],
    what: str,
) -> ForeignFile[SavedT]:
    reasons = []
    for title, importer in importers.items():
        reason = importer.misfit(saved)
        if reason is None:
            return ForeignFile(path=path, saved=saved, importer=importer)
        reasons.append(f"{title} ({reason})")
    first = ", ".join(printable(name) for name in names[:_SHOWN])
    is_none = f"neither a {' nor a '.join(reasons)}" if len(reasons) > 1 else f"no {reasons[0]}"
    raise ModelError(path, f"is {is_none}: it has {first} ({len(names)} {what} in all)")
