# SPDX-License-Identifier: Apache-2.0
"""A first contract from what is known: URDF, groups of the checkpoint, topics of the graph.

What cannot be known is filled in with a plausible value and marked with CHECK.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from groot_ros.core.execution import COMMITTED_JOINT_STATES, PROPOSED_JOINT_STATES
from groot_ros.robot.limit_sources import StatedLimits

#: Acceleration limits that suit most arms, rad/s^2 and m/s^2; a URDF states none.
_ACCELERATION = {"revolute": 5.0, "continuous": 5.0, "prismatic": 1.0}
#: Velocity limits where the URDF states none, rad/s and m/s.
_VELOCITY = {"revolute": 1.0, "continuous": 1.0, "prismatic": 0.1}
_GRIPPER = re.compile(r"grip|hand|claw|finger|knuckle|jaw|suction|vacuum", re.IGNORECASE)
_SIDE = re.compile(r"left|right")
#: Position limits where the URDF states none, rad and m.
_POSITION = {"revolute": (-3.14159, 3.14159), "prismatic": (0.0, 0.1)}
#: Names that YAML reads as they are, unless they are one of its words.
_PLAIN = re.compile(r"[A-Za-z_/][\w./-]*", re.ASCII)
_YAML_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
#: Where the nodes of this package publish positions that nobody measured.
_GHOSTS = {COMMITTED_JOINT_STATES, PROPOSED_JOINT_STATES}
_IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


@dataclass(frozen=True)
class ColumnRange:
    """Smallest and largest value of one column in the training data, in the data set's units.

    Attributes:
        relative: whether the values are offsets from the state.

    """

    low: float
    high: float
    relative: bool = False


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
    grippers = _grippers(known, columns)
    joints = {n: s for n, s in known.joints.items() if n in read} or dict(known.joints)
    lines = [
        f"# Draft for {_text(known.robot)}. Everything that could not be known is marked CHECK.",
        "# All limits are in rad, m and s. Reference: docs/reference/robot_contract.md",
        "version: 2",
        f"robot: {_text(known.robot)}",
        "action_dt: 0.0333333333          # CHECK: 1 / (frames per second of the data set), s",
        f"urdf: {_text(known.urdf)}",
        "",
        "# Tighter limits than the URDF's may be given here.",
        "joints:",
        *(
            line
            for name, own in joints.items()
            for line in _joint(
                name,
                own,
                name in grippers,
                _trained_range(known.state, columns, name),
                _trained_range(known.action, columns, name),
            )
        ),
        *_inputs(known, columns),
        *_outputs(known, columns),
        *_cameras(known),
        *_controllers(known, columns),
    ]
    return "\n".join(lines) + "\n"


def _assign(known: Known) -> dict[str, list[str]]:
    """Return group -> joints for its columns, in the order of the URDF.

    A group takes the joints that are named like it, then those of its side, then others of its
    kind (of a gripper or not); joints that suit no group go to those that lack some.
    """
    widths = {group: len(ranges) for group, ranges in {**known.action, **known.state}.items()}
    left = list(known.joints)
    columns: dict[str, list[str]] = {}
    for strict in (True, False):
        for group, width in widths.items():
            own = columns.get(group, [])
            suiting = [j for j in left if not strict or _suits(group, j, widths)]
            suiting.sort(key=lambda joint, group=group: _distance(group, joint))  # type: ignore[misc]
            chosen = {*own, *suiting[: width - len(own)]}
            columns[group] = [joint for joint in known.joints if joint in chosen]
            left = [joint for joint in left if joint not in chosen]
    return columns


def _suits(group: str, joint: str, groups: Iterable[str]) -> bool:
    """Return whether a joint may belong to a group, by their names."""
    if _named_like(group, joint):
        return True
    if any(_named_like(other, joint) for other in groups):
        return False
    sides = {_side(group), _side(joint)} - {""}
    return len(sides) < 2 and bool(_GRIPPER.search(group)) == bool(_GRIPPER.search(joint))


def _distance(group: str, joint: str) -> int:
    return 0 if _named_like(group, joint) else 1 if _side(group) == _side(joint) else 2


def _named_like(group: str, joint: str) -> bool:
    return group.lower().removesuffix("s") in joint.lower()


def _side(name: str) -> str:
    found = _SIDE.search(name.lower())
    return found.group() if found else ""


def _grippers(known: Known, columns: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the joints that are named like grippers, and all of a hand without such a name."""
    named = {joint for joint in known.joints if _GRIPPER.search(joint)}
    hands = [
        joints
        for group, joints in columns.items()
        if _GRIPPER.search(group) and not named.intersection(joints)
    ]
    found = named.union(*hands)
    return {joint for joint in found if known.joints[joint].kind != "continuous"}


def _trained_range(
    groups: Mapping[str, Sequence[ColumnRange]], columns: Mapping[str, Sequence[str]], joint: str
) -> ColumnRange | None:
    for group, ranges in groups.items():
        if joint in columns[group]:
            # One action column may move all joints of a group.
            index = columns[group].index(joint) if len(ranges) > 1 else 0
            return ranges[index] if index < len(ranges) else None
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
    name: str,
    stated: StatedLimits,
    gripper: bool,
    state: ColumnRange | None,
    action: ColumnRange | None,
) -> Iterator[str]:
    limits = []
    unknown = ["acceleration"]
    velocity = stated.velocity
    if not math.isfinite(velocity):
        velocity = _VELOCITY[stated.kind]
        unknown.insert(0, "velocity")
    if stated.kind != "continuous":
        low, high = stated.lower, stated.upper
        if not (math.isfinite(low) and math.isfinite(high)):
            low, high = _POSITION[stated.kind]
            unknown.insert(0, "position")
        limits.append(f"position: [{_number(low)}, {_number(high)}]")
    limits += [f"velocity: {_number(velocity)}", f"acceleration: {_ACCELERATION[stated.kind]:g}"]
    check = ", ".join(unknown)
    yield f"  {_text(name)}:"
    yield f"    type: {stated.kind}"
    yield f"    limits: {{{', '.join(limits)}}}  # CHECK: {check}"
    if gripper:
        yield "    gripper: true  # CHECK: closed at the lower limit?"
    unit = _unit(stated, gripper, state)
    why = "unknown" if state is None else _range(state)
    yield f"    unit_in: {unit}  # CHECK: unit of the data set, {why}"
    if action is not None and not action.relative:
        of_action = _unit(stated, gripper, action)
        if of_action != unit:
            yield f"    unit_out: {of_action}  # CHECK: unit of the actions, {_range(action)}"


def _inputs(known: Known, columns: Mapping[str, Sequence[str]]) -> Iterator[str]:
    topics = [
        topic
        for topic, kind in known.topics.items()
        if kind == "sensor_msgs/msg/JointState" and topic.rpartition("/")[2] not in _GHOSTS
    ]
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
        yield f"    {_text(group)}:"
        for index, joint in enumerate(columns[group]):
            yield f"      - {{joint: {_text(joint)}}}  # column {index}, {_range(ranges[index])}"
        if missing := len(ranges) - len(columns[group]):
            more = "1 more column" if missing == 1 else f"{missing} more columns"
            yield f"      # CHECK: {more}; no joint of the URDF suits"


def _outputs(known: Known, columns: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield ""
    yield "# Action groups of the checkpoint, and the controllers that move the joints."
    yield "outputs:"
    ignored = []
    for group, ranges in known.action.items():
        joints = _moved(known, columns, group)
        if not joints:
            ignored.append(_text(f"{group}.*"))
            continue
        ignored += [_text(f"{group}.{i}") for i in range(len(joints), len(ranges))]
        one_for_all = len(ranges) == 1 < len(joints)
        tail = ", columns: [0]" if one_for_all else ""
        yield f"  {_text(group)}:"
        yield f"    - {{controller: {_controller(group)}, joints: [{_texts(joints)}]{tail}}}"
        if one_for_all:
            yield "    # CHECK: one column moves all of these; name one joint if the driver has one"
        for index, span in enumerate(ranges):
            yield f"    # column {index}: {_range(span)}"
    if ignored:
        yield "# CHECK: columns that move nothing, because no joint of the URDF suits"
        yield f"ignore: [{', '.join(ignored)}]"


def _moved(known: Known, columns: Mapping[str, Sequence[str]], group: str) -> Sequence[str]:
    """Return the joints that an action group moves; the others of its state are only measured."""
    width = len(known.action[group])
    return columns[group] if width == 1 else columns[group][:width]


def _cameras(known: Known) -> Iterator[str]:
    images = {t: kind for t, kind in known.topics.items() if kind in _IMAGE_TYPES}
    yield ""
    yield "# Views of the checkpoint."
    yield "cameras:"
    for view in known.views or ("front",):
        topic = max(
            images,
            key=lambda t: SequenceMatcher(None, view, t).ratio(),
            default=f"{_identifier(view)}/image_raw",
        )
        encoding = "jpeg" if images.get(topic) == _IMAGE_TYPES[1] else "rgb8"
        yield f"  {_text(view)}: {{topic: {topic}, encoding: {encoding}, rate: 30.0}}  # CHECK"
        images.pop(topic, None)
    for topic in images:
        yield f"  # also live: {topic}"


def _controllers(known: Known, columns: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield ""
    yield "# CHECK: names, types and joint order as in the controller manager."
    yield "controllers:"
    for group in known.action:
        if joints := _moved(known, columns, group):
            yield f"  - name: {_controller(group)}"
            yield "    type: joint_trajectory_controller"
            yield f"    joints: [{_texts(joints)}]"
    for topic, kind in known.topics.items():
        if kind == "trajectory_msgs/msg/JointTrajectory":
            yield f"  # also live: {topic}"


def _range(span: ColumnRange) -> str:
    of = "with offsets " if span.relative else ""
    return f"trained {of}from {span.low:.4g} to {span.high:.4g}"


def _text(name: str) -> str:
    """Return a name as YAML reads it back, in quotes where it needs them."""
    plain = _PLAIN.fullmatch(name) and name.lower() not in _YAML_WORDS
    return name if plain else json.dumps(name)


def _texts(names: Sequence[str]) -> str:
    return ", ".join(map(_text, names))


def _number(value: float) -> str:
    """Return a number as YAML reads it: 1e-05 would be a string."""
    digits = f"{value:.6g}"
    return digits.replace("e", ".0e") if "e" in digits and "." not in digits else digits


def _identifier(name: str) -> str:
    """Return a name with the characters that a topic may have."""
    word = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"_{word}" if word[:1].isdigit() else word


def _controller(group: str) -> str:
    return f"{_identifier(group)}_controller"
