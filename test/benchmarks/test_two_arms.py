# SPDX-License-Identifier: Apache-2.0
"""The robot of the benchmarks: checkpoints for it can be written and opened."""

from pathlib import Path

from benchmarks.two_arms import GROUPS, VIEWS, data_layout
from groot_ros.families.registry import find_family, get_family


def test_a_checkpoint_for_the_robot_of_the_benchmarks_opens(tmp_path: Path) -> None:
    family = get_family()
    layout = data_layout(50)
    family.write_config(family.published_config(layout), tmp_path)
    opened = find_family(tmp_path).open(tmp_path, embodiment=layout.embodiment)
    assert opened.spec.views == VIEWS
    assert opened.spec.state_groups == opened.spec.action_groups == GROUPS
    assert opened.spec.horizon == 50
