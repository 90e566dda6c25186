"""Published latencies of boards and phones, and what int8 can be expected to gain."""

from __future__ import annotations

from dataclasses import dataclass

from edgefer.benchmarks.result import DeviceDescription


@dataclass(frozen=True, kw_only=True)
class PublishedLatency:
    """One network on one device, float32 and int8, as someone else measured it."""

    network: str
    device: str
    """The first words of the name that the device gives itself."""
    float32_ms: float
    int8_ms: float
    source: str

    @property
    def int8_speedup(self) -> float:
        """How many times faster int8 is."""
        return self.float32_ms / self.int8_ms


XNNPACK_64 = "XNNPACK's README, February 2022: 64-bit, all cores"
XNNPACK_32 = "XNNPACK's README, February 2022: 3+, 32-bit Raspbian, all cores"
MLPERF = "MLPerf Inference v1.0, TensorFlow Lite 2.4 with ruy, 4 threads"
TFLITE = "TensorFlow Lite, performance measurement, 4 threads"
ARM = "Arm, ExecuTorch with XNNPACK"

PUBLISHED = (
    PublishedLatency(
        network="MobileNetV1 1.0 224",
        device="Raspberry Pi 4",
        float32_ms=77,
        int8_ms=24,
        source=XNNPACK_64,
    ),
    PublishedLatency(
        network="MobileNetV2 1.0 224",
        device="Raspberry Pi 4",
        float32_ms=46,
        int8_ms=17,
        source=XNNPACK_64,
    ),
    PublishedLatency(
        network="MobileNetV1 1.0 224",
        device="Raspberry Pi 3",
        float32_ms=114,
        int8_ms=46,
        source=XNNPACK_32,
    ),
    PublishedLatency(
        network="MobileNetV1 1.0 224",
        device="Raspberry Pi 4",
        float32_ms=67.9,
        int8_ms=28.5,
        source=MLPERF,
    ),
    PublishedLatency(
        network="MobileNetV1 1.0 224",
        device="Pixel 3",
        float32_ms=23.9,
        int8_ms=13.4,
        source=TFLITE,
    ),
    PublishedLatency(
        network="MobileNetV1 1.0 224",
        device="Pixel 4",
        float32_ms=14.0,
        int8_ms=5.0,
        source=TFLITE,
    ),
    PublishedLatency(
        network="MobileNetV2 1.0 224",
        device="Raspberry Pi 5",
        float32_ms=10.9,
        int8_ms=4.0,
        source=ARM,
    ),
)

INT8_SPEEDUP_LOW, INT8_SPEEDUP_HIGH = 1.9, 3.2
"""How many times faster int8 is than float32 on 64-bit Arm boards, for networks like MobileNet."""

INT8_SPEEDUP_SUSPECT = 1.2
"""Under this, suspect that int8 is not delegated, a 32-bit system, or the runtime's build."""


def expects_int8_speedup(device: DeviceDescription) -> bool:
    """Say whether int8 should be faster than float32 on a device.

    Nothing can be expected of emulated devices, nor of anything but Arm: on x86 without VNNI's
    instructions int8 can be slower than float32.
    """
    return device.emulated is None and device.architecture.startswith(("aarch64", "arm"))


def published_on(device: DeviceDescription) -> tuple[PublishedLatency, ...]:
    """Return what was published for a device.

    Whole words of its name count: a Raspberry Pi 400 is no Raspberry Pi 4, a Pixel 4a no Pixel 4.
    """
    return tuple(each for each in PUBLISHED if f"{device.name} ".startswith(f"{each.device} "))
