# SPDX-License-Identifier: Apache-2.0
"""Each check of a running graph: facts with which it finds something, and others with which not."""

import math
from dataclasses import replace

import numpy as np
import pytest

from groot_ros.checks import Context, live_inputs, live_nodes, live_range, verdicts
from groot_ros.checks.live_range import likely_cause
from groot_ros.core.live_graph import (
    ImageForm,
    LiveController,
    LiveGraph,
    LiveInput,
    LiveNode,
    similar_topics,
    suggestion,
)
from groot_ros.core.share import robot_path
from groot_ros.families.family import GroupRange, PolicySpec
from groot_ros.robot import RobotContract, load_contract

IMAGE, JOINTS = "sensor_msgs/msg/Image", "sensor_msgs/msg/JointState"
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
SO101 = load_contract(robot_path("so101"))
FORM = ImageForm(640, 480, "rgb8", step=1920, data=range(921600))
#: State statistics in the units of the checkpoint, from -20 to 20 of each column.
RANGES = tuple(
    GroupRange(
        "state",
        group,
        "",
        "min/max",
        np.full(n, -20.0),
        np.full(n, 20.0),
        (np.full(n, -20.0), np.full(n, 20.0)),
    )
    for group, n in (("single_arm", 5), ("gripper", 1))
)
SPEC = PolicySpec(
    family="scripted",
    embodiment="arm",
    views=("front", "wrist"),
    image_history=(0,),
    state_history=(0,),
    state_groups={"single_arm": 5, "gripper": 1},
    action_groups={"single_arm": 5, "gripper": 1},
    action_space={"single_arm": "joint", "gripper": "joint"},
    horizon=16,
    ranges=RANGES,
)


def camera(view: str, **changes) -> LiveInput:
    plain = LiveInput(
        f"/{view}/image_raw",
        IMAGE,
        ("/driver",),
        (IMAGE,),
        received=90,
        rate=30.0,
        age=0.02,
        forms=(FORM,),
    )
    return replace(plain, **changes)


def joints(**changes) -> LiveInput:
    standing = {joint: (0.1, 0.12) for joint in SO101.joints}
    plain = LiveInput(
        "/joint_states",
        JOINTS,
        ("/driver",),
        (JOINTS,),
        received=300,
        rate=100.0,
        age=0.002,
        positions=standing,
    )
    return replace(plain, **changes)


def node(name: str, **changes) -> LiveNode:
    parameters = {"robot": "/arm.yaml", "use_sim_time": False}
    return replace(LiveNode(f"/{name}", 1, "active", parameters), **changes)


NODES = {name: node(name) for name in ("policy_node", "executor_node")}
CONTROLLERS = {
    c.name: LiveController(f"/{c.topic}", TRAJECTORY, 1, (TRAJECTORY,)) for c in SO101.controllers
}
ARM = SO101.controllers[0].name
HEALTHY = LiveGraph(
    "/",
    3.0,
    nodes=NODES,
    cameras={view: camera(view) for view in ("front", "wrist")},
    sources={SO101.sources[0].name: joints()},
    controllers=CONTROLLERS,
)


def wrist(**changes) -> dict:
    return {"cameras": {"front": camera("front"), "wrist": camera("wrist", **changes)}}


def state(**changes) -> dict:
    return {"sources": {SO101.sources[0].name: joints(**changes)}}


def standing(joint: str, low: float, high: float | None = None) -> dict:
    return state(positions={**joints().positions, joint: (low, low if high is None else high)})


def policy(**changes) -> dict:
    return {"nodes": {**NODES, "policy_node": node("policy_node", **changes)}}


def controller(**changes) -> dict:
    return {"controllers": {**CONTROLLERS, ARM: replace(CONTROLLERS[ARM], **changes)}}


def verdict(name: str, graph: LiveGraph, robot: RobotContract = SO101, **facts):
    context = Context(SPEC, robot, "/arm.yaml", graph=graph, **facts)
    (found,) = [v for v in verdicts(context) if v.check.name == name]
    return found


FAULTS = [
    (
        "nodes_running",
        {"nodes": {}, "elsewhere": ("/left/policy_node",)},
        "has no nodes, but there are /left/policy_node",
    ),
    ("nodes_running", {"nodes": {"policy_node": node("policy_node")}}, "executor_node does not"),
    ("nodes_running", policy(count=2), "policy_node runs 2 times"),
    ("node_states", policy(state="unconfigured"), "/policy_node is unconfigured"),
    ("node_states", policy(state=""), "/policy_node does not answer"),
    (
        "same_robot",
        policy(parameters={"robot": "/other.yaml"}),
        "differs: /policy_node has /other.yaml, /executor_node has /arm.yaml",
    ),
    (
        "sim_time",
        policy(parameters={"use_sim_time": True}),
        "use_sim_time is true in /policy_node, false in /executor_node",
    ),
    (
        "sim_time",
        {"nodes": {n: node(n, parameters={"use_sim_time": True}) for n in NODES}},
        "/clock has no publisher",
    ),
    ("latched_stop", {"latched_stop": "emergency stop"}, "/executor_node holds: emergency stop"),
    (
        "controller_receivers",
        controller(receivers=0, types=(), similar=("/right/joint_trajectory",)),
        "has no subscriber, did you mean /right/joint_trajectory (trajectory_msgs/JointTraj",
    ),
    (
        "controller_receivers",
        controller(receivers=0, types=(), message=""),
        "has no action server",
    ),
    (
        "controller_receivers",
        controller(types=("std_msgs/msg/Float64MultiArray",)),
        "has subscribers of std_msgs/msg/Float64MultiArray",
    ),
    (
        "input_publishers",
        wrist(publishers=(), types=(), received=0, similar=("/camera/wrist/image_raw",)),
        "cameras.wrist (/wrist/image_raw) has no publisher, did you mean /camera/wrist/image_raw "
        "(sensor_msgs/Image)?",
    ),
    (
        "input_types",
        wrist(types=("sensor_msgs/msg/CompressedImage",)),
        "has publishers of sensor_msgs/msg/CompressedImage, expected sensor_msgs/msg/Image",
    ),
    ("input_silent", wrist(received=0), "sent no message in 3.0 s, although /driver publishes"),
    ("competing_publishers", wrist(publishers=("/a", "/b")), "has 2 publishers (/a and /b)"),
    (
        "competing_publishers",
        state(publishers=("/a", "/b"), conflict="alternate"),
        "their messages alternate, the nodes reject them",
    ),
    ("input_rate", wrist(rate=23.0), "has 23.0 Hz, the robot contract states 30 Hz"),
    ("input_rate", wrist(rate=60.0), "has 60.0 Hz, the robot contract states 30 Hz"),
    ("input_rate", state(rate=50.0), "has 50.0 Hz, the robot contract states 100 Hz"),
    (
        "image_encoding",
        wrist(forms=(replace(FORM, encoding="bgr8"),)),
        "sends bgr8, the robot contract says rgb8",
    ),
    ("image_encoding", wrist(forms=(replace(FORM, data=range(100)),)), "100 bytes for 480 rows"),
    ("image_size", wrist(forms=(FORM, replace(FORM, width=320))), "changes its size: 320 x 480, "),
    ("image_size", wrist(forms=(replace(FORM, width=8, height=8),)), "at least 16 x 16"),
    ("input_stamps", wrist(unstamped=True), "has messages without a stamp"),
    ("input_stamps", wrist(age=-0.2), "is stamped 0.200 s ahead"),
    ("input_stamps", wrist(age=0.4), "0.400 s old on arrival, max_image_age is 0.3 s"),
    ("input_stamps", state(age=0.6), "joint_state_timeout is 0.5 s"),
    ("input_stamps", state(age=1e9), "is use_sim_time the same in all nodes?"),
    (
        "joint_names",
        state(positions={f"arm_{joint}": (0.0, 0.0) for joint in SO101.joints}),
        "does not have shoulder_pan, shoulder_lift, elbow_flex, wrist_flex, wrist_roll, gripper; "
        "it has arm_elbow_flex",
    ),
    ("live_limits", standing("elbow_flex", 40.0), "seem to be in degrees"),
    ("live_limits", standing("shoulder_pan", 2.5), "stands at 2.500 rad, outside its limits"),
    ("live_range", standing("elbow_flex", 15.0, 15.5), "seem to be in degrees"),
    ("live_range", standing("elbow_flex", 0.1 + math.pi / 2), "differ by 90 degrees"),
    ("live_range", standing("elbow_flex", 0.75), "was trained from -0.349 to 0.349"),
]
CHECKS = (*live_nodes.CHECKS, *live_inputs.CHECKS, *live_range.CHECKS)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_healthy_graph_passes_and_each_check_has_a_fault(check) -> None:
    found = verdict(check.name, HEALTHY)
    assert (found.findings, found.skipped) == ((), "")
    assert check.name in {name for name, _, _ in FAULTS}


@pytest.mark.parametrize(("name", "changes", "text"), FAULTS)
def test_a_fault_of_the_graph_is_found_with_a_remedy(name, changes, text) -> None:
    found = verdict(name, replace(HEALTHY, **changes))
    assert len(found.findings) == 1
    assert text in found.findings[0].text
    assert len(found.findings[0].remedy) > 5


def test_what_was_not_received_is_skipped_where_something_else_names_the_cause() -> None:
    nothing = {"publishers": (), "types": (), "received": 0, "rate": 0.0, "forms": ()}
    silent = {view: camera(view, **nothing) for view in ("front", "wrist")}
    source = {SO101.sources[0].name: joints(**{**nothing, "positions": {}})}
    graph = LiveGraph("/", 3.0, cameras=silent, sources=source)
    skipped = {
        v.check.name: v.skipped
        for v in verdicts(Context(SPEC, SO101, graph=graph))
        if v.skipped and v.check in CHECKS
    }
    assert len(verdict("input_publishers", graph).findings) == 3
    assert skipped["input_silent"] == "no input has a publisher"
    assert skipped["node_states"] == "neither policy_node nor executor_node runs in /"
    for name in ("input_rate", "image_encoding", "image_size", "input_stamps", "joint_names"):
        assert skipped[name] == "no message was received"
    assert skipped["live_limits"] == "no joint state was received"


def test_cameras_that_the_checkpoint_does_not_use_are_not_examined() -> None:
    broken = replace(HEALTHY, **wrist(publishers=(), types=(), received=0))
    context = Context(replace(SPEC, views=("front",)), SO101, graph=broken)
    (found,) = [v for v in verdicts(context) if v.check.name == "input_publishers"]
    assert found.findings == ()


def test_two_drivers_of_different_joints_on_one_topic_are_accepted() -> None:
    shared = replace(HEALTHY, **state(publishers=("/left", "/right")))
    assert verdict("competing_publishers", shared).findings == ()


def test_a_camera_dated_by_arrival_needs_no_stamp() -> None:
    arrival = replace(SO101.cameras["wrist"], stamp="arrival")
    robot = replace(SO101, cameras={**SO101.cameras, "wrist": arrival})
    assert verdict("input_stamps", replace(HEALTHY, **wrist(unstamped=True)), robot).findings == ()


@pytest.mark.parametrize(
    ("data", "encoding", "text"),
    [
        (b"\xff\xd8\xff\xe0", "jpeg", ""),
        (b"\x89PNG\r\n\x1a\n", "jpeg", "sends png, the robot contract says jpeg"),
        (b"\0" * 32, "png", "is neither jpeg nor png"),
    ],
)
def test_a_compressed_image_is_recognised_by_its_first_bytes(data, encoding, text) -> None:
    wanted = replace(SO101.cameras["wrist"], encoding=encoding)
    robot = replace(SO101, cameras={**SO101.cameras, "wrist": wanted})
    graph = replace(HEALTHY, **wrist(forms=(ImageForm(format="x", data=data),)))
    found = verdict("image_encoding", graph, robot).findings
    assert text in "".join(each.text for each in found)
    assert len(found) == bool(text)


@pytest.mark.parametrize(
    ("live", "trained", "angle", "cause"),
    [
        ((57.0, 60.0), (0.5, 1.5), True, "the joint states seem to be in degrees"),
        ((-1.0, -0.9), (0.5, 1.5), True, "the sign seems to be inverted"),
        (
            (1.0 + math.pi, 4.2),
            (0.5, 1.5),
            True,
            "the zero position seems to differ by 180 degrees",
        ),
        ((40.0, 41.0), (0.0, 0.08), False, "the joint states seem to be in mm"),
        ((3.0, 3.1), (-0.1, 0.1), True, "the zero position seems to differ by 180 degrees"),
        ((2.4, 2.4), (-0.1, 0.1), True, ""),
    ],
)
def test_unit_sign_and_zero_are_told_apart(live, trained, angle, cause) -> None:
    assert likely_cause(live, trained, angle=angle) == cause


def test_topics_of_the_same_type_are_suggested_by_their_common_parts() -> None:
    published = {
        "/image": (IMAGE,),
        "/camera/wrist/image_raw": (IMAGE,),
        "/wrist/compressed": ("sensor_msgs/msg/CompressedImage",),
        "/wrist/image_raw": (IMAGE,),
    }
    found = similar_topics("/wrist/image_raw", published, IMAGE)
    assert found == ("/camera/wrist/image_raw", "/image")
    assert suggestion(found[:1], IMAGE) == (
        ", did you mean /camera/wrist/image_raw (sensor_msgs/Image)?"
    )
    assert suggestion((), IMAGE) == ""
