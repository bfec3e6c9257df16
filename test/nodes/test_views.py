# SPDX-License-Identifier: Apache-2.0
"""Views show only what exists in the running graph: topics, services, paths, status names.

The files are the Foxglove layout, config/groot_ros.rviz and config/diagnostics.yaml.
"""

import importlib
import json
import os
import re
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from support.robot_checkpoint import write_robot_checkpoint
from support.robot_world import FOLDER, World

from groot_ros.bridge import qos
from groot_ros.bridge.isolated_domain import IsolatedDomain
from groot_ros.bringup.foxglove_layout import foxglove_layout
from groot_ros.core.share import share_directory
from groot_ros.msg import ActionChunk, PolicyStatus
from groot_ros.robot import load_contract

pytestmark = [pytest.mark.ros, pytest.mark.slow]

CONTRACT = load_contract(FOLDER / "so101.yaml")
CONFIG = share_directory() / "config"
WATCHED = {
    "committed_joint_states": (JointState, qos.JOINT_STATES),
    "proposed_joint_states": (JointState, qos.JOINT_STATES),
    "action_chunk": (ActionChunk, qos.CHUNKS),
    "robot_description": (String, qos.LATCHED),
    "policy_status": (PolicyStatus, qos.LATCHED),
    "/diagnostics": (DiagnosticArray, qos.DRIVER),
}
STATUS_NAMES = {
    "policy_node: inference",
    "executor_node: motion",
    "executor_node: timing",
    "sim_robot_node: arm_controller",
    "sim_robot_node: gripper_controller",
}


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """Run simulator, policy and executor; return names and types, and received messages."""
    checkpoint = write_robot_checkpoint(CONTRACT, tmp_path_factory.mktemp("checkpoint"))
    with pytest.MonkeyPatch.context() as patch, IsolatedDomain(os.getpid()) as domain:
        patch.setenv("ROS_DOMAIN_ID", str(domain.number))
        world = World("so101", checkpoint)
        try:
            world.start()
            yield watch(world)
        finally:
            world.end()


def watch(world):
    """Receive messages until every topic has some, and the nodes have reported all they can."""
    node = rclpy.create_node("watcher", use_global_arguments=False)
    received = {topic: [] for topic in WATCHED}
    for topic, (kind, profile) in WATCHED.items():
        node.create_subscription(kind, topic, received[topic].append, profile)
    spinner = SingleThreadedExecutor()
    spinner.add_node(node)

    def names():
        return {status.name for msg in received["/diagnostics"] for status in msg.status}

    def reported():
        stages = any(msg.stages for msg in received["policy_status"])
        return stages and names() >= STATUS_NAMES and all(received.values())

    deadline = node.get_clock().now().nanoseconds + 60 * 10**9
    while not reported():
        assert node.get_clock().now().nanoseconds < deadline, (names(), received.keys())
        spinner.spin_once(timeout_sec=0.1)
    found = SimpleNamespace(
        topics=dict(node.get_topic_names_and_types()),
        services=dict(node.get_service_names_and_types()),
        received=received,
        status_names=names(),
        limits=CONTRACT.joints,
        executor=world.executor,
    )
    spinner.shutdown()
    node.destroy_node()
    return found


def interface(name):
    """Return the class of a type such as sensor_msgs/msg/Image or sensor_msgs/Image."""
    package, *_, short = name.split("/")
    module = "srv" if "/srv/" in name else "msg"
    return getattr(importlib.import_module(f"{package}.{module}"), short)


def type_at(path, topics):
    """Return the type at the end of a message path, with all arrays indexed."""
    topic, _, fields = path.partition(".")
    assert topic in topics, f"{path}: there is no topic {topic}"
    (kind,) = topics[topic]
    for field in fields.split("."):
        name, index = re.fullmatch(r'(\w+)((?:\[(?:\d+|:)\])?(?:\{\w+=="\w+"\})?)', field).groups()
        known = interface(kind).get_fields_and_field_types()
        assert name in known, f"{path}: {kind} has no field {name}"
        kind = known[name]
        element = re.fullmatch(r"sequence<(.+)>|(.+)\[\d+\]", kind)
        assert bool(element) == index.startswith("["), f"{path}: {name} is {kind}"
        kind = next(filter(None, element.groups())) if element else kind
        if filtered := re.search(r'\{(\w+)=="', index):
            assert filtered[1] in interface(kind).get_fields_and_field_types(), path
    return kind


def values_of(tree, *keys):
    """Yield the values of some keys anywhere in nested mappings and lists."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key in keys:
                yield value
            yield from values_of(value, *keys)
    elif isinstance(tree, list):
        for value in tree:
            yield from values_of(value, *keys)


def test_every_topic_of_the_foxglove_layout_is_in_the_graph(graph):
    panels = foxglove_layout(CONTRACT)["configById"]
    topics = set(values_of(panels, "imageTopic", "jointStatesTopic", "topic", "topicToRender"))
    assert {"/front/image_raw", "/robot_description", "/diagnostics", "/rosout"} <= topics
    assert topics <= set(graph.topics)


def test_every_message_path_of_the_foxglove_layout_ends_in_a_value(graph):
    panels = foxglove_layout(CONTRACT)["configById"]
    lists = [config["paths"] for config in panels.values() if "paths" in config]
    paths = [path["value"] for each in lists for path in each]
    paths.append(panels["Indicator!status"]["path"])
    assert len(paths) == 3 * 6 + 6 + 2 + 4 + 1
    numbers = ("double", "float", "uint8")
    kinds = {path: type_at(path, graph.topics) for path in paths}
    texts = {path for path, kind in kinds.items() if kind == "string"}
    assert texts == {"/executor_state.reason_code", "/active_instruction.text"}
    assert {kind for kind in kinds.values() if kind != "string"} <= set(numbers)


def test_the_plotted_stages_are_those_that_the_policy_reports(graph):
    panels = foxglove_layout(CONTRACT)["configById"]
    paths = [path["value"] for path in panels["Plot!latency"]["paths"]]
    plotted = [re.search(r'name=="(\w+)"', path)[1] for path in paths]
    reported = [msg for msg in graph.received["policy_status"] if msg.stages]
    assert plotted == [stage.name for stage in reported[-1].stages]


def test_every_service_of_the_foxglove_layout_is_offered_and_takes_its_request(graph):
    panels = foxglove_layout(CONTRACT)["configById"]
    calls = [config for panel, config in panels.items() if panel.startswith("CallService!")]
    assert len(calls) == 7
    for call in calls:
        (kind,) = graph.services[call["serviceName"]]
        request = interface(kind).Request()
        for field, value in json.loads(call["requestPayload"]).items():
            assert type(getattr(request, field)) is type(value), call["serviceName"]


def test_the_ghosts_show_the_committed_and_the_proposed_positions(graph):
    for topic, names in (
        ("committed_joint_states", graph.executor.control.joint_names),
        ("proposed_joint_states", CONTRACT.joint_names),
    ):
        for msg in graph.received[topic]:
            assert tuple(msg.name) == names
            for name, position in zip(names, msg.position, strict=True):
                limits = CONTRACT.joints[name].limits
                if topic == "committed_joint_states":
                    assert limits.lower - 1e-6 <= position <= limits.upper + 1e-6, name
    ends = []
    for chunk in graph.received["action_chunk"]:
        last = [np.reshape(g.values, (chunk.horizon, -1))[-1] for g in chunk.groups]
        ends.append(np.concatenate(last))
    first = np.array(graph.received["proposed_joint_states"][0].position)
    assert min(np.abs(end - first).max() for end in ends) < 1e-9


def test_the_description_names_the_joints_of_the_joint_states(graph):
    root = ElementTree.fromstring(graph.received["robot_description"][0].data)
    moving = {j.get("name") for j in root.iter("joint") if j.get("type") != "fixed"}
    assert moving == set(CONTRACT.joint_names)
    layout = foxglove_layout(CONTRACT)["configById"]["3D!robot"]
    children = {j.find("child").get("link") for j in root.iter("joint")}
    links = {link.get("name") for link in root.iter("link")}
    assert links - children == {layout["followTf"]}


def test_every_topic_of_the_rviz_configuration_is_in_the_graph(graph):
    displays = yaml.safe_load((CONFIG / "groot_ros.rviz").read_text(encoding="utf-8"))[
        "Visualization Manager"
    ]["Displays"]
    images = [d["Topic"]["Value"] for d in displays if "Topic" in d]
    models = [d for d in displays if "Description Topic" in d]
    assert images == ["/front/image_raw", "/wrist/image_raw"]
    assert [graph.topics[t] for t in images] == [["sensor_msgs/msg/Image"]] * 2
    assert [m["TF Prefix"] for m in models] == ["", "committed", "proposed"]
    for model in models:
        assert graph.topics[model["Description Topic"]["Value"]] == ["std_msgs/msg/String"]
        assert f"{model['TF Prefix'] or 'measured'}" == model["Name"]


def test_every_status_is_in_one_group_of_the_aggregator_and_none_is_awaited_in_vain(graph):
    parameters = yaml.safe_load((CONFIG / "diagnostics.yaml").read_text(encoding="utf-8"))["/**"]
    groups = [g for g in parameters["ros__parameters"].values() if isinstance(g, dict)]
    for name in graph.status_names:
        matching = [g for g in groups if name.startswith(tuple(g["find_and_remove_prefix"]))]
        assert len(matching) == 1, name
    expected = {name for group in groups for name in group.get("expected", ())}
    assert expected == {n for n in graph.status_names if not n.startswith("sim_robot_node")}
    # A node reports once a second: a group must outlast two reports that are lost.
    assert {group["timeout"] for group in groups} == {3.0}
