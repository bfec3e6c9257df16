# SPDX-License-Identifier: Apache-2.0
"""Section `table:` of the contract: values, defaults, and mistakes."""

import pytest

from groot_ros.core.share import robot_path
from groot_ros.robot import load_contract

MINIMAL = {"x": [0.2, 0.3], "y": [-0.1, 0.1], "tool": "tip", "approach": 0.1, "pick_height": 0.03}


def test_the_table_of_the_arm_with_a_suction_cup():
    table = load_contract(robot_path("arm7_suction")).table
    assert (table.frame, table.x, table.y) == ("table", (0.3, 0.65), (-0.35, 0.35))
    assert (table.tool, table.tool_axis, table.symmetric) == ("grasp", "-z", True)
    assert (table.approach, table.pick_height, table.place_height) == (0.16, 0.04, 0.04)
    # VIMA's area is twice as wide as deep.
    assert (table.y[1] - table.y[0]) == pytest.approx(2 * (table.x[1] - table.x[0]))


def test_a_table_contains_the_points_between_its_edges():
    table = load_contract(robot_path("arm7_suction")).table
    assert table.contains(0.3, 0.35)
    assert not table.contains(0.29, 0.0)
    assert not table.contains(0.5, -0.36)


def test_most_keys_have_defaults(load_changed):
    table = load_changed(lambda contract: contract.update(table=MINIMAL)).table
    assert (table.frame, table.height, table.tool_axis) == ("table", 0.0, "z")
    assert (table.symmetric, table.place_height, table.push_height) == (False, 0.03, 0.01)


def test_a_contract_without_the_section_has_no_table(so101):
    assert so101.table is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"tool": None}, "table: 'tool' must be a non-empty string"),
        ({"x": [0.4, 0.2]}, r"table: 'x' must be \[low, high\]"),
        ({"y": [-200, 200]}, r"table: 'y' is \[-200, 200\], beyond 10 m: give the edges in m"),
        ({"tool_axis": "y"}, "table: 'tool_axis' must be one of x, z, -z"),
        ({"approach": 0.02}, r"table: 'approach' is 0.02, not above pick_height \(0.03\)"),
        ({"place_height": 0.1}, r"'approach' is 0.1, not above place_height \(0.1\)"),
        ({"pick_height": 40}, r"'pick_height' is 40, out of range \[0, 1\]"),
        ({"edge": 1}, "table: 'edge' is not a key here"),
    ],
)
def test_mistakes_are_named(load_changed, change, problem):
    with pytest.raises(ValueError, match=problem):
        load_changed(lambda contract: contract.update(table={**MINIMAL, **change}))
