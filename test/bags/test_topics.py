# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

from groot_ros.bags import graph_topics, input_types, optional_topics
from groot_ros.bridge.controllers.joint_trajectory_controller import state_topic
from groot_ros.robot import load_contract
from groot_ros.robot.controller import StateTopic, controller_type

SO101 = Path(__file__).parents[2] / "config" / "robots" / "so101.yaml"
ARM7 = SO101.with_name("arm7_suction_table.yaml")
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


def test_the_inputs_of_instructions_are_not_recorded():
    """A bag with them that is played would instruct the robot."""
    for robot in (SO101, ARM7):
        assert not {"instruction", "prompt"} & set(graph_topics(load_contract(robot)))


def test_labels_of_cameras_are_inputs_and_recorded_with_the_prompt_that_is_followed():
    contract = load_contract(ARM7)
    image = "sensor_msgs/msg/Image"
    labels = {"front/labels": image, "top/labels": image}
    assert labels.items() <= input_types(contract).items()
    assert {*labels, "active_prompt"} <= set(graph_topics(contract))
    # A policy that follows texts never publishes one.
    assert "active_prompt" in optional_topics(contract)
    assert "active_prompt" not in graph_topics(load_contract(SO101))


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
