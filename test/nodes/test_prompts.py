# SPDX-License-Identifier: Apache-2.0
"""The policy node: prompts of words and pictures, and policies whose actions are poses."""

from array import array

import numpy as np
import pytest
import yaml
from geometry_msgs.msg import PoseArray
from sensor_msgs.msg import Image
from support.policy_stage import SO101, Inbox, PolicyStage, active, stages
from support.table_robot import SPEC, TABLE, LinePlanner, PosesModel, table_robot

from groot_ros.bridge import qos
from groot_ros.bridge.messages import ns_to_time
from groot_ros.bridge.prompt_messages import pictures_from_msg, prompt_to_msg
from groot_ros.core.prompt import ALL_VIEWS, PromptImage
from groot_ros.msg import ExecutorState, MultimodalPrompt
from groot_ros.policy.pick_place import PickPlacePolicy
from groot_ros.srv import SetPrompt

pytestmark = pytest.mark.ros

CUP = np.full((6, 8, 3), 200, np.uint8)
PICTURES = {"0": {ALL_VIEWS: PromptImage(CUP)}}


@pytest.fixture
def stage(ros_domain):
    yield from stages()


@pytest.fixture
def robot_file(tmp_path):
    """Return the contract so101 with a table and labels."""
    contract = yaml.safe_load(SO101.read_text())
    for view, camera in contract["cameras"].items():
        camera["labels"] = {"topic": f"{view}/labels", "encoding": "mono8"}
    contract["table"] = {
        "x": list(TABLE.x),
        "y": list(TABLE.y),
        "tool": TABLE.tool,
        "tool_axis": TABLE.tool_axis,
        "approach": TABLE.approach,
        "pick_height": 0.02,
    }
    contract["model"] = str(SO101.parent / contract.get("model", "models/so101.xml"))
    path = tmp_path / "table.yaml"
    path.write_text(yaml.safe_dump(contract))
    return path


def label_image(value: int = 1) -> Image:
    data = array("B", bytes([value]) * 256)
    return Image(width=16, height=16, step=16, encoding="mono8", data=data)


def send(on: PolicyStage, text: str, pictures) -> SetPrompt.Response:
    request = SetPrompt.Request(prompt=prompt_to_msg(text, pictures))
    return on.call(SetPrompt, "policy_node/set_prompt", request)


class Poses:
    """A node with a pick-and-place policy, an observer of its poses, and a stand-in executor."""

    def __init__(self, stage, robot_file, **parameters) -> None:
        robot = table_robot()
        self.model, self.planner = PosesModel(), LinePlanner(robot.joint_names)
        policy = PickPlacePolicy(SPEC, self.model, self.planner, robot)
        self.on = stage(
            load=lambda *_, **__: policy,
            robot=robot_file,
            labels={"front": label_image(), "wrist": label_image()},
            rate_hz=20.0,
            **parameters,
        )
        self.poses = Inbox()
        self._node = self.on.robot.node
        self._node.create_subscription(PoseArray, "pick_place_poses", self.poses.put, qos.LATCHED)
        self._states = self._node.create_publisher(ExecutorState, "executor_state", qos.LATCHED)
        self.on.bring_up()

    def executor(self, **fields) -> None:
        msg = ExecutorState(speed_scaling=1.0, **fields)
        msg.header.stamp = ns_to_time(self._node.get_clock().now().nanoseconds)
        self._states.publish(msg)


def test_a_prompt_of_the_service_moves_the_robot_and_its_poses_are_published(
    stage, robot_file
) -> None:
    table = Poses(stage, robot_file)
    response = send(table.on, "put {0} there", PICTURES)
    assert (response.success, response.message) == (True, "put {0} there")
    chunk = table.on.chunks.wait()
    assert (chunk.instruction, chunk.instruction_id) == ("put {0} there", 1)
    assert [group.name for group in chunk.groups] == ["single_arm", "gripper"]
    assert (chunk.horizon, [s.name for s in chunk.stages]) == (
        SPEC.horizon,
        ["snapshot", "policy", "motion", "publish"],
    )
    assert {i.name for i in chunk.inputs} >= {"front", "wrist"}
    poses = table.poses.wait()
    assert poses.header.frame_id == "table"
    assert [round(p.position.x, 3) for p in poses.poses] == [0.16, 0.16]
    # The motion goes on: later chunks begin further along the path.
    table.on.chunks.wait(lambda m: m.groups[0].values[0] > 0.25)
    np.testing.assert_array_equal(table.model.sessions[-1].pictures["0"][""].image, CUP)


def test_a_prompt_that_was_published_before_the_node_is_configured_is_followed(
    stage, robot_file
) -> None:
    robot = table_robot()
    policy = PickPlacePolicy(SPEC, PosesModel(), LinePlanner(robot.joint_names), robot)
    labels = {"front": label_image(), "wrist": label_image()}
    on = stage(load=lambda *_, **__: policy, robot=robot_file, labels=labels)
    publisher = on.robot.node.create_publisher(MultimodalPrompt, "prompt", qos.LATCHED)
    publisher.publish(prompt_to_msg("put {0}", PICTURES))
    on.bring_up()
    assert on.chunks.wait().instruction == "put {0}"
    followed = on.instructions.wait(lambda m: m.text == "put {0}")
    assert followed.source == "topic"
    # The same prompt again is no new instruction; other pictures are.
    assert send(on, "put {0}", PICTURES).instruction_id == followed.instruction_id
    other = {"0": {ALL_VIEWS: PromptImage(CUP // 2)}}
    assert send(on, "put {0}", other).instruction_id == followed.instruction_id + 1


def test_the_prompt_that_is_followed_is_published_with_its_pictures_also_from_the_service(
    stage, robot_file
) -> None:
    table = Poses(stage, robot_file)
    followed = Inbox()
    table.on.robot.node.create_subscription(
        MultimodalPrompt, "active_prompt", followed.put, qos.LATCHED
    )
    assert send(table.on, "put {0} there", PICTURES).success
    prompt = followed.wait()
    assert (prompt.text, [image.placeholder for image in prompt.images]) == ("put {0} there", ["0"])
    np.testing.assert_array_equal(pictures_from_msg(prompt)["0"][ALL_VIEWS].image, CUP)
    # The stop replaces it, for those who subscribe later.
    assert send(table.on, "", {}).success
    assert followed.wait(lambda m: m.text == "").images == []


def test_a_policy_of_texts_refuses_pictures_in_one_line(stage) -> None:
    on = active(stage)
    response = send(on, "put {0}", PICTURES)
    assert not response.success
    assert response.message == (
        "model family 'scripted' takes texts only, but the prompt has pictures of {0}: give a text "
        "with groot-ros say"
    )
    assert on.rejected("bad_prompt").instruction == "pick the cube"
    assert send(on, "place it", {}).success
    assert on.chunks.wait(lambda m: m.instruction == "place it").instruction_id == 2


def test_a_prompt_that_cannot_be_resolved_is_refused_and_the_old_one_stays(
    stage, robot_file
) -> None:
    table = Poses(stage, robot_file)
    send(table.on, "put {0}", PICTURES)
    for text, pictures, problem in (
        ("put {1}", PICTURES, "placeholder {1} has no picture"),
        ("put it", PICTURES, "picture '0' is given, but the text has no placeholder {0}"),
        ("unknown {0}", PICTURES, "not in the vocabulary"),
        ("a" * 2001, {}, "at most 2000"),
    ):
        response = send(table.on, text, pictures)
        assert (response.success, response.instruction_id) == (False, 1)
        assert problem in response.message
    broken = prompt_to_msg("put {0}", PICTURES)
    broken.images[0].mask = label_image()
    response = table.on.call(SetPrompt, "policy_node/set_prompt", SetPrompt.Request(prompt=broken))
    assert "image '0': a mask must have the size of its image" in response.message
    # A text is a prompt without pictures.
    assert table.on.instruct("rotate it").success
    assert not table.on.instruct("rotate {0}").success


def test_an_empty_prompt_and_a_hold_end_the_motion(stage, robot_file) -> None:
    table = Poses(stage, robot_file)
    send(table.on, "put {0}", PICTURES)
    table.on.chunks.wait()
    table.executor(status=ExecutorState.HOLDING, hold=True, reason="hold of the operator")
    status = table.on.rejected("on_hold")
    assert status.action_rejection == "not finished: the executor stopped: hold of the operator"
    table.executor(status=ExecutorState.HOLDING)
    begun = len(table.on.chunks)
    table.on.chunks.wait(after=begun)
    assert table.model.sessions[-1].taken_back == 1
    assert send(table.on, "", {}).message == "stopped: the instruction is empty"
    table.on.instructions.wait(lambda m: m.text == "" and m.instruction_id == 2)


def test_an_action_out_of_reach_is_in_the_status_with_pose_and_reason(stage, robot_file) -> None:
    table = Poses(stage, robot_file)
    table.planner.unreachable = True
    send(table.on, "put {0}", PICTURES)
    status = table.on.rejected("unreachable_pose")
    assert "pick pose x 0.160, y -0.080, z 0.020 m" in status.action_rejection
    assert "joint_2 is at its limit" in status.action_rejection
    assert len(table.on.chunks) == 0


def test_without_labels_there_is_no_chunk_and_the_reason_is_counted(stage, robot_file) -> None:
    table = Poses(stage, robot_file)
    table.on.robot.labels["front"] = label_image(0)
    send(table.on, "put {0}", PICTURES)
    status = table.on.rejected("unusable_objects")
    assert {i.name for i in status.inputs} >= {"front", "front/labels", "joint_states"}
