# SPDX-License-Identifier: Apache-2.0
"""Checks of the running nodes and of the controllers that they command."""

from collections.abc import Iterator

from groot_ros.checks.check import Check, NotApplicable, Problem, Severity
from groot_ros.core.live_graph import LiveGraph, suggestion
from groot_ros.robot import RobotContract

#: The nodes that are examined.
NODES = ("policy_node", "executor_node")


def _require_nodes(graph: LiveGraph) -> None:
    if not graph.nodes:
        raise NotApplicable(f"neither {' nor '.join(NODES)} runs in {graph.namespace}")


def _running(graph: LiveGraph) -> Iterator[Problem]:
    if not graph.nodes and graph.elsewhere:
        yield Problem(
            f"namespace {graph.namespace}",
            f"has no nodes, but there are {', '.join(graph.elsewhere)}",
            f"give --namespace {graph.elsewhere[0].rpartition('/')[0]}",
        )
        return
    _require_nodes(graph)
    for name in NODES:
        if name not in graph.nodes:
            yield Problem(name, f"does not run in {graph.namespace}")
        elif graph.nodes[name].count > 1:
            yield Problem(name, f"runs {graph.nodes[name].count} times", "stop all but one of them")


def _states(graph: LiveGraph) -> Iterator[Problem]:
    _require_nodes(graph)
    for node in graph.nodes.values():
        if not node.state:
            yield Problem(node.name, "does not answer", "see its log; restart it if it has crashed")
        elif node.state != "active":
            needed = "configure" if node.state == "unconfigured" else "activate"
            yield Problem(
                node.name,
                f"is {node.state}",
                f"ros2 lifecycle set {node.name} {needed}; its log says why that fails",
            )


def _same_robot(graph: LiveGraph) -> Iterator[Problem]:
    files = {
        node.name: str(node.parameters["robot"])
        for node in graph.nodes.values()
        if node.parameters.get("robot")
    }
    if len(files) < len(NODES):
        raise NotApplicable("the parameter robot of both nodes is not known")
    if len(set(files.values())) > 1:
        shown = ", ".join(f"{name} has {file}" for name, file in files.items())
        yield Problem("parameter robot", f"differs: {shown}")


def _sim_time(graph: LiveGraph) -> Iterator[Problem]:
    _require_nodes(graph)
    uses = {
        node.name: bool(node.parameters["use_sim_time"])
        for node in graph.nodes.values()
        if "use_sim_time" in node.parameters
    }
    if len(set(uses.values())) > 1:
        shown = ", ".join(f"{str(value).lower()} in {name}" for name, value in uses.items())
        yield Problem("use_sim_time", f"is {shown}")
    elif any(uses.values()) and not graph.clock_publishers:
        yield Problem("/clock", "has no publisher, but the nodes use sim time")


def _latched_stop(graph: LiveGraph) -> Iterator[Problem]:
    if "executor_node" not in graph.nodes:
        raise NotApplicable("executor_node does not run")
    if graph.latched_stop:
        yield Problem(graph.nodes["executor_node"].name, f"holds: {graph.latched_stop}")


def _controllers(robot: RobotContract, graph: LiveGraph) -> Iterator[Problem]:
    for controller in robot.controllers:
        live = graph.controllers.get(controller.name)
        if live is None:
            continue
        where = f"controllers.{controller.name} ({live.topic})"
        wrong = sorted(set(live.types) - {live.message})
        if live.message and wrong:
            yield Problem(
                where,
                f"has subscribers of {', '.join(wrong)}, the contract's type "
                f"{controller.type} sends {live.message}",
                "correct 'type' of the controller in the robot contract",
            )
        elif not live.receivers:
            missing = "subscriber" if live.message else "action server"
            yield Problem(where, f"has no {missing}{suggestion(live.similar, live.message)}")


CHECKS = (
    Check(
        "nodes_running",
        Severity.WARNING,
        "graph",
        "the nodes of the graph with policy_node and executor_node",
        "ros2 launch groot_ros policy.launch.py, or groot-ros up",
        ("graph",),
        _running,
    ),
    Check(
        "node_states",
        Severity.WARNING,
        "graph",
        "the lifecycle states of the nodes with active",
        "activate the node",
        ("graph",),
        _states,
    ),
    Check(
        "same_robot",
        Severity.ERROR,
        "graph",
        "the robot contract of the policy with that of the executor",
        "start both with the same 'robot'",
        ("graph",),
        _same_robot,
    ),
    Check(
        "sim_time",
        Severity.ERROR,
        "graph",
        "use_sim_time of both nodes with each other and with /clock",
        "set use_sim_time to the same value everywhere, true only with a simulator that publishes "
        "/clock",
        ("graph",),
        _sim_time,
    ),
    Check(
        "latched_stop",
        Severity.WARNING,
        "graph",
        "the state of the executor with stops that last",
        "remove the cause, then call ~/resume of the executor (docs/reference/faults.md)",
        ("graph",),
        _latched_stop,
    ),
    Check(
        "controller_receivers",
        Severity.ERROR,
        "graph",
        "the controllers of the contract with subscribers and action servers",
        "start and activate the controller, or correct 'topic' (or 'action') in the robot contract",
        ("robot", "graph"),
        _controllers,
    ),
)
