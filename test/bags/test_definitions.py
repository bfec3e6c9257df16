# SPDX-License-Identifier: Apache-2.0
import json
import os
from pathlib import Path

import pytest

from groot_ros.bags import BagError
from groot_ros.bags.definitions import MessageDefinition, MessageDefinitions

GRAPH_TYPES = [
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/CompressedImage",
    "sensor_msgs/msg/JointState",
    "std_msgs/msg/String",
    "std_msgs/msg/Float64MultiArray",
    "trajectory_msgs/msg/JointTrajectory",
    "diagnostic_msgs/msg/DiagnosticArray",
    "rosgraph_msgs/msg/Clock",
    "groot_ros/msg/ActionChunk",
    "groot_ros/msg/CommittedTimeline",
    "groot_ros/msg/ExecutorState",
    "groot_ros/msg/PolicyStatus",
]


def installed_hash(name: str) -> str:
    package, _, short = name.partition("/msg/")
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        path = Path(prefix) / "share" / package / "msg" / f"{short}.json"
        if path.is_file():
            entries = json.loads(path.read_text())["type_hashes"]
            return next(e["hash_string"] for e in entries if e["type_name"] == name)
    pytest.skip(f"{name} is not installed with a type description (Humble has none)")


@pytest.mark.parametrize("name", GRAPH_TYPES)
def test_the_hash_is_the_one_that_the_generated_messages_carry(definitions, name):
    assert definitions.find(name).rihs01 == installed_hash(name)


def test_a_definition_carries_the_text_of_every_nested_type(definitions):
    text = definitions.find("groot_ros/msg/ActionChunk").text
    for nested in ("groot_ros/ActionGroup", "std_msgs/Header", "builtin_interfaces/Time"):
        assert f"MSG: {nested}\n" in text


@pytest.mark.parametrize("name", GRAPH_TYPES)
def test_the_text_alone_gives_the_same_hash(definitions, name):
    found = definitions.find(name)
    assert MessageDefinition.parse(name, found.text) == found


def test_without_ros_the_packages_messages_come_from_its_sources():
    here = MessageDefinitions(share_folders=()).find("groot_ros/msg/ActionChunk")
    assert here.rihs01 == MessageDefinitions().find("groot_ros/msg/ActionChunk").rihs01


def test_a_message_of_the_users_own_workspace_is_found_with_its_nested_types(tmp_path):
    folder = tmp_path / "my_robot" / "msg"
    folder.mkdir(parents=True)
    (folder / "Grip.msg").write_text("std_msgs/Header header\nmy_robot/Finger[] fingers\n")
    (folder / "Finger.msg").write_text("float64 force  # N\n")
    found = MessageDefinitions([tmp_path]).find("my_robot/msg/Grip")
    assert "MSG: my_robot/Finger\nfloat64 force" in found.text


def test_the_error_of_an_unknown_type_says_where_it_was_searched():
    with pytest.raises(BagError, match=r"no_such/msg/Thing.*source the workspace") as error:
        MessageDefinitions().find("no_such/msg/Thing")
    assert "\n" not in str(error.value)
