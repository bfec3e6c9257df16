"""How programs are executed: engines, their files, validation and selection.

Importable without torch; `engine_names` lists the engines without importing any.
"""

from collections.abc import Iterable

from groot_ros.core.config import module_names

#: What an option or parameter may name besides an engine: the fastest that is validated here.
AUTO = "auto"
#: Of exported weights and tensors.
PRECISIONS = ("float32", "bfloat16", "float16")
#: Element types that matrix products of an exported segment can be stored in.
QUANTISED = ("int8", "fp8")
#: How exported files express attention: as products and a softmax, or as one operator.
ATTENTION = ("math", "fused")
#: Largest error in normalised units (training data span [-1, 1]), by precision;
#: docs/how-to/engines.md gives the reasons.
TOLERANCES = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 3e-2, "int8": 5e-2, "fp8": 5e-2}
#: A tolerance may be this many times the error of the reference model in a precision.
_ROUNDINGS = 2.0
#: Agreement to a tenth of the range of the data validates nothing.
_COARSEST = 0.2


def engine_names() -> tuple[str, ...]:
    """Return the names of all engines: the modules of `runtime.engines`."""
    return module_names("runtime/engines")


def tolerance_for(precision: str, rounding: float = 0.0, quantised: Iterable[str] = ()) -> float:
    """Return the permitted error of files: by precision, or twice the measured rounding.

    Args:
        precision: of weights and tensors.
        rounding: error of the reference model in this precision.
        quantised: element types of quantised products, "" where there are none.

    """
    kinds = (precision, *filter(None, quantised))
    return max(_ROUNDINGS * rounding, *(TOLERANCES[kind] for kind in kinds))


def largest_rounding(precision: str) -> float:
    """Return the largest rounding that can be validated; 0 in float32, which is the reference."""
    return 0.0 if precision == "float32" else _COARSEST / _ROUNDINGS
