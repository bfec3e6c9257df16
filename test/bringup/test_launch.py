# SPDX-License-Identifier: Apache-2.0
"""Launch files; skipped where the launch library is not installed."""

import importlib.util
import logging
from pathlib import Path

import pytest

from groot_ros.bringup.arguments import ARGUMENTS, RECORD_ARGUMENTS, RENAMED
from groot_ros.bringup.node_graph import rosbag2_command
from groot_ros.core.share import share_directory

# The folder launch/ of this repository is found too, as a namespace package without origin.
_SPEC = importlib.util.find_spec("launch")
if _SPEC is None or _SPEC.origin is None or importlib.util.find_spec("launch_ros") is None:
    pytest.skip("launch and launch_ros are not installed", allow_module_level=True)

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from launch_ros.actions import LifecycleNode, Node

# Launch replaces the logger class; pytest does not capture loggers of that class.
logging.setLoggerClass(logging.Logger)


def description(name: str):
    return get_launch_description_from_python_launch_file(
        str(share_directory() / "launch" / f"{name}.launch.py")
    )


def started(name: str, **values: str) -> list:
    """Return the processes that the launch file starts with these arguments."""
    context = LaunchContext()
    # As `ros2 launch` does, undeclared names included.
    context.launch_configurations.update(values)
    for entity in description(name).entities:
        if isinstance(entity, DeclareLaunchArgument):
            default = entity.default_value
            text = context.perform_substitution(default[0]) if default else ""
            context.launch_configurations[entity.name] = values.get(entity.name, text)
    (function,) = [e for e in description(name).entities if isinstance(e, OpaqueFunction)]
    return [e for e in function.execute(context) if isinstance(e, ExecuteProcess)]


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


def test_record_launch_runs_rosbag2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    values = {"namespace": "left", "output": "~/bag", "robot": "so101"}
    (process,) = started("record", **values)
    context = LaunchContext()
    words = ["".join(context.perform_substitution(s) for s in part) for part in process.cmd]
    assert words == rosbag2_command(values, "jazzy")
