"""What a device is, from its answer to probe.sh."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgefer.benchmarks.probing import clusters, processors
from edgefer.benchmarks.probing.clusters import Core
from edgefer.benchmarks.probing.emulation import elf_bytes, emulated
from edgefer.benchmarks.probing.parsing import Bundle, line, number
from edgefer.benchmarks.result import DeviceDescription

# What makers of boards leave in DMI when they have nothing to say.
_NO_NAME = re.compile(r"(?i)to be filled|system (product|manufacturer)|default string")

_UNKNOWN = "unknown"


def description(bundle: Bundle) -> DeviceDescription:
    """Put together what the device says of itself."""
    system, kernel, architecture = _uname(bundle)
    cores = clusters.cores(bundle)
    found = clusters.clusters(cores)
    processor = found[-1].name
    properties = bundle.android_properties()
    emulator = emulated(bundle, architecture=architecture, kernel=kernel)
    # DMI of an emulated board may be its host's.
    model = _model(bundle, properties) or (None if emulator else _dmi_name(bundle))
    return DeviceDescription(
        name=model or processor or architecture,
        soc=_android_soc(properties) or _board_soc(bundle) or _x86(processor, architecture),
        system=_system(bundle, properties) or system,
        kernel=kernel,
        architecture=architecture,
        userland_bits=_userland_bits(bundle, architecture),
        clusters=found,
        features=_features(cores),
        memory_bytes=_memory_bytes(bundle),
        emulated=emulator,
    )


def _uname(bundle: Bundle) -> tuple[str, str, str]:
    words = (bundle.text("uname -s -r -m") or "").split()
    if len(words) < 3:
        return _UNKNOWN, _UNKNOWN, _UNKNOWN
    return words[0], " ".join(words[1:-1]), words[-1]


def _model(bundle: Bundle, properties: dict[str, str]) -> str | None:
    maker, model = (properties.get(f"ro.product.{half}") for half in ("manufacturer", "model"))
    return _joined(maker, model) or bundle.text("/proc/device-tree/model")


def _dmi_name(bundle: Bundle) -> str | None:
    maker, product = (
        bundle.text(f"/sys/class/dmi/id/{half}") for half in ("sys_vendor", "product_name")
    )
    if product is None or _NO_NAME.search(product):
        return None
    return _joined(None if _NO_NAME.search(maker or "") else maker, product)


def _joined(maker: str | None, product: str | None) -> str | None:
    """Return maker and product, the maker once."""
    if not product or not maker or product.lower().startswith(maker.lower()):
        return line(product or "")
    return line(f"{maker} {product}")


def _system(bundle: Bundle, properties: dict[str, str]) -> str | None:
    if release := properties.get("ro.build.version.release"):
        return line(f"Android {release}")
    for text in bundle.lines("/etc/os-release"):
        if match := re.fullmatch(r"PRETTY_NAME=[\"']?(.*?)[\"']?\s*", text):
            return line(match[1])
    return None


def _android_soc(properties: dict[str, str]) -> str | None:
    maker, model = (properties.get(f"ro.soc.{half}") for half in ("manufacturer", "model"))
    if maker and model:
        return line(processors.soc_name(maker, model))
    return line(model or properties.get("ro.board.platform", ""))


def _board_soc(bundle: Bundle) -> str | None:
    """Return the chip's name: the last entry of a device tree's list, from special to general."""
    compatible = "\n".join(bundle.lines("/proc/device-tree/compatible")).split()
    maker, _, chip = (compatible or [""])[-1].partition(",")
    return line(processors.soc_name(maker, chip)) if maker != "linux" and chip else None


def _x86(name: str | None, architecture: str) -> str | None:
    return name if re.fullmatch("x86_64|i[3-6]86", architecture) else None


def _features(cores: Sequence[Core]) -> tuple[str, ...]:
    """Return what all cores can do, of those whose abilities are known."""
    known = [set(core.words) for core in cores if core.words]
    return processors.features(set.intersection(*known)) if known else ()


def _userland_bits(bundle: Bundle, architecture: str) -> int:
    """Return 32 or 64: the C library's answer, the shell's ELF class, else the kernel's."""
    bits = bundle.number("getconf LONG_BIT")
    if bits in (32, 64):
        return bits
    header = elf_bytes(bundle, "sh")
    if header and header[4] in (1, 2):
        return 32 * header[4]
    return 64 if "64" in architecture else 32


def _memory_bytes(bundle: Bundle) -> int | None:
    for text in bundle.lines("/proc/meminfo"):
        if match := re.fullmatch(r"MemTotal:(.*)kB", text.strip()):
            kib = number(match[1])
            return kib * 1024 if kib is not None and kib > 0 else None
    return None
