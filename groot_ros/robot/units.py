"""Between the units of ROS (rad, m) and those that a checkpoint was trained in."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class UnitMap:
    """model = sign * scale * (si - offset), per joint; invertible by construction.

    Attributes:
        sign: +1 or -1, -1 where the data set counts the other way round.
        scale: model units per rad (or m), > 0; 57.29578 for degrees.
        offset: the SI value at which the model's value is 0, rad or m.

    """

    sign: float = 1.0
    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if self.sign not in (1.0, -1.0):
            raise ValueError(f"sign must be 1 or -1, not {self.sign}")
        if not (np.isfinite(self.scale) and self.scale > 0 and np.isfinite(self.offset)):
            raise ValueError(
                f"scale must be positive and offset finite, not {self.scale}, {self.offset}"
            )

    @classmethod
    def through(cls, closed: tuple[float, float], opened: tuple[float, float]) -> "UnitMap":
        """The linear map through two (si, model) pairs, as a gripper states its ends."""
        slope = (opened[1] - closed[1]) / (opened[0] - closed[0])
        return cls(float(np.sign(slope)), abs(slope), closed[0] - closed[1] / slope)

    def to_model(self, si: ArrayLike) -> NDArray[np.float64]:
        """Rad or m to the checkpoint's unit."""
        return self.sign * self.scale * (np.asarray(si, dtype=np.float64) - self.offset)

    def to_si(self, model: ArrayLike) -> NDArray[np.float64]:
        """The checkpoint's unit to rad or m."""
        return self.sign * np.asarray(model, dtype=np.float64) / self.scale + self.offset
