"""The networks edgefer knows, by the name the command line uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from edgefer.errors import UsageError
from edgefer.models.patt_lite import PattLite
from edgefer.models.spec import ModelSpec

if TYPE_CHECKING:
    import keras


class Network(Protocol):
    """One configured network: what it takes to build its graph."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the output."""

    @property
    def input_size(self) -> int:
        """Height and width of the input in pixels."""

    @property
    def batch_coupled(self) -> bool:
        """Whether an image's answer depends on the other images of its batch."""

    def spec(self, *, training_data: str = "", licence: str = "") -> ModelSpec:
        """Return the input contract."""

    def build(self, *, batch_size: int | None = 1) -> keras.Model:
        """Build the clean inference graph."""

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON-ready values."""


NETWORKS = {"patt-lite": PattLite}


def create(name: str, options: Mapping[str, Any]) -> Network:
    """Configure the network called `name`; ValueError where an option does not fit it."""
    if name not in NETWORKS:
        raise UsageError(f"no network is called {name!r}; known are {', '.join(NETWORKS)}")
    return NETWORKS[name].from_dict(options)


def name_of(network: Network) -> str:
    """Return the command line's name of a configured network."""
    return next(name for name, kind in NETWORKS.items() if type(network) is kind)
