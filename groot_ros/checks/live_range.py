# SPDX-License-Identifier: Apache-2.0
"""Live joint positions next to limits and training data: unit, sign and zero show there."""

import math
from collections.abc import Iterator, Mapping

from groot_ros.checks.check import Check, NotApplicable, Problem, Severity
from groot_ros.checks.trained_range import trained_states
from groot_ros.core.live_graph import LiveGraph
from groot_ros.families.family import PolicySpec
from groot_ros.robot import RobotContract

#: Share of a range by which a position may exceed it: a robot need not stand where it was trained.
_MARGIN = 0.25
#: The same for the limits of a joint: encoders and limits differ by a little.
_LIMIT_MARGIN = 0.02
#: Smallest margin, rad or m.
_SMALLEST_MARGIN = 0.05
#: Errors of the zero position that are usual, rad.
_ZEROS = (("90", math.pi / 2), ("180", math.pi), ("360", 2 * math.pi))

Range = tuple[float, float]


def live_positions(robot: RobotContract, graph: LiveGraph) -> dict[str, Range]:
    """Return joint -> smallest and largest live position, rad or m, from the contract's sources."""
    return {
        joint: graph.sources[source.name].positions[joint]
        for source in robot.sources
        if source.name in graph.sources
        for joint in source.joints
        if joint in graph.sources[source.name].positions
    }


def likely_cause(live: Range, trained: Range, *, angle: bool) -> str:
    """Return what explains a position outside a range, or an empty string.

    Args:
        live: smallest and largest position.
        trained: the range.
        angle: whether the positions are in rad, not in m.

    """
    if angle and inside(_scaled(live, math.pi / 180), trained) and max(map(abs, live)) > math.pi:
        return "the joint states seem to be in degrees"
    if not angle and inside(_scaled(live, 1e-3), trained):
        return "the joint states seem to be in mm"
    if inside(_scaled(live, -1.0), trained):
        return "the sign seems to be inverted"
    for degrees, offset in _ZEROS if angle else ():
        for sign in (1, -1):
            if inside((live[0] + sign * offset, live[1] + sign * offset), trained):
                return f"the zero position seems to differ by {degrees} degrees"
    return ""


def inside(live: Range, outer: Range, share: float = _MARGIN) -> bool:
    """Return whether a range is within another one that is extended by a share of its width."""
    margin = max(share * (outer[1] - outer[0]), _SMALLEST_MARGIN)
    return outer[0] - margin <= live[0] and live[1] <= outer[1] + margin


def _scaled(live: Range, factor: float) -> Range:
    low, high = sorted((factor * live[0], factor * live[1]))
    return low, high


def _limits(robot: RobotContract, graph: LiveGraph) -> Iterator[Problem]:
    for name, live in _known(live_positions(robot, graph)).items():
        joint = robot.joints[name]
        limits = (joint.limits.lower, joint.limits.upper)
        if joint.kind == "continuous" or inside(live, limits, _LIMIT_MARGIN):
            continue
        cause = likely_cause(live, limits, angle=joint.unit == "rad")
        yield Problem(
            f"joints.{name}",
            f"stands at {_shown(live)} {joint.unit}, outside its limits {_shown(limits)}"
            + (f": {cause}" if cause else ""),
        )


def _trained(spec: PolicySpec, robot: RobotContract, graph: LiveGraph) -> Iterator[Problem]:
    positions = _known(live_positions(robot, graph))
    trained = {joint: ends for span in spec.ranges for joint, ends in trained_states(span, robot)}
    if positions.keys().isdisjoint(trained):
        raise NotApplicable("the checkpoint has no statistics of these joints")
    for name, ends in trained.items():
        live = positions.get(name)
        joint = robot.joints[name]
        if live is None or joint.kind == "continuous" or inside(live, ends):
            continue
        cause = likely_cause(live, ends, angle=joint.unit == "rad")
        yield Problem(
            f"joints.{name}",
            f"stands at {_shown(live)} {joint.unit}, but the checkpoint was trained from "
            f"{_shown(ends)}" + (f": {cause}" if cause else ""),
        )


def _known(positions: Mapping[str, Range]) -> Mapping[str, Range]:
    if not positions:
        raise NotApplicable("no joint state was received")
    return positions


def _shown(ends: Range) -> str:
    low, high = (f"{end:.3f}" for end in ends)
    return low if low == high else f"{low} to {high}"


CHECKS = (
    Check(
        "live_limits",
        Severity.ERROR,
        "graph",
        "live joint positions with the limits of the joints",
        "correct the driver (sensor_msgs/JointState is in rad and m) or the limits, or move the "
        "joint back inside them manually",
        ("robot", "graph"),
        _limits,
    ),
    Check(
        "live_range",
        Severity.WARNING,
        "graph",
        "live joint positions with the training data: unit, sign and zero",
        "move the arm to where the demonstrations started; if it is there, correct unit_in, the "
        "driver, or the calibration",
        ("spec", "robot", "graph"),
        _trained,
    ),
)
