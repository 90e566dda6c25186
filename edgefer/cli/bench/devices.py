"""`edgefer bench devices`: which devices can be reached, and what they are."""

import click

from edgefer.benchmarks import devices as known
from edgefer.benchmarks.plan import BenchPlan
from edgefer.benchmarks.result import Cluster, DeviceDescription
from edgefer.cli import console
from edgefer.cli.options import debug_option, json_option
from edgefer.cli.text import examples
from edgefer.errors import DeviceError
from edgefer.records import to_dict

SCHEMA_VERSION = 1


@click.command(
    "devices",
    epilog=examples(
        "edgefer bench devices",
        "edgefer bench devices ssh://pi@raspberrypi.local ssh://pi5",
    ),
)
@click.argument("addresses", nargs=-1, metavar="[DEVICE]...")
@json_option
@debug_option
def command(*, addresses: tuple[str, ...], as_json: bool) -> None:
    """Say what each DEVICE is: processor, cores, features, memory, system, runtime.

    Without DEVICE: this machine and every Android device that adb sees. A device that cannot be
    reached is listed with the reason.
    """
    asked = known.expand(addresses or (*BenchPlan.devices, *known.attached()))
    failures: list[DeviceError] = []
    found: dict[str, known.Reached] = {}
    with console.parallel_bars() as bars:
        for done, (address, answer) in enumerate(known.reachable(asked), 1):
            bars.report("Asking", done, len(asked))
            if isinstance(answer, DeviceError):
                failures.append(answer)
            else:
                found[address] = answer
    if as_json:
        described = {
            address: {**to_dict(reached.description), "runtime": reached.runtime}
            for address, reached in found.items()
        }
        reasons = [str(failure) for failure in failures]
        console.print_json(
            {"schema_version": SCHEMA_VERSION, "devices": described, "failures": reasons}
        )
    else:
        show(found)
    if failures:
        for failure in failures[:-1]:
            console.message_console().print(f"error: {failure}", style="red")
        raise failures[-1]


def show(found: dict[str, known.Reached]) -> None:
    """Print a device's facts, a line each."""
    out = console.result_console()
    for address, reached in found.items():
        out.print(address, style="bold")
        for name, value in facts(reached.description, reached.runtime):
            out.print(f"{name:>12}  {value}")


def facts(device: DeviceDescription, runtime: str | None) -> list[tuple[str, str]]:
    """Return what is known of a device, a fact a row."""
    known_facts = [
        ("device", device.name),
        ("SoC", device.soc if device.soc != device.name else None),
        ("cores", ", ".join(cluster_text(cluster) for cluster in device.clusters)),
        ("features", ", ".join(device.features)),
        ("memory", device.memory_bytes and f"{device.memory_bytes / 1e9:.1f} GB"),
        ("system", f"{device.system}, {device.userland_bits} bit"),
        ("kernel", f"{device.kernel} {device.architecture}"),
        ("runtime", runtime or "none found"),
        ("emulated", device.emulated),
    ]
    return [(name, str(value)) for name, value in known_facts if value]


def cluster_text(cluster: Cluster) -> str:
    """Return a cluster as 4× Cortex-A76 at up to 2.4 GHz (0-3)."""
    highest = f" at up to {cluster.maximum_khz / 1e6:.1f} GHz" if cluster.maximum_khz else ""
    numbers = ",".join(map(str, cluster.cpus))
    return f"{len(cluster.cpus)}× {cluster.name or 'core'}{highest} ({numbers})"
