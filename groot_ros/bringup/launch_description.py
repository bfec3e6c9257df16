# SPDX-License-Identifier: Apache-2.0
"""Conversion of a node graph to a launch description: the only module that imports launch."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ament_index_python.packages import get_packages_with_prefixes
from launch import Action, LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.event_handlers import OnProcessIO
from launch.events.process import ProcessExited, ProcessIO
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from groot_ros.bridge.isolated_domain import use_isolated_domain
from groot_ros.bringup.arguments import (
    ARGUMENTS,
    RECORD_ARGUMENTS,
    RENAMED,
    REPLAY_ARGUMENTS,
    Argument,
    require_namespace,
)
from groot_ros.bringup.node_graph import (
    Graph,
    NodeProcess,
    record_graph,
    records_with_rosbag2,
    rosbag2_command,
)
from groot_ros.bringup.replay import replay_graph, rosbag2_play_command


def describe(
    make_graph: Callable[[Mapping[str, str]], Graph], arguments: Sequence[Argument] = ARGUMENTS
) -> LaunchDescription:
    """Return a description that declares arguments and starts a graph.

    Args:
        make_graph: builds the graph from argument name -> value; it raises ValueError for a wrong
            value, which launch reports.
        arguments: the arguments.

    """

    def start(context: LaunchContext) -> list[SetEnvironmentVariable | ExecuteProcess]:
        return _started(make_graph(_values(arguments, context)))

    return LaunchDescription([*_declared(arguments), OpaqueFunction(function=start)])


def describe_recording() -> LaunchDescription:
    """Return a description that records the graph with rosbag2 or with the recorder node."""

    def start(context: LaunchContext) -> list[SetEnvironmentVariable | ExecuteProcess]:
        values = _values(RECORD_ARGUMENTS, context)
        if records_with_rosbag2(values, get_packages_with_prefixes()):
            command = rosbag2_command(values, os.environ.get("ROS_DISTRO", ""))
            return [ExecuteProcess(cmd=command, output="screen")]
        if not values["output"]:
            raise ValueError("output is not set: give the directory of the bag")
        graph = record_graph(
            robot=values["robot"],
            output=str(Path(values["output"]).expanduser().absolute()),
            namespace=require_namespace(values["namespace"]),
            use_sim_time=values["use_sim_time"].lower() == "true",
            episodes=values["episodes"].lower() == "true",
            instruction=values["instruction"],
            compression=values["compression"],
        )
        return _started(graph)

    return LaunchDescription([*_declared(RECORD_ARGUMENTS), OpaqueFunction(function=start)])


def describe_replay() -> LaunchDescription:
    """Return a description that plays a bag to a policy and to an executor in shadow."""

    def start(context: LaunchContext) -> list[Action]:
        values = _values(REPLAY_ARGUMENTS, context)
        graph = replay_graph(values)
        isolated: list[Action] = []
        if values["domain"] == "isolated":
            environment = use_isolated_domain().environment
            isolated = [SetEnvironmentVariable(k, v) for k, v in environment.items()]
            shown = " ".join(f"{k}={v}" for k, v in environment.items())
            isolated.append(LogInfo(msg=f"replay with {shown}: export it to look at the topics"))
        nodes = _started(graph)
        if values["player"] == "player_node":
            return [*isolated, *nodes]
        play = ExecuteProcess(
            cmd=rosbag2_play_command(values), output="screen", on_exit=_stop_the_rest
        )
        return [*isolated, _when_policy_is_active(play), *nodes]

    return LaunchDescription([*_declared(REPLAY_ARGUMENTS), OpaqueFunction(function=start)])


def _when_policy_is_active(action: ExecuteProcess) -> RegisterEventHandler:
    waiting = [action]

    def on_output(event: ProcessIO) -> ExecuteProcess | None:
        active = b"[policy_node]: active" in event.text
        return waiting.pop() if waiting and active else None

    return RegisterEventHandler(OnProcessIO(on_stdout=on_output, on_stderr=on_output))


def _started(graph: Graph) -> list[SetEnvironmentVariable | ExecuteProcess]:
    environment = [SetEnvironmentVariable(k, v) for k, v in graph.environment.items()]
    return [*environment, *(_node(graph, process) for process in graph.processes)]


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
