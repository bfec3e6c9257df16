"""Permitted errors of engines against the reference model in float32."""

from collections.abc import Iterable

#: Largest error in normalised units (training data span [-1, 1]), by precision;
#: docs/how-to/engines.md gives the reasons.
TOLERANCES = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 3e-2, "int8": 5e-2, "fp8": 5e-2}
#: A tolerance may be this many times the error of the reference model in a precision.
_ROUNDINGS = 2.0
#: Agreement to a tenth of the range of the data validates nothing.
_COARSEST = 0.2


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
