"""What a network is to the rest of edgefer: the seam behind which each of them lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from edgefer.models.formats.keras_files import KerasFile
from edgefer.models.formats.state_dicts import States
from edgefer.models.spec import ModelSpec
from edgefer.training.recipes import Recipe, Stage

if TYPE_CHECKING:
    import keras

Weights = Mapping[str, npt.NDArray[np.float32]]
"""Arrays by `layer/variable`."""

Shapes = Mapping[str, tuple[int, ...]]
"""The arrays' shapes, likewise."""


class Network(Protocol):
    """One configured network: a frozen dataclass that builds its graphs.

    A field whose metadata has a `help` text is an option of `edgefer train`. `Configured` has
    what most of them have in common.
    """

    title: ClassVar[str]
    """The name as its authors write it."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the output."""

    @property
    def input_size(self) -> int:
        """Height and width of the input in pixels."""

    @property
    def batch_coupled(self) -> bool:
        """Whether an image's answer depends on the other images of its batch."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever takes its answers should know, each without a full stop."""

    def spec(self, *, training_data: str = "", licence: str = "") -> ModelSpec:
        """Return the input contract."""

    def build(self, *, batch_size: int | None = 1) -> keras.Model:
        """Build the clean inference graph."""

    def training_graph(self, stage: Stage) -> keras.Model:
        """Build the graph that a stage trains, with layers and weights named as in `build`'s.

        Its batch is free, and what the stage leaves alone is not trainable.
        """

    def loss(
        self, model: keras.Model, inputs: Any, target: Any, weight: Any, trained: Any
    ) -> tuple[Any, Any]:
        """Return what a training step lowers, a scalar, and the probabilities (batch, classes).

        `model` is the training graph, and is called with `training=True`; `target` are
        distributions (batch, classes), `weight` (batch,) counts each image. `trained`, 0…1, is the
        part of the training that is done.
        """

    def deployable(self, weights: Weights) -> tuple[Network, Weights]:
        """Return what the network is at batch 1, exactly, without coupling between images."""

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON-ready values."""

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> Self:
        """Rebuild what `to_dict` gave; ValueError where an option is unknown or does not fit."""


SavedT_contra = TypeVar("SavedT_contra", contravariant=True)


class Importer(Protocol[SavedT_contra]):
    """How a network is found in what other code saved: a module with these functions.

    What was saved is a KerasFile, or the arrays of a state dict by their names.
    """

    def misfit(self, saved: SavedT_contra, /) -> str | None:
        """Say what the file lacks to be this network; None where it looks like it."""

    def network(
        self,
        path: Path,
        saved: SavedT_contra,
        /,
        *,
        labels: Sequence[str] | None,
        input_size: int | None,
    ) -> Network:
        """Tell which network of the kind a file holds; given options take precedence.

        Raises ModelError where it does not fit, or does not say what is needed.
        """

    def weights(self, path: Path, saved: SavedT_contra, shapes: Shapes, /) -> Weights:
        """Bring a file's weights under the graph's names; ModelError names what has no place."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """Weights of others that a training can start from, as an option of `edgefer train`.

    `read` takes what the user gives, or `default`.
    """

    option: str
    metavar: str
    help: str
    default: str
    read: Callable[[str], Weights]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of network: all that the commands know of it.

    `recipes` has the default one first. The importers read checkpoints of others, as far as there
    are any; `parts` are the first words of file names where one lies in several files.
    """

    network: type[Network]
    recipes: tuple[Recipe, ...]
    keras_importer: Importer[KerasFile] | None = None
    torch_importer: Importer[States] | None = None
    parts: tuple[str, ...] = ()
    starts: tuple[Start, ...] = ()

    @property
    def title(self) -> str:
        """The network's name as its authors write it."""
        return self.network.title
