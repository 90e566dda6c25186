"""How a device gives away that no real silicon runs its instructions."""

from __future__ import annotations

import re

from edgefer.benchmarks.probing.parsing import Bundle

# By the field e_machine of an ELF header (System V gABI, chapter 4).
_ELF_FAMILIES = {3: "x86", 62: "x86", 40: "Arm", 183: "Arm", 243: "RISC-V"}

_ANDROID_EMULATORS = ("goldfish", "ranchu", "cutf_cvm", "vsoc")


def family(architecture: str) -> str | None:
    """Return the family of a processor that `uname -m` or a kernel's name gives, if it is known."""
    if re.search(r"amd64|x86_64|i[3-6]86", architecture):
        return "x86"
    if re.search(r"aarch64|arm64|^armv", architecture):
        return "Arm"
    return "RISC-V" if "riscv" in architecture else None


def elf_bytes(bundle: Bundle, which: str) -> list[int]:
    """Return the first 20 bytes of a little-endian ELF file, or none where it is not one."""
    words = " ".join(bundle.lines(f"elf header of {which}")).split()
    found = [int(word, 16) for word in words if re.fullmatch("[0-9a-f]{2}", word)]
    whole = len(found) == 20 and bytes(found[:4]) == b"\x7fELF" and found[5] == 1
    return found if whole else []


def emulated(bundle: Bundle, *, architecture: str, kernel: str) -> str | None:
    """Return how it is known that the device is emulated, or None.

    A virtual machine whose instructions the host's processor runs itself (KVM) is not emulated.
    """
    return _user_mode(bundle, architecture, kernel) or _android(bundle) or _whole_machine(bundle)


def _user_mode(bundle: Bundle, architecture: str, kernel: str) -> str | None:
    """Return how it is known that only programs are emulated, on the kernel of another processor.

    Such an emulator fakes what a process sees of itself, not all that it sees of others and of
    the kernel.
    """
    program = bundle.text("program of this") or ""
    name = program.removesuffix(" (deleted)").rpartition("/")[2]
    if name.startswith("qemu-"):
        return f"QEMU user mode: {name} runs its programs"
    claimed = family(architecture)
    for what, actual in _families(bundle, kernel):
        if claimed and actual and actual != claimed:
            return f"user-mode emulation: {what} is {actual}, the architecture {architecture}"
    return None


def _families(bundle: Bundle, kernel: str) -> list[tuple[str, str | None]]:
    header = elf_bytes(bundle, "this")
    machine = header[18] + 256 * header[19] if header else 0
    keys = {line.partition(":")[0].strip() for line in bundle.lines("/proc/cpuinfo")}
    processor = "x86" if "vendor_id" in keys else "Arm" if "CPU implementer" in keys else None
    return [
        ("the program that runs its shell", _ELF_FAMILIES.get(machine)),
        ("the kernel", family(bundle.text("/proc/sys/kernel/arch") or kernel)),
        ("the processor in /proc/cpuinfo", processor),
    ]


def _android(bundle: Bundle) -> str | None:
    properties = bundle.android_properties()
    hardware = properties.get("ro.hardware", "")
    if "1" in (properties.get("ro.kernel.qemu"), properties.get("ro.boot.qemu")):
        return f"Android emulator ({hardware or 'ro.kernel.qemu is 1'})"
    return f"Android emulator ({hardware})" if hardware in _ANDROID_EMULATORS else None


def _whole_machine(bundle: Bundle) -> str | None:
    if _kvm(bundle):
        return None
    tree = [*bundle.lines("/proc/device-tree/model"), *bundle.lines("/proc/device-tree/compatible")]
    if "linux,dummy-virt" in tree:
        return "QEMU: its device tree is that of the virt machine (linux,dummy-virt)"
    if "QEMU" in (bundle.text("/sys/class/dmi/id/sys_vendor") or ""):
        return "QEMU without KVM: its maker's name is QEMU"
    return None


def _kvm(bundle: Bundle) -> bool:
    """Say whether a virtual machine shows the clocks, or on Arm the name, that KVM brings."""
    clocks = bundle.text("/sys/devices/system/clocksource/clocksource0/available_clocksource")
    pattern = r"(/sys/class/ptp/ptp[0-9]+/clock_name)"
    timers = [bundle.text(name) or "" for name, _ in bundle.matching(pattern)]
    product = bundle.text("/sys/class/dmi/id/product_name") or ""
    return "kvm-clock" in (clocks or "") or any("KVM" in text for text in [*timers, product])
