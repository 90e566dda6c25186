"""The state a device is in, from its answer to probe.sh."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgefer.benchmarks.probing.clusters import CPUS, frequency_khz
from edgefer.benchmarks.probing.parsing import Bundle, line, number
from edgefer.benchmarks.probing.watched import Watched
from edgefer.benchmarks.result import Circumstances, Cluster, DeviceDescription

# Bits of the Raspberry Pi's get_throttled; the same 16 higher have been set since boot
# (raspberrypi.com/documentation/computers/os.html, vcgencmd).
_PI_REASONS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")

# android.os.PowerManager's THERMAL_STATUS_….
_ANDROID_STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")

# android.os.Temperature's TYPE_BCL_VOLTAGE, _CURRENT and _PERCENTAGE, and TYPE_UNKNOWN.
_NOT_TEMPERATURES = ("6", "7", "8", "-1")

# android.os.BatteryManager's BATTERY_STATUS_…, and Linux' power_supply class.
_CHARGING = {
    "2": True,
    "3": False,
    "4": False,
    "5": False,
    "Charging": True,
    "Discharging": False,
    "Not charging": False,
    "Full": False,
}

_ZONES = r"(/sys/class/thermal/thermal_zone[0-9]+)/temp"
_SUPPLIES = r"(/sys/class/power_supply/[^/]+)/type"


def state_paths(description: DeviceDescription) -> list[str]:
    """Return the files to ask for: each cluster's frequencies and governor."""
    names = ("scaling_cur_freq", "scaling_governor", "scaling_max_freq", "cpuinfo_max_freq")
    return [f"{_folder(cluster)}/{name}" for cluster in description.clusters for name in names]


def circumstances(bundle: Bundle, description: DeviceDescription) -> Circumstances:
    """Put together what the device says of its state."""
    clusters = description.clusters
    battery_percent, charging = _battery(bundle)
    pi_bits = _pi_bits(bundle)
    return Circumstances(
        frequencies_khz=_frequencies_khz(bundle, clusters),
        governors=tuple(bundle.text(f"{_folder(each)}/scaling_governor") for each in clusters),
        temperatures_c=_temperatures_c(bundle),
        throttling=(
            *_pi_reasons(pi_bits),
            *_caps(bundle, clusters),
            *_android_throttling(bundle),
        ),
        throttling_since_boot=_pi_reasons(pi_bits >> 16),
        load_1min=_load_1min(bundle),
        battery_percent=battery_percent,
        charging=charging,
    )


def watched(bundle: Bundle, description: DeviceDescription) -> Watched:
    """Return which of the files that the device just showed are worth reading again."""
    paths = [f"{_folder(cluster)}/scaling_cur_freq" for cluster in description.clusters]
    return Watched(
        frequency_paths=tuple(path if frequency_khz(bundle, path) else None for path in paths),
        temperature_paths=tuple(f"{folder}/temp" for folder, _ in _zones(bundle)),
    )


def _folder(cluster: Cluster) -> str:
    return f"{CPUS}/cpu{cluster.cpus[0]}/cpufreq"


def _frequencies_khz(bundle: Bundle, clusters: tuple[Cluster, ...]) -> tuple[int | None, ...]:
    """Return each cluster's frequency now.

    A Raspberry Pi's kernel gives the one that it asked for; the firmware, which lowers it when
    the voltage drops or the chip is hot, gives the real one.
    """
    measured = re.fullmatch(
        r"frequency\([0-9]+\)=([0-9]{7,11})", bundle.text("vcgencmd measure_clock arm") or ""
    )
    if measured and len(clusters) == 1:
        return (int(measured[1]) // 1000,)
    return tuple(frequency_khz(bundle, f"{_folder(each)}/scaling_cur_freq") for each in clusters)


def _caps(bundle: Bundle, clusters: tuple[Cluster, ...]) -> Iterator[str]:
    """Yield where the kernel holds a cluster below what it can do, for heat or by a setting."""
    for cluster in clusters:
        allowed, possible = (
            frequency_khz(bundle, f"{_folder(cluster)}/{name}")
            for name in ("scaling_max_freq", "cpuinfo_max_freq")
        )
        if allowed and possible and allowed < possible:
            yield f"frequency of cpu{cluster.cpus[0]} capped at {allowed // 1000} MHz"


def _pi_bits(bundle: Bundle) -> int:
    answer = bundle.text("vcgencmd get_throttled") or ""
    file = bundle.text("/sys/devices/platform/soc/soc:firmware/get_throttled") or ""
    match = re.fullmatch("throttled=0x([0-9a-f]{1,8})", answer) or re.fullmatch(
        "([0-9a-f]{1,8})", file
    )
    return int(match[1], 16) if match else 0


def _pi_reasons(bits: int) -> tuple[str, ...]:
    return tuple(reason for bit, reason in enumerate(_PI_REASONS) if bits >> bit & 1)


def _android_throttling(bundle: Bundle) -> Iterator[str]:
    for text in bundle.lines("dumpsys thermalservice"):
        if match := re.fullmatch(r"Thermal Status: ([1-6])", text.strip()):
            yield f"thermal status {_ANDROID_STATUS[int(match[1])]}"


def _temperatures_c(bundle: Bundle) -> dict[str, float]:
    """Return temperatures by zone; two zones of one name are told apart by their numbers."""
    found: dict[str, float] = {}
    for folder, celsius in _zones(bundle):
        number_of_zone = folder.rpartition("/")[2]
        kind = bundle.text(f"{folder}/type") or number_of_zone
        found[f"{kind} ({number_of_zone})" if kind in found else kind] = celsius
    return found or _android_temperatures_c(bundle)


def _zones(bundle: Bundle) -> Iterator[tuple[str, float]]:
    """Yield (folder, temperature) of each thermal zone that gives a plausible one."""
    for folder, name in bundle.matching(_ZONES):
        thousandths = bundle.number(name)
        if thousandths is not None and _plausible(thousandths / 1000):
            yield folder, thousandths / 1000


def _android_temperatures_c(bundle: Bundle) -> dict[str, float]:
    """Return what the thermal service reads now, for phones that keep their zones to themselves."""
    dump = "\n".join(bundle.lines("dumpsys thermalservice"))
    now = dump.partition("Current temperatures from HAL:")[2].partition("Current cooling")[0]
    reading = r"mValue=(-?[0-9.]{1,30}), mType=(-?[0-9]+), mName=([^,}]+)"
    return {
        line(name) or kind: round(celsius, 3)
        for value, kind, name in re.findall(reading, now)
        if kind not in _NOT_TEMPERATURES
        and (celsius := _decimal(value)) is not None
        and _plausible(celsius)
    }


def _plausible(celsius: float) -> bool:
    """Leave out what sensors without a value give: 0, -127, -40, 200, or whole degrees as m°C."""
    return 1 <= abs(celsius) < 150 and celsius > -40


def _load_1min(bundle: Bundle) -> float | None:
    return _decimal((bundle.text("/proc/loadavg") or "").partition(" ")[0])


def _decimal(text: str) -> float | None:
    return float(text) if re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]{1,20})?", text) else None


def _battery(bundle: Bundle) -> tuple[float | None, bool | None]:
    """Return charge in percent and whether it charges; Android's own service knows best."""
    fields = [text.strip().partition(": ") for text in bundle.lines("dumpsys battery")]
    android = {name: value for name, _, value in fields}
    if "level" in android:
        level, scale = number(android["level"]), number(android.get("scale", "100"))
        percent = 100 * level / scale if level is not None and scale else None
        return _percent(percent), _CHARGING.get(android.get("status", ""))
    for folder, name in bundle.matching(_SUPPLIES):
        of_a_mouse = bundle.text(f"{folder}/scope") == "Device"
        if bundle.text(name) == "Battery" and not of_a_mouse:
            status = bundle.text(f"{folder}/status") or ""
            return _percent(bundle.number(f"{folder}/capacity")), _CHARGING.get(status)
    return None, None


def _percent(value: float | None) -> float | None:
    return float(value) if value is not None and 0 <= value <= 100 else None
