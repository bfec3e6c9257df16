"""The facade of this room: chunks and joint states in, bounded motion out."""

from collections.abc import Collection, Mapping, Sequence

from groot_ros.control.actuated_joints import ActuatedJoints
from groot_ros.control.admission import Admission
from groot_ros.control.clock import ClockWatch
from groot_ros.control.counters import Counters
from groot_ros.control.curve import Curve
from groot_ros.control.dispatch import Dispatch
from groot_ros.control.interpolation import Array
from groot_ros.control.joint_state import MeasuredState
from groot_ros.control.motion import CommittedMotion
from groot_ros.control.obedience import Obedience
from groot_ros.control.outputs import Outputs, Update
from groot_ros.control.planning import Planner
from groot_ros.control.rejection import Rejection
from groot_ros.control.report import report
from groot_ros.control.settings import ExecutorConfig
from groot_ros.control.watchdog import Watchdog
from groot_ros.core import ActionChunk, ExecutorState, MalformedError, ReasonCode, s_to_ns
from groot_ros.robot import Controller, RobotContract

#: Why it stands still until a reset is done.
_RESET = "reset: waiting for a new chunk"


class Executor:
    """Turns proposed chunks into committed motion; every time is ns of one clock.

    Attributes:
        joint_names: the joints that some controller drives, in the contract's order.
        settings: may be replaced at any time; counts from the next call.

    """

    def __init__(self, contract: RobotContract, settings: ExecutorConfig | None = None) -> None:
        joints = ActuatedJoints.of(contract)
        self.joint_names = joints.names
        self.settings = settings or ExecutorConfig()
        self._limits = joints.limits
        self._motion = CommittedMotion(joints.limits, joints.blended)
        self._measured = MeasuredState(joints.names)
        self._planner = Planner(joints, self._motion, self._measured)
        self._outputs = Outputs(joints, contract.controllers)
        self._dispatch = Dispatch(self._motion, self._outputs)
        self._obedience = Obedience(joints, contract.controllers)
        self._admission = Admission(contract, joints.names)
        self._watchdog = Watchdog()
        self._clock = ClockWatch()
        self._tally = Counters()
        self._chunk: ActionChunk | None = None
        self._executing = self._restart = self._may_step = self._left_behind = False
        self._ending = ""
        self._ending_code = ReasonCode.STEP_DONE

    # What comes in

    def start(self, now_ns: int) -> None:
        """Begin anew from the measured state: somebody else may have moved the robot since.

        Latched stops and counts stay.
        """
        self._watch_clock(now_ns)
        self._forget_motion(now_ns)
        self._watchdog.halt("")
        self._admission.forget()
        self._admission.only_after(now_ns)

    def observe(
        self,
        stamp_ns: int,
        names: Sequence[str],
        positions: Sequence[float],
        velocities: Sequence[float],
        trusted: Collection[str] | None = None,
    ) -> Rejection | None:
        """Take a joint state; malformed ones are rejected whole.

        A source may be trusted for some joints only; what it says of others is ignored.
        """
        try:
            self._measured.observe(stamp_ns, names, positions, velocities, trusted)
        except MalformedError as error:
            return self.reject(Rejection(error.reason, error.detail))
        return None

    def receive(self, chunk: ActionChunk, now_ns: int) -> Rejection | None:
        """Plan the chunk's motion, or say why not; update() then has what to publish."""
        self._tally.received += 1
        self._watch_clock(now_ns)
        rejection = (
            self._admission.judge(chunk, now_ns, self.settings)
            or self._watchdog.rejection()
            or self._step_rejection()
            or self._unknown_state(now_ns)
            or self._not_following(now_ns)
            or self._plan(chunk, now_ns)
        )
        if rejection is not None:
            return self._refuse_chunk(rejection)
        self._tally.accepted += 1
        self._admission.accept(chunk)
        self._watchdog.accepted()
        self._chunk = chunk
        self._executing = self._dispatch.due = True
        self._restart = self._may_step = self._left_behind = False
        self._ending = "single step: at the end of its chunk" if self.settings.single_step else ""
        self._ending_code = ReasonCode.STEP_DONE
        return None

    def watch_controller(
        self, controller: str, stamp_ns: int, reference: Mapping[str, float], now_ns: int
    ) -> Update | None:
        """Take what a controller says that it follows at stamp_ns: joint -> rad or m.

        Motion is not continued while it is elsewhere. One that has been for `tracking_error_timeout`
        has rejected what it was sent, or obeys somebody else: motion ends until resume(). What
        says so is handed back.
        """
        commanded = self._answerable(now_ns)
        if commanded is None:
            return None
        obedience = self._obedience
        if obedience.controller_at_fault(controller, commanded, reference, stamp_ns, self.settings):
            self._distrust(obedience.astray, now_ns)
            return self.update(now_ns)
        self._watchdog.astray = obedience.astray
        return None

    def end_session(self, session: str) -> None:
        """The policy says that this session is over: another one need not wait."""
        self._admission.end_session(session)

    def reject(self, rejection: Rejection) -> Rejection:
        """Count something rejected before it became a record."""
        return self._tally.reject(rejection)

    def reject_chunk(self, rejection: Rejection) -> Rejection:
        """Count a received chunk that was too malformed to become a record."""
        self._tally.received += 1
        return self._refuse_chunk(rejection)

    # What goes out

    def update(self, now_ns: int) -> Update | None:
        """What has changed since the last call, or None. Call at a steady rate."""
        self._watch_clock(now_ns)
        self._watch_robot(now_ns)
        if self._executing:
            self._go_on(now_ns)
        self._dispatch.rollback(now_ns)
        if self._restart and self._motion.is_at_rest(now_ns):
            self._motion.clear()
            self._watchdog.over(_RESET)
            self._restart = False
        return self._send(now_ns)

    def commands(self, now_ns: int) -> tuple[tuple[Controller, Array], ...]:
        """Positions of now for the controllers that take no trajectories; none when at rest."""
        return self._outputs.commands(now_ns)

    def state(self, now_ns: int) -> ExecutorState:
        """The report of now."""
        return report(
            now_ns,
            self.joint_names,
            self._chunk,
            self._motion,
            self._watchdog,
            self._tally,
            shadow=self.settings.shadow,
        )

    # The operator

    def hold(self, on: bool, now_ns: int) -> None:
        """Pause with a smooth stop, or let the next chunk move the robot again."""
        if on == self._watchdog.hold:
            return
        self._watchdog.hold = on
        why = "held by the operator" if on else "released: waiting for a new chunk"
        code = ReasonCode.OPERATOR_HOLD if on else ReasonCode.RELEASED
        if on or not self._motion.is_at_rest(now_ns):
            self._halt(now_ns, why, self.settings.braking_time, code)
        else:
            self._watchdog.halt(why, code)
            self._admission.only_after(now_ns)

    def estop(self, now_ns: int) -> None:
        """Stop as hard as the acceleration limits allow; latched until resume().

        This is software: it does not replace an emergency stop that cuts the power.
        """
        self._watchdog.estop = True
        self._halt(now_ns, "emergency stop", 0.0, ReasonCode.EMERGENCY_STOP)

    def step(self, now_ns: int) -> None:
        """With `single_step`, execute the next chunk that is observed from now on."""
        self._may_step = True
        self._admission.only_after(now_ns)

    def resume(self, now_ns: int) -> None:
        """End an emergency stop, or a stop after too many underruns."""
        self._watchdog.resume()
        self._admission.only_after(now_ns)

    def stop(
        self, now_ns: int, reason: str = "stopped", code: ReasonCode = ReasonCode.STOPPED
    ) -> Update | None:
        """Stop smoothly and hand back what says so; None if nothing was ever commanded."""
        self._halt(now_ns, reason, self.settings.braking_time, code)
        return self.update(now_ns)

    def give_way(self, reason: str, now_ns: int) -> None:
        """Command nothing more, because somebody else commands the robot.

        What was sent ends by itself; a stop would come in between what the other one sends.
        """
        self._watch_clock(now_ns)
        self._forget_motion(now_ns)
        self._admission.only_after(now_ns)
        self._watchdog.halt(reason, ReasonCode.SECOND_EXECUTOR)

    def fail(self, what: str, now_ns: int) -> Update | None:
        """Stop smoothly because this program is not as it was meant, latched until resume().

        Nothing of it is relied on afterwards: motion begins anew from the measured state. Where
        even the stop fails, the robot has the braking tail that its controllers were sent.
        """
        self.reject(Rejection("internal_error", what))
        self._executing = False
        if self._watchdog.locked:
            return None
        self._distrust(f"internal error: {what}", now_ns, ReasonCode.INTERNAL_ERROR)
        return self._send(now_ns)

    def instruct(self, instruction: str, now_ns: int) -> Update | None:
        """Follow the operator's instruction.

        An empty one is a bounded stop now. Another one than that of the running chunk leaves of
        it what is already sent and the frozen steps from now on, which the next chunk begins
        with; chunks of the old instruction are rejected.
        """
        if instruction.strip():
            self._admission.begin_instruction()
            chunk = self._chunk
            if chunk and chunk.instruction.strip() not in ("", instruction.strip()):
                self._admission.end_instruction()
                if self._executing:
                    self._motion.shorten(now_ns + s_to_ns(chunk.frozen_steps * chunk.dt))
                    self._ending = "the instruction changed: waiting for its first chunk"
                    self._ending_code = ReasonCode.INSTRUCTION_CHANGED
                    self._dispatch.due = True
            return None
        self._admission.end_instruction()
        return self.stop(now_ns, "no instruction", ReasonCode.NO_INSTRUCTION)

    def reset(self, now_ns: int) -> None:
        """Stop, then forget session, timeline and history; begin again from the measured state."""
        self._halt(now_ns, _RESET, self.settings.braking_time, ReasonCode.RESET)
        self._admission.forget()
        self._admission.only_after(now_ns)
        self._chunk = None
        self._outputs.forget_history(now_ns)
        self._restart = True

    # Inside

    def _refuse_chunk(self, rejection: Rejection) -> Rejection:
        if rejection.reason != "second_policy":
            self._watchdog.rejected = rejection.reason
        return self.reject(rejection)

    def _plan(self, chunk: ActionChunk, now_ns: int) -> Rejection | None:
        restart = self._restart or self._was_moved(now_ns)
        if self.settings.shadow or (restart and self._motion.is_at_rest(now_ns)):
            self._motion.clear()
        if self._motion.sent is not None:
            return self._planner.plan(chunk, now_ns, self.settings)
        rejection = self._planner.begin(now_ns, self.settings)
        if rejection is not None:
            self._watchdog.halt(rejection.detail, ReasonCode.CANNOT_STOP)
            if self._motion.sent is not None:
                self._outputs.published = None
                self._restart = self._dispatch.due = True
            return rejection
        rejection = self._planner.plan(chunk, now_ns, self.settings)
        if rejection is None:
            self._outputs.published = None
        else:
            self._motion.clear()
        return rejection

    def _go_on(self, now_ns: int) -> None:
        if self._watchdog.astray:
            if self._motion.is_on_tail(now_ns):
                self._leave_it_at_that()
            return
        lost = self._unknown_state(now_ns)
        if lost is not None and not self.settings.shadow:
            if not self._clock.is_catching_up(now_ns):
                why = f"joint states lost: {lost.detail}"
                self._halt(now_ns, why, self.settings.braking_time, ReasonCode.JOINT_STATES_LOST)
            return
        if self._motion.refresh(now_ns, self.settings):
            self._dispatch.due = True
        end_ns = self._motion.end_ns
        if end_ns is None or now_ns < end_ns:
            return
        if self._ending:
            self._watchdog.halt(self._ending, self._ending_code)
        else:
            self._watchdog.underrun(self.settings.max_underruns)
        self._motion.coast()
        self._executing, self._dispatch.due = False, True

    def _answerable(self, now_ns: int) -> Curve | None:
        """The motion that the robot must be following: until shortly after its end.

        Later on somebody may have moved it by hand.
        """
        published = self._outputs.published
        if published is None or self._motion.sent is None or self._watchdog.locked:
            return None
        grace = 2.0 * self.settings.tracking_error_timeout
        over = now_ns > published.end_ns + s_to_ns(grace)
        return published if self._executing or not over else None

    def _was_moved(self, now_ns: int) -> bool:
        """Whether the robot is elsewhere since it came to rest, or did not come to rest there."""
        published = self._outputs.published
        if published is None or self._executing:
            return False
        if self._answerable(now_ns) and not self._left_behind:
            return False
        return self._obedience.was_moved(published, self._measured.position, now_ns)

    def _distrust(
        self, reason: str, now_ns: int, code: ReasonCode = ReasonCode.TRACKING_ERROR
    ) -> None:
        self._watchdog.lock(reason, code)
        self._restart = True
        self._halt(now_ns, reason, self.settings.braking_time, code)

    def _watch_robot(self, now_ns: int) -> None:
        """See whether the robot is where it was commanded to be when it was last measured."""
        commanded = self._answerable(now_ns)
        if commanded is None:
            self._obedience.forget()
        elif self._measured.oldest_ns is not None and self._obedience.robot_at_fault(
            commanded, self._measured, self.settings
        ):
            self._distrust(self._obedience.astray, now_ns)
        self._watchdog.astray = self._obedience.astray

    def _not_following(self, now_ns: int) -> Rejection | None:
        self._watch_robot(now_ns)
        astray = self._watchdog.astray
        return self._watchdog.rejection() or (
            Rejection("not_following", astray) if astray else None
        )

    def _step_rejection(self) -> Rejection | None:
        if self.settings.single_step and not self._may_step:
            return Rejection("awaiting_step", "single step: call step for the next chunk")
        return None

    def _unknown_state(self, now_ns: int) -> Rejection | None:
        return self._measured.unknown(
            now_ns, self.settings.joint_state_timeout, self.settings.max_future
        )

    def _halt(self, now_ns: int, reason: str, braking: float, code: ReasonCode) -> None:
        self._watch_clock(now_ns)
        self._watchdog.halt(reason, code)
        self._admission.only_after(now_ns)
        self._executing = False
        if self._motion.sent is None:
            return
        if self._is_quiet:
            self._leave_it_at_that()
            return
        hardest = self._watchdog.estop
        self._motion.brake(now_ns, self.settings.splice_lead_time, 0.0 if hardest else braking)
        self._dispatch.due = True

    @property
    def _is_quiet(self) -> bool:
        """Whether a message may make a robot jump that has heard none for a while.

        An emergency stop is worth it.
        """
        return bool(self._obedience.astray) and not self._watchdog.estop

    def _leave_it_at_that(self) -> None:
        """The tail that the controllers have is the end of this motion."""
        self._motion.coast()
        self._executing = False
        self._dispatch.due = self._left_behind = True

    def _watch_clock(self, now_ns: int) -> None:
        """A clock that jumps makes everything known untrue."""
        jump = self._clock.jump(now_ns, self.settings.max_future, self.settings.max_clock_step)
        if jump:
            self._measured.clear()
            self._admission.forget()
            self._admission.only_after(now_ns)
            self._forget_motion(now_ns)
            self._watchdog.halt(f"{jump}: waiting for a new chunk", ReasonCode.CLOCK_JUMP)

    def _forget_motion(self, now_ns: int) -> None:
        self._motion.clear()
        self._outputs.published = self._chunk = None
        self._outputs.forget_history(now_ns)
        self._executing = self._restart = self._dispatch.due = False

    def _send(self, now_ns: int) -> Update | None:
        try:
            return self._dispatch.send(
                self._chunk,
                self._planner.row_dt,
                now_ns,
                self.settings,
                quiet=self._is_quiet,
            )
        except MalformedError as error:
            self.reject(Rejection(f"unsendable_{error.reason}", error.detail))
            self._watchdog.halt(f"the motion could not be sent: {error}", ReasonCode.SEND_FAILED)
            self._executing = False
            return None
