"""An emulated device is noticed, and nothing else is taken for one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import pytest
from boards import Board
from probe_answers import Command, described, target

from edgefer.benchmarks.probing import probe
from edgefer.benchmarks.targets.target import Answer


@pytest.mark.parametrize(
    ("parts", "emulated"),
    [
        (
            {"uname -s -r -m": "Linux 6.1.0 aarch64", "/proc/sys/kernel/arch": "x86_64"},
            "user-mode emulation: the kernel is x86, the architecture aarch64",
        ),
        (
            {"uname -s -r -m": "Linux 5.10.0-32-amd64 armv7l"},
            "user-mode emulation: the kernel is x86, the architecture armv7l",
        ),
        (
            {
                "uname -s -r -m": "Linux 5.10 x86_64",
                "elf header of this": " 7f 45 4c 46 02 01 01 00" + " 00" * 8 + "\n 02 00 b7 00",
                "program of this": "/run/rosetta/rosetta",
            },
            "user-mode emulation: the program that runs its shell is Arm, the architecture x86_64",
        ),
        (
            {"uname -s -r -m": "Linux 5.10 aarch64", "/proc/cpuinfo": "vendor_id : AuthenticAMD"},
            "user-mode emulation: the processor in /proc/cpuinfo is x86, the architecture aarch64",
        ),
        (
            {"program of this": "/usr/bin/qemu-arm (deleted)"},
            "QEMU user mode: qemu-arm runs its programs",
        ),
        (
            {"/proc/device-tree/compatible": "linux,dummy-virt"},
            "QEMU: its device tree is that of the virt machine (linux,dummy-virt)",
        ),
        ({"/sys/class/dmi/id/sys_vendor": "QEMU"}, "QEMU without KVM: its maker's name is QEMU"),
        ({"getprop": "ro.kernel.qemu=1\nro.hardware=ranchu"}, "Android emulator (ranchu)"),
        ({"getprop": "ro.kernel.qemu=\nro.hardware=goldfish"}, "Android emulator (goldfish)"),
        (
            {
                "/proc/device-tree/model": "linux,dummy-virt",
                "/sys/class/ptp/ptp0/clock_name": "KVM virtual PTP",
            },
            None,
        ),
        (
            {
                "/sys/class/dmi/id/sys_vendor": "QEMU",
                "/sys/class/dmi/id/product_name": "KVM Virtual Machine",
            },
            None,
        ),
        ({"uname -s -r -m": "Linux 6.1.21-v8+ armv7l", "/proc/sys/kernel/arch": "aarch64"}, None),
        ({"uname -s -r -m": "Linux 6.1.0-686-pae i686", "/proc/sys/kernel/arch": "x86_64"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_emulation_is_noticed_by_what_gives_it_away(
    parts: Mapping[str, str], emulated: str | None
) -> None:
    assert described(parts).emulated == emulated


@pytest.mark.slow
@pytest.mark.emulated_board
def test_an_emulated_board_that_claims_to_be_a_pi_says_that_it_is_emulated(pi4: Board) -> None:
    def answer(command: Command) -> Answer:
        return Answer(returncode=0, stdout=pi4.run(shlex.join(command)).encode(), stderr=b"")

    description = probe.describe(target(answer))
    assert description.architecture == "aarch64"
    assert description.clusters[-1].name == "Cortex-A72"
    assert description.emulated is not None
    assert description.emulated.startswith("QEMU user mode: qemu-aarch64")
    assert probe.circumstances(target(answer), description).load_1min is not None
