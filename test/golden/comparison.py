# SPDX-License-Identifier: Apache-2.0
"""Compare one tensor with its golden value."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

TOLERANCE = 1e-5
TOKENIZER = Path(__file__).resolve().parents[3] / "shared" / "eagle_tokenizer"
_WHOLE, _NUMBERS = "biu", "biuf"


class UnavailableError(Exception):
    """A set needs something that this machine lacks."""


@dataclass(frozen=True)
class Comparison:
    """Largest absolute difference of one tensor, and its tolerance."""

    name: str
    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.difference <= self.tolerance < np.inf

    def __str__(self) -> str:
        outcome = "PASS" if self.passed else "FAIL"
        return f"  {outcome}  {self.difference:9.2e} <= {self.tolerance:.1e}  {self.name}"


def compare(name: str, ours, golden, tolerance: float | None = None) -> Comparison:
    """Return the largest absolute difference.

    Values that are not finite must be equal at the same places. Golden values may be integers where
    ours are floats, never the other way round.

    Args:
        name: printed.
        ours, golden: arrays or tensors.
        tolerance: None scales the default tolerance by the largest finite golden value, above 1.

    """
    a, b = (np.asarray(x.detach() if isinstance(x, Tensor) else x) for x in (ours, golden))
    if a.shape != b.shape:
        return _differs(f"{name}: shape {list(a.shape)}, golden {list(b.shape)}")
    if b.dtype.kind not in _NUMBERS or (a.dtype.kind in _WHOLE and b.dtype.kind not in _WHOLE):
        return _differs(f"{name}: {a.dtype}, golden {b.dtype}")
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=b.dtype.kind == "f"):
        return _differs(f"{name}: golden has {(~finite).sum()} values that are not finite")
    if not np.isfinite(a[finite]).all():
        return _differs(f"{name}: {(~np.isfinite(a[finite])).sum()} values are not finite")
    a, b = a[finite], b[finite]
    if tolerance is None:
        tolerance = TOLERANCE * max(1.0, float(np.abs(b).max(initial=0.0)))
    if {a.dtype.kind, b.dtype.kind} == {"f"}:
        # Some golden values are float64: round them to our precision before comparing.
        b = b.astype(a.dtype)
    difference = np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0)
    return Comparison(name, float(difference), tolerance)


def same(name: str, ours, golden) -> Comparison:
    """Require equality, element by element."""
    return compare(name, ours, golden, 0.0)


def _differs(what: str) -> Comparison:
    return Comparison(what, np.inf, 0.0)
