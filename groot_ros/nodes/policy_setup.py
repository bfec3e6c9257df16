"""What the policy node's parameters name: the model, its threads, tolerances, conditioning."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from groot_ros.control.rtc import Continuation
from groot_ros.core import PolicyConfig, RtcMode
from groot_ros.observation.spec import ObservationSpec, SyncTolerances
from groot_ros.robot import RobotContract

if TYPE_CHECKING:
    from groot_ros.policy import Policy


def load(*args: object, **kwargs: object) -> "Policy":
    """groot_ros.policy.load_policy, imported only now: the node answers while torch loads."""
    from groot_ros.policy import load_policy

    return load_policy(*args, **kwargs)  # type: ignore[arg-type]


def policy_of(
    config: PolicyConfig,
    contract: RobotContract,
    load_policy: Callable[..., "Policy"],
    progress: Callable[[str, float], None],
) -> "Policy":
    """The model; raises ValueError in one line."""
    return load_policy(config, robot=contract, progress=progress)


def set_threads(config: PolicyConfig) -> int:
    """Of torch, from now on in every new thread: how many; raises ValueError in one line."""
    from groot_ros.policy.loading import set_threads as set_

    return set_(config)


def wanted_by(policy: "Policy") -> ObservationSpec:
    """What an observation for this policy must hold."""
    return ObservationSpec(
        tuple(policy.spec.views),
        tuple(policy.spec.state_groups),
        policy.spec.image_history,
        policy.spec.state_history,
    )


def tolerances_of(config: PolicyConfig) -> SyncTolerances:
    """How far the inputs of an observation may disagree."""
    return SyncTolerances(
        max_image_age=config.max_image_age,
        max_image_skew=config.max_image_skew,
        max_state_gap=config.max_state_gap,
        max_future=config.max_future,
    )


def continuation_of(
    config: PolicyConfig, policy: "Policy", contract: RobotContract
) -> Continuation:
    """How chunks of this policy continue committed motion."""
    frozen = config.rtc_frozen_steps
    return Continuation(
        RtcMode[config.rtc_mode.upper()],
        {name: contract.groups[name].joints for name in policy.joint_groups},
        policy.dt,
        policy.spec.horizon,
        policy.first_step,
        None if frozen < 0 else frozen,
    )
