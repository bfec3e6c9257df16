# SPDX-License-Identifier: Apache-2.0
"""Version 1 of the robot contract, converted to version 2.

Version 1 has one list of groups for state and action, grippers per group, and unnamed joint state
sources. Keys that both versions have are passed on as they are, for the reader of version 2.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

from groot_ros.core.config_reader import Fields
from groot_ros.robot.fields import read_joint_names
from groot_ros.robot.joint import UnitMap

#: Keys of the top level that both versions have.
_SHARED = ("robot", "model", "action_dt", "urdf", "joint_limits", "cameras", "controllers")
#: Keys of the top level that version 2 does not have.
FORMER_KEYS = ("groups", "joint_states", "gripper")
#: Keys of a joint that are not its limits.
_OTHER_KEYS = ("type", "model")
#: Place that an error of version 2 names -> place in version 1.
_PLACES = (
    (r"\.limits: ", ": "),
    (r"(joints\.[^:]+)\.unit_in: ", r"\1.model: "),
    (r"'unit_in'", "'model'"),
)


def as_version_1(message: str) -> str:
    """Return an error message about the converted contract with the keys of version 1."""
    for pattern, place in _PLACES:
        message = re.sub(pattern, place, message)
    return message


def upgrade(root: Fields) -> dict[str, Any]:
    """Return the contract of version 2 that says the same as this one of version 1.

    Raises:
        ConfigError: a section that version 2 does not have is wrong.

    """
    shared = {key: root.get(key) for key in (*_SHARED, "version") if root.has(key)}
    joints = dict(root.sections("joints"))
    ends = _read_grippers(root, joints)
    groups, grippers = _read_groups(root, joints)
    sources, source_of = _read_sources(root, joints)
    owners = {
        joint: section.name("name")
        for section in root.section_list("controllers")
        for joint in read_joint_names(section, joints)
    }
    root.finish()
    several = len(sources) > 1
    in_groups = {joint for names in groups.values() for joint in names}
    for source in sources.values():
        # A single source measures all joints; a gripper only if a group reads it.
        extra = [j for j in source["joints"] if j not in in_groups and (several or j in grippers)]
        if extra:
            source["joints"] = extra
        else:
            del source["joints"]
    return {
        **shared,
        "version": 2,
        "joints": {
            name: _joint(section, ends.get(name), name in grippers)
            for name, section in joints.items()
        },
        "inputs": {
            "state": {
                group: [
                    {"joint": j, "source": source_of[j]} if several else {"joint": j} for j in names
                ]
                for group, names in groups.items()
            },
            "sources": sources,
        },
        "outputs": {group: _runs(root, group, names, owners) for group, names in groups.items()},
    }


_Ends = dict[str, tuple[float, float]]


def _joint(section: Fields, ends: _Ends | None, gripper: bool) -> dict[str, Any]:
    old = section.value
    new = {k: old[k] for k in ("type",) if k in old}
    new["limits"] = {k: v for k, v in old.items() if k not in _OTHER_KEYS}
    if gripper:
        new["gripper"] = True if ends is None else {k: si for k, (si, _) in ends.items()}
    if ends is None:
        new |= {"unit_in": old["model"]} if "model" in old else {}
    elif gripper:
        new["unit_in"] = {k: model for k, (_, model) in ends.items()}
    else:
        sign, scale, offset = astuple(UnitMap.through(ends["closed"], ends["open"]))
        new["unit_in"] = {"scale": scale, "sign": int(sign), "offset": offset}
    return new


def _read_grippers(root: Fields, joints: Mapping[str, Fields]) -> dict[str, _Ends]:
    """Return joint -> end -> (position in rad or m, value of the data set)."""
    found: dict[str, _Ends] = {}
    for name, section in root.sections("gripper") if root.has("gripper") else ():
        ends: _Ends = {}
        for key in ("closed", "open"):
            end = section.section(key)
            ends[key] = end.number("si"), end.number("model")
            end.finish()
        section.finish()
        if name not in joints:
            raise root.error("gripper", f"names '{name}', which is not under 'joints'")
        if joints[name].has("model"):
            raise joints[name].error(
                "model", f"must not be given: 'gripper' already defines the units of '{name}'"
            )
        for i, what in enumerate(("si", "model")):
            if ends["closed"][i] == ends["open"][i]:
                raise section.error(
                    f"open.{what}",
                    f"equals closed.{what} ({ends['open'][i]:g}): give the values of both ends",
                )
        found[name] = ends
    return found


def _read_groups(
    root: Fields, joints: Mapping[str, Fields]
) -> tuple[dict[str, tuple[str, ...]], set[str]]:
    """Return group -> joints, and the joints of the groups that are grippers."""
    groups: dict[str, tuple[str, ...]] = {}
    grippers: set[str] = set()
    for name, section in root.sections("groups"):
        groups[name] = read_joint_names(section, joints)
        if section.choice("kind", ("joint_position", "gripper"), "joint_position") == "gripper":
            grippers.update(groups[name])
        section.finish()
    _check_each_once(root, "groups", groups.values())
    return groups, grippers


def _read_sources(
    root: Fields, joints: Mapping[str, Fields]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Return the named sources, and joint -> name of its source."""
    sources: dict[str, dict[str, Any]] = {}
    source_of: dict[str, str] = {}
    lists = []
    for index, section in enumerate(root.section_list("joint_states")):
        topic = section.name("topic")
        own = read_joint_names(section, joints) if section.has("joints") else tuple(joints)
        rate = section.number("rate", 0.0, at_least=0.0)
        section.finish()
        name = re.sub(r"\W+", "_", topic).strip("_") or f"source_{index}"
        while name in sources and sources[name]["topic"] != topic:
            name += "_"
        # Entries of one topic, for example of two drivers, are one source.
        source = sources.setdefault(name, {"topic": topic, "joints": []})
        source["joints"] += own
        if rate > 0.0:
            source["rate"] = max(rate, source.get("rate", 0.0))
        lists.append(own)
        source_of |= dict.fromkeys(own, name)
    _check_each_once(root, "joint_states", lists)
    for joint in joints:
        if joint not in source_of:
            raise root.error("joint_states", f"has no entry that lists joint '{joint}'")
    return sources, source_of


def _runs(
    root: Fields, group: str, joints: Sequence[str], owners: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the entries of `outputs:`, one for each run of joints of one controller."""
    entries: list[dict[str, Any]] = []
    for joint in joints:
        if joint not in owners:
            raise root.error(
                "controllers", f"has no entry that drives '{joint}' of group '{group}'"
            )
        if not entries or entries[-1]["controller"] != owners[joint]:
            entries.append({"controller": owners[joint], "joints": []})
        entries[-1]["joints"].append(joint)
    return entries


def _check_each_once(root: Fields, key: str, lists: Any) -> None:
    seen: set[str] = set()
    for joint in (joint for own in lists for joint in own):
        if joint in seen:
            raise root.error(key, f"lists joint '{joint}' in more than one entry")
        seen.add(joint)
