# SPDX-License-Identifier: Apache-2.0
"""Contents of an observation, and the tolerances for synchronising its inputs."""

from dataclasses import dataclass

from groot_ros.core import PolicyConfig


@dataclass(frozen=True)
class ObservationSpec:
    """Inputs that a policy needs.

    Attributes:
        views: cameras of the robot contract.
        groups: state groups of the robot contract.
        image_deltas, state_deltas: steps of action_dt relative to t_obs, ascending and at most
            0; the last one of the images is 0.

    Raises:
        ValueError: the deltas are not ascending, or the last one is not allowed.

    """

    views: tuple[str, ...]
    groups: tuple[str, ...]
    image_deltas: tuple[int, ...] = (0,)
    state_deltas: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for deltas in (self.image_deltas, self.state_deltas):
            if not deltas or list(deltas) != sorted(set(deltas)) or deltas[-1] > 0:
                raise ValueError(f"deltas must ascend and end at or before 0, not {list(deltas)}")
        if self.image_deltas[-1] != 0:
            raise ValueError(f"image deltas must end at 0, not {list(self.image_deltas)}")


@dataclass(frozen=True)
class SyncTolerances:
    """Largest age of the inputs of an observation, and largest time between them, s."""

    max_image_age: float = PolicyConfig.max_image_age
    max_image_skew: float = PolicyConfig.max_image_skew
    max_state_gap: float = PolicyConfig.max_state_gap
    max_future: float = PolicyConfig.max_future
