"""Names of processor cores, of makers of chips, and of what a core can compute."""

from __future__ import annotations

import re

_ARM, _NVIDIA, _QUALCOMM, _SAMSUNG, _APPLE = 0x41, 0x4E, 0x51, 0x53, 0x61
_HISILICON, _AMPERE = 0x48, 0xC0

# Implementer and part number are those of the register MIDR_EL1, which /proc/cpuinfo repeats.
# Numbers from Arm's technical reference manuals and util-linux (sys-utils/lscpu-arm.c).
_CORES = {
    (_ARM, 0xC05): "Cortex-A5",
    (_ARM, 0xC07): "Cortex-A7",
    (_ARM, 0xC08): "Cortex-A8",
    (_ARM, 0xC09): "Cortex-A9",
    (_ARM, 0xC0D): "Cortex-A17",
    (_ARM, 0xC0E): "Cortex-A17",
    (_ARM, 0xC0F): "Cortex-A15",
    (_ARM, 0xB76): "ARM1176",
    (_ARM, 0xD01): "Cortex-A32",
    (_ARM, 0xD02): "Cortex-A34",
    (_ARM, 0xD03): "Cortex-A53",
    (_ARM, 0xD04): "Cortex-A35",
    (_ARM, 0xD05): "Cortex-A55",
    (_ARM, 0xD06): "Cortex-A65",
    (_ARM, 0xD07): "Cortex-A57",
    (_ARM, 0xD08): "Cortex-A72",
    (_ARM, 0xD09): "Cortex-A73",
    (_ARM, 0xD0A): "Cortex-A75",
    (_ARM, 0xD0B): "Cortex-A76",
    (_ARM, 0xD0C): "Neoverse-N1",
    (_ARM, 0xD0D): "Cortex-A77",
    (_ARM, 0xD0E): "Cortex-A76AE",
    (_ARM, 0xD40): "Neoverse-V1",
    (_ARM, 0xD41): "Cortex-A78",
    (_ARM, 0xD42): "Cortex-A78AE",
    (_ARM, 0xD44): "Cortex-X1",
    (_ARM, 0xD46): "Cortex-A510",
    (_ARM, 0xD47): "Cortex-A710",
    (_ARM, 0xD48): "Cortex-X2",
    (_ARM, 0xD49): "Neoverse-N2",
    (_ARM, 0xD4B): "Cortex-A78C",
    (_ARM, 0xD4C): "Cortex-X1C",
    (_ARM, 0xD4D): "Cortex-A715",
    (_ARM, 0xD4E): "Cortex-X3",
    (_ARM, 0xD4F): "Neoverse-V2",
    (_ARM, 0xD80): "Cortex-A520",
    (_ARM, 0xD81): "Cortex-A720",
    (_ARM, 0xD82): "Cortex-X4",
    (_ARM, 0xD84): "Neoverse-V3",
    (_ARM, 0xD85): "Cortex-X925",
    (_ARM, 0xD87): "Cortex-A725",
    (_ARM, 0xD88): "Cortex-A520AE",
    (_ARM, 0xD89): "Cortex-A720AE",
    (_ARM, 0xD8E): "Neoverse-N3",
    (_ARM, 0xD8F): "Cortex-A320",
    (_HISILICON, 0xD01): "TaiShan v110",
    (_HISILICON, 0xD40): "Cortex-A76",
    (_NVIDIA, 0x003): "Denver 2",
    (_NVIDIA, 0x004): "Carmel",
    (_QUALCOMM, 0x001): "Oryon",
    (_QUALCOMM, 0x002): "Oryon",
    (_QUALCOMM, 0x201): "Kryo Silver",
    (_QUALCOMM, 0x205): "Kryo Gold",
    (_QUALCOMM, 0x211): "Kryo Silver",
    (_QUALCOMM, 0x800): "Kryo 2xx Gold",
    (_QUALCOMM, 0x801): "Kryo 2xx Silver",
    (_QUALCOMM, 0x802): "Kryo 3xx Gold",
    (_QUALCOMM, 0x803): "Kryo 3xx Silver",
    (_QUALCOMM, 0x804): "Kryo 4xx Gold",
    (_QUALCOMM, 0x805): "Kryo 4xx Silver",
    (_SAMSUNG, 0x001): "Exynos M1",
    (_SAMSUNG, 0x002): "Exynos M3",
    (_SAMSUNG, 0x003): "Exynos M4",
    (_SAMSUNG, 0x004): "Exynos M5",
    (_APPLE, 0x022): "Icestorm",
    (_APPLE, 0x023): "Firestorm",
    (_APPLE, 0x024): "Icestorm",
    (_APPLE, 0x025): "Firestorm",
    (_APPLE, 0x028): "Icestorm",
    (_APPLE, 0x029): "Firestorm",
    (_APPLE, 0x032): "Blizzard",
    (_APPLE, 0x033): "Avalanche",
    (_APPLE, 0x034): "Blizzard",
    (_APPLE, 0x035): "Avalanche",
    (_APPLE, 0x038): "Blizzard",
    (_APPLE, 0x039): "Avalanche",
    (_AMPERE, 0xAC3): "Ampere-1",
    (_AMPERE, 0xAC4): "Ampere-1a",
}

_LITTLE = re.compile(
    r"Cortex-A(5|7|32|34|35|53|55|65|320|510|520)(AE)?|Kryo (.* )?Silver|Icestorm|Blizzard"
)
_PRIME = re.compile(r"Cortex-X.*")

_MAKERS = {
    "amlogic": "Amlogic",
    "allwinner": "Allwinner",
    "apple": "Apple",
    "brcm": "Broadcom",
    "fsl": "NXP",
    "mediatek": "MediaTek",
    "nvidia": "NVIDIA",
    "nxp": "NXP",
    "qcom": "Qualcomm",
    "qti": "Qualcomm",
    "rockchip": "Rockchip",
    "samsung": "Samsung",
    "ti": "Texas Instruments",
    "xlnx": "Xilinx",
}

# The names of /proc/cpuinfo (Linux, Documentation/arch/arm64/elf_hwcaps.rst and
# arch/x86/include/asm/cpufeatures.h), and the usual ones.
_FEATURES = {
    "neon": "neon",
    "asimd": "neon",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "asimdhp": "fp16",
    "bf16": "bf16",
    "sve": "sve",
    "sve2": "sve2",
    "sme": "sme",
    "sse4_1": "sse4_1",
    "avx": "avx",
    "f16c": "f16c",
    "fma": "fma",
    "avx2": "avx2",
    "avx_vnni": "avx_vnni",
    "avx512f": "avx512f",
    "avx512_vnni": "avx512_vnni",
    "avx512_bf16": "avx512_bf16",
    "avx512_fp16": "avx512_fp16",
    "amx_int8": "amx_int8",
}


def core_name(implementer: int, part: int) -> str:
    """Return an Arm core's name; of one that is not in the table, its numbers."""
    unknown = f"Arm core {implementer:#04x}:{part:#05x}"
    return _CORES.get((implementer, part), unknown)


def core_class(name: str | None) -> int:
    """Return 0 for a core made to save power, 2 for one made for speed alone, 1 for the rest."""
    if name is None:
        return 1
    return 0 if _LITTLE.fullmatch(name) else 2 if _PRIME.fullmatch(name) else 1


def x86_name(model_name: str) -> str:
    """Return an x86 processor's name without trademarks and nominal frequency.

    >>> x86_name("Intel(R) Core(TM) i7-8565U CPU @ 1.80GHz")
    'Intel Core i7-8565U'
    """
    bare = re.sub(r"\((R|TM|tm)\)|\bCPU\b|@.*", " ", model_name)
    return " ".join(bare.split())


def soc_name(maker: str, chip: str) -> str:
    """Return a chip's name from the two halves in a device tree or Android's properties.

    >>> soc_name("brcm", "bcm2711")
    'Broadcom BCM2711'
    """
    lower = chip.islower() and any(character.isdigit() for character in chip)
    return f"{_MAKERS.get(maker.lower(), maker)} {chip.upper() if lower else chip}"


def features(words: set[str]) -> tuple[str, ...]:
    """Return those of a core's features that matter to int8 and float16 kernels."""
    return tuple(dict.fromkeys(name for word, name in _FEATURES.items() if word in words))
