# SPDX-License-Identifier: Apache-2.0
"""Configuration of the executor."""

from dataclasses import dataclass

from groot_ros.core.config import check, parameter
from groot_ros.core.node_config import ROBOT_DESCRIPTION


@dataclass(frozen=True)
class ExecutorConfig:
    """Configuration of the executor: splicing, limits, sending, and when it stops the robot.

    Fields that are not exposed are not ROS parameters: they follow from the design of the executor.

    Raises:
        ValueError: a value is out of range; names the parameter.

    """

    robot: str = parameter("", ROBOT_DESCRIPTION)
    rate_hz: float = parameter(
        100.0, "Rate of the control timer", unit="Hz", minimum=1.0, maximum=1000.0
    )
    # If the executor dies, the robot comes to rest within commit_horizon + braking time.
    commit_horizon: float = parameter(
        0.3, "Motion sent ahead of the braking tail", unit="s", minimum=0.05, maximum=5.0
    )
    # If the policy dies, the robot comes to rest within max_chunk_age + braking time.
    max_chunk_age: float = parameter(
        1.0,
        "Chunks older than this are rejected, and no step of a chunk is executed later",
        unit="s",
        minimum=0.05,
        maximum=60.0,
        live=True,
    )
    blend_window: float = parameter(
        0.25,
        "Time over which the difference between committed motion and a new chunk decays; "
        "0 = the limits alone smooth it",
        unit="s",
        minimum=0.0,
        maximum=2.0,
        live=True,
    )
    blend_acceleration: float = parameter(
        3.0,
        "Acceleration that blending may add to a chunk; "
        "a larger difference decays over up to 1.5 blend windows",
        unit="rad/s^2 or m/s^2",
        minimum=0.1,
        maximum=1000.0,
        live=True,
    )
    max_future: float = parameter(
        0.05,
        "Stamps further in the future are rejected",
        unit="s",
        minimum=0.001,
        maximum=10.0,
        live=True,
    )
    # Grippers are exempt: a chunk may open or close one abruptly.
    max_start_jump: float = parameter(
        0.5,
        "Chunks that start further than this from the measured joints are rejected",
        unit="rad or m",
        minimum=0.01,
        maximum=10.0,
        live=True,
    )
    limits_scale: float = parameter(
        1.0,
        "Factor on velocity and acceleration limits",
        minimum=0.01,
        maximum=1.0,
        live=True,
    )
    joint_state_timeout: float = parameter(
        0.5,
        "Motion stops after this long without joint states",
        unit="s",
        minimum=0.02,
        maximum=10.0,
    )
    # Shorter near a position limit or after unsteady motion, longer where the acceleration limit
    # demands it.
    braking_time: float = parameter(
        0.3, "Duration of a stop where the limits allow it", unit="s", minimum=0.0, maximum=5.0
    )
    max_underruns: int = parameter(
        0,
        "After this many times without a chunk in time, ~/resume is needed; 0 = never",
        minimum=0,
        maximum=1_000_000,
        live=True,
        former_name="max_starvations",
    )
    # Nothing is sent while a joint is further away, so this bounds the jump of a controller that
    # missed messages. A lag of 0.1 s at 3 rad/s is 0.3 rad. Grippers are exempt.
    max_tracking_error: float = parameter(
        0.3,
        "Nothing is sent while a joint is further than this from its command; "
        "after 0.5 s of it, ~/resume is needed",
        unit="rad or m",
        minimum=0.001,
        maximum=10.0,
        live=True,
        former_name="max_following_error",
    )
    max_reference_error: float = parameter(
        0.05,
        "Allowed difference between the motion sent and the reference that a controller reports, "
        "plus the motion of 0.04 s; after 0.5 s of more, ~/resume is needed",
        unit="rad or m",
        minimum=0.001,
        maximum=10.0,
        live=True,
    )
    shadow: bool = parameter(False, "Compute and report everything, but command nothing")
    single_step: bool = parameter(False, "Execute one chunk for each call of ~/step", live=True)
    require_resume_after_restart: bool = parameter(
        False,
        "After a restart of the policy, or of the robot, motion needs ~/resume",
        live=True,
    )
    clock_timeout: float = parameter(
        1.0,
        "A /clock that stands still for this long, in real time, stops the robot",
        unit="s",
        minimum=0.1,
        maximum=86400.0,
    )
    discovery_timeout: float = parameter(
        5.0,
        "Nothing is commanded for this long after the start: another executor may be running",
        unit="s",
        minimum=0.0,
        maximum=60.0,
        former_name="discovery_time",
    )
    committed_joint_states_rate: float = parameter(
        20.0,
        "Rate of committed_joint_states, which views show as a ghost; published while anything "
        "subscribes; 0 = never",
        unit="Hz",
        minimum=0.0,
        maximum=100.0,
        live=True,
    )
    realtime_priority: int = parameter(
        20, "SCHED_FIFO priority where permitted; 0 = off", minimum=0, maximum=98
    )
    splice_lead_time: float = parameter(
        0.02,
        "From now to the splice: a message must reach its controller within it; lengthened "
        "automatically, to 0.1 s at most, while controller_state shows late splices",
        unit="s",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    resend_window: float = parameter(
        0.06,
        "Motion already sent that a message begins with, so that it holds a knot at or before its "
        "arrival; must exceed latency, jitter and one control period together",
        unit="s",
        minimum=0.001,
        maximum=0.9,
        live=True,
    )
    history: float = parameter(
        1.0,
        "Past motion kept in the committed timeline for the prefix of the next chunk",
        unit="s",
        minimum=0.001,
        maximum=60.0,
        exposed=False,
    )
    session_timeout: float = parameter(
        1.0,
        "Without a chunk of the live session for this long, another session is accepted",
        unit="s",
        minimum=0.001,
        maximum=60.0,
        exposed=False,
    )
    rest_velocity: float = parameter(
        0.05,
        "A joint measured slower than this counts as standing still",
        unit="rad/s or m/s",
        minimum=0.0,
        maximum=10.0,
        exposed=False,
    )
    position_slack: float = parameter(
        0.02,
        "A joint measured outside its limits by no more than this counts as on the limit",
        unit="rad or m",
        minimum=0.0,
        maximum=10.0,
        exposed=False,
    )
    max_clock_step: float = parameter(
        1.0,
        "Between two calls: after a longer step the clock has jumped or the process was stopped, "
        "and motion restarts from the measured state",
        unit="s",
        minimum=0.001,
        maximum=60.0,
        exposed=False,
    )
    tracking_error_timeout: float = parameter(
        0.5,
        "From the first tracking error above max_tracking_error, unless the joint recovers, to a "
        "stop that needs ~/resume",
        unit="s",
        minimum=0.0,
        maximum=60.0,
        exposed=False,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.resend_window >= self.history:
            raise ValueError(
                f"resend_window ({self.resend_window}) must be shorter than history "
                f"({self.history})"
            )
        if self.splice_lead_time >= self.commit_horizon:
            raise ValueError(
                f"splice_lead_time ({self.splice_lead_time}) must be shorter than commit_horizon "
                f"({self.commit_horizon})"
            )
