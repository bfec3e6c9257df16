"""What the policy node's parameters name: the model, its threads, tolerances, conditioning."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from groot_ros.bridge.parameters import Parameters
from groot_ros.control.rtc import Continuation
from groot_ros.core import RtcMode
from groot_ros.observation.spec import ObservationSpec, SyncTolerances
from groot_ros.processing.assets import find_checkpoint
from groot_ros.robot import RobotContract

if TYPE_CHECKING:
    from groot_ros.policy import Policy


def load(*args: object, **kwargs: object) -> "Policy":
    """groot_ros.policy.load_policy, imported only now: the node answers while torch loads."""
    from groot_ros.policy import load_policy

    return load_policy(*args, **kwargs)  # type: ignore[arg-type]


def policy_of(
    settings: Parameters,
    contract: RobotContract,
    load_policy: Callable[..., "Policy"],
    progress: Callable[[str, float], None],
) -> "Policy":
    """The model; raises ValueError in one line."""
    return load_policy(
        settings.text("checkpoint"),
        settings.text("embodiment"),
        robot=contract,
        device=settings.text("device"),
        engine=settings.text("engine"),
        engine_directory=settings.text("engine_directory") or None,
        allow_unvalidated_engine=settings.flag("allow_unvalidated_engine"),
        dtype=settings.text("dtype"),
        backbone_assets=settings.text("backbone_assets") or None,
        num_inference_steps=settings.integer("num_inference_steps") or None,
        progress=progress,
    )


def set_threads(settings: Parameters) -> int:
    """Of torch, from now on in every new thread: how many; raises ValueError in one line."""
    from groot_ros.runtime.threads import threads_for, use_threads

    given = settings.integer("torch_threads")
    count = given or threads_for(find_checkpoint(settings.text("checkpoint")))
    use_threads(count)
    return count


def wanted_by(policy: "Policy") -> ObservationSpec:
    """What an observation for this policy must hold."""
    return ObservationSpec(
        tuple(policy.views),
        tuple(policy.state_groups),
        policy.history["video"],
        policy.history["state"],
    )


def tolerances_of(settings: Parameters) -> SyncTolerances:
    """How far the inputs of an observation may disagree."""
    return SyncTolerances(
        max_image_age=settings.number("max_image_age"),
        max_image_skew=settings.number("max_image_skew"),
        max_state_gap=settings.number("max_state_gap"),
        max_future=settings.number("max_future"),
    )


def continuation_of(
    settings: Parameters, policy: "Policy", contract: RobotContract
) -> Continuation:
    """How chunks of this policy continue committed motion."""
    frozen = settings.integer("rtc.frozen_steps")
    return Continuation(
        RtcMode[settings.text("rtc.mode").upper()],
        {name: contract.groups[name].joints for name in policy.joint_groups},
        policy.dt,
        policy.horizon,
        policy.first_step,
        None if frozen < 0 else frozen,
    )
