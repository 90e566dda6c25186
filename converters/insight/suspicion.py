"""Which operators most likely cost answers, where measuring each alone would take too long."""

from collections.abc import Sequence

from edgefer.converters.graph import Graph
from edgefer.converters.insight.comparison import OperatorComparison


def most_suspicious(
    content: Graph, compared: Sequence[OperatorComparison], candidates: Sequence[int], most: int
) -> list[int]:
    """Return the positions of the candidates that add most noise to what they are given.

    Noise is relative to the signal: what an operator adds is its output's, less that of the worst
    of its inputs. `content` is the float model's graph.
    """
    noise = {one.tensor: 10 ** (-one.sqnr_db / 10) for one in compared}
    added = {}
    for position in candidates:
        operator = content.operators[position]
        names = [content.tensors[index].name for index in operator.inputs if index >= 0]
        given = max((noise.get(name, 0.0) for name in names), default=0.0)
        written = content.tensors[operator.outputs[0]].name
        added[position] = noise.get(written, 0.0) - given
    return sorted(sorted(candidates, key=lambda position: -added[position])[:most])
