# SPDX-License-Identifier: Apache-2.0
"""Foxglove layout of a robot contract: what to look at while the robot runs, and the operator's
services. Plain data in the form that Foxglove and Lichtblick import.

A layout refers to its panels by ids of the form `<type>!<suffix>`; each id occurs once in `layout`
and once in `configById`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from groot_ros.bringup.arguments import absolute_namespace
from groot_ros.core import COMMITTED_JOINT_STATES, PROPOSED_JOINT_STATES, ExecutorStatus
from groot_ros.robot import RobotContract

#: Node of the layout tree: the id of a panel, or a split.
Tree = str | dict[str, Any]

_DESCRIPTION = "robot_description"
_PLOT_SECONDS = 30
#: Stages of an inference, as PolicyStatus names them.
_STAGES = ("snapshot", "preprocess", "backbone", "head", "decode", "publish")
_STATUS_COLOURS = {
    ExecutorStatus.IDLE: "#7f8c8d",
    ExecutorStatus.RUNNING: "#27ae60",
    ExecutorStatus.BRAKING: "#e67e22",
    ExecutorStatus.HOLDING: "#c0392b",
    ExecutorStatus.ESTOPPED: "#8e44ad",
}
#: Label -> service, request, colour.
_SERVICES: Mapping[str, tuple[str, Mapping[str, Any], str]] = {
    "stop instruction": ("policy_node/set_instruction", {"instruction": ""}, "#c0392b"),
    "hold": ("executor_node/hold", {"data": True}, "#e67e22"),
    "release": ("executor_node/hold", {"data": False}, "#27ae60"),
    "emergency stop": ("executor_node/estop", {"data": True}, "#8e44ad"),
    "resume": ("executor_node/resume", {}, "#2980b9"),
    "reset": ("executor_node/reset", {}, "#7f8c8d"),
}


class _Layout:
    """Panels by id, and the names of topics and services in a namespace."""

    def __init__(self, namespace: str) -> None:
        self._root = absolute_namespace(namespace).rstrip("/")
        self.configs: dict[str, dict[str, Any]] = {}

    def name(self, relative: str) -> str:
        """Return the absolute name of a topic or service."""
        return relative if relative.startswith("/") else f"{self._root}/{relative}"

    def panel(self, kind: str, suffix: str, title: str, **config: Any) -> str:
        """Add a panel and return its id; `suffix` is unique among panels of its kind."""
        panel_id = f"{kind}!{suffix}"
        self.configs[panel_id] = {**config, "foxglovePanelTitle": title}
        return panel_id

    def plot(self, suffix: str, title: str, paths: Mapping[str, str]) -> str:
        """Add a plot of message paths over time; `paths` maps labels to them."""
        return self.panel(
            "Plot",
            suffix,
            title,
            paths=[
                {"value": path, "label": label, "enabled": True, "timestampMethod": "receiveTime"}
                for label, path in paths.items()
            ],
            showLegend=True,
            legendDisplay="floating",
            isSynced=True,
            xAxisVal="timestamp",
            followingViewWidth=_PLOT_SECONDS,
        )

    def tabs(self, suffix: str, tabs: Mapping[str, Tree]) -> str:
        """Add a panel with tabs."""
        return self.panel(
            "Tab",
            suffix,
            "",
            activeTabIdx=0,
            tabs=[{"title": title, "layout": tree} for title, tree in tabs.items()],
        )


def foxglove_layout(
    robot: RobotContract, namespace: str = "", frame: str = "base_link"
) -> dict[str, Any]:
    """Return the layout of a robot.

    Args:
        robot: cameras, joints and joint state sources that are shown.
        namespace: of policy and executor, empty or as in the launch argument.
        frame: link in the URDF that the 3D panel shows at its origin.

    """
    layout = _Layout(namespace)
    cameras = [
        layout.panel(
            "Image", view, f"camera {view}", imageMode={"imageTopic": layout.name(camera.topic)}
        )
        for view, camera in robot.cameras.items()
    ]
    operator = _split("column", [_status(layout), _operator(layout)], 0.25)
    views = [_split("column", cameras)] if cameras else []
    top = _split("row", [*views, _robot_view(layout, robot, frame), operator])
    bottom = layout.tabs(
        "details",
        {
            "Joints": _split("column", _joint_plots(layout, robot)),
            "Inference": _split("column", _inference_plots(layout)),
            "States": _states(layout),
            "Diagnostics": _diagnostics(layout),
            "Log": layout.panel(
                "RosOut", "log", "log", searchTerms=[], minLogLevel=2, topicToRender="/rosout"
            ),
        },
    )
    return {
        "configById": layout.configs,
        "globalVariables": {},
        "userNodes": {},
        "playbackConfig": {"speed": 1},
        "layout": _split("column", [top, bottom], 0.55),
    }


def _split(direction: str, parts: Sequence[Tree], share: float | None = None) -> Tree:
    """Return a tree that shows the parts next to each other; `share` is the size of the first."""
    if len(parts) == 1:
        return parts[0]
    first = 1.0 / len(parts) if share is None else share
    return {
        "direction": direction,
        "first": parts[0],
        "second": _split(direction, parts[1:]),
        "splitPercentage": round(100 * first, 1),
    }


def _robot_view(layout: _Layout, robot: RobotContract, frame: str) -> str:
    """Add the 3D panel: the measured robot, and two ghosts."""
    layers: dict[str, Any] = {
        "grid": {
            "layerId": "foxglove.Grid",
            "instanceId": "grid",
            "label": "Grid",
            "visible": True,
            "size": 2,
            "divisions": 20,
            "order": 1,
        }
    }
    # A layer follows one topic. A robot with several is drawn from TF, by robot_state_publisher.
    measured = robot.sources[0].topic if len(robot.sources) == 1 else ""
    shown = (
        ("measured", measured, "#ffffff", 1.0),
        ("committed", COMMITTED_JOINT_STATES, "#2980b9", 0.4),
        ("proposed", PROPOSED_JOINT_STATES, "#e67e22", 0.25),
    )
    for order, (label, topic, colour, opacity) in enumerate(shown, start=2):
        follows = {"controlMode": "jointStates", "jointStatesTopic": layout.name(topic)}
        layers[label] = {
            "layerId": "foxglove.Urdf",
            "instanceId": label,
            "label": label,
            "visible": True,
            "sourceType": "topic",
            "topic": layout.name(_DESCRIPTION),
            **(follows if topic else {"controlMode": "auto"}),
            "displayMode": "visual",
            "fallbackColor": colour,
            "opacity": opacity,
            "order": order,
        }
    return layout.panel(
        "3D",
        "robot",
        "robot: measured, committed (blue), proposed (orange)",
        followTf=frame,
        followMode="follow-none",
        topics={layout.name(_DESCRIPTION): {"visible": False}},
        layers=layers,
        cameraState={
            "perspective": True,
            "distance": 1.5,
            "phi": 60,
            "thetaOffset": 45,
            "targetOffset": [0, 0, 0],
            "target": [0, 0, 0],
            "targetOrientation": [0, 0, 0, 1],
            "fovy": 45,
            "near": 0.01,
            "far": 5000,
        },
        scene={"ignoreColladaUpAxis": True, "meshUpAxis": "z_up"},
    )


def _status(layout: _Layout) -> str:
    return layout.panel(
        "Indicator",
        "status",
        "executor",
        path=layout.name("executor_state.status"),
        style="background",
        fallbackColor="#7f8c8d",
        fallbackLabel="no executor",
        rules=[
            {"operator": "=", "rawValue": str(int(status)), "color": colour, "label": status.name}
            for status, colour in _STATUS_COLOURS.items()
        ],
    )


def _operator(layout: _Layout) -> Tree:
    """Add a button for each service of the operator, and a panel that gives an instruction."""
    instruct = layout.panel(
        "CallService",
        "instruct",
        "give an instruction",
        serviceName=layout.name("policy_node/set_instruction"),
        requestPayload=json.dumps({"instruction": "type what to do"}),
        buttonText="give instruction",
        layout="vertical",
        editingMode=True,
        timeoutSeconds=5,
    )
    buttons = [
        layout.panel(
            "CallService",
            label.replace(" ", "_"),
            label,
            serviceName=layout.name(service),
            requestPayload=json.dumps(request),
            buttonText=label,
            buttonColor=colour,
            layout="vertical",
            editingMode=False,
            timeoutSeconds=5,
        )
        for label, (service, request, colour) in _SERVICES.items()
    ]
    pairs = [_split("row", buttons[i : i + 2]) for i in range(0, len(buttons), 2)]
    return _split("column", [instruct, *pairs])


def _joint_plots(layout: _Layout, robot: RobotContract) -> list[Tree]:
    """Add a plot of measured, committed and proposed position for each commanded joint.

    Committed and proposed joints have the contract's order. Measured joints have the driver's,
    which is taken to be that of the contract's source.
    """
    measured = {
        joint: f"{layout.name(source.topic)}.position[{i}]"
        for source in robot.sources
        for i, joint in enumerate(source.joints)
    }
    commanded = [j for j in robot.joints if any(j in c.joints for c in robot.controllers)]
    moved = {joint for group in robot.action_groups.values() for joint in group.joints}
    proposed = [j for j in robot.joints if j in moved]
    plots = []
    for i, joint in enumerate(commanded):
        paths = {"measured": measured[joint]} if joint in measured else {}
        paths["committed"] = f"{layout.name(COMMITTED_JOINT_STATES)}.position[{i}]"
        if joint in moved:
            topic, at = layout.name(PROPOSED_JOINT_STATES), proposed.index(joint)
            paths["end of the chunk"] = f"{topic}.position[{at}]"
        plots.append(layout.plot(f"joint_{joint}", f"{joint} [{robot.joints[joint].unit}]", paths))
    return [_split("row", plots[i : i + 3]) for i in range(0, len(plots), 3)]


def _inference_plots(layout: _Layout) -> list[Tree]:
    status, state = layout.name("policy_status"), layout.name("executor_state")
    return [
        layout.plot(
            "latency",
            "p95 of each stage [s]",
            {stage: f'{status}.stages[:]{{name=="{stage}"}}.p95' for stage in _STAGES},
        ),
        layout.plot(
            "timing",
            "chunks [s]",
            {
                "chunk age": f"{state}.chunk_age",
                "time until braking": f"{state}.time_until_braking",
            },
        ),
    ]


def _states(layout: _Layout) -> str:
    paths = (
        "executor_state.status",
        "executor_state.reason_code",
        "policy_status.lifecycle",
        "active_instruction.text",
    )
    return layout.panel(
        "StateTransitions",
        "states",
        "states",
        paths=[{"value": layout.name(path), "timestampMethod": "receiveTime"} for path in paths],
        isSynced=True,
    )


def _diagnostics(layout: _Layout) -> str:
    return layout.panel(
        "DiagnosticSummary",
        "diagnostics",
        "diagnostics",
        minLevel=0,
        pinnedIds=[],
        topicToRender="/diagnostics",
        hardwareIdFilter="",
        sortByLevel=True,
    )
