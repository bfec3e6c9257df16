"""The facade of this room: chunks and joint states in, bounded motion out."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from groot_ros.control.admission import Admission
from groot_ros.control.agreement import disagreement
from groot_ros.control.curve import Curve
from groot_ros.control.following import Following
from groot_ros.control.goal import goal_curve, interpolation_of, knot_spacing
from groot_ros.control.interpolation import Array
from groot_ros.control.limits import Limits
from groot_ros.control.measured import MeasuredState
from groot_ros.control.motion import CommittedMotion
from groot_ros.control.refusal import Refusal
from groot_ros.control.settings import ExecutorSettings
from groot_ros.control.timeline import even_rows
from groot_ros.control.trajectory import JointTrajectory, prepare, require_continuous
from groot_ros.control.watchdog import Watchdog
from groot_ros.robot import Controller, RobotContract
from groot_ros.types import (
    ActionChunk,
    ActionKind,
    CommittedTimeline,
    ExecutorState,
    ExecutorStatus,
    MalformedError,
    ns_to_s,
    s_to_ns,
)


@dataclass(frozen=True)
class Update:
    """What to publish now.

    Attributes:
        timeline: past and planned motion, for the policy.
        trajectories: one per joint_trajectory_controller; none in shadow mode.

    """

    timeline: CommittedTimeline
    trajectories: tuple[JointTrajectory, ...]


class Executor:
    """Turns proposed chunks into committed motion; every time is ns of one clock.

    Attributes:
        joint_names: the joints that some controller drives, in the contract's order.
        settings: may be replaced at any time; counts from the next call.

    """

    def __init__(self, contract: RobotContract, settings: ExecutorSettings | None = None) -> None:
        driven = {joint for c in contract.controllers for joint in c.joints}
        self.joint_names = tuple(name for name in contract.joint_names if name in driven)
        self.settings = settings or ExecutorSettings()
        self._index = {name: i for i, name in enumerate(self.joint_names)}
        self._streamed = tuple(
            c for c in contract.controllers if c.type == "forward_command_controller"
        )
        self._planned = tuple(c for c in contract.controllers if c not in self._streamed)
        self._methods = interpolation_of(contract, self.joint_names)
        grippers = {
            joint
            for group in contract.groups.values()
            if group.kind == ActionKind.GRIPPER
            for joint in group.joints
        }
        self._blended = np.array([name not in grippers for name in self.joint_names])
        self._limits = Limits.of([contract.joints[name] for name in self.joint_names])
        self._motion = CommittedMotion(self._limits, self._blended)
        self._admission = Admission(contract, self.joint_names)
        self._watchdog = Watchdog()
        self._refusals: Counter[str] = Counter()
        self._measured = MeasuredState(self.joint_names)
        self._published: Curve | None = None
        self._chunk: ActionChunk | None = None
        self._spacing = self._row_dt = knot_spacing(self._limits)
        self._received = self._accepted = self._timeline_id = 0
        self._last_ns: int | None = None
        self._history_from_ns = 0
        self._executing = self._changed = self._restart = self._may_step = False
        self._ending = ""
        self._following = Following(self.joint_names, self._blended)

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
    ) -> Refusal | None:
        """Take a joint state; malformed ones are refused whole.

        A source may be trusted for some joints only; what it says of others is ignored.
        """
        try:
            self._measured.observe(stamp_ns, names, positions, velocities, trusted)
        except MalformedError as error:
            return self.refuse(Refusal(error.reason, error.detail))
        return None

    def receive(self, chunk: ActionChunk, now_ns: int) -> Refusal | None:
        """Plan the chunk's motion, or say why not; update() then has what to publish."""
        self._received += 1
        self._watch_clock(now_ns)
        refusal = (
            self._admission.judge(chunk, now_ns, self.settings)
            or self._watchdog.refusal()
            or self._step_refusal()
            or self._state_refusal(now_ns)
            or self._plan(chunk, now_ns)
        )
        if refusal is not None:
            return self.refuse(refusal)
        self._accepted += 1
        self._admission.accept(chunk)
        self._watchdog.accepted()
        self._chunk = chunk
        self._executing = self._changed = True
        self._restart = self._may_step = False
        self._ending = "single step: at the end of its chunk" if self.settings.single_step else ""
        return None

    def refuse(self, refusal: Refusal) -> Refusal:
        """Count something refused before it became a record."""
        self._refusals[refusal.reason] += 1
        return refusal

    def refuse_chunk(self, refusal: Refusal) -> Refusal:
        """Count a received chunk that was too malformed to become a record."""
        self._received += 1
        return self.refuse(refusal)

    # What goes out

    def update(self, now_ns: int) -> Update | None:
        """What has changed since the last call, or None. Call at a steady rate."""
        self._watch_clock(now_ns)
        if astray := self._astray(now_ns):
            self._watchdog.lock(astray)
            self._halt(now_ns, astray, self.settings.braking_time)
            self._restart = True
        elif self._executing:
            lost = self._state_refusal(now_ns)
            if lost is not None and not self.settings.shadow:
                self._halt(now_ns, f"joint states lost: {lost.detail}", self.settings.braking_time)
            elif self._motion.refresh(now_ns, self.settings):
                self._changed = True
            end_ns = self._motion.end_ns
            if self._executing and end_ns is not None and now_ns >= end_ns:
                if self._ending:
                    self._watchdog.halt(self._ending)
                else:
                    self._watchdog.starved(self.settings.max_starvations)
                self._motion.coast()
                self._executing, self._changed = False, True
        elif self._restart and self._at_rest(now_ns):
            self._motion.clear()
            self._restart = False
        return self._build(now_ns) if self._changed else None

    def commands(self, now_ns: int) -> tuple[tuple[Controller, Array], ...]:
        """Positions of now for the controllers that take no trajectories; none when at rest."""
        sent = self._published
        if not self._streamed or sent is None or now_ns > sent.end_ns:
            return ()
        position, _ = sent.at(now_ns)
        return tuple((c, position[self._columns(c)]) for c in self._streamed)

    def state(self, now_ns: int) -> ExecutorState:
        """The report of now."""
        status, reason = self._watchdog.status(now_ns, self._motion.end_ns, self._motion.rest_ns)
        running = status == ExecutorStatus.RUNNING
        chunk, end_ns = self._chunk, self._motion.end_ns
        return ExecutorState(
            stamp_ns=now_ns,
            status=status,
            reason=reason,
            joint_names=self.joint_names,
            seam_jump=tuple(self._motion.seam_jump.tolist()),
            limit_hits=tuple(self._motion.limit_hits.tolist()),
            shadow=self.settings.shadow,
            hold=self._watchdog.hold,
            estop=self._watchdog.estop,
            session=chunk.session if chunk else "",
            episode=chunk.episode if chunk else 0,
            chunk_id=chunk.id if chunk else 0,
            step=ns_to_s(now_ns - chunk.start_ns) / chunk.dt if chunk and running else 0.0,
            chunk_age=ns_to_s(now_ns - chunk.stamp_ns) if chunk else 0.0,
            time_to_tail=ns_to_s(end_ns - now_ns) if running and end_ns is not None else 0.0,
            received=self._received,
            accepted=self._accepted,
            starvations=self._watchdog.starvations,
            refusals=dict(sorted(self._refusals.items())),
        )

    # The operator

    def hold(self, on: bool, now_ns: int) -> None:
        """Pause with a smooth stop, or let the next chunk move the robot again."""
        if on == self._watchdog.hold:
            return
        self._watchdog.hold = on
        why = "held by the operator" if on else "released: waiting for a new chunk"
        self._halt(now_ns, why, self.settings.braking_time)

    def estop(self, now_ns: int) -> None:
        """Stop as hard as the acceleration limits allow; latched until resume().

        This is software: it does not replace an emergency stop that cuts the power.
        """
        self._watchdog.estop = True
        self._halt(now_ns, "emergency stop", 0.0)

    def step(self, now_ns: int) -> None:
        """With `single_step`, execute the next chunk that is observed from now on."""
        self._may_step = True
        self._admission.only_after(now_ns)

    def resume(self, now_ns: int) -> None:
        """End an emergency stop, or a stop after too many starvations."""
        self._watchdog.resume()
        self._admission.only_after(now_ns)

    def stop(self, now_ns: int, reason: str = "stopped") -> Update | None:
        """Stop smoothly and hand back what says so; None if nothing was ever commanded."""
        self._halt(now_ns, reason, self.settings.braking_time)
        return self.update(now_ns)

    def instruct(self, instruction: str, now_ns: int) -> Update | None:
        """Follow the operator's instruction.

        An empty one is a bounded stop now. Another one than that of the running chunk leaves of
        it what is already sent and the frozen steps from now on, which the next chunk begins
        with; chunks of the old instruction are refused.
        """
        if instruction.strip():
            self._admission.begin_instruction()
            chunk = self._chunk
            if (
                self._executing
                and chunk
                and chunk.instruction.strip() not in ("", instruction.strip())
            ):
                self._admission.end_instruction()
                self._motion.shorten(now_ns + s_to_ns(chunk.frozen_steps * chunk.dt))
                self._ending = "the instruction changed: waiting for its first chunk"
                self._changed = True
            return None
        self._admission.end_instruction()
        return self.stop(now_ns, "no instruction")

    def reset(self, now_ns: int) -> None:
        """Stop, then forget session, timeline and history; begin again from the measured state."""
        self._halt(now_ns, "reset: waiting for a new chunk", self.settings.braking_time)
        self._watchdog.halt("")
        self._admission.forget()
        self._admission.only_after(now_ns)
        self._chunk = None
        self._history_from_ns = now_ns
        self._restart = True

    # Inside

    def _plan(self, chunk: ActionChunk, now_ns: int) -> Refusal | None:
        settings = self.settings
        if settings.shadow or (self._restart and self._at_rest(now_ns)):
            self._motion.clear()
        fresh = self._motion.sent is None
        if fresh:
            refusal = self._begin(now_ns)
            if refusal is not None:
                return refusal
        goal, knot_dt = goal_curve(
            chunk, self.joint_names, self._methods, settings.max_chunk_age, self._spacing
        )
        refusal = self._disagreement(goal, now_ns) or self._motion.splice(goal, now_ns, settings)
        if refusal is None:
            self._row_dt = knot_dt
            if fresh:
                self._published = None
        elif fresh:
            self._motion.clear()
        return refusal

    def _begin(self, now_ns: int) -> Refusal | None:
        """Take the measured state as the motion in force."""
        settings, limits = self.settings, self._limits
        p, v = self._measured.settled(limits, settings.position_slack, settings.rest_velocity)
        viable = limits.viable(p, v)
        self._motion.begin(
            p, v, now_ns, settings.lookback, settings.braking_time if viable.all() else 0.0
        )
        if viable.all():
            return None
        names = [n for n, fine in zip(self.joint_names, viable, strict=True) if not fine]
        detail = f"{', '.join(names)} cannot stop within the position and velocity limits"
        self._watchdog.halt(detail)
        if v.any():
            self._published = None
            self._restart = self._changed = True
        else:
            self._motion.clear()
        return Refusal("not_viable", detail)

    def _disagreement(self, goal: Curve, now_ns: int) -> Refusal | None:
        if self.settings.shadow:
            return None
        assert self._motion.sent is not None
        splice_ns = max(now_ns + s_to_ns(self.settings.lead), goal.start_ns)
        return disagreement(
            self.joint_names,
            self._blended,
            self._measured.position,
            goal.at(splice_ns)[0],
            self._motion.sent.at(now_ns)[0],
            self.settings.max_start_jump,
        )

    def _astray(self, now_ns: int) -> str:
        """Why the robot cannot be following, or an empty string.

        Judged in motion and shortly after: later on somebody may have moved it by hand.
        """
        published, seen_ns = self._published, self._measured.oldest_ns
        if published is None or seen_ns is None or self._watchdog.locked:
            return ""
        grace = 2.0 * self.settings.following_patience
        if not self._executing and now_ns > published.end_ns + s_to_ns(grace):
            return ""
        return self._following.judge(
            published.at(seen_ns)[0],
            self._measured.position,
            seen_ns,
            self.settings.max_following_error,
            self.settings.following_patience,
        )

    def _step_refusal(self) -> Refusal | None:
        if self.settings.single_step and not self._may_step:
            return Refusal("awaiting_step", "single step: call step for the next chunk")
        return None

    def _state_refusal(self, now_ns: int) -> Refusal | None:
        oldest_ns = self._measured.oldest_ns
        if oldest_ns is None:
            return Refusal(
                "no_joint_state", f"nothing heard of {', '.join(self._measured.missing())}"
            )
        age = ns_to_s(now_ns - oldest_ns)
        if age > self.settings.joint_state_timeout:
            return Refusal(
                "stale_joint_state", f"{self._measured.oldest()} was last heard of {age:.2f} s ago"
            )
        if age < -self.settings.max_future:
            return Refusal("clocks_disagree", f"joint states come from {-age:.3f} s in the future")
        return None

    def _halt(self, now_ns: int, reason: str, braking: float) -> None:
        self._watch_clock(now_ns)
        self._watchdog.halt(reason)
        self._admission.only_after(now_ns)
        self._executing = False
        if self._motion.sent is not None:
            hardest = self._watchdog.estop
            self._motion.brake(now_ns, self.settings.lead, 0.0 if hardest else braking)
            self._changed = True

    def _at_rest(self, now_ns: int) -> bool:
        rest_ns = self._motion.rest_ns
        return rest_ns is None or now_ns >= rest_ns

    def _watch_clock(self, now_ns: int) -> None:
        """A clock that jumps (a simulation was reset) makes everything known untrue."""
        step = 0.0 if self._last_ns is None else ns_to_s(now_ns - self._last_ns)
        self._last_ns = now_ns
        if step < -self.settings.max_future:
            what = "the clock went back"
        elif step > self.settings.max_clock_step:
            what = f"the clock went {step:.1f} s ahead, or this process stood still"
        else:
            return
        self._measured.clear()
        self._admission.forget()
        self._admission.only_after(now_ns)
        self._forget_motion(now_ns)
        self._watchdog.halt(f"{what}: waiting for a new chunk")

    def _forget_motion(self, now_ns: int) -> None:
        self._motion.clear()
        self._published = self._chunk = None
        self._history_from_ns = now_ns
        self._executing = self._changed = self._restart = False

    def _build(self, now_ns: int) -> Update | None:
        self._changed = False
        sent, plan = self._motion.sent, self._motion.plan
        assert sent is not None
        assert plan is not None
        window = sent.since(now_ns - s_to_ns(self.settings.lookback))
        try:
            require_continuous(window, self._published, now_ns)
            trajectories = tuple(prepare(c, self._columns(c), window) for c in self._planned)
        except MalformedError as error:
            self.refuse(Refusal(f"unsendable_{error.reason}", error.detail))
            self._watchdog.halt(f"the motion could not be sent: {error}")
            self._executing = False
            if self._published is not None:
                self._motion.return_to(self._published)
            else:
                self._motion.clear()
            return None
        self._published = None if self.settings.shadow else sent
        return Update(self._timeline(plan, now_ns), () if self.settings.shadow else trajectories)

    def _timeline(self, plan: Curve, now_ns: int) -> CommittedTimeline:
        self._timeline_id += 1
        chunk = self._chunk
        start_ns, positions, velocities = even_rows(
            plan,
            max(now_ns - s_to_ns(self.settings.history), self._history_from_ns),
            chunk.start_ns if chunk else now_ns,
            self._row_dt,
        )
        return CommittedTimeline(
            stamp_ns=now_ns,
            id=self._timeline_id,
            session=chunk.session if chunk else "",
            episode=chunk.episode if chunk else 0,
            chunk_id=chunk.id if chunk else 0,
            start_ns=start_ns,
            dt=self._row_dt,
            joint_names=self.joint_names,
            positions=positions,
            velocities=velocities,
        )

    def _columns(self, controller: Controller) -> list[int]:
        return [self._index[joint] for joint in controller.joints]
