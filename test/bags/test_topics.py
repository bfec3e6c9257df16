# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

from groot_ros.bags import graph_topics
from groot_ros.bridge.controllers.joint_trajectory_controller import state_topic
from groot_ros.robot import load_contract
from groot_ros.robot.controller import StateTopic, controller_type

SO101 = Path(__file__).parents[2] / "config" / "robots" / "so101.yaml"
SO101_VERSION_1 = Path(__file__).parents[1] / "data" / "so101_version_1.yaml"


def test_the_so101_graph_has_every_topic_of_the_contract_and_of_the_nodes():
    topics = graph_topics(load_contract(SO101))
    # Controllers report their states where control_msgs is installed.
    assert tuple(topic for topic in topics if not topic.endswith("/controller_state")) == (
        "front/image_raw",
        "wrist/image_raw",
        "joint_states",
        "active_instruction",
        "action_chunk",
        "policy_status",
        "committed_timeline",
        "executor_state",
        "arm_controller/joint_trajectory",
        "gripper_controller/joint_trajectory",
        "/diagnostics",
    )


def test_the_input_of_instructions_is_not_recorded():
    """A bag with it that is played would instruct the robot."""
    assert "instruction" not in graph_topics(load_contract(SO101))


def test_the_states_of_the_controllers_are_recorded_where_their_type_is_installed(monkeypatch):
    name = "arm_controller/controller_state"
    without = graph_topics(load_contract(SO101))
    kind = controller_type("joint_trajectory_controller")
    state = StateTopic(object, state_topic, lambda _: {})
    monkeypatch.setattr(type(kind), "state", lambda _: state)
    assert name in graph_topics(load_contract(SO101))
    monkeypatch.setattr(type(kind), "state", lambda _: None)
    found = graph_topics(load_contract(SO101))
    assert name not in found
    assert set(found) <= set(without)


def test_the_clock_is_recorded_only_with_sim_time():
    contract = load_contract(SO101)
    assert "/clock" not in graph_topics(contract)
    assert graph_topics(contract, use_sim_time=True)[-1] == "/clock"


def test_a_topic_that_two_joint_state_sources_share_is_named_once(tmp_path):
    text = SO101_VERSION_1.read_text().replace(
        "  - {topic: joint_states, rate: 100.0}",
        "  - {topic: js, joints: [shoulder_pan, shoulder_lift, elbow_flex]}\n"
        "  - {topic: js, joints: [wrist_flex, wrist_roll, gripper]}",
    )
    path = tmp_path / "robot.yaml"
    path.write_text(text)
    assert graph_topics(load_contract(path)).count("js") == 1
