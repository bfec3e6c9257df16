# SPDX-License-Identifier: Apache-2.0
"""The table of the contract: the area and heights in which poses of a tool are planned."""

from dataclasses import dataclass
from typing import Any, Literal

from groot_ros.core.config_reader import REQUIRED, Fields

ToolAxis = Literal["x", "z", "-z"]

TOOL_AXES: tuple[ToolAxis, ...] = ("x", "z", "-z")
#: Plausible heights over the surface, m.
HEIGHT_RANGE = (0.0, 1.0)
#: Lowest plausible approach height, m: a tool must not slide over the table between two actions.
MIN_APPROACH = 0.01
#: Farthest plausible edge and highest plausible surface, m from the origin of the base frame.
MAX_DISTANCE = 10.0


@dataclass(frozen=True)
class Table:
    """Area of a table in reach of the robot.

    The table frame has the axes of the robot's base frame, which is the world of the model. Its
    origin is on the surface, at x = y = 0 of the base frame: z is the height over the surface.
    A tool with rotation (0, 0, 0, 1), as a quaternion x, y, z, w, points straight down.

    Attributes:
        frame: name of the table frame.
        x, y: smallest and largest coordinate of the area, m.
        height: z of the surface in the base frame, m.
        tool: site or body of the model; its origin is the point that touches objects.
        tool_axis: axis of this site or body along which the tool points.
        symmetric: whether the tool may be turned about its axis, like a suction cup: only the turn
            between pick and place counts then.
        approach: height over the surface at which the tool travels, m.
        pick_height: height at which it picks an object up, m.
        place_height: height at which it puts an object down, m.
        push_height: height at which it pushes, m.

    """

    frame: str
    x: tuple[float, float]
    y: tuple[float, float]
    height: float
    tool: str
    tool_axis: ToolAxis
    symmetric: bool
    approach: float
    pick_height: float
    place_height: float
    push_height: float

    def contains(self, x: float, y: float) -> bool:
        """Return whether a point of the table frame is in the area."""
        return self.x[0] <= x <= self.x[1] and self.y[0] <= y <= self.y[1]


def read_table(root: Fields) -> Table | None:
    """Read `table:` of the contract; None if it has none."""
    if not root.has("table"):
        return None
    section = root.section("table")

    def height(key: str, default: Any = REQUIRED) -> float:
        return section.number(key, default, at_least=HEIGHT_RANGE[0], at_most=HEIGHT_RANGE[1])

    pick_height = height("pick_height")
    table = Table(
        frame=section.name("frame", "table"),
        x=_read_edges(section, "x"),
        y=_read_edges(section, "y"),
        height=section.number("height", 0.0, at_least=-MAX_DISTANCE, at_most=MAX_DISTANCE),
        tool=section.name("tool"),
        tool_axis=section.choice("tool_axis", TOOL_AXES, "z"),
        symmetric=section.flag("symmetric", False),
        approach=section.number("approach", at_least=MIN_APPROACH, at_most=HEIGHT_RANGE[1]),
        pick_height=pick_height,
        place_height=height("place_height", pick_height),
        push_height=height("push_height", 0.01),
    )
    section.finish()
    for key in ("pick_height", "place_height", "push_height"):
        if getattr(table, key) >= table.approach:
            raise section.error(
                "approach",
                f"is {table.approach:g}, not above {key} ({getattr(table, key):g}): give a height "
                "at which the tool and a held object pass over everything on the table",
            )
    return table


def _read_edges(section: Fields, key: str) -> tuple[float, float]:
    low, high = section.interval(key)
    if max(-low, high) > MAX_DISTANCE:
        raise section.error(
            key, f"is [{low:g}, {high:g}], beyond {MAX_DISTANCE:g} m: give the edges in m"
        )
    return low, high
