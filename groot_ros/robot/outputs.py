# SPDX-License-Identifier: Apache-2.0
"""The outputs of the contract: which controller moves which joint by which action columns."""

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from groot_ros.core.config_reader import Fields
from groot_ros.robot.controller import Controller
from groot_ros.robot.fields import read_joint_names

MapType = Literal["copy", "affine", "mean"]

MAP_TYPES: tuple[MapType, ...] = ("copy", "affine", "mean")
#: Largest number of columns of an action group.
MAX_COLUMNS = 256


@dataclass(frozen=True)
class ColumnMap:
    """Map of some columns of an action group to targets of some joints.

    copy and affine pass column i on to joint i, or a single column to every joint; mean passes the
    mean of the columns on to every joint. The target is scale * value + offset, in the units of
    the checkpoint (`unit_out` of the joint).

    Attributes:
        columns: indices in the group; None = all of them, for a mean only.

    """

    controller: str
    joints: tuple[str, ...]
    columns: tuple[int, ...] | None
    type: MapType
    scale: float
    offset: float

    def to_joints(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert the group's columns, [..., D], to targets [..., joints]."""
        picked = values if self.columns is None else values[..., list(self.columns)]
        if self.type == "mean":
            picked = picked.mean(axis=-1, keepdims=True)
        return (
            self.scale * np.repeat(picked, len(self.joints) // picked.shape[-1], axis=-1)
            + self.offset
        )

    def to_columns(self, targets: NDArray[np.float64], columns: NDArray[np.float64]) -> None:
        """Set the columns [..., D] that give these targets [..., joints].

        Where several joints share a column, it is set to the mean of what they need.
        """
        inverse = (targets - self.offset) / self.scale
        own = list(range(columns.shape[-1]) if self.columns is None else self.columns)
        if self.type == "mean" or len(own) == 1:
            inverse = inverse.mean(axis=-1, keepdims=True)
        columns[..., own] = inverse


@dataclass(frozen=True)
class ActionGroupMap:
    """One action group of the checkpoint.

    Attributes:
        name: as the checkpoint names it.
        maps: what its columns move.
        ignored: columns that move nothing, as stated under `ignore:`.
        all_ignored: whether no column moves anything (`ignore: [GROUP.*]`).

    """

    name: str
    maps: tuple[ColumnMap, ...]
    ignored: frozenset[int] = frozenset()
    all_ignored: bool = False

    @property
    def joints(self) -> tuple[str, ...]:
        """Return the joints that it moves, in the order of its maps."""
        return tuple(joint for entry in self.maps for joint in entry.joints)

    @property
    def min_width(self) -> int:
        """Return the smallest number of columns that has every column named here."""
        used = [c for entry in self.maps for c in entry.columns or (0,)]
        return max((*used, *self.ignored), default=-1) + 1

    def width_problem(self, width: int) -> str:
        """Return why the group cannot have `width` columns; empty if it can."""
        if self.all_ignored:
            return ""
        used = {
            column
            for entry in self.maps
            for column in (range(width) if entry.columns is None else entry.columns)
        }
        beyond = sorted(column for column in used | self.ignored if column >= width)
        if beyond:
            return f"has {width} columns, so there is no column {beyond[0]}"
        lost = [column for column in range(width) if column not in used | self.ignored]
        if lost:
            return (
                f"has {width} columns, of which no controller takes column {lost[0]}: map it "
                f"under 'outputs', or list {self.name}.{lost[0]} under 'ignore'"
            )
        return ""

    def to_joints(self, values: ArrayLike) -> NDArray[np.float64]:
        """Convert columns [..., D] to targets [..., joints], in the units of the checkpoint."""
        array = np.asarray(values, dtype=np.float64)
        parts = [entry.to_joints(array) for entry in self.maps]
        return np.concatenate([array[..., :0], *parts], axis=-1)

    def to_columns(self, targets: NDArray[np.float64], width: int) -> NDArray[np.float64]:
        """Return columns [..., width] that give these targets [..., joints]; ignored ones NaN."""
        columns = np.full((*targets.shape[:-1], width), np.nan)
        first = 0
        for entry in self.maps:
            entry.to_columns(targets[..., first : first + len(entry.joints)], columns)
            first += len(entry.joints)
        return columns


def read_outputs(
    root: Fields, joints: Container[str], controllers: Sequence[Controller]
) -> dict[str, ActionGroupMap]:
    """Read `outputs:` and `ignore:`; every joint is moved by at most one entry."""
    ignored, whole = _read_ignored(root)
    section = root.section("outputs")
    owners = {joint: c.name for c in controllers for joint in c.joints}
    groups: dict[str, ActionGroupMap] = {}
    moved: dict[str, str] = {}
    for group in section.value:
        maps: list[ColumnMap] = []
        for entry in section.section_list(group):
            found = _read_map(entry, joints, maps)
            for joint in found.joints:
                if owners.get(joint) != found.controller:
                    raise entry.error("controller", _wrong_controller(found, joint, owners))
                if joint in moved:
                    raise entry.error(
                        "joints", f"names '{joint}', which group '{moved[joint]}' moves already"
                    )
                moved[joint] = group
            maps.append(found)
        if len(maps) > 1 and any(entry.columns is None for entry in maps):
            raise section.error(group, "has several entries: give 'columns' for the mean")
        groups[group] = ActionGroupMap(group, tuple(maps), frozenset(ignored.get(group, ())))
        both = [c for m in maps for c in m.columns or () if c in groups[group].ignored]
        if both or group in whole:
            which = "*" if group in whole else both[0]
            raise root.error("ignore", f"lists {group}.{which}, which 'outputs' uses")
    for group in whole | (ignored.keys() - groups.keys()):
        columns = frozenset(ignored.get(group, ()))
        groups[group] = ActionGroupMap(group, (), columns, all_ignored=group in whole)
    if not moved:
        raise root.error("outputs", "must have at least one group that moves a joint")
    return groups


def _read_map(section: Fields, joints: Container[str], before: Sequence[ColumnMap]) -> ColumnMap:
    controller = section.name("controller")
    names = read_joint_names(section, joints)
    kind: MapType = "copy"
    scale, offset = 1.0, 0.0
    if section.has("map"):
        own = section.section("map")
        kind = own.choice("type", MAP_TYPES, "copy")
        if kind != "copy":
            scale, offset = own.number("scale", 1.0), own.number("offset", 0.0)
        own.finish()
        if scale == 0.0:
            raise own.error("scale", "must not be 0: the joint would never move")
    columns: tuple[int, ...] | None = None
    if section.has("columns"):
        columns = _read_columns(section)
        if kind != "mean" and len(columns) not in (1, len(names)):
            raise section.error(
                "columns",
                f"has {len(columns)} entries for {len(names)} joints: give one for each joint, "
                "one for all of them, or 'map: {type: mean}'",
            )
    elif kind != "mean":
        first = 1 + max((c for entry in before for c in entry.columns or ()), default=-1)
        columns = tuple(range(first, first + len(names)))
    section.finish()
    return ColumnMap(controller, names, columns, kind, scale, offset)


def _read_columns(section: Fields) -> tuple[int, ...]:
    columns: tuple[int, ...] = section.items("columns", int)
    if not columns or len(set(columns)) < len(columns):
        raise section.error("columns", "must list at least one column, and none of them twice")
    for column in columns:
        if isinstance(column, bool) or not 0 <= column < MAX_COLUMNS:
            raise section.error("columns", f"must count from 0 to {MAX_COLUMNS - 1}, not {column}")
    return columns


def _read_ignored(root: Fields) -> tuple[dict[str, list[int]], set[str]]:
    """Return group -> ignored columns, and the groups that are ignored as a whole."""
    columns: dict[str, list[int]] = {}
    whole = set()
    for entry in root.names("ignore") if root.has("ignore") and root.get("ignore") else ():
        match = re.fullmatch(r"(.+)\.(\d{1,3}|\*)", entry)
        if match is None:
            raise root.error(
                "ignore",
                f"lists '{entry}', which is not GROUP.COLUMN (columns count from 0) or GROUP.*",
            )
        if match[2] == "*":
            whole.add(match[1])
        else:
            columns.setdefault(match[1], []).append(int(match[2]))
    return columns, whole


def _wrong_controller(entry: ColumnMap, joint: str, owners: Mapping[str, str]) -> str:
    known = set(owners.values())
    if entry.controller not in known:
        return f"is '{entry.controller}', which is not under 'controllers': {', '.join(known)}"
    if joint not in owners:
        return f"is '{entry.controller}', which does not list joint '{joint}'"
    return f"is '{entry.controller}', but joint '{joint}' belongs to '{owners[joint]}'"
