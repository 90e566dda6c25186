"""What known devices are and the state they are in."""

from __future__ import annotations

import pytest
from probe_answers import CPUS, DEVICES, NAMES, ONE_CORE, known, printing

from edgefer.benchmarks.probing import probe
from edgefer.benchmarks.probing.watched import Watched
from edgefer.benchmarks.result import Circumstances, Cluster, DeviceDescription
from edgefer.errors import UsageError
from edgefer.records import from_json, to_json


def test_a_raspberry_pi_4_is_described() -> None:
    assert probe.describe(known("raspberry-pi-4")) == DeviceDescription(
        name="Raspberry Pi 4 Model B Rev 1.4",
        soc="Broadcom BCM2711",
        system="Debian GNU/Linux 12 (bookworm)",
        kernel="6.6.51+rpt-rpi-v8",
        architecture="aarch64",
        userland_bits=64,
        clusters=(Cluster(cpus=(0, 1, 2, 3), name="Cortex-A72", maximum_khz=1_800_000),),
        features=("neon",),
        memory_bytes=3_884_416 * 1024,
        emulated=None,
    )


def test_an_under_voltage_shows_with_the_frequency_that_the_firmware_measures() -> None:
    """The kernel's figure stays at the 1.8 GHz that it asked for."""
    device = known("raspberry-pi-4")
    assert probe.circumstances(device, probe.describe(device)) == Circumstances(
        frequencies_khz=(600_117,),
        governors=("ondemand",),
        temperatures_c={"cpu-thermal": 61.835},
        throttling=("under-voltage", "throttled"),
        throttling_since_boot=("under-voltage", "throttled"),
        load_1min=0.42,
        battery_percent=None,
        charging=None,
    )


def test_a_raspberry_pi_5_has_the_dot_product_and_nothing_amiss() -> None:
    device = known("raspberry-pi-5")
    description = probe.describe(device)
    state = probe.circumstances(device, description)
    assert description.clusters == (
        Cluster(cpus=(0, 1, 2, 3), name="Cortex-A76", maximum_khz=2_400_000),
    )
    assert description.soc == "Broadcom BCM2712"
    assert description.features == ("neon", "dotprod", "fp16")
    assert (state.governors, state.frequencies_khz) == (("performance",), (2_400_027,))
    assert (state.throttling, state.throttling_since_boot) == ((), ())


def test_a_32_bit_system_on_a_64_bit_kernel_is_32_bit() -> None:
    description = probe.describe(known("raspberry-pi-3-32-bit"))
    assert description.architecture == "aarch64"
    assert description.userland_bits == 32
    assert description.system == "Raspbian GNU/Linux 11 (bullseye)"
    assert description.emulated is None


def test_a_raspberry_pi_without_vcgencmd_tells_its_throttling_by_a_file() -> None:
    device = known("raspberry-pi-3-32-bit")
    state = probe.circumstances(device, probe.describe(device))
    assert state.throttling == state.throttling_since_boot == ("soft temperature limit",)
    assert state.frequencies_khz == (1_400_000,)


def test_a_phone_has_its_clusters_slowest_first() -> None:
    assert probe.describe(known("pixel-8")) == DeviceDescription(
        name="Google Pixel 8",
        soc="Google Tensor G3",
        system="Android 14",
        kernel="5.15.110-android14-11-g0123456789ab-ab11202190",
        architecture="aarch64",
        userland_bits=64,
        clusters=(
            Cluster(cpus=(0, 1, 2, 3), name="Cortex-A510", maximum_khz=1_704_000),
            Cluster(cpus=(4, 5, 6, 7), name="Cortex-A715", maximum_khz=2_367_000),
            Cluster(cpus=(8,), name="Cortex-X3", maximum_khz=2_914_000),
        ),
        features=("neon", "dotprod", "i8mm", "fp16", "bf16", "sve", "sve2"),
        memory_bytes=7_731_452 * 1024,
        emulated=None,
    )


def test_a_warm_phone_tells_its_thermal_status_and_its_battery() -> None:
    """Voltages among the temperatures, cached ones and sensors that read 0 are left out."""
    device = known("pixel-8")
    assert probe.circumstances(device, probe.describe(device)) == Circumstances(
        frequencies_khz=(1_704_000, 1_999_000, 1_826_000),
        governors=("sched_pixel",) * 3,
        temperatures_c={
            "BIG": 71.0,
            "MID": 66.0,
            "LITTLE": 59.0,
            "G3D": 54.0,
            "TPU": 55.0,
            "VIRTUAL-SKIN": 41.289,
            "battery": 31.2,
        },
        throttling=("frequency of cpu8 capped at 2049 MHz", "thermal status moderate"),
        throttling_since_boot=(),
        load_1min=4.71,
        battery_percent=79.0,
        charging=True,
    )


def test_a_board_with_three_frequency_domains_has_three_clusters() -> None:
    description = probe.describe(known("rock-5b"))
    assert description.soc == "Rockchip RK3588"
    assert description.clusters == (
        Cluster(cpus=(0, 1, 2, 3), name="Cortex-A55", maximum_khz=1_800_000),
        Cluster(cpus=(6, 7), name="Cortex-A76", maximum_khz=2_352_000),
        Cluster(cpus=(4, 5), name="Cortex-A76", maximum_khz=2_400_000),
    )


def test_a_cluster_that_the_kernel_holds_back_is_throttled_and_the_order_kept() -> None:
    device = known("rock-5b")
    state = probe.circumstances(device, probe.describe(device))
    assert state.frequencies_khz == (1_800_000, 2_352_000, 1_608_000)
    assert state.throttling == ("frequency of cpu4 capped at 1608 MHz",)
    assert max(state.temperatures_c.values()) == 86.846


def test_a_laptop_has_two_clusters_although_each_core_scales_alone() -> None:
    description = probe.describe(known("x86-laptop"))
    processor = "12th Gen Intel Core i7-1260P"
    assert (description.name, description.soc) == ("Dell Inc. XPS 9320", processor)
    assert description.clusters == (
        Cluster(cpus=tuple(range(8, 16)), name=processor, maximum_khz=3_400_000),
        Cluster(cpus=tuple(range(8)), name=processor, maximum_khz=4_700_000),
    )
    assert description.features == ("sse4_1", "avx", "f16c", "fma", "avx2", "avx_vnni")


def test_a_laptop_tells_its_own_battery_and_its_zones_apart() -> None:
    device = known("x86-laptop")
    state = probe.circumstances(device, probe.describe(device))
    assert (state.battery_percent, state.charging) == (63.0, False)
    assert state.temperatures_c == {
        "INT3400 Thermal": 20.0,
        "SEN1": 43.05,
        "acpitz": 25.0,
        "acpitz (thermal_zone4)": 27.8,
        "TCPU": 51.0,
        "x86_pkg_temp": 51.0,
    }


def test_a_virtual_machine_under_kvm_is_not_emulated_and_gives_no_frequencies() -> None:
    device = known("x86-virtual-machine")
    description = probe.describe(device)
    state = probe.circumstances(device, description)
    assert description.name == "QEMU Standard PC (Q35 + ICH9, 2009)"
    assert description.emulated is None
    assert description.clusters[0].maximum_khz is None
    assert (state.frequencies_khz, state.governors, state.temperatures_c) == ((None,), (None,), {})


def test_busybox_without_getconf_tells_its_bits_by_its_shell() -> None:
    device = known("alpine-pi-zero-2")
    description = probe.describe(device)
    assert description.userland_bits == 64
    assert description.system == "Alpine Linux v3.20"
    assert description.name == "Raspberry Pi Zero 2 W Rev 1.0"
    assert probe.circumstances(device, description).throttling == ()


def test_an_emulated_board_says_so_and_is_not_named_after_its_host() -> None:
    description = probe.describe(known("emulated-raspberry-pi-4"))
    assert description.emulated == "QEMU user mode: qemu-aarch64-static runs its programs"
    assert description.name == "Cortex-A72"
    assert description.cpus == (0, 1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "rock-5b",
            Watched(
                frequency_paths=tuple(f"{CPUS}/cpu{n}/cpufreq/scaling_cur_freq" for n in (0, 6, 4)),
                temperature_paths=tuple(
                    f"/sys/class/thermal/thermal_zone{n}/temp" for n in range(7)
                ),
            ),
        ),
        ("x86-virtual-machine", Watched(frequency_paths=(None,), temperature_paths=())),
    ],
)
def test_only_files_that_tell_something_are_watched(name: str, expected: Watched) -> None:
    device = known(name)
    assert probe.watched_paths(device, probe.describe(device)) == expected


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_survives_the_result_file(name: str) -> None:
    device = known(name)
    description = probe.describe(device)
    state = probe.circumstances(device, description)
    assert from_json(DeviceDescription, to_json(description)) == description
    assert from_json(Circumstances, to_json(state)) == state


@pytest.mark.parametrize("name", NAMES)
def test_line_ends_of_an_old_adb_change_nothing(name: str) -> None:
    text = (DEVICES / name / "description.txt").read_bytes()
    carriage_returns = printing(text.replace(b"\n", b"\r\n"))
    assert probe.describe(carriage_returns) == probe.describe(known(name))


@pytest.mark.parametrize(
    ("name", "cores", "cpus"),
    [
        ("pixel-8", "all", tuple(range(9))),
        ("pixel-8", "big", (8,)),
        ("pixel-8", "little", (0, 1, 2, 3)),
        ("pixel-8", "0x1f0", (4, 5, 6, 7, 8)),
        ("pixel-8", "F", (0, 1, 2, 3)),
        ("rock-5b", "big", (4, 5, 6, 7)),
        ("x86-laptop", "little", tuple(range(8, 16))),
        ("raspberry-pi-4", "all", (0, 1, 2, 3)),
    ],
)
def test_cores_are_found_by_kind_and_mask(name: str, cores: str, cpus: tuple[int, ...]) -> None:
    assert probe.resolve_cores(cores, probe.describe(known(name))) == cpus


@pytest.mark.parametrize("cores", ["big", "little"])
def test_a_kind_of_core_is_refused_where_there_is_only_one(cores: str) -> None:
    with pytest.raises(UsageError, match=r"Raspberry Pi 4 Model B .* one kind only; use all"):
        probe.resolve_cores(cores, probe.describe(known("raspberry-pi-4")))


def test_a_mask_of_cores_that_are_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="has no core 4 online, only 0, 1, 2, 3"):
        probe.resolve_cores("0x1f", probe.describe(known("raspberry-pi-4")))


@pytest.mark.parametrize("cores", ["0", "0x", "huge", "", "-1", "0x0", "1 2", "f" * 5000, "١"])
def test_what_is_no_mask_is_refused(cores: str) -> None:
    with pytest.raises(UsageError, match="neither all, big, little nor a hexadecimal mask"):
        probe.resolve_cores(cores, ONE_CORE)
