# SPDX-License-Identifier: Apache-2.0
"""The executor: chunks and joint states in, bounded motion out. Facade of this package."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from groot_ros.control.chunk_validation import ChunkValidator, Rejection
from groot_ros.control.committed_motion import CommittedMotion
from groot_ros.control.controller_reports import ControllerReports
from groot_ros.control.curve import Array, Curve
from groot_ros.control.executor_status import ChunkCounters, ClockMonitor, StatusTracker, report
from groot_ros.control.joint_state import ActuatedJoints, MeasuredState
from groot_ros.control.motion_clock import MotionClock
from groot_ros.control.outputs import Outputs, Update
from groot_ros.control.planner import Planner
from groot_ros.control.settings import ExecutorConfig
from groot_ros.control.tracking_monitor import TrackingMonitor
from groot_ros.core import ActionChunk, ExecutorState, MalformedError, ReasonCode, s_to_ns
from groot_ros.robot import Controller, RobotContract

#: Reason of the status until a reset is done.
_RESET = "reset: waiting for a new chunk"


class Executor:
    """Turns proposed chunks into committed motion; every time is in ns of one clock.

    The times of the committed motion are motion times (`motion_clock`).

    Attributes:
        joints: the joints that a controller moves.
        settings: may be replaced at any time; applies from the next call.
        motion: the committed motion; not to be changed from outside.

    """

    def __init__(self, contract: RobotContract, settings: ExecutorConfig | None = None) -> None:
        joints = self.joints = ActuatedJoints.of(contract)
        self.settings = settings or ExecutorConfig()
        self._controllers = {c.name: c for c in contract.controllers}
        self._motion_clock = MotionClock()
        #: Whether the measured state of a joint depends on its command.
        self._uses_commands = bool(joints.unmeasured) or bool(joints.continuous.any())
        self.motion = CommittedMotion(joints.limits, joints.blended)
        self._measured = MeasuredState(joints.names, joints.unmeasured, joints.continuous)
        self._planner = Planner(joints, self.motion, self._measured)
        self._outputs = Outputs(joints, contract.controllers, self._motion_clock)
        units = [contract.joints[name].unit for name in joints.names]
        self._tracking = TrackingMonitor(joints, contract.controllers, units, self._motion_clock)
        self._reports = ControllerReports(joints, contract.controllers, self._motion_clock)
        self._validator = ChunkValidator(contract, joints.names)
        self._status = StatusTracker()
        self._clock = ClockMonitor()
        self._counters = ChunkCounters()
        self._chunk: ActionChunk | None = None
        #: Whether a chunk is executed; otherwise the active trajectory runs to its end.
        self._executing = False
        #: Whether a stop has ended the motion since the last accepted chunk.
        self._stopped = False
        #: Whether the next chunk starts from the measured state once the robot is at rest.
        self._restart = False
        #: Position that each controller last reported to hold or follow, after an outage of a
        #: controller: the next motion starts there, at rest. None otherwise.
        self._held: dict[str, float] | None = None
        self._joint_state_arrived = False
        #: Whether the operator has requested a chunk with `single_step`.
        self._step_requested = False
        #: Whether the motion was ended without a message, so the robot may have stopped elsewhere.
        self._ended_silently = False
        #: Why motion ends after the running chunk; empty if it ends by an underrun.
        self._end_reason = ""
        self._end_code = ReasonCode.STEP_DONE

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the joints that a controller moves, in the contract's order."""
        return self.joints.names

    @property
    def published(self) -> Curve | None:
        """The active trajectory of the controllers; None before the first message."""
        return self._outputs.published

    @property
    def live_session(self) -> str | None:
        """The policy session whose chunks are accepted; None if any session may start."""
        return self._validator.live_session

    # Inputs

    def start(self, now_ns: int) -> None:
        """Start from the measured state, as the robot may have been moved since the last stop.

        Latched stops and counts are kept.
        """
        self._check_clock(now_ns)
        self._drop_motion(now_ns)
        self._status.halt("")
        self._validator.reset()
        self._validator.reject_observed_until(now_ns)

    def observe(
        self,
        stamp_ns: int,
        names: Sequence[str],
        positions: Sequence[float],
        velocities: Sequence[float],
        trusted: Collection[str] | None = None,
    ) -> Rejection | None:
        """Store a joint state, or return why not; a malformed one is rejected as a whole.

        If `trusted` is given, only these joints are used from this source.
        """
        try:
            self._measured.observe(stamp_ns, names, positions, velocities, trusted)
            self._joint_state_arrived = True
        except MalformedError as error:
            return self.reject_joint_state(Rejection(error.reason, error.detail), trusted)
        return None

    def reject_joint_state(
        self,
        rejection: Rejection,
        joints: Collection[str] | None = None,
        *,
        forget: bool = False,
    ) -> Rejection:
        """Count a joint state that cannot be used, and return why.

        If no other arrives, the state of these joints (all by default) is unknown for this reason;
        with `forget` it is unknown immediately.
        """
        self._measured.record_rejection(rejection, joints, forget=forget)
        return self.reject(rejection)

    def receive(self, chunk: ActionChunk, now_ns: int) -> Rejection | None:
        """Plan the motion of a chunk, or return why not; update() then returns the messages."""
        self._counters.received += 1
        self._check_clock(now_ns)
        rejection = (
            self._validator.check(chunk, now_ns, self.settings)
            or self._status.rejection()
            or self._check_controllers()
            or self._check_step_requested()
            or self._check_joint_states(now_ns)
            or self._check_tracking(now_ns)
            or self._plan(chunk, now_ns)
        )
        if rejection is not None:
            return self._record_chunk_rejection(rejection)
        self._counters.accepted += 1
        self._validator.accept(chunk)
        self._status.record_accepted()
        self._chunk = chunk
        self._executing = self.motion.changed = True
        self._stopped = False
        self._restart = self._step_requested = self._ended_silently = False
        self._end_reason = (
            "single step: at the end of its chunk" if self.settings.single_step else ""
        )
        self._end_code = ReasonCode.STEP_DONE
        return None

    def check_controller(
        self,
        controller: str,
        stamp_ns: int,
        reference: Mapping[str, float],
        now_ns: int,
        speed_scaling: float | None = None,
    ) -> Update | None:
        """Take the report of a controller; compare its reference with the motion sent.

        The plan is not continued while they differ. After `tracking_error_timeout` the controller
        has rejected its commands or follows another node, and motion stops until resume(). While
        the reports of a controller stop, nothing is sent; motion then restarts.

        Args:
            controller: name of the controller.
            stamp_ns: time of the report.
            reference: joint -> position, rad or m.
            now_ns: present time.
            speed_scaling: factor on the controller's trajectory clock; None if it reports none.

        Returns:
            The messages of a stop, or None.

        """
        reports = self._reports
        returned = reports.record(controller, stamp_ns, reference, now_ns)
        if returned and not self._reports.activity.inactive:
            self._restart_at_rest(f"controller '{controller}' is active again", now_ns)
        commanded = self._trajectory_to_track(now_ns)
        if reports.activity.inactive or not reports.is_due(controller, stamp_ns, speed_scaling):
            commanded = None
        if commanded is not None:
            offset_ns = reports.correct_motion_time(
                controller, commanded, reference, stamp_ns, now_ns
            )
            self._outputs.record_offset(stamp_ns, offset_ns)
        if speed_scaling is not None:
            reports.scaling.report(controller, speed_scaling)
        update = self._scale(now_ns)
        if update is not None or commanded is None:
            return update
        lead_time = self.settings.splice_lead_time
        if reports.follows_former(controller, reference, stamp_ns, lead_time):
            return None
        if reports.was_interrupted(controller, commanded, reference, stamp_ns):
            self._restart_at_rest(f"controller '{controller}' was inactive for a moment", now_ns)
            return None
        tracking = self._tracking
        failed = tracking.controller_failed(
            self._controllers[controller], commanded, reference, stamp_ns, self.settings
        )
        self._status.tracking_fault = tracking.tracking_fault
        if failed:
            self._lock(tracking.tracking_fault, now_ns)
            return self.update(now_ns)
        return None

    def report_speed_scaling(self, factor: float, now_ns: int) -> Update | None:
        """Follow the speed scaling of the robot contract's topic; return the messages of a pause.

        Args:
            factor: share of the commanded speed; 0 is a pause.
            now_ns: present time.

        """
        self._reports.scaling.report_of_robot(factor)
        return self._scale(now_ns)

    def end_session(self, session: str) -> None:
        """Accept another session immediately: the policy has ended this one."""
        self._validator.end_session(session)

    def reject(self, rejection: Rejection) -> Rejection:
        """Count the rejection of an input that did not become a record, and return it."""
        return self._counters.record_rejection(rejection)

    def reject_chunk(self, rejection: Rejection) -> Rejection:
        """Count a received chunk that is too malformed to become a record."""
        self._counters.received += 1
        return self._record_chunk_rejection(rejection)

    # Outputs

    def update(self, now_ns: int) -> Update | None:
        """Return the messages for what changed since the last call, or None.

        Call it at a steady rate.
        """
        self._check_clock(now_ns)
        if self._uses_commands and self._outputs.published is not None:
            motion_ns = self._motion_clock.at(now_ns)
            commanded = self._outputs.published.at(motion_ns)[0]
            self._measured.assume_commanded(commanded)
            self._measured.near = commanded
        self._check_activity(now_ns)
        self._check_joint_tracking(now_ns)
        if self._executing:
            self._continue(now_ns)
        if self.motion.changed and self._is_at_rest(now_ns):
            # The process was stalled until this motion had ended: it cannot be sent any more.
            self.motion.changed = False
            self.motion.rollback(self._outputs.published)
        if self._restart and self._is_at_rest(now_ns):
            self.motion.clear()
            self._status.clear_halt(_RESET)
            self._restart = False
        return self._send(now_ns)

    def commands(self, now_ns: int) -> tuple[tuple[Controller, Array], ...]:
        """Return the present positions for each streamed controller; none when at rest."""
        return self._outputs.commands(now_ns)

    def targets(self, now_ns: int) -> tuple[tuple[Controller, Array], ...]:
        """Return the target of each controller that follows targets, such as a gripper action.

        None after a stop of any kind until the next accepted chunk, nor while a joint does not
        follow: such controllers keep their last target. The end of a chunk is not a stop.
        """
        if self._stopped or self._must_not_command:
            return ()
        return self._outputs.targets(now_ns)

    @property
    def estopped(self) -> bool:
        """Return whether an emergency stop is latched."""
        return self._status.estop

    def state(self, now_ns: int) -> ExecutorState:
        """Return the state to publish."""
        return report(
            now_ns,
            self.joint_names,
            self._chunk,
            self.motion,
            self._status,
            self._counters,
            shadow=self.settings.shadow,
            clock=self._motion_clock,
            splices=self._reports.splices,
            splice_lead_time=self._with_lead_time().splice_lead_time,
        )

    # Operator

    def hold(self, on: bool, now_ns: int) -> None:
        """Pause with a smooth stop, or allow the next chunk to move the robot again."""
        if on == self._status.hold:
            return
        self._status.hold = on
        why = "held by the operator" if on else "released: waiting for a new chunk"
        code = ReasonCode.OPERATOR_HOLD if on else ReasonCode.RELEASED
        if on or not self._is_at_rest(now_ns):
            self._halt(now_ns, why, self.settings.braking_time, code)
        else:
            self._status.halt(why, code)
            self._validator.reject_observed_until(now_ns)

    def estop(self, now_ns: int) -> None:
        """Stop as hard as the limits allow; latched until resume().

        This is software: it does not replace an emergency stop that cuts the power.
        """
        self._status.estop = True
        self._halt(now_ns, "emergency stop", 0.0, ReasonCode.EMERGENCY_STOP)

    def step(self, now_ns: int) -> None:
        """With `single_step`, execute the next chunk that is observed after now."""
        self._step_requested = True
        self._validator.reject_observed_until(now_ns)

    def resume(self, now_ns: int) -> None:
        """Clear an emergency stop or a latched fault."""
        self._status.resume()
        self._validator.reject_observed_until(now_ns)

    def stop(
        self, now_ns: int, reason: str = "stopped", code: ReasonCode = ReasonCode.STOPPED
    ) -> Update | None:
        """Stop smoothly and return the messages; None if nothing was ever commanded."""
        self._halt(now_ns, reason, self.settings.braking_time, code)
        return self.update(now_ns)

    def yield_control(self, reason: str, now_ns: int) -> None:
        """Stop commanding, because another node commands the robot.

        The trajectory that was sent runs to its end: a stop would interfere with the commands of
        the other node.
        """
        self._check_clock(now_ns)
        self._drop_motion(now_ns)
        self._validator.reject_observed_until(now_ns)
        self._status.halt(reason, ReasonCode.SECOND_EXECUTOR)

    def fail(self, what: str, now_ns: int) -> Update | None:
        """Stop smoothly after an internal error, latched until resume().

        The next motion starts from the measured state. If the stop fails as well, the robot stops
        by the braking tail that its controllers already have.
        """
        self.reject(Rejection("internal_error", what))
        self._executing = False
        if self._status.locked:
            return None
        self._lock(f"internal error: {what}", now_ns, ReasonCode.INTERNAL_ERROR)
        return self._send(now_ns)

    def instruct(self, instruction: str, now_ns: int) -> Update | None:
        """Follow the operator's instruction.

        An empty instruction is a smooth stop. A new one shortens the running chunk to what has
        been sent and to its frozen steps, with which the next chunk begins; chunks of the old
        instruction are rejected.
        """
        if instruction.strip():
            self._validator.restore_instruction()
            chunk = self._chunk
            if chunk and chunk.instruction.strip() not in ("", instruction.strip()):
                self._validator.end_instruction()
                if self._executing:
                    frozen_ns = now_ns + s_to_ns(chunk.frozen_steps * chunk.dt)
                    self.motion.shorten(self._motion_clock.at(frozen_ns))
                    self._end_reason = "the instruction changed: waiting for its first chunk"
                    self._end_code = ReasonCode.INSTRUCTION_CHANGED
                    self.motion.changed = True
            return None
        self._validator.end_instruction()
        return self.stop(now_ns, "no instruction", ReasonCode.NO_INSTRUCTION)

    def reset(self, now_ns: int) -> None:
        """Stop, then drop session, timeline and history; restart from the measured state."""
        self._halt(now_ns, _RESET, self.settings.braking_time, ReasonCode.RESET)
        self._validator.reset()
        self._validator.reject_observed_until(now_ns)
        self._chunk = None
        self._outputs.drop_history(now_ns)
        self._restart = True

    # Planning and sending

    def _record_chunk_rejection(self, rejection: Rejection) -> Rejection:
        if rejection.reason != "second_policy":
            self._status.last_rejection = rejection.reason
        return self.reject(rejection)

    def _plan(self, chunk: ActionChunk, now_ns: int) -> Rejection | None:
        restart = self._restart or self._was_moved(now_ns)
        if self.settings.shadow or (restart and self._is_at_rest(now_ns)):
            self.motion.clear()
        if self.motion.active is not None:
            return self._splice(chunk, now_ns)
        self._motion_clock.reset()
        self._measured.use_own_turns(self._reports.references)
        motion_ns = self._motion_clock.at(now_ns)
        rejection = self._planner.begin(motion_ns, self.settings, self._held)
        if rejection is not None:
            self._status.halt(rejection.detail, ReasonCode.CANNOT_STOP)
            if self.motion.active is not None:
                self._outputs.published = None
                self._restart = self.motion.changed = True
            return rejection
        rejection = self._splice(chunk, now_ns)
        if rejection is None:
            self._outputs.published = self._held = None
            self._measured.near = self._measured.position.copy()
        else:
            self.motion.clear()
        return rejection

    def _splice(self, chunk: ActionChunk, now_ns: int) -> Rejection | None:
        """Splice a chunk, whose steps are due at times, into the motion in motion time."""
        motion_ns = self._motion_clock.at(now_ns)
        if motion_ns != now_ns:
            late_ns = now_ns - motion_ns
            chunk = replace(
                chunk, stamp_ns=chunk.stamp_ns - late_ns, start_ns=chunk.start_ns - late_ns
            )
        return self._planner.plan(chunk, motion_ns, self._with_lead_time())

    def _with_lead_time(self) -> ExecutorConfig:
        """Return the settings with the present splice lead time."""
        settings = self.settings
        lead = self._reports.splices.lead_time(settings.splice_lead_time, settings.commit_horizon)
        if lead == settings.splice_lead_time:
            return settings
        return replace(settings, splice_lead_time=lead)

    def _is_at_rest(self, now_ns: int) -> bool:
        return self.motion.is_at_rest(self._motion_clock.at(now_ns))

    def _continue(self, now_ns: int) -> None:
        """Commit more of the plan, or end the motion of the running chunk."""
        motion_ns = self._motion_clock.at(now_ns)
        lost = self._check_joint_states(now_ns)
        if lost is not None and not self.settings.shadow:
            if not self._clock.is_catching_up(now_ns):
                why = f"joint states lost: {lost.detail}"
                self._halt(now_ns, why, self.settings.braking_time, ReasonCode.JOINT_STATES_LOST)
            return
        if self._status.tracking_fault:
            if self.motion.is_on_tail(motion_ns):
                self._end_silently()
            return
        self.motion.refresh(motion_ns, self._with_lead_time())
        end_ns = self.motion.end_ns
        if end_ns is None or motion_ns < end_ns:
            return
        if self._end_reason:
            self._status.halt(self._end_reason, self._end_code)
        else:
            self._status.record_underrun(self.settings.max_underruns)
        self.motion.end_with_tail()
        self._executing, self.motion.changed = False, True

    def _send(self, now_ns: int) -> Update | None:
        """Return the messages for changed motion; motion that must not be sent is rolled back."""
        motion, timeline_only = self.motion, self._must_not_command
        changed, motion.changed = motion.changed, False
        if changed and timeline_only and motion.active is not self._outputs.published:
            motion.rollback(self._outputs.published)
        if not changed or motion.active is None or motion.plan is None:
            return None
        before = self._outputs.published
        try:
            update = self._outputs.build(
                motion.active,
                motion.plan,
                self._chunk,
                self._planner.knot_dt,
                now_ns,
                self.settings,
                own_scaling=self._reports.scaling.of_controllers,
                timeline_only=timeline_only,
            )
        except MalformedError as error:
            motion.rollback(self._outputs.published)
            self.reject(Rejection(f"invalid_output_{error.reason}", error.detail))
            self._status.halt(f"the motion could not be sent: {error}", ReasonCode.SEND_FAILED)
            self._executing = False
            return None
        if update.trajectories:
            sent_to = [trajectory.controller for trajectory in update.trajectories]
            self._reports.record_sent(now_ns, before, motion.active, sent_to)
        return update

    # Stops

    def _halt(self, now_ns: int, reason: str, braking_time: float, code: ReasonCode) -> None:
        self._check_clock(now_ns)
        self._status.halt(reason, code)
        self._validator.reject_observed_until(now_ns)
        self._executing = False
        self._stopped = True
        if self.motion.active is None:
            return
        if self._must_not_command:
            self._end_silently()
            return
        self.motion.brake(
            self._motion_clock.at(now_ns),
            self._with_lead_time().splice_lead_time,
            0.0 if self._status.estop else braking_time,
        )
        self.motion.changed = True

    def _lock(self, reason: str, now_ns: int, code: ReasonCode = ReasonCode.TRACKING_ERROR) -> None:
        """Stop until resume(), and restart from the measured state then."""
        self._status.lock(reason, code)
        self._restart = True
        self._halt(now_ns, reason, self.settings.braking_time, code)

    @property
    def _must_not_command(self) -> bool:
        """Return whether the next message may make a controller jump, as it may have missed some.

        So it is during a tracking error, and while a controller is inactive. False during an
        emergency stop, which is always sent.
        """
        faulty = bool(self._tracking.tracking_fault or self._reports.activity.inactive)
        return faulty and not self._status.estop

    def _end_silently(self) -> None:
        """End the motion with the tail that the controllers already have."""
        self.motion.end_with_tail()
        self._executing = False
        self.motion.changed = self._ended_silently = True

    def _drop_motion(self, now_ns: int) -> None:
        self.motion.clear()
        self._outputs.published = self._chunk = None
        self._outputs.drop_history(now_ns)
        self._executing = self._restart = self.motion.changed = False
        self._reports.splices.reset()

    def _restart_at_rest(self, reason: str, now_ns: int) -> None:
        """Drop the motion: its controllers stand, and the next chunk moves them from there."""
        self._drop_motion(now_ns)
        self._tracking.reset()
        self._status.tracking_fault = ""
        self._held = self._reports.references
        self._validator.reject_observed_until(now_ns)
        self._status.halt(f"{reason}: waiting for a new chunk", ReasonCode.CONTROLLER_INACTIVE)

    # Speed scaling

    def _scale(self, now_ns: int) -> Update | None:
        """Let the motion advance at the present speed scaling; return the messages of a pause."""
        clock = self._motion_clock
        was_paused = clock.paused
        clock.advance(now_ns, self._reports.scaling.factor)
        if clock.paused == was_paused:
            if self._executing and self._reports.needs_resend():
                self.motion.changed = True
            return None
        self._validator.reject_observed_until(now_ns)
        if was_paused:
            self._status.halt(
                f"the speed scaling of the robot is {clock.scaling:.0%} again: waiting for a new "
                "chunk",
                ReasonCode.PAUSED,
            )
            return None
        self._status.halt(
            "the speed scaling of the robot is 0: set its speed slider, or end its pause",
            ReasonCode.PAUSED,
        )
        self._executing = False
        motion_ns = clock.at(now_ns)
        if self.motion.active is None or self._is_at_rest(now_ns) or self._must_not_command:
            return None
        # Stand where the pause began: the robot stands already, so this is continuous.
        position, velocity = self.motion.active.at(motion_ns)
        self.motion.begin(
            position, np.zeros_like(velocity), motion_ns, self.settings.resend_window, 0.0
        )
        self._outputs.published, self.motion.changed = None, True
        return self._send(now_ns)

    # Checks

    def _check_clock(self, now_ns: int) -> None:
        """Drop everything that depends on time if the clock has jumped."""
        jump = self._clock.check_jump(
            now_ns, self.settings.max_future, self.settings.max_clock_step
        )
        if jump:
            self._measured.clear()
            self._reports.activity.reset()
            self._motion_clock.reset()
            self._validator.reset()
            self._validator.reject_observed_until(now_ns)
            self._drop_motion(now_ns)
            self._status.halt(f"{jump}: waiting for a new chunk", ReasonCode.CLOCK_JUMP)

    def _check_activity(self, now_ns: int) -> None:
        """Stop sending as soon as a controller is inactive."""
        if self._joint_state_arrived:
            self._joint_state_arrived = False
            self._reports.activity.record_joint_state(now_ns)
        if self._reports.activity.update(now_ns):
            self._status.halt(self._reports.activity.description, ReasonCode.CONTROLLER_INACTIVE)
            if self.motion.active is not None:
                self._end_silently()

    def _check_controllers(self) -> Rejection | None:
        if self._reports.activity.inactive:
            return Rejection("controller_inactive", self._reports.activity.description)
        if self._motion_clock.paused:
            return Rejection("paused", "the speed scaling of the robot is 0")
        return None

    def _check_step_requested(self) -> Rejection | None:
        if self.settings.single_step and not self._step_requested:
            return Rejection("awaiting_step", "single step: call step for the next chunk")
        return None

    def _check_joint_states(self, now_ns: int) -> Rejection | None:
        return self._measured.check_age(
            now_ns, self.settings.joint_state_timeout, self.settings.max_future
        )

    def _check_tracking(self, now_ns: int) -> Rejection | None:
        self._check_joint_tracking(now_ns)
        fault = self._status.tracking_fault
        return self._status.rejection() or (Rejection("tracking_error", fault) if fault else None)

    def _check_joint_tracking(self, now_ns: int) -> None:
        """Compare the newest measured joints with the commands of the time of measurement."""
        commanded = self._trajectory_to_track(now_ns)
        if commanded is None or self._reports.activity.inactive:
            self._tracking.reset()
        elif self._measured.oldest_ns is not None and self._tracking.joints_failed(
            commanded, self._measured, self.settings
        ):
            self._lock(self._tracking.tracking_fault, now_ns)
        self._status.tracking_fault = self._tracking.tracking_fault

    def _trajectory_to_track(self, now_ns: int) -> Curve | None:
        """Return the trajectory that the robot must follow now, or None.

        It must be followed until shortly after its end; later the robot may be moved externally.
        """
        published = self._outputs.published
        if published is None or self.motion.active is None or self._status.locked:
            return None
        grace = 2.0 * self.settings.tracking_error_timeout
        over = self._motion_clock.at(now_ns) > published.end_ns + s_to_ns(grace)
        return published if self._executing or not over else None

    def _was_moved(self, now_ns: int) -> bool:
        """Return whether the robot is not where its last motion ended."""
        published = self._outputs.published
        if published is None or self._executing:
            return False
        if self._trajectory_to_track(now_ns) and not self._ended_silently:
            return False
        motion_ns = self._motion_clock.at(now_ns)
        return self._tracking.was_moved(published, self._measured.position, motion_ns)
