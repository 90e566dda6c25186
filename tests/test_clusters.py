"""How cores are put together into clusters."""

from __future__ import annotations

from probe_answers import CPUS, DEVICES, described, printing

from edgefer.benchmarks.probing import probe
from edgefer.benchmarks.probing.processors import core_name
from edgefer.benchmarks.result import Cluster


def test_big_cores_with_the_lower_frequency_are_big_all_the_same() -> None:
    """Amlogic's S922X: A53 at 1.9 GHz beside A73 at 1.8, and no capacity from an old kernel."""
    little = {0: ("0xd03", "0 1", 1_896_000), 1: ("0xd03", "0 1", 1_896_000)}
    both = little | dict.fromkeys(range(2, 6), ("0xd09", "2 3 4 5", 1800000))
    description = described(
        {
            "/proc/cpuinfo": "\n".join(
                f"processor : {cpu}\nCPU implementer : 0x41\nCPU part : {part}"
                for cpu, (part, _, _) in both.items()
            ),
            **{f"{CPUS}/cpu{cpu}/cpufreq/related_cpus": each[1] for cpu, each in both.items()},
            **{
                f"{CPUS}/cpu{cpu}/cpufreq/cpuinfo_max_freq": str(each[2])
                for cpu, each in both.items()
            },
        }
    )
    assert probe.resolve_cores("big", description) == (2, 3, 4, 5)


def test_cores_that_are_switched_off_are_left_out() -> None:
    answer = (
        (DEVICES / "pixel-8" / "description.txt").read_bytes().replace(b"\n0-8\n", b"\n0-5,7\n")
    )
    description = probe.describe(printing(answer))
    assert description.cpus == (0, 1, 2, 3, 4, 5, 7)
    assert [cluster.name for cluster in description.clusters] == ["Cortex-A510", "Cortex-A715"]


def test_a_favoured_core_is_no_cluster_of_its_own() -> None:
    """AMD's and Intel's best cores reach some percent more than the rest."""
    maxima = [5_050_000, 5_050_000, 4_900_000, 4_750_000]
    description = described(
        {
            f"{CPUS}/online": "0-3",
            **{f"{CPUS}/cpu{n}/cpufreq/related_cpus": str(n) for n in range(4)},
            **{f"{CPUS}/cpu{n}/cpufreq/cpuinfo_max_freq": str(m) for n, m in enumerate(maxima)},
        }
    )
    assert description.clusters == (Cluster(cpus=(0, 1, 2, 3), maximum_khz=5_050_000),)


def test_a_core_that_is_newer_than_the_table_is_named_by_its_numbers() -> None:
    assert core_name(0x41, 0xFFF) == "Arm core 0x41:0xfff"
