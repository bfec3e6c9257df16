# SPDX-License-Identifier: Apache-2.0
"""Execution of one chunk after the other: start, splice, continue, stop, and what is sent of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from groot_ros.control.chunk_validation import Rejection
from groot_ros.control.committed_motion import CommittedMotion
from groot_ros.control.controller_reports import ControllerReports
from groot_ros.control.curve import Array, Curve
from groot_ros.control.joint_state import ActuatedJoints, MeasuredState, nearest_turn
from groot_ros.control.motion_clock import MotionClock
from groot_ros.control.outputs import Outputs, Update
from groot_ros.control.planner import Planner
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import ActionChunk, MalformedError, ns_to_s, s_to_ns
from groot_ros.robot import Controller

#: rad or m from its last command beyond which a robot at rest has been moved externally: a
#: controller that holds against a load stays closer to its command than this.
_MOVED_DISTANCE = 0.1
#: Longest time that a message is on its way, s.
_LONGEST_DELAY = 0.2
#: rad or m between standing and the motion sent from which on a reference shows which it is.
_DISTINCT = 0.001


@dataclass
class _SentBefore:
    """Motion that was sent shortly before controllers were found to stand.

    A message that is still on its way is followed after all.
    """

    motion: Curve
    #: Columns of the controllers that stand so far.
    standing: dict[str, list[int]]
    #: Positions of all joints at which they stand, [N].
    held: Array


class ChunkExecution:
    """The committed motion, the chunk that it belongs to, and the messages of both.

    When motion starts and stops is decided by the executor.

    Attributes:
        motion: the committed motion.
        outputs: what is sent, and the trajectory that the controllers follow.
        chunk: the last accepted chunk; None after drop().
        executing: whether the chunk is executed; otherwise the active trajectory runs to its end.
        stopped: whether a stop has ended the motion since the last accepted chunk.
        restart: whether the next chunk starts from the measured state once the robot is at rest.

    Args:
        joints: the actuated joints.
        controllers: of the robot contract.
        measured: state of the robot.
        reports: of the controllers.
        clock: converts times to motion times, which those of the committed motion are.

    """

    def __init__(
        self,
        joints: ActuatedJoints,
        controllers: Sequence[Controller],
        measured: MeasuredState,
        reports: ControllerReports,
        clock: MotionClock,
    ) -> None:
        self.motion = CommittedMotion(joints.limits, joints.blended)
        self.outputs = Outputs(joints, controllers, clock)
        self.chunk: ActionChunk | None = None
        self.executing = self.stopped = self.restart = False
        self._joints = joints
        self._controllers = {c.name: c for c in controllers}
        #: Controllers that were inactive during the motion sent, and have missed a part of it.
        self._missed: set[str] = set()
        #: Last time at which the motion sent was not at rest.
        self._moving_ns = 0
        self._measured = measured
        self._reports = reports
        self._clock = clock
        self._planner = Planner(joints, self.motion, measured)
        #: Whether the measured state of a joint depends on its command.
        self._uses_commands = bool(joints.unmeasured) or bool(joints.continuous.any())
        #: Whether motion has begun for a chunk that is not spliced yet.
        self._begun = False
        #: Position that each controller last reported to hold or follow, after an outage of a
        #: controller: the next motion starts there, at rest. None otherwise.
        self._held: dict[str, float] | None = None
        #: Whether the motion was ended without a message, so the robot may have stopped elsewhere.
        self.ended_silently = False
        #: Time of the last message to the controllers.
        self._sent_ns = 0
        self._sent_before: _SentBefore | None = None

    def is_at_rest(self, now_ns: int) -> bool:
        """Return whether the active trajectory is at rest, or there is none."""
        return self.motion.is_at_rest(self._clock.at(now_ns))

    def is_on_tail(self, now_ns: int) -> bool:
        """Return whether the active trajectory is braking or at rest."""
        return self.motion.is_on_tail(self._clock.at(now_ns))

    def splice_lead_time(self, settings: ExecutorConfig) -> float:
        """Return the present splice lead time, s: longer after late splices."""
        return self._reports.splices.lead_time(settings.splice_lead_time, settings.commit_horizon)

    def trajectory_to_follow(self, now_ns: int, settings: ExecutorConfig) -> Curve | None:
        """Return the trajectory that the robot must follow now, or None.

        It must be followed until shortly after its end; later the robot may be moved externally.
        """
        published = self.outputs.published
        if published is None or self.motion.active is None:
            return None
        grace = 2.0 * settings.tracking_error_timeout
        over = self._clock.at(now_ns) > published.end_ns + s_to_ns(grace)
        return published if self.executing or not over else None

    # Start and continuation

    def begin(self, now_ns: int, settings: ExecutorConfig) -> Rejection | None:
        """Start from the measured state unless motion continues; return why that is not possible.

        If the robot cannot stop within its limits, its hardest stop becomes the motion.
        """
        self._begun = False
        restart = self.restart or self._was_moved(now_ns, settings)
        if settings.shadow or (restart and self.is_at_rest(now_ns)):
            self.motion.clear()
        if self.motion.active is not None:
            return None
        oldest_ns = self._measured.oldest_ns
        if oldest_ns is not None and oldest_ns <= self._moving_ns <= now_ns:
            return Rejection(
                "stale_joint_state",
                f"the last joint state is {ns_to_s(now_ns - oldest_ns):.2f} s old, from before the "
                "robot came to rest: motion can only start from a newer one",
            )
        self._clock.reset()
        self._measured.use_own_turns(self._reports.references)
        rejection = self._planner.begin(self._clock.at(now_ns), settings, self._held)
        self._begun = rejection is None
        if rejection is not None and self.motion.active is not None:
            self.outputs.published = None
            self.restart = self.motion.changed = True
            self.ended_silently = False
        return rejection

    def splice(self, chunk: ActionChunk, now_ns: int, settings: ExecutorConfig) -> Rejection | None:
        """Continue the motion with a chunk after begin(), or return why not and change nothing.

        The steps of the chunk are due at times, which are converted to motion time.
        """
        motion_ns = self._clock.at(now_ns)
        late_ns = now_ns - motion_ns
        shifted = chunk
        if late_ns:
            shifted = replace(
                chunk, stamp_ns=chunk.stamp_ns - late_ns, start_ns=chunk.start_ns - late_ns
            )
        rejection = self._planner.plan(shifted, motion_ns, self._with_lead_time(settings))
        begun, self._begun = self._begun, False
        if rejection is not None:
            if begun:
                self.motion.clear()
            return rejection
        if begun:
            self.outputs.published = self._held = None
            self._measured.near = self._measured.position.copy()
        self.chunk = chunk
        self.executing = self.motion.changed = True
        self.stopped = self.restart = self.ended_silently = False
        return None

    def advance(self, now_ns: int, settings: ExecutorConfig) -> bool:
        """Commit more of the plan; return whether the motion of the chunk has ended now."""
        motion_ns = self._clock.at(now_ns)
        self.motion.refresh(motion_ns, self._with_lead_time(settings))
        end_ns = self.motion.end_ns
        if end_ns is None or motion_ns < end_ns:
            return False
        self.motion.end_with_tail()
        self.executing, self.motion.changed = False, True
        return True

    def resend_if_scaled(self) -> None:
        """Send the motion again if a controller does not scale its trajectory itself."""
        if self.executing and self._reports.needs_resend():
            self.motion.changed = True

    def assume_commanded(self, now_ns: int) -> None:
        """Update the measured state of the joints for which it depends on their commands."""
        published = self.outputs.published
        if self._uses_commands and published is not None:
            self._measured.near = published.at(self._clock.at(now_ns))[0]
            self._measured.assume_commanded(self._measured.near)

    def record_motion(self, now_ns: int, settings: ExecutorConfig) -> None:
        """Record whether the robot moves: a joint state of that time does not tell its rest."""
        if not settings.shadow and not self.is_at_rest(now_ns):
            self._moving_ns = now_ns

    def record_inactive(self) -> None:
        """Record which controllers are inactive, and so miss the motion sent."""
        self._missed.update(self._reports.activity.inactive)

    def settle(self, now_ns: int) -> bool:
        """Drop what cannot be sent any more; return whether a reset is complete at rest."""
        if self.motion.changed and self.is_at_rest(now_ns):
            # The process was stalled until this motion had ended.
            self.motion.changed = False
            self.motion.rollback(self.outputs.published)
        if not self.restart or not self.is_at_rest(now_ns):
            return False
        self.motion.clear()
        self.restart = False
        return True

    # Ends

    def shorten(self, now_ns: int) -> None:
        """Shorten the motion to what has been sent and to the frozen steps of the chunk."""
        if self.chunk is not None:
            frozen_ns = now_ns + s_to_ns(self.chunk.frozen_steps * self.chunk.dt)
            self.motion.shorten(self._clock.at(frozen_ns))
            self.motion.changed = True

    def brake(
        self, now_ns: int, settings: ExecutorConfig, braking_time: float, *, silently: bool
    ) -> None:
        """Stop in `braking_time` s as limits allow, or `silently` by the tail already sent."""
        self.executing = False
        self.stopped = True
        if self.motion.active is None:
            return
        if silently:
            self.end_silently()
            return
        lead_time = self.splice_lead_time(settings)
        self.motion.brake(self._clock.at(now_ns), lead_time, braking_time)
        self.motion.changed, self.ended_silently = True, False

    def end_silently(self) -> None:
        """End the motion with the tail that the controllers already have."""
        if self.motion.active is not None:
            self.motion.end_with_tail()
            self.executing = False
            self.motion.changed = self.ended_silently = True

    def stand(self, now_ns: int, settings: ExecutorConfig) -> bool:
        """Stand where a pause of the robot began: it stands already, so this is continuous.

        Returns whether there was motion to end.
        """
        if self.motion.active is None or self.is_at_rest(now_ns):
            return False
        motion_ns = self._clock.at(now_ns)
        position, velocity = self.motion.active.at(motion_ns)
        self.motion.begin(position, np.zeros_like(velocity), motion_ns, settings.resend_window, 0.0)
        self.outputs.published, self.motion.changed = None, True
        return True

    def forget(self, now_ns: int) -> None:
        """Forget chunk and history; the motion goes on."""
        self.chunk = None
        self.outputs.drop_history(now_ns)

    def drop(self, now_ns: int) -> None:
        """Drop all motion without a message."""
        self.motion.clear()
        self.outputs.published = None
        self.forget(now_ns)
        self.executing = self.restart = self.motion.changed = False
        self._sent_before = None
        self._missed.clear()
        self._reports.splices.reset()

    def stand_where_held(self, now_ns: int, settings: ExecutorConfig, controller: str) -> None:
        """Let a controller that missed messages stand where it reports to stand.

        Others that still move follow what was sent to its end, and the next chunk is spliced into
        that. If none moves, all motion is dropped.
        """
        standing = {
            name: self._joints.columns(self._controllers[name])
            for name in sorted({controller, *self._missed})
        }
        held, before = self._where_held(settings), self._sent_before
        if before is None and self.outputs.published is not None:
            before = _SentBefore(self.outputs.published, {}, held)
        if self._others_move(standing, now_ns):
            self._let_stand(standing, held)
            self._missed.clear()
            self._reports.splices.reset()
        else:
            self.drop(now_ns)
            self._held = self._reports.references
        if before is None or ns_to_s(now_ns - self._sent_ns) > _LONGEST_DELAY:
            self._sent_before = None
            return
        for name, columns in standing.items():
            before.standing[name] = columns
            before.held[columns] = held[columns]
        self._sent_before = before

    def follow_sent_before(
        self, controller: str, stamp_ns: int, reference: Mapping[str, float]
    ) -> bool:
        """Return whether a controller follows what was sent before it was found to stand.

        The next chunk is then spliced into that motion.

        Args:
            controller: name of the controller.
            stamp_ns: time of its report.
            reference: joint -> position that it reports, rad or m.

        """
        before = self._sent_before
        if before is None or controller not in before.standing:
            return False
        motion_ns = self._clock.at(stamp_ns)
        if motion_ns >= before.motion.end_ns:
            self._sent_before = None
            return False
        moved = before.motion.at(motion_ns)[0] - before.held
        joint = max(before.standing[controller], key=lambda column: abs(moved[column]))
        distance = abs(moved[joint])
        value = reference.get(self._joints.names[joint], math.nan)
        follows = abs(value - before.held[joint] - moved[joint]) <= distance / 4.0
        if distance < _DISTINCT or not follows:
            return False
        del before.standing[controller]
        self.motion.rollback(before.motion)
        self._let_stand(before.standing, before.held)
        return True

    def _let_stand(self, standing: Mapping[str, list[int]], held: Array) -> None:
        """Let these controllers stand, and the others follow what was sent to its end."""
        columns = sorted({column for own in standing.values() for column in own})
        self.motion.stand(columns, held[columns])
        self.outputs.published = self.motion.active
        self.executing = self.motion.changed = False
        self.ended_silently = True

    def _others_move(self, standing: Mapping[str, list[int]], now_ns: int) -> bool:
        """Return whether the motion sent still moves a joint of another controller."""
        published = self.outputs.published
        if published is None or self.motion.active is None:
            return False
        columns = [column for own in standing.values() for column in own]
        ahead = published.velocities[published.times > self._clock.at(now_ns)]
        return bool(np.delete(ahead, columns, axis=1).any())

    def _where_held(self, settings: ExecutorConfig) -> Array:
        """Return the positions at which joints are held, [N]: the references, if near them."""
        held = []
        for name, measured, continuous in zip(
            self._joints.names,
            self._measured.position.tolist(),
            self._joints.continuous,
            strict=True,
        ):
            reference = self._reports.references.get(name, measured)
            own = nearest_turn(measured, reference) if continuous else measured
            held.append(reference if abs(reference - own) <= settings.max_reference_error else own)
        limits = self._joints.limits
        return np.clip(np.array(held), limits.lower, limits.upper)

    # Sending

    def send(self, now_ns: int, settings: ExecutorConfig, *, timeline_only: bool) -> Update | None:
        """Return the messages for changed motion; motion that must not be sent is rolled back.

        Raises:
            MalformedError: the motion must not be sent; it has ended with the tail already sent.

        """
        motion, before = self.motion, self.outputs.published
        motion.changed = False
        if timeline_only and motion.active is not before:
            motion.rollback(before)
        if motion.active is None or motion.plan is None:
            return None
        try:
            update = self.outputs.build(
                motion.active,
                motion.plan,
                self.chunk,
                self._planner.knot_dt,
                now_ns,
                settings,
                own_scaling=self._reports.scaling.of_controllers,
                timeline_only=timeline_only,
            )
        except MalformedError:
            motion.rollback(self.outputs.published)
            self.executing = False
            raise
        if update.trajectories:
            self._sent_ns, self._sent_before = now_ns, None
            sent_to = [trajectory.controller for trajectory in update.trajectories]
            self._reports.record_sent(now_ns, before, motion.active, sent_to)
        return update

    def _with_lead_time(self, settings: ExecutorConfig) -> ExecutorConfig:
        lead = self.splice_lead_time(settings)
        return (
            settings
            if lead == settings.splice_lead_time
            else replace(settings, splice_lead_time=lead)
        )

    def _was_moved(self, now_ns: int, settings: ExecutorConfig) -> bool:
        """Return whether the robot is not where its last motion ended."""
        published = self.outputs.published
        if published is None or self.executing:
            return False
        if self.trajectory_to_follow(now_ns, settings) and not self.ended_silently:
            return False
        error = np.abs(published.at(self._clock.at(now_ns))[0] - self._measured.position)
        return bool((error[self._joints.blended] > _MOVED_DISTANCE).any())
