"""How far an engine may be from the plain form in float32, and how far a manifest may allow it."""

from collections.abc import Iterable

#: Largest error in normalised units (training data span [-1, 1]), by precision;
#: docs/how-to/engines.md says why these.
TOLERANCES = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 3e-2, "int8": 5e-2, "fp8": 5e-2}
#: A tolerance may be this many times what the plain form itself loses in a precision.
_ROUNDINGS = 2.0
#: Nothing is proven by agreeing to less than a tenth of the range of the data.
_COARSEST = 0.2


def tolerance_for(precision: str, rounding: float = 0.0, quantised: Iterable[str] = ()) -> float:
    """What files may err: by their precision, or twice what was measured to be lost by it.

    Args:
        precision: of weights and tensors.
        rounding: error of the plain form itself in this precision.
        quantised: what products of stages are stored in, "" where in nothing else.

    """
    kinds = (precision, *filter(None, quantised))
    return max(_ROUNDINGS * rounding, *(TOLERANCES[kind] for kind in kinds))


def largest_rounding(precision: str) -> float:
    """What can be measured to be lost: nothing in float32, for that is the measure."""
    return 0.0 if precision == "float32" else _COARSEST / _ROUNDINGS
