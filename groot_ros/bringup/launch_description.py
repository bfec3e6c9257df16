# SPDX-License-Identifier: Apache-2.0
"""Conversion of a node graph to a launch description: the only module that imports launch."""

import os
from collections.abc import Callable, Iterable, Mapping

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from groot_ros.bringup.arguments import ARGUMENTS, RECORD_ARGUMENTS, RENAMED, Argument
from groot_ros.bringup.node_graph import Graph, NodeProcess, rosbag2_command


def describe(make_graph: Callable[[Mapping[str, str]], Graph]) -> LaunchDescription:
    """Return a description that declares ARGUMENTS and starts a graph.

    Args:
        make_graph: builds the graph from argument name -> value; it raises ValueError for a wrong
            value, which launch reports.

    """

    def start(context: LaunchContext) -> list[SetEnvironmentVariable | Node]:
        graph = make_graph(_values(ARGUMENTS, context))
        environment = [SetEnvironmentVariable(k, v) for k, v in graph.environment.items()]
        return [*environment, *(_node(graph, process) for process in graph.processes)]

    return LaunchDescription([*_declared(ARGUMENTS), OpaqueFunction(function=start)])


def describe_recording() -> LaunchDescription:
    """Return a description that records the graph with `ros2 bag record`."""

    def start(context: LaunchContext) -> list[ExecuteProcess]:
        values = _values(RECORD_ARGUMENTS, context)
        command = rosbag2_command(values, os.environ.get("ROS_DISTRO", ""))
        return [ExecuteProcess(cmd=command, output="screen")]

    return LaunchDescription([*_declared(RECORD_ARGUMENTS), OpaqueFunction(function=start)])


def _declared(arguments: Iterable[Argument]) -> list[DeclareLaunchArgument]:
    return [
        DeclareLaunchArgument(
            a.name,
            default_value=a.default,
            description=a.description,
            **({"choices": list(a.accepted)} if a.choices else {}),
        )
        for a in arguments
    ]


def _values(arguments: Iterable[Argument], context: LaunchContext) -> dict[str, str]:
    values = {a.name: LaunchConfiguration(a.name).perform(context) for a in arguments}
    # Old names are not declared, so --show-args does not list them; launch passes them on anyway.
    given = context.launch_configurations
    return {**values, **{old: given[old] for old in RENAMED if old in given}}


def _node(graph: Graph, process: NodeProcess) -> Node:
    common = {
        "package": "groot_ros",
        "executable": process.executable,
        "exec_name": process.executable,
        "name": process.executable,
        "namespace": graph.namespace,
        "parameters": [*map(str, process.parameter_files), dict(process.parameters)],
        "prefix": " ".join(process.prefix) or None,
        "additional_env": dict(process.environment),
        "arguments": ["--ros-args", "--log-level", graph.log_level],
        "output": "screen",
        "on_exit": _stop_the_rest,
    }
    return LifecycleNode(**common) if process.managed else Node(**common)


def _stop_the_rest(event: ProcessExited, context: LaunchContext) -> Shutdown | None:
    # An incomplete graph does not control the robot: stop all of it.
    return None if context.is_shutdown else Shutdown(reason=f"{event.process_name} ended")
