# SPDX-License-Identifier: Apache-2.0
"""Assembly of the PolicyStatus message."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from groot_ros.bridge.messages import ns_to_time, rejection_counts
from groot_ros.msg import CameraShift, InputStatus, PolicyStatus, StageTiming
from groot_ros.observation.inference_stats import InferenceStats, StepBudget
from groot_ros.observation.input_health import InputHealth


@dataclass(frozen=True)
class LoadedPolicy:
    """Properties of the loaded policy; the defaults mean that none is loaded."""

    engine: str = ""
    device: str = ""
    memory_bytes: int = 0
    horizon: int = 0


@dataclass(frozen=True)
class Activation:
    """Session and episode; an empty session means none since configure."""

    session: str = ""
    episode: int = 0


@dataclass(frozen=True)
class FollowedInstruction:
    """The instruction that the policy follows.

    Attributes:
        rejection: why the newest instruction is not followed; empty if it is.
        mismatch: how it differs from the executor's; empty if it does not.

    """

    id: int = 0
    text: str = ""
    rejection: str = ""
    mismatch: str = ""


def policy_status(
    now_ns: int,
    lifecycle: int,
    activation: Activation,
    instruction: FollowedInstruction,
    loaded: LoadedPolicy,
    target_rate: float,
    stats: InferenceStats,
    budget: StepBudget,
    inputs: Sequence[InputHealth],
    rejections: Mapping[str, int],
    camera_shifts: Sequence[CameraShift] = (),
    action_rejection: str = "",
) -> PolicyStatus:
    """Return the message.

    Args:
        now_ns: ROS time.
        lifecycle: number of lifecycle_msgs/State.
        activation: current session and episode.
        instruction: what the policy follows.
        loaded: the policy.
        target_rate: configured inference rate, Hz.
        stats: durations and rate of the last chunks.
        budget: inference delay and execution horizon, in steps.
        inputs: state of cameras and joint state sources.
        rejections: rejection code -> count.
        camera_shifts: results of the check at activation.
        action_rejection: why the last pick-and-place action was not executed; "" if it is.

    """
    msg = PolicyStatus(
        lifecycle=lifecycle,
        session=activation.session,
        episode=activation.episode,
        instruction_id=instruction.id,
        instruction=instruction.text,
        instruction_rejection=instruction.rejection,
        instruction_mismatch=instruction.mismatch,
        target_rate=target_rate,
        rate=stats.rate(now_ns),
        stages=[
            StageTiming(name=name, p50=p50, p95=p95)
            for name, (p50, p95) in stats.quantiles(0.5, 0.95).items()
        ],
        inputs=[
            InputStatus(
                name=i.name,
                age=float(i.age),
                rate=float(i.rate),
                expected_rate=float(i.expected_rate),
                count=i.count,
            )
            for i in inputs
        ],
        inference_delay=budget.inference_delay,
        execution_horizon=budget.execution_horizon,
        horizon=loaded.horizon,
        within_budget=budget.ok,
        engine=loaded.engine,
        device=loaded.device,
        memory_bytes=loaded.memory_bytes,
        rejections=rejection_counts(rejections),
        camera_shifts=list(camera_shifts),
        action_rejection=action_rejection,
    )
    msg.header.stamp = ns_to_time(now_ns)
    return msg
