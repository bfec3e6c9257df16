# SPDX-License-Identifier: Apache-2.0
"""A first contract from what is known: URDF, groups of the checkpoint, topics of the graph.

What cannot be known is filled in with a plausible value and marked with CHECK.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from groot_ros.robot.limit_sources import StatedLimits

#: Acceleration limits that suit most arms, rad/s^2 and m/s^2; a URDF states none.
_ACCELERATION = {"revolute": 5.0, "continuous": 5.0, "prismatic": 1.0}
#: Velocity limits where the URDF states none, rad/s and m/s.
_VELOCITY = {"revolute": 1.0, "continuous": 1.0, "prismatic": 0.1}
_GRIPPER = re.compile(r"grip|hand|claw|finger|suction", re.IGNORECASE)
_IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


@dataclass(frozen=True)
class ColumnRange:
    """Smallest and largest value of one column in the training data, in the data set's units."""

    low: float
    high: float


@dataclass(frozen=True)
class Known:
    """Facts that a draft is made from.

    Attributes:
        robot: name of the robot.
        joints: movable joints of the URDF, in its order.
        urdf: path to write into the contract.
        views: cameras of the checkpoint.
        state, action: group -> one range per column.
        topics: live topic -> type; empty without a graph.

    """

    robot: str
    joints: Mapping[str, StatedLimits]
    urdf: str
    views: Sequence[str] = ()
    state: Mapping[str, Sequence[ColumnRange]] = field(default_factory=dict)
    action: Mapping[str, Sequence[ColumnRange]] = field(default_factory=dict)
    topics: Mapping[str, str] = field(default_factory=dict)


def draft_contract(known: Known) -> str:
    """Return the text of a commented contract of version 2."""
    columns = _assign(known)
    read = {joint for joints in columns.values() for joint in joints}
    grippers = {j for g, joints in columns.items() if _GRIPPER.search(g) for j in joints}
    joints = {n: s for n, s in known.joints.items() if n in read} or dict(known.joints)
    lines = [
        f"# Draft for {known.robot}. Everything that could not be known is marked CHECK.",
        "# All limits are in rad, m and s. Reference: docs/reference/robot_contract.md",
        "version: 2",
        f"robot: {known.robot}",
        "action_dt: 0.0333333333          # CHECK: 1 / (frames per second of the data set), s",
        f"urdf: {known.urdf}",
        "",
        "# Tighter limits than the URDF's may be given here.",
        "joints:",
        *(
            line
            for name, own in joints.items()
            for line in _joint(name, own, name in grippers, _trained_range(known, columns, name))
        ),
        *_inputs(known, columns),
        *_outputs(known, columns),
        *_cameras(known),
        *_controllers(known, columns),
    ]
    return "\n".join(lines) + "\n"


def _assign(known: Known) -> dict[str, list[str]]:
    """Return group -> joints for its columns: the joints of the URDF, in order."""
    left = list(known.joints)
    columns: dict[str, list[str]] = {}
    for group, ranges in {**known.action, **known.state}.items():
        own = [j for j in left if _same_part(group, j)][: len(ranges)]
        columns[group] = own if len(own) == len(ranges) else left[: len(ranges)]
        left = [j for j in left if j not in columns[group]]
    return columns


def _same_part(group: str, joint: str) -> bool:
    """Return whether group and joint are of the same side, and both or neither of a gripper."""
    sides = ("left", "right")
    same_side = all((side in group.lower()) == (side in joint.lower()) for side in sides)
    return same_side and bool(_GRIPPER.search(group)) == bool(_GRIPPER.search(joint))


def _trained_range(
    known: Known, columns: Mapping[str, Sequence[str]], joint: str
) -> ColumnRange | None:
    for group, ranges in known.state.items():
        if joint in columns[group]:
            return ranges[columns[group].index(joint)]
    return None


def _unit(stated: StatedLimits, gripper: bool, trained: ColumnRange | None) -> str:
    """Guess the unit of the data set from the range of its values."""
    largest = 0.0 if trained is None else max(abs(trained.low), abs(trained.high))
    if gripper and largest > 4.0 * max(abs(stated.lower), abs(stated.upper)):
        return "{closed: 0.0, open: 100.0}" if largest > 1.5 else "{closed: 0.0, open: 1.0}"
    if stated.kind == "prismatic":
        return "mm" if largest > 5.0 else "m"
    return "deg" if largest > math.tau else "rad"


def _joint(
    name: str, stated: StatedLimits, gripper: bool, trained: ColumnRange | None
) -> Iterator[str]:
    limits = []
    if math.isfinite(stated.lower) and math.isfinite(stated.upper):
        limits.append(f"position: [{stated.lower:.6g}, {stated.upper:.6g}]")
    known = math.isfinite(stated.velocity)
    velocity = stated.velocity if known else _VELOCITY[stated.kind]
    limits += [f"velocity: {velocity:.6g}", f"acceleration: {_ACCELERATION[stated.kind]:g}"]
    check = "acceleration" if known else "velocity, acceleration"
    yield f"  {name}:"
    yield f"    type: {stated.kind}"
    yield f"    limits: {{{', '.join(limits)}}}  # CHECK: {check}"
    if gripper:
        yield "    gripper: true  # CHECK: closed at the lower limit?"
    why = "unknown" if trained is None else _range(trained)
    yield f"    unit_in: {_unit(stated, gripper, trained)}  # CHECK: unit of the data set, {why}"


def _inputs(known: Known, columns: Mapping[str, Sequence[str]]) -> Iterator[str]:
    topics = [t for t, kind in known.topics.items() if kind == "sensor_msgs/msg/JointState"]
    topic, seen = (topics[0], "") if topics else ("joint_states", "  # CHECK: topic, rate")
    yield ""
    yield "inputs:"
    yield "  sources:"
    yield f"    all: {{topic: {topic}, rate: 100.0}}{seen or '  # CHECK: rate'}"
    for other in topics[1:]:
        yield f"    # also live: {other}"
    yield "  # State groups of the checkpoint. CHECK: joints in the order of its columns."
    yield "  state:" if known.state else "  state: {}"
    for group, ranges in known.state.items():
        yield f"    {group}:"
        for index, joint in enumerate(columns[group]):
            yield f"      - {{joint: {joint}}}  # column {index}, {_range(ranges[index])}"
        if missing := len(ranges) - len(columns[group]):
            yield f"      # CHECK: {missing} more columns; the URDF has no joint left"


def _outputs(known: Known, columns: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield ""
    yield "# Action groups of the checkpoint, and the controllers that move the joints."
    yield "outputs:"
    ignored = []
    for group, ranges in known.action.items():
        joints = columns[group]
        ignored += [f"{group}.{i}" for i in range(len(joints), len(ranges))]
        if joints:
            yield f"  {group}:"
            yield f"    - {{controller: {group}_controller, joints: [{', '.join(joints)}]}}"
        for index, span in enumerate(ranges):
            yield f"    # column {index}: {_range(span)}"
    if ignored:
        yield "# CHECK: columns that move nothing, because the URDF has no joint left"
        yield f"ignore: [{', '.join(ignored)}]"


def _cameras(known: Known) -> Iterator[str]:
    images = {t: kind for t, kind in known.topics.items() if kind in _IMAGE_TYPES}
    yield ""
    yield "# Views of the checkpoint."
    yield "cameras:"
    for view in known.views or ("front",):
        topic = max(
            images,
            key=lambda t: SequenceMatcher(None, view, t).ratio(),
            default=f"{view}/image_raw",
        )
        encoding = "jpeg" if images.get(topic) == _IMAGE_TYPES[1] else "rgb8"
        yield f"  {view}: {{topic: {topic}, encoding: {encoding}, rate: 30.0}}  # CHECK"
        images.pop(topic, None)
    for topic in images:
        yield f"  # also live: {topic}"


def _controllers(known: Known, columns: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield ""
    yield "# CHECK: names, types and joint order as in the controller manager."
    yield "controllers:"
    for group in known.action:
        if columns[group]:
            yield f"  - name: {group}_controller"
            yield "    type: joint_trajectory_controller"
            yield f"    joints: [{', '.join(columns[group])}]"
    for topic, kind in known.topics.items():
        if kind == "trajectory_msgs/msg/JointTrajectory":
            yield f"  # also live: {topic}"


def _range(span: ColumnRange) -> str:
    return f"trained from {span.low:.4g} to {span.high:.4g}"
