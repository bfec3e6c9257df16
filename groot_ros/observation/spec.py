# SPDX-License-Identifier: Apache-2.0
"""Contents of an observation, and the tolerances for synchronising its inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from groot_ros.core import PolicyConfig


class _PolicySpec(Protocol):
    """The part of groot_ros.policy.PolicySpec that states the inputs."""

    @property
    def views(self) -> tuple[str, ...]:
        """Cameras."""

    @property
    def state_groups(self) -> Mapping[str, Any]:
        """State group -> number of columns."""

    @property
    def image_history(self) -> tuple[int, ...]:
        """Steps of the images relative to the observation."""

    @property
    def state_history(self) -> tuple[int, ...]:
        """Steps of the state relative to the observation."""

    @property
    def labels(self) -> bool:
        """Return whether each image comes with labels of its objects."""


@dataclass(frozen=True)
class ObservationSpec:
    """Inputs that a policy needs.

    Attributes:
        views: cameras of the robot contract.
        groups: state groups of the robot contract.
        image_deltas, state_deltas: steps of action_dt relative to t_obs, ascending and at most
            0; the last one of the images is 0.
        labels: whether each image comes with labels of its objects.

    Raises:
        ValueError: the deltas are not ascending, the last one is not allowed, or earlier images
            would need labels.

    """

    views: tuple[str, ...]
    groups: tuple[str, ...]
    image_deltas: tuple[int, ...] = (0,)
    state_deltas: tuple[int, ...] = (0,)
    labels: bool = False

    def __post_init__(self) -> None:
        for deltas, ends_now in ((self.image_deltas, True), (self.state_deltas, False)):
            if problem := history_problem(deltas, ends_now=ends_now):
                raise ValueError(f"history {problem}")
        if self.labels and len(self.image_deltas) > 1:
            raise ValueError(f"labels are of the newest image only, not of {self.image_deltas}")

    @classmethod
    def of_policy(cls, spec: _PolicySpec) -> "ObservationSpec":
        """Return the contents of an observation for a policy of this specification."""
        return cls(
            tuple(spec.views),
            tuple(spec.state_groups),
            spec.image_history,
            spec.state_history,
            spec.labels,
        )


def history_problem(deltas: Sequence[int], *, ends_now: bool) -> str:
    """Return why these steps cannot be the history of an observation, or an empty string.

    Args:
        deltas: steps relative to the observation.
        ends_now: True for images, whose last step must be 0, because the newest images define the
            time of the observation.

    """
    if not deltas or list(deltas) != sorted(set(deltas)):
        return f"is {list(deltas)}, which does not ascend"
    if deltas[-1] > 0:
        return f"is {list(deltas)}, which ends in the future"
    if ends_now and deltas[-1] != 0:
        return f"is {list(deltas)}, which ends before the observation"
    return ""


@dataclass(frozen=True)
class SyncTolerances:
    """Largest age of the inputs of an observation, and largest time between them, s."""

    max_image_age: float = PolicyConfig.max_image_age
    max_image_skew: float = PolicyConfig.max_image_skew
    max_state_gap: float = PolicyConfig.max_state_gap
    max_future: float = PolicyConfig.max_future

    @classmethod
    def of_config(cls, config: PolicyConfig) -> "SyncTolerances":
        """Return the tolerances that a policy node with this configuration applies."""
        return cls(
            config.max_image_age, config.max_image_skew, config.max_state_gap, config.max_future
        )
