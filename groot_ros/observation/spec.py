"""What an observation must hold, and how far its inputs may disagree."""

from dataclasses import dataclass

from groot_ros.core import PolicyConfig


@dataclass(frozen=True)
class ObservationSpec:
    """What the policy looks at.

    Attributes:
        views: cameras of the contract.
        groups: state groups of the contract.
        image_deltas, state_deltas: steps of action_dt relative to t_obs, oldest first, none
            ahead of it; images have one at 0.

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
    """How old and how far apart the inputs of one observation may be, s."""

    max_image_age: float = PolicyConfig.max_image_age
    max_image_skew: float = PolicyConfig.max_image_skew
    max_state_gap: float = PolicyConfig.max_state_gap
    max_future: float = PolicyConfig.max_future
