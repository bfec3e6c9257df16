"""A bringup graph as a launch description: the only place that knows the launch library."""

from collections.abc import Callable, Mapping

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from groot_ros.bringup import ARGUMENTS, Graph, NodeProcess


def describe(make_graph: Callable[[Mapping[str, str]], Graph]) -> LaunchDescription:
    """Every argument of bringup, and the nodes that `make_graph` says for their values."""

    def start(context: LaunchContext) -> list[SetEnvironmentVariable | Node]:
        values = {a.name: LaunchConfiguration(a.name).perform(context) for a in ARGUMENTS}
        graph = make_graph(values)
        environment = [SetEnvironmentVariable(k, v) for k, v in graph.environment.items()]
        return [*environment, *(_node(graph, process) for process in graph.processes)]

    declared = [
        DeclareLaunchArgument(
            a.name,
            default_value=a.default,
            description=a.description,
            **({"choices": list(a.choices)} if a.choices else {}),
        )
        for a in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


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
    # A graph without one of its nodes is not a robot under control.
    return None if context.is_shutdown else Shutdown(reason=f"{event.process_name} ended")
