# SPDX-License-Identifier: Apache-2.0
"""The executor: chunks and joint states in, bounded motion out. Facade of this package."""

from collections.abc import Collection, Mapping, Sequence

from groot_ros.control.chunk_execution import ChunkExecution
from groot_ros.control.chunk_validation import ChunkValidator, Rejection
from groot_ros.control.curve import Array, Curve
from groot_ros.control.executor_status import ChunkCounters, ClockMonitor, report
from groot_ros.control.joint_state import ActuatedJoints, MeasuredState
from groot_ros.control.motion_clock import MotionClock
from groot_ros.control.outputs import Update
from groot_ros.control.restarts import RestartMonitor
from groot_ros.control.settings import ExecutorConfig
from groot_ros.control.stops import Stops
from groot_ros.control.supervision import Finding, Supervision
from groot_ros.core import (
    ActionChunk,
    ExecutorState,
    ExecutorStatus,
    MalformedError,
    ReasonCode,
    is_blank,
)
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
        self._motion_clock = MotionClock()
        self._measured = MeasuredState(joints.names, joints.unmeasured, joints.continuous)
        self._supervision = Supervision(contract, joints, self._measured, self._motion_clock)
        self._reports = self._supervision.reports
        self._execution = ChunkExecution(
            joints, contract.controllers, self._measured, self._reports, self._motion_clock
        )
        self.motion = self._execution.motion
        self._validator = ChunkValidator(contract, joints.names)
        self._stops = Stops(self._execution, self._validator, self._supervision)
        self._status = self._stops.status
        self._clock = ClockMonitor()
        self._restarts = RestartMonitor()
        self._counters = ChunkCounters()
        #: Why motion ends after the running chunk; None if it ends by an underrun.
        self._end: tuple[str, ReasonCode] | None = None

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the joints that a controller moves, in the contract's order."""
        return self.joints.names

    @property
    def published(self) -> Curve | None:
        """The active trajectory of the controllers; None before the first message."""
        return self._execution.outputs.published

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
        self._validator.reset()
        self._restarts.reset()
        self._stops.drop(now_ns, "")

    def record_clock_jump(self, now_ns: int, jump: str) -> None:
        """Drop everything that depends on time: the caller has seen the clock jump.

        It can compare with a steady clock, and so finds jumps that are shorter than
        `max_clock_step`: without it they look like a robot that does not follow.

        Args:
            now_ns: present time, after the jump.
            jump: description.

        """
        self._check_clock(now_ns)
        self._restart_clock(now_ns, jump)

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
            self._supervision.record_joint_state()
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
            or self._supervision.rejection(paused=self._motion_clock.paused)
            or self._validator.check_step(self.settings)
            or self._check_policy_restart(chunk, now_ns)
            or self._check_joint_states(now_ns)
            or self._check_tracking(now_ns)
            or self._plan(chunk, now_ns)
        )
        if rejection is not None:
            self._status.record_rejected(rejection)
            return self.reject(rejection)
        self._counters.accepted += 1
        self._validator.accept(chunk)
        self._restarts.record_chunk(chunk.session)
        self._status.record_accepted()
        self._end = None
        if self.settings.single_step:
            self._end = "single step: at the end of its chunk", ReasonCode.STEP_DONE
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
        if returned and not reports.activity.inactive:
            self._stops.restart_at_rest(now_ns, self.settings, controller, "is active again")
        if self._execution.follow_sent_before(controller, stamp_ns, reference):
            self._stops.continue_motion_sent(now_ns, self.settings)
        due = reports.is_due(controller, stamp_ns, speed_scaling)
        sent = self._trajectory_to_follow(now_ns) if due else None
        if sent is not None:
            offset_ns = reports.correct_motion_time(controller, sent, reference, stamp_ns, now_ns)
            self._execution.outputs.record_offset(stamp_ns, offset_ns)
        if speed_scaling is not None:
            reports.scaling.report(controller, speed_scaling)
        update = self._scale(now_ns)
        if update is not None or sent is None:
            return update
        finding = self._supervision.check_reference(
            controller, sent, reference, stamp_ns, self.settings
        )
        self._status.tracking_fault = self._supervision.tracking_fault
        if finding == Finding.INTERRUPTED:
            what = "was inactive for a moment"
            self._stops.restart_at_rest(now_ns, self.settings, controller, what)
        if finding != Finding.FAILED:
            return None
        self._stops.lock(now_ns, self.settings, self._supervision.tracking_fault)
        return self.update(now_ns)

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
        self._status.record_rejected(rejection)
        return self.reject(rejection)

    # Outputs

    def update(self, now_ns: int) -> Update | None:
        """Return the messages for what changed since the last call, or None.

        Call it at a steady rate.
        """
        self._check_clock(now_ns)
        self._execution.assume_commanded(now_ns)
        self._execution.record_motion(now_ns, self.settings)
        if self._supervision.has_become_inactive(now_ns):
            self._stops.end_where_inactive()
        self._check_robot_restart(now_ns)
        self._check_joint_tracking(now_ns)
        if self._execution.executing:
            self._continue(now_ns)
        if self._execution.settle(now_ns):
            self._status.clear_halt(_RESET)
        return self._send(now_ns)

    def commands(self, now_ns: int) -> tuple[tuple[Controller, Array], ...]:
        """Return the present positions for each streamed controller; none when at rest."""
        return self._execution.outputs.commands(now_ns)

    def targets(self, now_ns: int) -> tuple[tuple[Controller, Array], ...]:
        """Return the target of each controller that follows targets, such as a gripper action.

        None after a stop of any kind until the next accepted chunk, nor while a joint does not
        follow: such controllers keep their last target. The end of a chunk is not a stop.
        """
        if self._execution.stopped or self._stops.must_not_command:
            return ()
        return self._execution.outputs.targets(now_ns)

    def committed(self, now_ns: int) -> Array | None:
        """Return the committed position of each joint, [N] rad or m; None before any motion."""
        active = self.motion.active
        return None if active is None else active.at(self._motion_clock.at(now_ns))[0]

    @property
    def estopped(self) -> bool:
        """Return whether an emergency stop is latched."""
        return self._status.estop

    def status(self, now_ns: int) -> tuple[ExecutorStatus, ReasonCode, str]:
        """Return status, code and reason of state(), without the rest of it."""
        motion = self.motion
        return self._status.status(
            self._motion_clock.at(now_ns),
            motion.end_ns,
            motion.rest_ns,
            shadow=self.settings.shadow,
        )

    def state(self, now_ns: int) -> ExecutorState:
        """Return the state to publish."""
        return report(
            now_ns,
            self.joint_names,
            self._execution.chunk,
            self.motion,
            self._status,
            self._counters,
            shadow=self.settings.shadow,
            clock=self._motion_clock,
            splices=self._reports.splices,
            splice_lead_time=self._execution.splice_lead_time(self.settings),
            instruction=self._validator.instruction,
        )

    # Operator

    def hold(self, on: bool, now_ns: int) -> None:
        """Pause with a smooth stop, or allow the next chunk to move the robot again."""
        if on == self._status.hold:
            return
        self._status.hold = on
        released = "released: waiting for a new chunk"
        if on:
            self._halt(now_ns, "held by the operator", ReasonCode.OPERATOR_HOLD)
        elif self._execution.is_at_rest(now_ns):
            self._stops.release(now_ns, released)
        else:
            self._halt(now_ns, released, ReasonCode.RELEASED)

    def estop(self, now_ns: int) -> None:
        """Stop as hard as the limits allow; latched until resume().

        This is software: it does not replace an emergency stop that cuts the power.
        """
        self._status.estop = True
        self._halt(now_ns, "emergency stop", ReasonCode.EMERGENCY_STOP)

    def step(self, now_ns: int) -> None:
        """With `single_step`, execute the next chunk that is observed after now."""
        self._validator.request_step(now_ns)

    def resume(self, now_ns: int) -> None:
        """Clear an emergency stop or a latched fault."""
        self._status.resume()
        self._restarts.reset()
        self._validator.reject_observed_until(now_ns)

    def stop(
        self, now_ns: int, reason: str = "stopped", code: ReasonCode = ReasonCode.STOPPED
    ) -> Update | None:
        """Stop smoothly and return the messages; None if nothing was ever commanded."""
        self._halt(now_ns, reason, code)
        return self.update(now_ns)

    def yield_control(self, reason: str, now_ns: int) -> None:
        """Stop commanding, because another node commands the robot.

        The trajectory that was sent runs to its end: a stop would interfere with the commands of
        the other node.
        """
        self._check_clock(now_ns)
        self._stops.drop(now_ns, reason, ReasonCode.SECOND_EXECUTOR)

    def fail(self, what: str, now_ns: int) -> Update | None:
        """Stop smoothly after an internal error, latched until resume().

        The next motion starts from the measured state. If the stop fails as well, the robot stops
        by the braking tail that its controllers already have.
        """
        self.reject(Rejection("internal_error", what))
        self._execution.executing = False
        if self._status.locked:
            return None
        self._check_clock(now_ns)
        why = f"internal error: {what}"
        self._stops.lock(now_ns, self.settings, why, ReasonCode.INTERNAL_ERROR)
        return self._send(now_ns)

    def announce_instruction(self, session: str, instruction: str, instruction_id: int) -> None:
        """Record the instruction of any policy, so that a stop ends it before its first chunk."""
        self._validator.announce_instruction(session, instruction, instruction_id)

    def instruct(
        self, instruction: str, now_ns: int, instruction_id: int | None = None
    ) -> Update | None:
        """Follow the operator's instruction; `instruction_id` is its number, if it has one.

        An empty instruction is a smooth stop. A new one shortens the running chunk to what has
        been sent and to its frozen steps, with which the next chunk begins; chunks of the old
        instruction are rejected.
        """
        self._validator.set_instruction(instruction, instruction_id)
        if not is_blank(instruction):
            self._validator.restore_instruction()
            chunk = self._execution.chunk
            if chunk and chunk.instruction.strip() not in ("", instruction.strip()):
                self._validator.end_instruction()
                if self._execution.executing:
                    self._execution.shorten(now_ns)
                    why = "the instruction changed: waiting for its first chunk"
                    self._end = why, ReasonCode.INSTRUCTION_CHANGED
            return None
        self._validator.stop_instruction()
        return self.stop(now_ns, "no instruction", ReasonCode.NO_INSTRUCTION)

    def reset(self, now_ns: int) -> None:
        """Stop, then drop session, timeline and history; restart from the measured state."""
        self._halt(now_ns, _RESET, ReasonCode.RESET)
        self._validator.restore_instruction()
        self._validator.reset()
        self._validator.reject_observed_until(now_ns)
        self._execution.forget(now_ns)
        self._execution.restart = True

    # Planning and sending

    def _plan(self, chunk: ActionChunk, now_ns: int) -> Rejection | None:
        rejection = self._execution.begin(now_ns, self.settings)
        if rejection is not None:
            self._status.halt(rejection.detail, ReasonCode.CANNOT_STOP)
            return rejection
        return self._execution.splice(chunk, now_ns, self.settings)

    def _continue(self, now_ns: int) -> None:
        """Commit more of the plan, or end the motion of the running chunk."""
        lost = self._check_joint_states(now_ns)
        if lost is not None and not self.settings.shadow:
            if not self._clock.is_catching_up(now_ns):
                why = f"joint states lost: {lost.detail}"
                self._halt(now_ns, why, ReasonCode.JOINT_STATES_LOST)
        elif self._status.tracking_fault:
            if self._execution.is_on_tail(now_ns):
                self._execution.end_silently()
        elif self._execution.advance(now_ns, self.settings):
            if self._end is not None:
                self._status.halt(*self._end)
            else:
                self._status.record_underrun(self.settings.max_underruns)

    def _send(self, now_ns: int) -> Update | None:
        if not self.motion.changed:
            return None
        # A motion that ended silently is one that the controllers have, or must not get: one that
        # received a message after all would jump to where it was assumed to stand.
        timeline_only = self._stops.must_not_command or self._execution.ended_silently
        try:
            return self._execution.send(now_ns, self.settings, timeline_only=timeline_only)
        except MalformedError as error:
            self.reject(Rejection(f"invalid_output_{error.reason}", error.detail))
            self._status.halt(f"the motion could not be sent: {error}", ReasonCode.SEND_FAILED)
            return None

    def _scale(self, now_ns: int) -> Update | None:
        """Let the motion advance at the present speed scaling; return the messages of a pause."""
        clock = self._motion_clock
        was_paused = clock.paused
        clock.advance(now_ns, self._reports.scaling.factor)
        if clock.paused and not was_paused:
            return self._send(now_ns) if self._stops.pause(now_ns, self.settings) else None
        if was_paused and not clock.paused:
            self._stops.end_pause(now_ns, clock.scaling)
        else:
            self._execution.resend_if_scaled()
        return None

    def _halt(self, now_ns: int, reason: str, code: ReasonCode) -> None:
        self._check_clock(now_ns)
        self._stops.halt(now_ns, self.settings, reason, code)

    # Checks

    def _check_clock(self, now_ns: int) -> None:
        """Drop everything that depends on time if the clock has jumped."""
        settings = self.settings
        if jump := self._clock.check_jump(now_ns, settings.max_future, settings.max_clock_step):
            self._restart_clock(now_ns, jump)

    def _restart_clock(self, now_ns: int, jump: str) -> None:
        self._measured.clear()
        self._reports.activity.reset()
        self._motion_clock.reset()
        self._validator.reset()
        self._stops.drop(now_ns, f"{jump}: waiting for a new chunk", ReasonCode.CLOCK_JUMP)

    def _check_policy_restart(self, chunk: ActionChunk, now_ns: int) -> Rejection | None:
        """Latch a stop if another policy session continues the motion of an earlier one."""
        settings = self.settings
        if settings.require_resume_after_restart and self._restarts.is_restart(chunk.session):
            self._stops.lock(now_ns, settings, "the policy was restarted", ReasonCode.RESTARTED)
        return self._status.rejection()

    def _check_robot_restart(self, now_ns: int) -> None:
        """Latch a stop if the joint states of a robot that was commanded have stopped."""
        settings = self.settings
        if (
            not settings.require_resume_after_restart
            or not self._restarts.has_moved
            or self._status.latched
            or self._clock.is_catching_up(now_ns)
        ):
            return
        if lost := self._check_joint_states(now_ns):
            why = f"the robot may have been restarted ({lost.detail})"
            self._stops.lock(now_ns, settings, why, ReasonCode.RESTARTED)

    def _check_joint_states(self, now_ns: int) -> Rejection | None:
        return self._measured.check_age(
            now_ns, self.settings.joint_state_timeout, self.settings.max_future
        )

    def _check_tracking(self, now_ns: int) -> Rejection | None:
        self._check_joint_tracking(now_ns)
        fault = self._status.tracking_fault
        return self._status.rejection() or (Rejection("tracking_error", fault) if fault else None)

    def _check_joint_tracking(self, now_ns: int) -> None:
        if self._supervision.joints_failed(self._trajectory_to_follow(now_ns), self.settings):
            self._stops.lock(now_ns, self.settings, self._supervision.tracking_fault)
        self._status.tracking_fault = self._supervision.tracking_fault

    def _trajectory_to_follow(self, now_ns: int) -> Curve | None:
        if self._status.locked:
            return None
        return self._execution.trajectory_to_follow(now_ns, self.settings)
