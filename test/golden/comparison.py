"""One tensor of ours against its golden value."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

TOLERANCE = 1e-5
TOKENIZER = Path(__file__).resolve().parents[3] / "shared" / "eagle_tokenizer"


class UnavailableError(Exception):
    """This set needs something that is not on this machine."""


@dataclass(frozen=True)
class Comparison:
    """Largest absolute difference of one tensor, and what is allowed."""

    name: str
    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.difference <= self.tolerance

    def __str__(self) -> str:
        verdict = "PASS" if self.passed else "FAIL"
        return f"  {verdict}  {self.difference:9.2e} <= {self.tolerance:.1e}  {self.name}"


def compare(name: str, ours, golden, tolerance: float | None = None) -> Comparison:
    """Absolute difference; features (no tolerance given) are measured against their own size."""
    a, b = (np.asarray(x.detach() if isinstance(x, Tensor) else x) for x in (ours, golden))
    if a.shape != b.shape:
        return Comparison(f"{name}: shape {list(a.shape)}, golden {list(b.shape)}", np.inf, 0.0)
    if tolerance is None:
        tolerance = TOLERANCE * max(1.0, float(np.abs(b).max(initial=0.0)))
    if {a.dtype.kind, b.dtype.kind} == {"f"}:
        # Some golden values are float64: what ours cannot represent is no difference.
        b = b.astype(a.dtype)
    difference = np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0)
    return Comparison(name, float(np.nan_to_num(difference, nan=np.inf)), tolerance)


def same(name: str, ours, golden) -> Comparison:
    """Equal, element by element."""
    return compare(name, ours, golden, 0.0)
