# SPDX-License-Identifier: Apache-2.0
"""The graph of a replay: shadow, the bag's robot and namespace, and no commands of the bag."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from groot_ros.bags.episode import EPISODE_KEY, EpisodeInfo, describe_recording
from groot_ros.bringup.node_graph import records_with_rosbag2, rosbag2_command
from groot_ros.bringup.replay import replay_graph, rosbag2_play_command
from groot_ros.core.share import robot_path
from groot_ros.robot import load_contract

ROSBAG2 = ("ros2bag", "rosbag2_storage_mcap")


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "config.json").write_text("{}")
    return str(tmp_path / "checkpoint")


@pytest.fixture
def make_bag(tmp_path: Path):
    def make(info: EpisodeInfo | None) -> str:
        custom = None if info is None else {EPISODE_KEY: info.to_custom_data()}
        (tmp_path / "bag").mkdir()
        text = yaml.safe_dump({"rosbag2_bagfile_information": {"custom_data": custom}})
        (tmp_path / "bag" / "metadata.yaml").write_text(text)
        return str(tmp_path / "bag")

    return make


@pytest.fixture
def info() -> EpisodeInfo:
    described = describe_recording(robot_path("so101"), "left")
    return replace(described, instruction="touch the red cube")


def test_a_replay_takes_robot_namespace_and_instruction_from_the_bag(make_bag, checkpoint, info):
    bag = make_bag(info)
    graph = replay_graph({"bag": bag, "checkpoint": checkpoint})
    policy, executor, player = graph.processes
    assert graph.namespace == "left"
    assert policy.parameters["instruction"] == "touch the red cube"
    assert {p.parameters["robot"] for p in graph.processes} == {str(robot_path("so101"))}
    assert policy.parameters["use_sim_time"]
    assert executor.parameters["use_sim_time"]
    assert "use_sim_time" not in player.parameters
    assert player.parameters["bag"] == bag


@pytest.mark.parametrize("player", ["player_node", "rosbag2"])
def test_the_executor_of_a_replay_is_in_shadow_whatever_the_parameter_file_says(
    make_bag, checkpoint, info, tmp_path, player
):
    file = tmp_path / "parameters.yaml"
    file.write_text("/**: {ros__parameters: {shadow: false}}\n")
    values = {"bag": make_bag(info), "checkpoint": checkpoint, "params_file": str(file)}
    graph = replay_graph({**values, "player": player})
    executor = graph.processes[1]
    assert executor.parameters["shadow"] is True
    arguments = graph.ros_arguments(executor)
    # The last one counts in rcl.
    assert arguments.index("shadow:=true") > arguments.index(str(file))


def test_the_contract_in_the_bag_is_used_when_its_file_has_changed(make_bag, checkpoint, info):
    changed = replace(info, contract=info.contract.replace("acceleration: 15.0", "acceleration: 9"))
    changed = replace(changed, contract=changed.contract.replace("model:", "# model:"))
    graph = replay_graph({"bag": make_bag(changed), "checkpoint": checkpoint})
    robot = Path(graph.processes[0].parameters["robot"])
    assert robot != robot_path("so101")
    assert load_contract(robot).joints["elbow_flex"].limits.acceleration == 9.0


def test_what_is_given_replaces_what_the_bag_says(make_bag, checkpoint, info):
    values = {"robot": "arm7", "namespace": "right", "instruction": "wave", "loop": "true"}
    values |= {"rate": "0.5", "start_offset": "3", "output": "/b"}
    graph = replay_graph({"bag": make_bag(info), "checkpoint": checkpoint, **values})
    policy, _, player, recorder = graph.processes
    assert (graph.namespace, policy.parameters["instruction"]) == ("right", "wave")
    assert player.parameters["robot"] == str(robot_path("arm7"))
    assert [player.parameters[n] for n in ("rate", "start_offset", "loop")] == [0.5, 3.0, True]
    assert (recorder.executable, recorder.parameters["output"]) == ("recorder_node", "/b")


def test_a_bag_without_a_description_needs_a_robot_and_is_warned_of(make_bag, checkpoint, caplog):
    bag = make_bag(None)
    with pytest.raises(ValueError, match="does not contain a robot contract: give robot"):
        replay_graph({"bag": bag, "checkpoint": checkpoint})
    with caplog.at_level(logging.WARNING):
        graph = replay_graph({"bag": bag, "checkpoint": checkpoint, "robot": "so101"})
    assert "does not say what the robot was instructed to do" in caplog.text
    assert graph.processes[0].parameters["instruction"] == ""


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"bag": ""}, "bag is not set: give the directory of a bag"),
        ({"bag": "/nowhere"}, "there is no bag at /nowhere"),
        ({"rate": "0"}, "rate must be between 0.01 and 100, not 0"),
        ({"rate": "fast"}, "rate must be a number, not 'fast'"),
        ({"start_offset": "-1"}, "start_offset must be between 0 and"),
        ({"checkpoint": ""}, "checkpoint is not set"),
    ],
)
def test_a_wrong_argument_of_a_replay_is_one_line(make_bag, checkpoint, info, change, problem):
    values = {"bag": make_bag(info), "checkpoint": checkpoint, **change}
    with pytest.raises(ValueError, match=problem) as error:
        replay_graph(values)
    assert "\n" not in str(error.value)


def test_rosbag2_plays_the_inputs_only(make_bag, checkpoint, info):
    values = {"bag": make_bag(info), "rate": "2", "start_offset": "1.5", "loop": "true"}
    command = rosbag2_play_command(values)
    assert command[:5] == ["ros2", "bag", "play", values["bag"], "--clock"]
    assert command[6:11] == ["--rate", "2", "--start-offset", "1.5", "--loop"]
    assert command[command.index("--topics") + 1 :] == [
        "/left/front/image_raw",
        "/left/wrist/image_raw",
        "/left/joint_states",
    ]


def test_rosbag2_records_the_description_except_on_humble(tmp_path):
    values = {"output": "/b/run1", "namespace": "left", "instruction": "a = b"}
    command = rosbag2_command(values, "jazzy")
    data = command[command.index("--custom-data") + 1]
    # As ros2bag parses it.
    key, value = data.split("=")
    read = EpisodeInfo.from_json(value)
    assert (key, read.name, read.robot, read.namespace) == (EPISODE_KEY, "run1", "so101", "left")
    assert read.instruction == "a = b"
    assert "--custom-data" not in rosbag2_command(values, "humble")


def test_rosbag2_compresses_with_the_preset_of_its_storage():
    assert "--storage-preset-profile" not in rosbag2_command({"output": "/b"}, "jazzy")
    command = rosbag2_command({"output": "/b", "compression": "zstd"}, "jazzy")
    assert command[command.index("--storage-preset-profile") + 1] == "zstd_fast"


def test_rosbag2_records_where_it_is_installed_except_episodes():
    assert records_with_rosbag2({}, ROSBAG2)
    assert not records_with_rosbag2({}, ["ros2bag"])
    assert not records_with_rosbag2({"episodes": "true"}, ROSBAG2)
    assert not records_with_rosbag2({"recorder": "recorder_node"}, ROSBAG2)
    with pytest.raises(ValueError, match="rosbag2_storage_mcap is not installed"):
        records_with_rosbag2({"recorder": "rosbag2"}, ["ros2bag"])
    with pytest.raises(ValueError, match="rosbag2 records no episodes"):
        records_with_rosbag2({"recorder": "rosbag2", "episodes": "true"}, ROSBAG2)
