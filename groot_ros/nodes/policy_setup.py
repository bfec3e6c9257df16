# SPDX-License-Identifier: Apache-2.0
"""Make what the policy node needs from its configuration and the loaded policy."""

from typing import TYPE_CHECKING, Any

from groot_ros.checks import Context
from groot_ros.control.rtc import Continuation
from groot_ros.core import PolicyConfig, RtcMode
from groot_ros.core.share import robot_path
from groot_ros.observation.spec import ObservationSpec, SyncTolerances
from groot_ros.robot import RobotContract

if TYPE_CHECKING:
    from groot_ros.families.family import PolicySpec
    from groot_ros.policy import Policy


def load(config: PolicyConfig, **options: Any) -> "Policy":
    """Call `groot_ros.policy.load_policy`; imported late, as the node answers while torch loads."""
    from groot_ros.policy import load_policy

    return load_policy(config, **options)


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


def observation_spec_of(policy: "Policy") -> ObservationSpec:
    """Return the contents of an observation for this policy."""
    spec = policy.spec
    return ObservationSpec(
        tuple(spec.views), tuple(spec.state_groups), spec.image_history, spec.state_history
    )


def tolerances_of(config: PolicyConfig) -> SyncTolerances:
    """Return the largest ages and time differences of an observation's inputs."""
    return SyncTolerances(
        max_image_age=config.max_image_age,
        max_image_skew=config.max_image_skew,
        max_state_gap=config.max_state_gap,
        max_future=config.max_future,
    )


def continuation_of(
    config: PolicyConfig, policy: "Policy", contract: RobotContract
) -> Continuation:
    """Return how chunks of this policy continue committed motion."""
    frozen = config.rtc_frozen_steps
    return Continuation(
        RtcMode[config.rtc_mode.upper()],
        {name: contract.action_groups[name].joints for name in policy.joint_groups},
        policy.dt,
        policy.spec.horizon,
        policy.first_step,
        None if frozen < 0 else frozen,
    )
