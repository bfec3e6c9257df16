"""Which trajectories joint_trajectory_controller refuses, and in which words.

The controller answers a topic with nothing but an error on its own console, so its words are
kept: they are what one finds when searching. What it takes without a word, and should not, it
takes here too: a duplicated joint name, NaN and infinity, a first knot far from the robot.
"""

from collections.abc import Sequence

from groot_ros.core import NS_PER_S
from groot_ros.sim.trajectory import TrajectoryMessage

#: The largest speed that counts as rest at the end: the controller compares with a float's epsilon.
REST = 1.1920929e-07


class TrajectoryRejected(ValueError):  # noqa: N818 - it is an answer, not a fault of the program
    """The controller would not take this message; the running trajectory goes on."""


def check_trajectory(
    message: TrajectoryMessage,
    joints: Sequence[str],
    now_ns: int,
    *,
    allow_nonzero_velocity_at_end: bool,
) -> None:
    """Raise TrajectoryRejected for what the controller of `joints` would refuse at `now_ns`."""
    names = list(message.joint_names)
    if len(names) != len(joints):
        raise TrajectoryRejected("Joints on incoming trajectory don't match the controller joints.")
    if not message.points:
        raise TrajectoryRejected("Empty trajectory received.")
    last = message.points[-1]
    end_ns = message.stamp_ns + last.time_from_start_ns
    if message.stamp_ns != 0 and end_ns < now_ns:
        raise TrajectoryRejected(
            f"Received trajectory with non-zero start time ({message.stamp_ns / NS_PER_S:f}) "
            f"that ends in the past ({end_ns / NS_PER_S:f})"
        )
    for name in names:
        if name not in joints:
            raise TrajectoryRejected(
                f"Incoming joint {name} doesn't match the controller's joints."
            )
    if not allow_nonzero_velocity_at_end:
        _check_rest(names, last.velocities)
    _check_points(message, len(names))


def _check_rest(names: Sequence[str], velocities: Sequence[float]) -> None:
    for i, velocity in enumerate(velocities):
        if abs(velocity) > REST:
            if i >= len(names):
                raise TrajectoryRejected(
                    f"{len(velocities)} velocities for {len(names)} joints in the last point: "
                    "the real controller_manager would abort here"
                )
            raise TrajectoryRejected(
                f"Velocity of last trajectory point of joint {names[i]} is not zero: "
                f"{velocity:.15f}"
            )


def _check_points(message: TrajectoryMessage, width: int) -> None:
    previous_ns = 0
    for i, point in enumerate(message.points):
        if i > 0 and point.time_from_start_ns <= previous_ns:
            raise TrajectoryRejected(
                f"Time between points {i - 1} and {i} is not strictly increasing, it is "
                f"{previous_ns / NS_PER_S:f} and {point.time_from_start_ns / NS_PER_S:f} "
                "respectively"
            )
        previous_ns = point.time_from_start_ns
        for field, values, may_be_empty in (
            ("positions", point.positions, False),
            ("velocities", point.velocities, True),
            ("accelerations", point.accelerations, True),
        ):
            if len(values) != width and not (may_be_empty and len(values) == 0):
                raise TrajectoryRejected(
                    f"Mismatch between joint_names size ({width}) and {field} ({len(values)}) "
                    f"at point #{i}."
                )
        if len(point.effort):
            raise TrajectoryRejected(
                "Trajectories with effort fields are only supported for controllers using the "
                "'effort' command interface."
            )
