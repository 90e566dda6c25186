"""The networks edgefer knows, by the name the command line uses."""

from collections.abc import Mapping
from typing import Any

from edgefer.errors import UsageError
from edgefer.models.arbex.training import KIND as ARBEX
from edgefer.models.lanmsff.training import KIND as LANMSFF
from edgefer.models.network import Kind, Network
from edgefer.models.patt_lite.training import KIND as PATT_LITE

NETWORKS: Mapping[str, Kind] = {
    "patt-lite": PATT_LITE,
    "lanmsff": LANMSFF,
    "arbex": ARBEX,
}


def kind(name: str) -> Kind:
    """Return the kind of network called `name`."""
    if name not in NETWORKS:
        raise UsageError(f"no network is called {name!r}; known are {', '.join(NETWORKS)}")
    return NETWORKS[name]


def create(name: str, options: Mapping[str, Any]) -> Network:
    """Configure the network called `name`; ValueError where an option does not fit it."""
    return kind(name).network.from_dict(options)


def name_of(network: Network) -> str:
    """Return the command line's name of a configured network."""
    return next(name for name, kind in NETWORKS.items() if type(network) is kind.network)
