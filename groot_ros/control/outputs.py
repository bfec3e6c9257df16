# SPDX-License-Identifier: Apache-2.0
"""Outputs of the executor: trajectories for controllers, and the timeline for the policy.

joint_trajectory_controller accepts NaN, repeated joints and jumps without an error, and reports no
rejection on its topic. So messages are checked here before they are sent.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groot_ros.control.curve import Array, Curve
from groot_ros.control.joint_state import ActuatedJoints
from groot_ros.control.motion_clock import MotionClock
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import NS_PER_S, ActionChunk, CommittedTimeline, s_to_ns
from groot_ros.core.invariants import frozen_float_array, require, require_unique
from groot_ros.robot import Controller
from groot_ros.robot.controller import controller_type

#: rad or m, and per s: largest step of a new message against the active trajectory.
_MAX_POSITION_STEP = 1e-6
_MAX_VELOCITY_STEP = 1e-3
#: s from sending a message to the control cycle that begins to follow it, until it is measured. At
#: a speed scaling s, each s of deviation from it is a step of (1 - s) times the velocity.
_TYPICAL_DELAY = 0.005
#: Largest delay that is measured, s, and the share of a deviation that is taken over.
_MAX_DELAY, _DELAY_GAIN = 0.05, 0.5
#: Speed scaling below which the delay is measured, and ns by which a controller must be off.
_MEASURABLE, _OFF_NS = 0.9, 50_000
#: Speed scaling below which a timeline ends early: it would be long and far from what happens.
_SLOWEST_PACE = 0.1


@dataclass(frozen=True)
class JointTrajectory:
    """One trajectory_msgs/JointTrajectory: knots at stamp + offset that end at rest.

    Raises MalformedError for content that a controller would reject or execute wrongly.

    Attributes:
        controller: name of the controller.
        topic: its command topic.
        joint_names: in the controller's order.
        stamp_ns: absolute time of the first knot, in the past when the message is sent; so the
            controller samples these knots only and does not blend from its own state.
        offsets_ns: int64 [K], 0 first, strictly increasing.
        positions: float64 [K, len(joint_names)], rad or m.
        velocities: float64 [K, len(joint_names)], rad/s or m/s.

    """

    controller: str
    topic: str
    joint_names: tuple[str, ...]
    stamp_ns: int
    offsets_ns: NDArray[np.int64]
    positions: Array
    velocities: Array

    def __post_init__(self) -> None:
        require_unique(self.joint_names, f"controller '{self.controller}'")
        shape = (len(self.offsets_ns), len(self.joint_names))
        for name in ("positions", "velocities"):
            values = frozen_float_array(getattr(self, name), name)
            require(
                values.shape == shape,
                "sizes_disagree",
                f"{name} {list(values.shape)} for [knots, joints] {list(shape)}",
            )
            object.__setattr__(self, name, values)
        require(
            len(self.offsets_ns) >= 2,
            "too_few_points",
            f"a trajectory needs at least 2 knots, not {len(self.offsets_ns)}",
        )
        require(
            self.offsets_ns[0] == 0 and bool((np.diff(self.offsets_ns) > 0).all()),
            "non_increasing_times",
            "the first knot must lie at the stamp and the times must increase",
        )
        require(
            not self.velocities[-1].any(),
            "nonzero_end_velocity",
            f"the last knot has velocities {self.velocities[-1].tolist()}, they must be 0",
        )

    @property
    def end_ns(self) -> int:
        """Time of the last knot."""
        return self.stamp_ns + int(self.offsets_ns[-1])


@dataclass(frozen=True)
class Update:
    """Messages to publish now.

    Attributes:
        timeline: past and planned motion, for the policy.
        trajectories: one per joint_trajectory_controller; none in shadow mode or while the
            controllers keep the trajectories that they have.

    """

    timeline: CommittedTimeline
    trajectories: tuple[JointTrajectory, ...]


class Outputs:
    """Builds updates, and stores the trajectory that the controllers follow.

    Attributes:
        published: the active trajectory of the controllers; None before the first message.

    Args:
        joints: the actuated joints.
        controllers: of the robot contract.
        clock: converts the motion times of the curves to times of messages.

    """

    def __init__(
        self, joints: ActuatedJoints, controllers: Sequence[Controller], clock: MotionClock
    ) -> None:
        self._joints = joints
        self._clock = clock
        self._planned, self._streamed, self._targets = (
            tuple(c for c in controllers if c.command == form)
            for form in ("trajectory", "positions", "target")
        )
        self._leads = [s_to_ns(controller_type(c.type).target_lead) for c in self._targets]
        self._delay = _TYPICAL_DELAY
        #: Time of the last message, while its delay has not been measured.
        self._sent_ns: int | None = None
        self._timeline_id = 0
        self._history_from_ns = 0
        self.published: Curve | None = None

    def drop_history(self, now_ns: int) -> None:
        """Let future timelines begin no earlier than now."""
        self._history_from_ns = now_ns

    def build(
        self,
        active: Curve,
        plan: Curve,
        chunk: ActionChunk | None,
        row_dt: float,
        now_ns: int,
        settings: ExecutorConfig,
        *,
        own_scaling: Mapping[str, float],
        timeline_only: bool = False,
    ) -> Update:
        """Return the messages for the active trajectory and the timeline of the plan.

        Args:
            active: trajectory to send.
            plan: motion of the timeline.
            chunk: the running chunk; rows of the timeline lie on its steps.
            row_dt: time between the rows of the timeline, s.
            now_ns: present time.
            settings: configuration of the executor.
            own_scaling: controller -> factor by which it scales its trajectories itself; the
                present speed scaling for those that are missing.
            timeline_only: send no trajectories; the controllers keep theirs, which must be
                `active`.

        Raises:
            MalformedError: a message must not be sent; `published` is unchanged then.

        """
        motion_ns = self._clock.at(now_ns)
        window = active.since(motion_ns - s_to_ns(settings.resend_window))
        require_continuous(window, self.published, motion_ns)
        trajectories = tuple(
            controller_trajectory(
                c, self._joints.columns(c), self._as_sent(window, now_ns, own_scaling.get(c.name))
            )
            for c in self._planned
        )
        self._timeline_id += 1
        start_ns, positions, velocities = timeline_rows(
            plan,
            max(now_ns - s_to_ns(settings.history), self._history_from_ns),
            chunk.start_ns if chunk else now_ns,
            row_dt,
            now_ns,
            self._clock,
        )
        timeline = CommittedTimeline(
            stamp_ns=now_ns,
            id=self._timeline_id,
            session=chunk.session if chunk else "",
            episode=chunk.episode if chunk else 0,
            chunk_id=chunk.id if chunk else 0,
            start_ns=start_ns,
            dt=row_dt,
            joint_names=self._joints.names,
            positions=positions,
            velocities=velocities,
        )
        # Set only after everything that may raise: a message that is not sent is not followed.
        self.published = None if settings.shadow else active
        self._sent_ns = now_ns
        return Update(timeline, () if timeline_only or settings.shadow else trajectories)

    def record_offset(self, stamp_ns: int, offset_ns: int) -> None:
        """Adapt the delay of messages to how far a scaled controller is ahead of the motion.

        A controller that begins a message a time d later than assumed is ahead by (1 - s) d.
        """
        sent_ns, scaling = self._sent_ns, self._clock.scaling
        if sent_ns is None or scaling > _MEASURABLE:
            return
        if stamp_ns - sent_ns > s_to_ns(_MAX_DELAY):
            self._sent_ns = None
        elif abs(offset_ns) > _OFF_NS:
            change = _DELAY_GAIN * offset_ns / NS_PER_S / (1.0 - scaling)
            self._delay = min(max(0.0, self._delay + change), _MAX_DELAY)
            self._sent_ns = None

    def commands(self, now_ns: int) -> tuple[tuple[Controller, Array], ...]:
        """Return the present positions for each streamed controller; none when at rest."""
        active = self.published
        motion_ns = self._clock.at(now_ns)
        if not self._streamed or active is None or motion_ns > active.end_ns:
            return ()
        position, _ = active.at(motion_ns)
        return tuple((c, position[self._joints.columns(c)]) for c in self._streamed)

    def targets(self, now_ns: int) -> tuple[tuple[Controller, Array], ...]:
        """Return the target of each controller that follows targets, also at rest."""
        active = self.published
        if not self._targets or active is None:
            return ()
        # Most controllers have the same lead.
        ahead = {lead: active.at(self._clock.at(now_ns + lead))[0] for lead in set(self._leads)}
        return tuple(
            (c, ahead[lead][self._joints.columns(c)])
            for c, lead in zip(self._targets, self._leads, strict=True)
        )

    def _as_sent(self, curve: Curve, now_ns: int, own_scaling: float | None) -> Curve:
        """Return a curve in the time of a controller that scales by `own_scaling` itself.

        None: by the present speed scaling. A controller begins each message at the present time
        and scales from there on; so does this, from the time at which the message takes effect.
        """
        clock = self._clock
        if clock.identity and own_scaling in (None, 1.0):
            return curve
        left = 1.0
        if own_scaling and not clock.paused:
            left = min(1.0, clock.scaling / own_scaling)
        start_ns = now_ns + s_to_ns(self._delay)
        since = curve.times - clock.at(start_ns)
        if left == 1.0:
            return Curve(start_ns + since, curve.positions, curve.velocities)
        times = start_ns + np.round(since / left).astype(np.int64)
        return Curve(times, curve.positions, curve.velocities * left)


def controller_trajectory(
    controller: Controller, columns: list[int], curve: Curve
) -> JointTrajectory:
    """Return the message for one controller: the curve of its joints, given by their columns."""
    own = curve.columns(columns)
    return JointTrajectory(
        controller=controller.name,
        topic=controller.topic,
        joint_names=controller.joints,
        stamp_ns=own.start_ns,
        offsets_ns=own.times - own.times[0],
        positions=own.positions,
        velocities=own.velocities,
    )


def require_continuous(new: Curve, active: Curve | None, now_ns: int) -> None:
    """Raise MalformedError if `new`, sent now, would make the robot step.

    This is so if `new` does not span the present time, or differs from the active trajectory now.
    """
    require(
        new.start_ns <= now_ns < new.end_ns,
        "outside_time_span",
        f"the trajectory spans {(new.start_ns - now_ns) / NS_PER_S:.3f} to "
        f"{(new.end_ns - now_ns) / NS_PER_S:.3f} s from now, which must include now",
    )
    if active is None:
        return
    (p, v), (active_p, active_v) = new.at(now_ns), active.at(now_ns)
    position_step, velocity_step = np.abs(p - active_p).max(), np.abs(v - active_v).max()
    require(
        bool(position_step <= _MAX_POSITION_STEP and velocity_step <= _MAX_VELOCITY_STEP),
        "discontinuous",
        f"the new trajectory differs from the active one by {position_step:.3g} in position and "
        f"{velocity_step:.3g} /s in velocity",
    )


def timeline_rows(
    curve: Curve, from_ns: int, anchor_ns: int, dt: float, now_ns: int, clock: MotionClock
) -> tuple[int, Array, Array]:
    """Return start, positions and velocities of evenly spaced rows of a curve until its end.

    The rows begin at from_ns or with the curve, whichever is later, and lie on the grid of spacing
    dt through anchor_ns: the steps of a chunk are rows. They are rows in time: what was executed
    then, or will be if the speed scaling stays as it is.
    """
    motion_ns, pace = clock.at(now_ns), max(clock.scaling, _SLOWEST_PACE)
    first_ns = max(from_ns, now_ns - (motion_ns - curve.start_ns))
    end_ns = now_ns + round((curve.end_ns - motion_ns) / pace)
    step_ns = dt * NS_PER_S
    start_ns = anchor_ns - round(math.floor((anchor_ns - first_ns) / step_ns) * step_ns)
    # Rounding to whole ns must not drop the last row.
    count = max(1, math.floor((end_ns - start_ns) / step_ns + 1e-6) + 1)
    times = start_ns + np.round(np.arange(count) * step_ns).astype(np.int64)
    if clock.identity:
        return start_ns, *curve.sample(times)
    positions, velocities = curve.sample(clock.at_all(times))
    return start_ns, positions, velocities * clock.rates(times)[:, None]
