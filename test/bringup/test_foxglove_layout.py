# SPDX-License-Identifier: Apache-2.0
"""The Foxglove layout: ids, topics in a namespace, and joints by their index.

Topics, services and message paths are compared with a running graph in test/nodes/test_views.py.
"""

import json
import re
from dataclasses import replace

import pytest

from groot_ros.bringup.foxglove_layout import foxglove_layout
from groot_ros.cli.main import main
from groot_ros.control import Executor
from groot_ros.core.share import robot_path, share_directory
from groot_ros.robot import load_contract

ROBOTS = sorted(p.stem for p in (share_directory() / "config" / "robots").glob("*.yaml"))


def ids_in(tree) -> list[str]:
    """Return the ids of all panels of a tree, in order."""
    if isinstance(tree, str):
        return [tree]
    assert set(tree) == {"direction", "first", "second", "splitPercentage"}
    assert tree["direction"] in ("row", "column")
    assert 0 < tree["splitPercentage"] < 100
    return ids_in(tree["first"]) + ids_in(tree["second"])


def all_ids(layout) -> list[str]:
    """Return the ids of all panels, those in tabs included."""
    found = ids_in(layout["layout"])
    for config in layout["configById"].values():
        for tab in config.get("tabs", ()):
            found += ids_in(tab["layout"])
    return found


@pytest.mark.parametrize("robot", ROBOTS)
def test_each_panel_is_shown_once_and_configured_once(robot):
    layout = foxglove_layout(load_contract(robot_path(robot)))
    assert set(layout) == {"configById", "globalVariables", "userNodes", "playbackConfig", "layout"}
    shown = all_ids(layout)
    assert sorted(shown) == sorted(layout["configById"])
    assert all(panel.count("!") == 1 for panel in shown)


@pytest.mark.parametrize("robot", ROBOTS)
def test_each_commanded_joint_has_a_plot_with_its_index_in_the_joint_states(robot):
    contract = load_contract(robot_path(robot))
    commanded = Executor(contract).joint_names
    panels = foxglove_layout(contract)["configById"]
    for i, joint in enumerate(commanded):
        paths = {p["label"]: p["value"] for p in panels[f"Plot!joint_{joint}"]["paths"]}
        assert paths["committed"] == f"/committed_joint_states.position[{i}]"
        sources = [s for s in contract.sources if joint in s.joints]
        expected = [f"/{s.topic}.position[{s.joints.index(joint)}]" for s in sources]
        assert [paths["measured"] for _ in expected] == expected


def test_a_namespace_moves_relative_names_only():
    layout = foxglove_layout(load_contract(robot_path("so101")), "left")
    panels = layout["configById"]
    assert panels["Image!front"]["imageMode"]["imageTopic"] == "/left/front/image_raw"
    assert panels["CallService!hold"]["serviceName"] == "/left/executor_node/hold"
    assert panels["DiagnosticSummary!diagnostics"]["topicToRender"] == "/diagnostics"
    assert panels["RosOut!log"]["topicToRender"] == "/rosout"


def test_a_robot_with_several_sources_of_joint_states_is_drawn_from_tf():
    contract = load_contract(robot_path("so101"))
    (arm,) = contract.sources
    halves = (
        replace(arm, topic="upper/joint_states", joints=arm.joints[:3]),
        replace(arm, topic="lower/joint_states", joints=arm.joints[3:]),
    )
    panels = foxglove_layout(replace(contract, sources=halves))["configById"]
    paths = panels["Plot!joint_gripper"]["paths"]
    assert paths[0]["value"] == "/lower/joint_states.position[2]"
    layers = panels["3D!robot"]["layers"]
    assert layers["measured"]["controlMode"] == "auto"
    assert layers["committed"]["jointStatesTopic"] == "/committed_joint_states"


def test_the_command_prints_the_layout_or_writes_it(tmp_path, capsys):
    assert main(["foxglove", "--frame", "arm_base"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["configById"]["3D!robot"]["followTf"] == "arm_base"
    file = tmp_path / "layout.json"
    assert main(["foxglove", "--namespace", "left", "--out", str(file)]) == 0
    assert capsys.readouterr().out == f"wrote {file}\n"
    assert "/left/executor_state.status" in file.read_text(encoding="utf-8")


def test_the_launch_file_of_the_documentation_is_python():
    page = (share_directory() / "docs" / "how-to" / "views.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    compile(code, "views.launch.py", "exec")
    # The prefixes and topics of the ghosts, as in config/groot_ros.rviz.
    assert "committed_joint_states" in page
    assert 'ghost("committed"), *ghost("proposed")' in code


def test_a_wrong_namespace_or_robot_is_one_line(capsys):
    assert main(["foxglove", "--namespace", "1 2"]) == 2
    assert "is not a ROS name" in capsys.readouterr().err
    assert main(["foxglove", "--robot", "nobody"]) == 2
    assert "robot contract 'nobody': no such file" in capsys.readouterr().err
