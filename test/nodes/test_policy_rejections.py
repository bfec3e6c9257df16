# SPDX-License-Identifier: Apache-2.0
"""The policy node: bad inputs, failed inferences and internal errors."""

from array import array

import pytest
from sensor_msgs.msg import Image
from support.policy_stage import (
    MS,
    ScriptedPolicy,
    active,
    rgb_image,
    stages,
)

from groot_ros.observation.buffer import ObservationBuffer

pytestmark = pytest.mark.ros


def counts(status):
    return {r.code: r.count for r in status.rejections}


@pytest.fixture
def stage(ros_domain):
    yield from stages()


def spoil_missing(robot):
    robot.silent.add("wrist")


def spoil_stale(robot):
    robot.offset_ns["front"] = robot.offset_ns["wrist"] = -20_000 * MS


def spoil_skewed(robot):
    robot.offset_ns["wrist"] = -5000 * MS


def spoil_future(robot):
    robot.offset_ns["front"] = 2000 * MS


def spoil_joint(robot):
    del robot.joints["elbow_flex"]


def spoil_joint_state(robot):
    robot.silent.add("joints")


def spoil_joint_age(robot):
    robot.offset_ns["joints"] = -1000 * MS


def spoil_joint_value(robot):
    robot.joints["gripper"] = float("nan")


def spoil_image(robot):
    robot.image["front"].step = 7


def spoil_size(robot):
    robot.image["front"] = Image(
        width=1, height=1, step=3, encoding="rgb8", data=array("B", [1, 2, 3])
    )


def spoil_unstamped(robot):
    robot.image["front"] = rgb_image(1)
    robot.offset_ns["front"] = -robot.node.get_clock().now().nanoseconds


@pytest.mark.parametrize(
    ("spoil", "reason", "logged"),
    [
        (spoil_missing, "missing_image", "nothing received from camera 'wrist'"),
        (spoil_stale, "stale_image", "s old (max_image_age 10 s)"),
        (spoil_skewed, "skewed_images", "camera 'wrist' is 5.0"),
        (spoil_future, "future_stamp", "camera 'front' is stamped"),
        (spoil_joint, "missing_joint", "'joint_states' does not name joint 'elbow_flex'"),
        (spoil_joint_state, "missing_joint_state", "nothing received on 'joint_states'"),
        (spoil_joint_age, "stale_joint_state", "s older than the images"),
        (spoil_joint_value, "non_finite", "joint_states: gripper is nan"),
        (spoil_size, "image_too_small", "camera 'front' sends 1 x 1 pixels"),
        (spoil_image, "step_too_small", "camera 'front': step is 7 bytes"),
    ],
)
def test_a_bad_input_is_rejected_logged_once_and_causes_no_chunk(stage, spoil, reason, logged):
    policy = ScriptedPolicy()
    on = stage(policy, instruction="go", max_image_age=10.0)
    spoil(on.robot)
    on.bring_up()
    status = on.rejected(reason)
    assert counts(status)[reason] >= 1
    log = on.logs.wait(lambda m: m.msg.startswith(f"{reason}: "))
    assert logged in log.msg
    # At least five more ticks without a chunk.
    later = on.statuses.wait(
        lambda s: sum(counts(s).values()) > sum(counts(status).values()) + 5, after=len(on.statuses)
    )
    assert reason in counts(later)
    assert not policy.observations
    assert not len(on.chunks)
    logged_again = [m for m in on.logs.all() if m.msg.startswith(f"{reason}: ")]
    assert len(logged_again) == 1


def test_once_the_input_is_valid_chunks_are_published(stage):
    on = stage(instruction="go")
    on.robot.silent.add("wrist")
    on.bring_up()
    on.rejected("missing_image")
    on.robot.silent.clear()
    assert on.chunks.wait().id == 1


def test_a_failed_inference_is_counted_and_the_next_one_is_tried(stage):
    def script(policy, _observation):
        if len(policy.observations) <= 3:
            raise RuntimeError("the model's output is not finite")

    on = active(stage, ScriptedPolicy(script=script))
    assert on.chunks.wait().id == 1
    status = on.rejected("inference_error")
    assert counts(status)["inference_error"] == 3
    log = on.logs.wait(lambda m: m.msg.startswith("inference_error"))
    assert log.msg == "inference_error: RuntimeError: the model's output is not finite"


def test_an_error_in_a_callback_is_logged_counted_and_the_node_continues(stage, monkeypatch):
    def broken(*_):
        raise KeyError("no such joint")

    on = active(stage)
    on.chunks.wait()
    monkeypatch.setattr(ObservationBuffer, "add_joint_state", broken)
    on.rejected("internal_error")
    log = on.logs.wait(lambda m: m.msg.startswith("internal error: "))
    assert "KeyError in _on_joint_state: 'no such joint'" in log.msg
    assert "Traceback" in log.msg
    on.rejected("stale_joint_state")
    monkeypatch.undo()
    assert on.chunks.wait(after=len(on.chunks))


def test_an_error_in_publishing_a_chunk_is_counted_too(stage, monkeypatch):
    def broken(_):
        raise TypeError("not a message")

    on = active(stage)
    on.chunks.wait()
    monkeypatch.setattr("groot_ros.nodes.policy_node.chunk_to_msg", broken)
    on.rejected("internal_error")
    log = on.logs.wait(lambda m: m.msg.startswith("internal error: "))
    assert "TypeError in inference: not a message" in log.msg
