# SPDX-License-Identifier: Apache-2.0
"""Launch files; skipped where the launch library is not installed."""

import importlib.util
import logging
from pathlib import Path

import pytest
import yaml

from groot_ros.bags.episode import EPISODE_KEY, describe_recording
from groot_ros.bringup.arguments import ARGUMENTS, RECORD_ARGUMENTS, RENAMED, REPLAY_ARGUMENTS
from groot_ros.bringup.node_graph import rosbag2_command
from groot_ros.bringup.replay import rosbag2_play_command
from groot_ros.core.share import robot_path, share_directory

# The folder launch/ of this repository is found too, as a namespace package without origin.
_SPEC = importlib.util.find_spec("launch")
if _SPEC is None or _SPEC.origin is None or importlib.util.find_spec("launch_ros") is None:
    pytest.skip("launch and launch_ros are not installed", allow_module_level=True)

from launch import LaunchContext
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.events.process import ProcessStderr
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from launch_ros.actions import LifecycleNode, Node

# Launch replaces the logger class; pytest does not capture loggers of that class.
logging.setLoggerClass(logging.Logger)


def description(name: str):
    return get_launch_description_from_python_launch_file(
        str(share_directory() / "launch" / f"{name}.launch.py")
    )


def text(substitutions: list) -> str:
    return "".join(LaunchContext().perform_substitution(s) for s in substitutions)


def words(process: ExecuteProcess) -> list[str]:
    return [text(part) for part in process.cmd]


def started(name: str, **values: str) -> list:
    """Return the processes that the launch file starts with these arguments."""
    return [e for e in launched(name, **values) if isinstance(e, ExecuteProcess)]


def launched(name: str, **values: str) -> list:
    """Return everything that the launch file does with these arguments."""
    context = LaunchContext()
    # As `ros2 launch` does, undeclared names included.
    context.launch_configurations.update(values)
    for entity in description(name).entities:
        if isinstance(entity, DeclareLaunchArgument):
            default = entity.default_value
            text = context.perform_substitution(default[0]) if default else ""
            context.launch_configurations[entity.name] = values.get(entity.name, text)
    (function,) = [e for e in description(name).entities if isinstance(e, OpaqueFunction)]
    return list(function.execute(context))


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    (tmp_path / "config.json").write_text("{}")
    return str(tmp_path)


@pytest.mark.parametrize("name", ["policy", "demo"])
def test_every_bringup_argument_is_a_launch_argument(name: str) -> None:
    declared = [e for e in description(name).entities if isinstance(e, DeclareLaunchArgument)]
    assert [a.name for a in declared] == [a.name for a in ARGUMENTS]


def test_policy_launch_starts_two_lifecycle_nodes(checkpoint: str) -> None:
    nodes = started("policy", checkpoint=checkpoint)
    assert len(nodes) == 2
    assert all(isinstance(node, LifecycleNode) for node in nodes)


def test_demo_launch_adds_the_simulated_robot(checkpoint: str) -> None:
    nodes = started("demo", checkpoint=checkpoint, namespace="left")
    assert [isinstance(node, LifecycleNode) for node in nodes] == [True, True, False]
    assert all(isinstance(node, Node) for node in nodes)


def test_policy_launch_without_a_checkpoint_is_rejected() -> None:
    with pytest.raises(ValueError, match="checkpoint is not set: give the directory"):
        started("policy")


@pytest.mark.parametrize("name", RENAMED)
def test_an_argument_name_of_version_0_1_is_accepted_but_not_listed(
    checkpoint: str, name: str
) -> None:
    declared = [e for e in description("policy").entities if isinstance(e, DeclareLaunchArgument)]
    assert name not in [a.name for a in declared]
    assert len(started("policy", checkpoint=checkpoint, **{name: "true"})) == 2
    with pytest.raises(ValueError, match=f"{RENAMED[name]} must be one of true, false"):
        started("policy", checkpoint=checkpoint, **{name: "maybe"})


def test_every_recording_argument_is_a_launch_argument() -> None:
    declared = [e for e in description("record").entities if isinstance(e, DeclareLaunchArgument)]
    assert [a.name for a in declared] == [a.name for a in RECORD_ARGUMENTS]


def test_record_launch_runs_rosbag2_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.setattr(
        "groot_ros.bringup.launch_description.get_packages_with_prefixes",
        lambda: {"ros2bag": "/opt/ros", "rosbag2_storage_mcap": "/opt/ros"},
    )
    values = {"namespace": "left", "output": "~/bag", "robot": "so101"}
    (process,) = started("record", **values)
    assert words(process)[:6] == rosbag2_command(values, "jazzy")[:6]


@pytest.mark.parametrize("episodes", ["true", "false"])
def test_record_launch_runs_the_recorder_node_elsewhere(
    monkeypatch: pytest.MonkeyPatch, episodes: str
) -> None:
    monkeypatch.setattr(
        "groot_ros.bringup.launch_description.get_packages_with_prefixes", lambda: {}
    )
    (node,) = started("record", output="/b", episodes=episodes)
    assert isinstance(node, Node)
    assert node.node_executable == "recorder_node"


@pytest.fixture
def bag(tmp_path: Path) -> str:
    info = describe_recording(robot_path("so101"))
    data = {"rosbag2_bagfile_information": {"custom_data": {EPISODE_KEY: info.to_custom_data()}}}
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "metadata.yaml").write_text(yaml.safe_dump(data))
    return str(tmp_path / "bag")


def test_every_replay_argument_is_a_launch_argument() -> None:
    declared = [e for e in description("replay").entities if isinstance(e, DeclareLaunchArgument)]
    assert [a.name for a in declared] == [a.name for a in REPLAY_ARGUMENTS]


def test_replay_launch_starts_policy_executor_and_player(checkpoint: str, bag: str) -> None:
    nodes = started("replay", checkpoint=checkpoint, bag=bag, domain="current")
    assert [n.node_executable for n in nodes] == ["policy_node", "executor_node", "player_node"]


def test_replay_launch_sets_a_domain_that_nobody_uses(
    monkeypatch: pytest.MonkeyPatch, checkpoint: str, bag: str
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "0")
    actions = launched("replay", checkpoint=checkpoint, bag=bag)
    (domain,) = [
        text(action.value)
        for action in actions
        if isinstance(action, SetEnvironmentVariable) and text(action.name) == "ROS_DOMAIN_ID"
    ]
    assert 1 <= int(domain) <= 101


def test_replay_launch_starts_rosbag2_once_the_policy_is_active(checkpoint: str, bag: str) -> None:
    values = {"checkpoint": checkpoint, "bag": bag, "player": "rosbag2", "domain": "current"}
    actions = launched("replay", **values)
    nodes = [a.node_executable for a in actions if isinstance(a, ExecuteProcess)]
    assert nodes == ["policy_node", "executor_node"]
    (handler,) = [a.event_handler for a in actions if isinstance(a, RegisterEventHandler)]
    context = LaunchContext()

    def output(line: bytes):
        event = ProcessStderr(action=None, name="", cmd=[], cwd=None, env=None, pid=1, text=line)
        return handler.handle(event, context)

    assert output(b"[INFO] [1.0] [policy_node]: loading weights") is None
    play = output(b"[INFO] [2.0] [policy_node]: active\n")
    assert words(play) == rosbag2_play_command(values)
    assert output(b"[INFO] [3.0] [policy_node]: active\n") is None
