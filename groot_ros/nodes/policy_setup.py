# SPDX-License-Identifier: Apache-2.0
"""Make what the policy node needs from its configuration and the loaded policy."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from groot_ros.checks import Context
from groot_ros.control.rtc import Continuation
from groot_ros.core import ActionChunk, Observation, PolicyConfig, Prefix, RtcMode, s_to_ns
from groot_ros.core.prompt import Pictures
from groot_ros.core.share import robot_path
from groot_ros.observation.inference import InferringPolicy
from groot_ros.observation.spec import ObservationSpec
from groot_ros.policy.pick_place import PickPlacePolicy
from groot_ros.robot import RobotContract

if TYPE_CHECKING:
    from groot_ros.families.family import PolicySpec
    from groot_ros.policy import Policy


def load(config: PolicyConfig, **options: Any) -> "Policy | PickPlacePolicy":
    """Call `load_robot_policy`; it is imported late, as the node answers while torch loads."""
    from groot_ros.policy.loading import load_robot_policy

    return load_robot_policy(config, **options)


def observation_spec(spec: "PolicySpec", contract: RobotContract) -> ObservationSpec:
    """Return what the policy observes.

    A policy with a planned motion needs the positions of all joints, whatever its model reads.
    """
    observed = ObservationSpec.of_policy(spec)
    if spec.action == "pick_place":
        observed = replace(observed, groups=tuple(contract.state_groups))
    return observed


def prompt_problem(policy: "Policy | PickPlacePolicy", text: str, pictures: Pictures) -> str:
    """Return why a policy cannot follow a text with these pictures, or an empty string."""
    if isinstance(policy, PickPlacePolicy):
        return policy.prompt_problem(text, pictures)
    if pictures and not policy.spec.pictures:
        names = ", ".join(f"{{{name}}}" for name in sorted(pictures))
        return (
            f"model family '{policy.spec.family}' takes texts only, but the prompt has pictures of "
            f"{names}: give a text with groot-ros say"
        )
    return ""


def checked(
    config: PolicyConfig, robot: RobotContract, spec: "PolicySpec", latency: float = 0.0
) -> Context:
    """Return what the policy's configure checks; the executor's parameters are not known to it."""
    return Context(spec, robot, str(robot_path(config.robot)), config, latency=latency)


def set_threads(config: PolicyConfig) -> int:
    """Set the number of CPU threads of torch for all new threads, and return it.

    Raises:
        ValueError: there is no such checkpoint.

    """
    from groot_ros.policy.loading import set_threads as set_torch_threads

    return set_torch_threads(config)


def continuation_of(
    config: PolicyConfig, policy: "Policy | PickPlacePolicy", contract: RobotContract
) -> Continuation:
    """Return how chunks of this policy continue committed motion."""
    frozen = config.rtc_frozen_steps
    mode = RtcMode[config.rtc_mode.upper()]
    return Continuation.of_policy(mode, policy, contract, None if frozen < 0 else frozen)


#: s between looks at the clock, which may be a simulated one.
_CLOCK_POLL = 0.001


class DelayedPolicy:
    """A policy whose inferences take longer.

    Args:
        policy: infers.
        delay: time by which each inference is prolonged, s of `clock`.
        clock: returns ROS time, ns.

    """

    def __init__(self, policy: InferringPolicy, delay: float, clock: Callable[[], int]) -> None:
        self._policy, self._delay_ns, self._clock = policy, s_to_ns(delay), clock
        self._until_ns = 0
        self._ended = threading.Event()

    @property
    def waiting(self) -> bool:
        """Return whether an inference waits for time to pass."""
        return self._clock() < self._until_ns

    def infer(
        self, observation: Observation, prefix: Prefix | None = None, seed: int | None = None
    ) -> ActionChunk:
        """Infer, then wait."""
        chunk = self._policy.infer(observation, prefix, seed)
        self._until_ns = self._clock() + self._delay_ns
        while self.waiting and not self._ended.wait(_CLOCK_POLL):
            pass
        self._until_ns = 0
        return chunk

    def reset(self) -> None:
        """Begin a new session."""
        self._policy.reset()

    def end(self) -> None:
        """End the wait of an inference in progress."""
        self._ended.set()
