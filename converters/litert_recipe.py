"""Our recipe in litert-quantizer's words: which of its algorithms for which operators."""

import re
from collections.abc import Iterable
from typing import Any

from edgefer.converters import graph
from edgefer.converters.mixed_precision import ROUNDING_KINDS
from edgefer.converters.operator_plan import OperatorPlan
from edgefer.converters.recipes import IoType, Precision, QuantizationRecipe


def litert_recipe(
    recipe: QuantizationRecipe, content: graph.Graph, plan: OperatorPlan
) -> list[dict[str, Any]]:
    """Return litert-quantizer's recipe for a graph; of its rules the last that matches holds."""
    from litert_quantizer import qtyping
    from litert_quantizer import recipe as presets
    from litert_quantizer.algorithm_manager import AlgorithmName
    from litert_quantizer.recipe_manager import RecipeManager

    manager = RecipeManager()
    everything = qtyping.TFLOperationName.ALL_SUPPORTED
    if recipe.precision is Precision.FLOAT16:
        half = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
        config = qtyping.OpQuantizationConfig(
            weight_tensor_config=half,
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        )
        manager.add_quantization_config(".*", everything, config, AlgorithmName.FLOAT_CASTING)
        return list(manager.get_quantization_recipe())
    preset = {
        Precision.DYNAMIC: presets.dynamic_wi8_afp32,
        Precision.INT16X8: presets.static_wi8_ai16,
        Precision.INT8: presets.static_wi8_ai8,
    }[recipe.precision]
    manager.load_quantization_recipe(preset())
    if plan.int16:
        manager.add_static_config(_scopes(content, plan.int16), everything, 16, 8)
    if plan.floats:
        scopes = _scopes(content, plan.floats)
        manager.add_quantization_config(scopes, everything, algorithm_key=AlgorithmName.NO_QUANTIZE)
    if plan.rounding:
        rounding = _scopes(content, plan.rounding)
        for kind in sorted(ROUNDING_KINDS):
            manager.add_dynamic_config(rounding, qtyping.TFLOperationName(kind), num_bits=8)
    if plan.floats and recipe.output_type is not IoType.FLOAT32:
        scores = f"^{re.escape(content.tensors[content.outputs[0]].name)};"
        manager.add_static_config(scores, qtyping.TFLOperationName.OUTPUT, 8, 8)
    return list(manager.get_quantization_recipe())


def _scopes(content: graph.Graph, positions: Iterable[int]) -> str:
    """Return the regular expression by which litert-quantizer finds the operators at positions.

    It searches in the names of what an operator writes, each with a semicolon behind it.
    """
    first = [content.operators[index].outputs[0] for index in sorted(positions)]
    return f"^({'|'.join(re.escape(content.tensors[tensor].name) for tensor in first)});"
