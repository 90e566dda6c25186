"""Devices that say little, nonsense, or what should harm."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probe_answers import CPUS, DEVICES, NAMES, ONE_CORE, bundle, described, printing, state_of

from edgefer.benchmarks.probing import probe
from edgefer.benchmarks.result import Circumstances, Cluster, DeviceDescription
from edgefer.errors import DeviceError
from edgefer.records import from_json, to_json


def test_a_device_that_says_nothing_has_one_core_and_no_more() -> None:
    assert (
        DeviceDescription(
            name="unknown",
            soc=None,
            system="unknown",
            kernel="unknown",
            architecture="unknown",
            userland_bits=32,
            clusters=(Cluster(cpus=(0,)),),
            features=(),
            memory_bytes=None,
            emulated=None,
        )
        == ONE_CORE
    )
    assert state_of({}, ONE_CORE) == Circumstances(
        frequencies_khz=(None,),
        governors=(None,),
        temperatures_c={},
        throttling=(),
        throttling_since_boot=(),
        load_1min=None,
        battery_percent=None,
        charging=None,
    )


@pytest.mark.parametrize("frequency", ["-600000", "0", "99999999999", "<unknown>", "1.5", "٣"])
def test_a_frequency_that_cannot_be_is_none(frequency: str) -> None:
    parts = {f"{CPUS}/cpu0/cpufreq/scaling_cur_freq": frequency}
    assert state_of(parts, ONE_CORE).frequencies_khz == (None,)
    assert probe.watched_paths(printing(b"", bundle(parts)), ONE_CORE).frequency_paths == (None,)


@pytest.mark.parametrize("temperature", ["0", "-127000", "-40000", "45", "200000", "cold", ""])
def test_a_temperature_that_cannot_be_is_left_out(temperature: str) -> None:
    parts = {"/sys/class/thermal/thermal_zone0/temp": temperature}
    assert state_of(parts, ONE_CORE).temperatures_c == {}
    assert probe.watched_paths(printing(b"", bundle(parts)), ONE_CORE).temperature_paths == ()


def test_frost_is_a_temperature() -> None:
    parts = {"/sys/class/thermal/thermal_zone0/temp": "-12500"}
    assert state_of(parts, ONE_CORE).temperatures_c == {"thermal_zone0": -12.5}


def test_the_battery_of_a_mouse_is_not_the_devices() -> None:
    mouse = "/sys/class/power_supply/hidpp_battery_0"
    parts = {f"{mouse}/type": "Battery", f"{mouse}/scope": "Device", f"{mouse}/capacity": "90"}
    assert state_of(parts, ONE_CORE).battery_percent is None


def test_names_cannot_steer_the_terminal() -> None:
    model = "Pi \x1b]0;title\x07\x1b[31mred\u202e"
    assert described({"/proc/device-tree/model": model}).name == "Pi ]0;title[31mred"


def test_a_shell_that_does_not_answer_is_named_with_its_last_words() -> None:
    device = printing(b"", complaint=b"This account is currently not available.\n")
    with pytest.raises(DeviceError) as caught:
        probe.describe(device)
    assert str(caught.value) == (
        "ssh://pi: its shell did not answer to what it is, and said last: "
        "This account is currently not available. Try whether `sh -c 'echo hello'` prints hello "
        "there"
    )


def test_an_answer_that_breaks_off_is_an_error_at_every_place() -> None:
    whole = (DEVICES / "raspberry-pi-4" / "description.txt").read_bytes().rstrip()
    for length in range(0, len(whole), 97):
        with pytest.raises(DeviceError, match="ssh://pi: its shell"):
            probe.describe(printing(whole[:length]))


PARTS = [
    "uname -s -r -m", "getconf LONG_BIT", "getconf _NPROCESSORS_ONLN", "/proc/cpuinfo",
    "/proc/meminfo", "/proc/sys/kernel/arch", "/etc/os-release", f"{CPUS}/online",
    f"{CPUS}/cpu0/cpu_capacity", f"{CPUS}/cpu1/cpu_capacity",
    f"{CPUS}/cpu0/cpufreq/related_cpus", f"{CPUS}/cpu0/cpufreq/cpuinfo_max_freq",
    f"{CPUS}/cpu1/cpufreq/related_cpus", f"{CPUS}/cpu1/cpufreq/cpuinfo_max_freq",
    f"{CPUS}/cpu0/cpufreq/scaling_cur_freq", f"{CPUS}/cpu0/cpufreq/scaling_governor",
    f"{CPUS}/cpu0/cpufreq/scaling_max_freq", "/sys/class/dmi/id/sys_vendor",
    "/sys/class/dmi/id/product_name", "/sys/class/ptp/ptp0/clock_name",
    "/sys/devices/system/clocksource/clocksource0/available_clocksource",
    "/proc/device-tree/model", "/proc/device-tree/compatible", "elf header of sh",
    "elf header of this", "program of this", "getprop", "/proc/loadavg",
    "/sys/class/thermal/thermal_zone0/type", "/sys/class/thermal/thermal_zone0/temp",
    "/sys/class/thermal/thermal_zone7/temp", "/sys/class/power_supply/BAT0/type",
    "/sys/class/power_supply/BAT0/status", "/sys/class/power_supply/BAT0/capacity",
    "vcgencmd get_throttled", "vcgencmd measure_clock arm", "dumpsys battery",
    "dumpsys thermalservice", "/sys/devices/platform/soc/soc:firmware/get_throttled",
]  # fmt: skip

WORDS = st.sampled_from(
    [
        "processor : 0", "processor : 99999999999999999999", "processor : -1", "CPU part : 0xd08",
        "CPU implementer : 0x41", "CPU implementer : 0xffffffffff", "Features : asimddp",
        "model name : \x1b[0m", "0-99999", "3-1", "0-3,,x,5-", "Battery", "level: 5", "scale: 0",
        "level: -3", "status: 9", "MemTotal: -5 kB", "MemTotal: 1e9 kB", "PRETTY_NAME=", "a,", ",",
        "throttled=0xffffffff", "throttled=0x", "frequency(0)=0000000", "nan", "inf", "-0", "1e999",
        "Temperature{mValue=1.2.3, mType=0, mName=\x00, mStatus=0}", "Thermal Status: 6",
        "Current temperatures from HAL:", "Temperature{mValue=-, mType=-1, mName= , mStatus=}",
        "7f 45 4c 46 02 01 01 00", "ro.product.model=", "ro.soc.model=\t", "Linux", "==edgefer== ",
    ]
)  # fmt: skip

CONTENT = st.lists(
    WORDS.map(str.encode) | st.integers().map(lambda n: str(n).encode()) | st.binary(max_size=60)
).map(b"\n".join)


@st.composite
def bundles(draw: st.DrawFn) -> bytes:
    """Draw an answer that has its marks, and anything at all between them."""
    parts = draw(st.lists(st.tuples(st.sampled_from(PARTS), CONTENT), max_size=12))
    middle = b"".join(b"\n==edgefer== " + name.encode() + b"\n" + text for name, text in parts)
    return draw(st.binary(max_size=20)) + b"\n==edgefer== begin" + middle + b"\n==edgefer== end"


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a known device's answer with a piece replaced by anything."""
    name, question = draw(st.sampled_from(NAMES)), draw(st.sampled_from(["description", "state"]))
    whole = (DEVICES / name / f"{question}.txt").read_bytes()
    start = draw(st.integers(0, len(whole)))
    return whole[:start] + draw(st.binary(max_size=40)) + whole[start + draw(st.integers(0, 400)) :]


@given(description=st.binary() | bundles() | damaged(), state=st.binary() | bundles() | damaged())
def test_whatever_a_device_prints_ends_in_a_record_or_a_device_error(
    description: bytes, state: bytes
) -> None:
    device = printing(description, state)
    found = ONE_CORE
    with suppress(DeviceError):
        found = probe.describe(device)
    assert from_json(DeviceDescription, to_json(found)) == found
    assert found.cpus
    with suppress(DeviceError):
        now = probe.circumstances(device, found)
        assert from_json(Circumstances, to_json(now)) == now
        assert len(now.frequencies_khz) == len(now.governors) == len(found.clusters)
        watched = probe.watched_paths(device, found)
        assert len(watched.frequency_paths) == len(found.clusters)


@given(printed=st.binary(), complaint=st.binary())
def test_the_error_is_one_line_whatever_was_printed(printed: bytes, complaint: bytes) -> None:
    with pytest.raises(DeviceError, match=r"^ssh://pi: its shell") as caught:
        probe.describe(printing(printed, complaint=complaint))
    assert str(caught.value).isprintable()
