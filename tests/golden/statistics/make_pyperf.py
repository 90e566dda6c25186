"""Write pyperf.json: what pyperf says of two sets of latencies, in microseconds.

Run by hand, with pyperf installed: python make_pyperf.py
"""

import json
import random
from pathlib import Path

import pyperf  # type: ignore[import-not-found]  # installed only to run this


def samples(seed: int, processes: int, runs: int) -> list[list[float]]:
    """Skewed runs around 12 ms, the processes a little apart; rounded as JSON keeps them."""
    source = random.Random(seed)
    found = []
    for _ in range(processes):
        middle = source.gauss(12_000, 150)
        found.append([round(middle + source.expovariate(1 / 200), 3) for _ in range(runs)])
    return found


def summary(processes: list[list[float]]) -> dict[str, float]:
    """Ask pyperf, a run of its for each process."""
    named = {"name": "latency"}
    benchmark = pyperf.Benchmark(
        [pyperf.Run(runs, metadata=named, collect_metadata=False) for runs in processes]
    )
    return {
        "runs": benchmark.get_nvalue(),
        "median": benchmark.median(),
        "mean": benchmark.mean(),
        "stdev": benchmark.stdev(),
        "median_abs_dev": benchmark.median_abs_dev(),
        "minimum": benchmark.percentile(0),
    }


if __name__ == "__main__":
    sets = [samples(1, 3, 64), samples(2, 5, 101)]
    golden = {
        "pyperf": pyperf.__version__,
        "sets": [{"processes": each, "pyperf": summary(each)} for each in sets],
    }
    path = Path(__file__).with_name("pyperf.json")
    path.write_text(json.dumps(golden) + "\n", encoding="utf-8")
