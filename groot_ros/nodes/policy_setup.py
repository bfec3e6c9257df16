"""Objects that the policy node builds from its configuration."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from groot_ros.control.continuation import Continuation
from groot_ros.core import PolicyConfig, RtcMode
from groot_ros.observation.spec import ObservationSpec, SyncTolerances
from groot_ros.processing.assets import find_checkpoint
from groot_ros.robot import RobotContract

if TYPE_CHECKING:
    from groot_ros.policy import Policy


def load(*args: object, **kwargs: object) -> "Policy":
    """Call groot_ros.policy.load_policy; its import is late, so that the node answers meanwhile."""
    from groot_ros.policy import load_policy

    return load_policy(*args, **kwargs)  # type: ignore[arg-type]


def policy_of(
    config: PolicyConfig,
    contract: RobotContract,
    load_policy: Callable[..., "Policy"],
    progress: Callable[[str, float], None],
) -> "Policy":
    """Load the policy; raise ValueError with one line if that fails."""
    return load_policy(
        config.checkpoint,
        config.embodiment,
        robot=contract,
        device=config.device,
        # The engine registry still calls it by its former name.
        engine=config.engine.replace("reference", "plain"),
        engine_directory=config.engine_directory or None,
        allow_unvalidated_engine=config.allow_unvalidated_engine,
        dtype=config.dtype,
        backbone_assets=config.backbone_assets or None,
        num_inference_steps=config.num_inference_steps or None,
        progress=progress,
    )


def set_threads(config: PolicyConfig) -> int:
    """Set the number of CPU threads of torch for all new threads, and return it.

    Raises:
        ValueError: the number is invalid, or there is no such checkpoint.

    """
    from groot_ros.runtime.threads import threads_for, use_threads

    given = config.torch_threads
    count = given or threads_for(find_checkpoint(config.checkpoint))
    use_threads(count)
    return count


def wanted_by(policy: "Policy") -> ObservationSpec:
    """Return the contents of an observation for this policy."""
    return ObservationSpec(
        tuple(policy.views),
        tuple(policy.state_groups),
        policy.history["video"],
        policy.history["state"],
    )


def tolerances_of(config: PolicyConfig) -> SyncTolerances:
    """Return the synchronisation tolerances of an observation's inputs."""
    return SyncTolerances(
        max_image_age=config.max_image_age,
        max_image_skew=config.max_image_skew,
        max_state_gap=config.max_state_gap,
        max_future=config.max_future,
    )


def continuation_of(
    config: PolicyConfig, policy: "Policy", contract: RobotContract
) -> Continuation:
    """Return the source of prefixes, which let a chunk continue committed motion."""
    frozen = config.rtc_frozen_steps
    return Continuation(
        RtcMode[config.rtc_mode.upper()],
        {name: contract.groups[name].joints for name in policy.joint_groups},
        policy.dt,
        policy.horizon,
        policy.first_step,
        None if frozen < 0 else frozen,
    )
