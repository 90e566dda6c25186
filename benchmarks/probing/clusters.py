"""A device's cores, put together into clusters.

Cores of one frequency domain are a cluster: a phone's two to four. Where every core has a domain
of its own, as on x86 and servers, those alike are one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgefer.benchmarks.probing import processors
from edgefer.benchmarks.probing.parsing import Bundle, number
from edgefer.benchmarks.result import Cluster

CPUS = "/sys/devices/system/cpu"

_MOST_CORES = 8192
"""Of any Linux kernel (CONFIG_NR_CPUS); a higher number is not a core's."""

_FASTEST_KHZ = 20_000_000
"""More than twice what any core has run at."""

_ALIKE = 1.1
"""Ratio of highest frequencies up to which cores are of one kind: x86's favoured cores and
binned chips differ by 2 to 8%, the two kinds of A76 in one phone by 17%."""


@dataclass(frozen=True, kw_only=True)
class Core:
    """One online core."""

    cpu: int
    name: str | None
    maximum_khz: int | None
    capacity: int | None
    """What the kernel's scheduler takes it to be able to do; the device's fastest has 1024."""
    domain: str | None
    """The cores that share its frequency."""
    words: frozenset[str]
    """Its features, as the kernel calls them."""

    @property
    def speed(self) -> tuple[int, int, int]:
        """What to sort by, slowest first.

        The frequency comes last, because some little cores have the higher one (Amlogic S922X:
        Cortex-A53 at 1.9 GHz beside A73 at 1.8).
        """
        return self.capacity or 0, processors.core_class(self.name), self.maximum_khz or 0


def cores(bundle: Bundle) -> list[Core]:
    """Return the online cores in the order of their numbers."""
    blocks = _cpuinfo(bundle)
    return [_core(bundle, cpu, blocks.get(cpu, {})) for cpu in _online(bundle, list(blocks))]


def clusters(cores: Sequence[Core]) -> tuple[Cluster, ...]:
    """Put cores together into clusters, slowest first."""
    domains: dict[object, list[Core]] = {}
    for core in cores:
        unknown = (core.name, core.capacity, core.maximum_khz)
        domains.setdefault(core.domain or unknown, []).append(core)
    merged: list[list[Core]] = []
    for domain in sorted(domains.values(), key=lambda domain: (len(domain), domain[0].speed)):
        if merged and len(domain) == 1 and _alike(merged[-1][-1], domain[0]):
            merged[-1].extend(domain)
        else:
            merged.append(list(domain))
    merged.sort(key=lambda cluster: (max(core.speed for core in cluster), cluster[0].cpu))
    return tuple(map(_cluster, merged))


def fastest(clusters: Sequence[Cluster]) -> tuple[int, ...]:
    """Return the cores of the last cluster and of those like it (RK3588: two pairs of A76)."""
    return _like(clusters[-1], clusters)


def slowest(clusters: Sequence[Cluster]) -> tuple[int, ...]:
    """Return the cores of the first cluster and of those like it."""
    return _like(clusters[0], clusters)


def _like(model: Cluster, clusters: Sequence[Cluster]) -> tuple[int, ...]:
    return tuple(
        sorted(cpu for cluster in clusters if _alike(model, cluster) for cpu in cluster.cpus)
    )


def _alike(one: Core | Cluster, other: Core | Cluster) -> bool:
    if one.name != other.name:
        return False
    if one.maximum_khz is None or other.maximum_khz is None:
        return one.maximum_khz == other.maximum_khz
    slower, faster = sorted((one.maximum_khz, other.maximum_khz))
    return faster <= slower * _ALIKE


def _cluster(cores: list[Core]) -> Cluster:
    return Cluster(
        cpus=tuple(sorted(core.cpu for core in cores)),
        name=next((core.name for core in cores if core.name), None),
        maximum_khz=max(core.maximum_khz or 0 for core in cores) or None,
    )


def _core(bundle: Bundle, cpu: int, block: dict[str, str]) -> Core:
    folder = f"{CPUS}/cpu{cpu}"
    return Core(
        cpu=cpu,
        name=_name(block),
        maximum_khz=frequency_khz(bundle, f"{folder}/cpufreq/cpuinfo_max_freq"),
        capacity=bundle.number(f"{folder}/cpu_capacity"),
        domain=bundle.text(f"{folder}/cpufreq/related_cpus"),
        words=frozenset(block.get("Features", block.get("flags", "")).split()),
    )


def frequency_khz(bundle: Bundle, name: str) -> int | None:
    """Return a part that is a frequency in kHz, or None where it is not a possible one."""
    value = bundle.number(name)
    return value if value is not None and 0 < value < _FASTEST_KHZ else None


def _cpuinfo(bundle: Bundle) -> dict[int, dict[str, str]]:
    """Return what /proc/cpuinfo says of each core."""
    blocks: dict[int, dict[str, str]] = {}
    block: dict[str, str] = {}
    for line in bundle.lines("/proc/cpuinfo"):
        key, _, value = (half.strip() for half in line.partition(":"))
        cpu = number(value) if key == "processor" else None
        if cpu is not None:
            block = blocks.setdefault(cpu, {})
        elif key:
            block[key] = value
    return blocks


def _name(block: dict[str, str]) -> str | None:
    identity = [block.get(key, "") for key in ("CPU implementer", "CPU part")]
    if all(re.fullmatch(r"0x[0-9a-fA-F]{1,4}", half) for half in identity):
        implementer, part = (int(half, 16) for half in identity)
        return processors.core_name(implementer, part)
    return processors.x86_name(block.get("model name", "")) or None


def _online(bundle: Bundle, listed: list[int]) -> list[int]:
    """Return the cores that are online and, where /proc/cpuinfo lists any, listed there.

    They differ where a board is emulated: its cpuinfo is the board's, the rest the host's.
    """
    possible = range(_MOST_CORES)
    online = set(_ranges("".join(bundle.lines(f"{CPUS}/online")))) & set(possible)
    known = set(listed) & set(possible)
    count = bundle.number("getconf _NPROCESSORS_ONLN") or 1
    return sorted(online & known or online or known or possible[: max(count, 1)])


def _ranges(text: str) -> Iterator[int]:
    """Yield the numbers of a list like 0-3,6; what is no number or range is passed over."""
    for part in text.split(","):
        if match := re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", part.strip()):
            yield from range(int(match[1]), int(match[2] or match[1]) + 1)
