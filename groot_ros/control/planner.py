# SPDX-License-Identifier: Apache-2.0
"""From a chunk to planned motion: its reference trajectory, the start state, and the splice."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from groot_ros.control.braking import can_stop
from groot_ros.control.chunk_validation import Rejection
from groot_ros.control.committed_motion import CommittedMotion
from groot_ros.control.curve import Array, Curve, refine
from groot_ros.control.joint_state import ActuatedJoints, MeasuredState
from groot_ros.control.limits import Limits, Mask
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import NS_PER_S, ActionChunk, s_to_ns
from groot_ros.robot.controller import Interpolation

#: s: largest distance between the knots that the steps of a chunk are divided into.
KNOT_SPACING = 0.017


class Planner:
    """Plans the committed motion from the robot's state along the reference of a chunk.

    Attributes:
        knot_dt: time between the knots of the last planned chunk, s.

    """

    def __init__(
        self, joints: ActuatedJoints, motion: CommittedMotion, measured: MeasuredState
    ) -> None:
        self._joints = joints
        self._motion = motion
        self._measured = measured
        self._max_spacing = self.knot_dt = knot_spacing(joints.limits)

    def begin(
        self, now_ns: int, settings: ExecutorConfig, held: Mapping[str, float] | None = None
    ) -> Rejection | None:
        """Start the committed motion from the measured state.

        `held` is given after an outage of a controller: joint -> position that its controller
        holds, rad or m. The motion then starts at rest, and a joint that is held within
        `max_reference_error` of its measured position starts where it is held.

        A state from which the robot cannot stop within its limits is rejected. The motion is then
        the hardest stop, or none if the robot is at rest outside its position limits.
        """
        limits = self._joints.limits
        p, v = self._measured.start_state(limits, settings.position_slack, settings.rest_velocity)
        if held is not None:
            v = np.zeros_like(v)
            where = np.array([held.get(name, math.nan) for name in self._joints.names])
            near = np.abs(where - p) <= settings.max_reference_error
            p = np.where(near, np.clip(where, limits.lower, limits.upper), p)
        stoppable = can_stop(limits, p, v)
        self._motion.begin(
            p, v, now_ns, settings.resend_window, settings.braking_time if stoppable.all() else 0.0
        )
        if stoppable.all():
            return None
        if not v.any():
            self._motion.clear()
        return Rejection("cannot_stop", self._why_not_stoppable(p, v, stoppable))

    def _why_not_stoppable(self, p: Array, v: Array, stoppable: Mask) -> str:
        limits = self._joints.limits
        outside = ~stoppable & ((p < limits.lower) | (p > limits.upper))
        if outside.any():
            which = [
                f"{self._joints.names[i]} stands at {p[i]:.3f}, outside "
                f"[{limits.lower[i]:g}, {limits.upper[i]:g}]"
                for i in np.flatnonzero(outside)
            ]
            it = "it" if len(which) == 1 else "them"
            return (
                f"{', '.join(which)}: move {it} back inside {'its' if it == 'it' else 'their'} "
                "limits manually, or correct them in the robot contract"
            )
        which = [
            f"{self._joints.names[i]} at {p[i]:.3f} with {v[i]:.2f} /s"
            for i in np.flatnonzero(~stoppable)
        ]
        return (
            f"{', '.join(which)} cannot stop within the position and velocity limits: let the "
            "robot come to rest, or correct the limits in the robot contract"
        )

    def plan(self, chunk: ActionChunk, now_ns: int, settings: ExecutorConfig) -> Rejection | None:
        """Splice the chunk into the committed motion, or return why not and change nothing."""
        reference, knot_dt = reference_curve(
            chunk,
            self._joints.names,
            self._joints.methods,
            settings.max_chunk_age,
            self._max_spacing,
            self._joints.continuous,
        )
        reference = self._in_turn(reference, now_ns)
        rejection = self._check_start_state(reference, now_ns, settings)
        rejection = rejection or self._motion.splice(reference, now_ns, settings)
        if rejection is None:
            self.knot_dt = knot_dt
        return rejection

    def _in_turn(self, reference: Curve, now_ns: int) -> Curve:
        """Change continuous joints by whole turns, to begin nearest to the committed motion."""
        continuous = self._joints.continuous
        if not continuous.any():
            return reference
        assert self._motion.active is not None
        apart = self._motion.active.at(now_ns)[0] - reference.at(now_ns)[0]
        turns = np.where(continuous, math.tau * np.round(apart / math.tau), 0.0)
        return Curve(reference.times, reference.positions + turns, reference.velocities)

    def _check_start_state(
        self, reference: Curve, now_ns: int, settings: ExecutorConfig
    ) -> Rejection | None:
        if settings.shadow:
            return None
        assert self._motion.active is not None
        splice_ns = max(now_ns + s_to_ns(settings.splice_lead_time), reference.start_ns)
        return check_start_state(
            self._joints.names,
            self._joints.blended,
            self._measured.position,
            reference.at(splice_ns)[0],
            self._motion.active.at(now_ns)[0],
            settings.max_start_jump,
        )


def check_start_state(
    joint_names: Sequence[str],
    checked: Mask,
    measured: Array,
    reference: Array,
    commanded: Array,
    max_start_jump: float,
) -> Rejection | None:
    """Check that the chunk starts, and the robot is commanded, near the measured positions.

    Joints outside `checked` are ignored: a gripper that holds an object never reaches its command.

    Args:
        joint_names: of the N joints.
        checked: which joints are checked.
        measured: measured positions [N], rad or m.
        reference: positions of the chunk at the splice.
        commanded: positions of the active trajectory now.
        max_start_jump: largest allowed deviation, rad or m.

    Returns:
        None, or a rejection naming the joint with the largest deviation: "start_state_mismatch"
        for the reference, "tracking_error" for the commanded positions.

    """
    for code, what, position in (
        ("start_state_mismatch", "the chunk starts with", reference),
        ("tracking_error", "the commanded position is", commanded),
    ):
        deviation = np.where(checked, np.abs(position - measured), 0.0)
        worst = int(np.argmax(deviation))
        if deviation[worst] > max_start_jump:
            return Rejection(
                code,
                f"{what} {joint_names[worst]} at {position[worst]:.3f}, measured "
                f"{measured[worst]:.3f}: further than max_start_jump {max_start_jump:g}",
            )
    return None


def joint_columns(chunk: ActionChunk, joint_names: Sequence[str]) -> Array:
    """Return the chunk's values of these joints, [horizon, N]."""
    columns = {
        name: group.values[:, i] for group in chunk.groups for i, name in enumerate(group.names)
    }
    return np.stack([columns[name] for name in joint_names], axis=1)


def knot_spacing(limits: Limits) -> float:
    """Return the largest time between knots, s, for which `limited_tracking` keeps the limits."""
    return min(KNOT_SPACING, float((limits.velocity / limits.acceleration).min()))


def reference_curve(
    chunk: ActionChunk,
    joint_names: Sequence[str],
    methods: Sequence[Interpolation],
    max_age: float,
    max_spacing: float,
    continuous: Mask | None = None,
) -> tuple[Curve, float]:
    """Return the chunk's trajectory before blending and limits, and the time between its knots.

    Steps of more than half a turn of a continuous joint go the shorter way. The trajectory ends
    `max_age` s after the chunk's observation. The time between knots is the chunk's dt divided by a
    whole number, at most `max_spacing` s.
    """
    last_ns = chunk.stamp_ns + s_to_ns(max_age)
    due = (last_ns - chunk.start_ns) / NS_PER_S / chunk.dt
    # Two more steps: the velocity at the last kept knot depends on its neighbours.
    steps = min(chunk.horizon, math.ceil(due) + 2)
    parts = math.ceil(chunk.dt / max_spacing)
    dt = chunk.dt / parts
    values = joint_columns(chunk, joint_names)[:steps]
    if continuous is not None and continuous.any():
        values[:, continuous] = np.unwrap(values[:, continuous], axis=0)
    positions, velocities = refine(values, chunk.dt, parts, methods)
    offsets = np.round(np.arange(len(positions)) * (dt * NS_PER_S)).astype(np.int64)
    times = chunk.start_ns + offsets
    recent = times <= last_ns
    return Curve(times[recent], positions[recent], velocities[recent]), dt
