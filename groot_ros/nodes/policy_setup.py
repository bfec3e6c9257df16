# SPDX-License-Identifier: Apache-2.0
"""Make what the policy node needs from its configuration and the loaded policy."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from groot_ros.checks import Context
from groot_ros.control.rtc import Continuation
from groot_ros.core import PolicyConfig, RtcMode
from groot_ros.core.prompt import Pictures
from groot_ros.core.share import robot_path
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
