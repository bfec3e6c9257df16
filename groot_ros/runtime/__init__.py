# SPDX-License-Identifier: Apache-2.0
"""Execution of programs: engines, their files, validation and selection.

Importable without torch; `engine_names` lists the engines without importing any.
"""

from collections.abc import Iterable

from groot_ros.core.config import module_names

#: Value of an option or parameter that selects the fastest engine that validates on this machine.
AUTO = "auto"
#: Precisions of exported weights and tensors.
PRECISIONS = ("float32", "bfloat16", "float16")
#: Element types to which matrix products of an exported segment can be quantised.
QUANTISED = ("int8", "fp8")
#: Forms of attention in exported files: products and a softmax, or one operator.
ATTENTION = ("math", "fused")
#: Largest error in normalised units (training data span [-1, 1]), by precision;
#: docs/how-to/engines.md gives the reasons.
TOLERANCES = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 3e-2, "int8": 5e-2, "fp8": 5e-2}
#: Permitted ratio of an engine's error to that of the reference model in the same precision.
_ROUNDINGS = 2.0
#: Largest tolerance: a tenth of the data's range [-1, 1]. A larger one would prove nothing.
_COARSEST = 0.2


def engine_names() -> tuple[str, ...]:
    """Return the names of all engines: the modules of `runtime.engines`."""
    return module_names("runtime/engines")


def tolerance_for(precision: str, rounding: float = 0.0, quantised: Iterable[str] = ()) -> float:
    """Return the permitted error of engine files, in normalised units.

    It is the largest of the tolerances of all element types used, or twice the rounding if that
    is larger.

    Args:
        precision: element type of weights and tensors.
        rounding: measured error of the reference model in this precision.
        quantised: element types of the segments' quantised products, "" for a segment with none.

    """
    kinds = (precision, *filter(None, quantised))
    return max(_ROUNDINGS * rounding, *(TOLERANCES[kind] for kind in kinds))


def largest_rounding(precision: str) -> float:
    """Return the largest rounding that can be validated; 0 for float32, the reference precision."""
    return 0.0 if precision == "float32" else _COARSEST / _ROUNDINGS
