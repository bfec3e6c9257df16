# SPDX-License-Identifier: Apache-2.0
"""Two live publishers of one input are refused and named; restarts and shared topics are not."""

import pytest
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from support.executor_stage import ExecutorStage
from support.intruder import Intruder
from support.policy_stage import active, rgb_image, stages, wait_until

from groot_ros.bridge import qos, rclpy_patches
from groot_ros.bridge.messages import ns_to_time
from groot_ros.msg import ExecutorState

pytestmark = pytest.mark.ros

CODE = "competing_publishers"


@pytest.fixture
def stage(ros_domain):
    yield from stages()


@pytest.fixture
def executor(ros_domain, tmp_path):
    up = ExecutorStage(tmp_path)
    up.bring_up()
    yield up
    up.end()


def counts(status):
    return {r.code: r.count for r in status.rejections}


def picture(on):
    image = rgb_image(200)
    image.header.stamp = ns_to_time(on.node.get_clock().now().nanoseconds)
    return image


def joints(on, names):
    msg = JointState(name=list(names), position=[1.0] * len(names))
    msg.header.stamp = ns_to_time(on.node.get_clock().now().nanoseconds)
    return msg


def second_camera(on):
    return Intruder("second_driver", Image, "front/image_raw", qos.DRIVER, lambda: picture(on))


def second_joints(on, names):
    return Intruder(
        "second_driver", JointState, "joint_states", qos.DRIVER, lambda: joints(on, names)
    )


def never_contested_while_chunks_arrive(on, more=20):
    before = len(on.chunks)
    wait_until(lambda: len(on.chunks) > before + more, "chunks are published")
    assert CODE not in counts(on.statuses.all()[-1])


def refused_and_named(on, what):
    """Wait until no chunk is published, and assert what is logged."""
    on.rejected(CODE)
    log = on.logs.wait(lambda m: m.msg.startswith(CODE))
    assert what in log.msg
    assert "robot" in log.msg
    assert "second_driver" in log.msg
    assert log.level == 40  # ERROR
    # Chunks in transit may still arrive; afterwards only rejections are counted.
    before = on.rejected(CODE)
    chunks = len(on.chunks)
    on.statuses.wait(lambda s: counts(s)[CODE] > counts(before)[CODE] + 20, after=len(on.statuses))
    assert len(on.chunks) - chunks <= 1


def test_two_cameras_on_one_topic_are_refused_until_one_of_them_ends(stage):
    on = active(stage)
    on.chunks.wait()
    with second_camera(on):
        refused_and_named(on, "front/image_raw' has several live publishers: ")
    before = len(on.chunks)
    assert on.chunks.wait(after=before).instruction == "pick the cube"


def test_two_drivers_of_one_joint_are_refused_and_the_joint_is_named(stage):
    on = active(stage)
    on.chunks.wait()
    with second_joints(on, ["led", "gripper"]):
        refused_and_named(on, "has several live publishers of gripper: ")
    assert on.chunks.wait(after=len(on.chunks))


def test_drivers_of_other_joints_may_share_the_topic(stage):
    on = active(stage)
    on.chunks.wait()
    with second_joints(on, ["wheel", "led"]):
        never_contested_while_chunks_arrive(on)


def test_a_driver_that_is_restarted_is_no_conflict(stage):
    on = active(stage)
    on.chunks.wait()
    for _ in range(2):
        on.robot.silent.update({"front", "joints"})
        on.robot.restart_drivers()
        on.robot.silent.clear()
        never_contested_while_chunks_arrive(on)


def test_without_publication_numbers_the_rate_shows_a_second_camera(stage, monkeypatch):
    """The robot sends 50 images per second, the contract says 30: alone it is no conflict."""
    monkeypatch.setattr(rclpy_patches, "HAS_RECEPTION_TIME", False)
    on = active(stage)
    never_contested_while_chunks_arrive(on, more=60)
    with second_camera(on):
        refused_and_named(on, "front/image_raw' has several live publishers: ")


def test_the_executor_stops_while_two_drivers_publish_a_joint(executor):
    on = executor
    on.run()
    with Intruder(
        "second_driver",
        JointState,
        "joint_states",
        qos.DRIVER,
        lambda: joints(on, ["pan"]),
    ):
        state = on.states.wait(lambda s: "several live publishers of pan" in s.reason)
        assert state.reason_code == ExecutorState.REASON_JOINT_STATES_LOST
        assert "/observer and /second_driver" in state.reason
        before = len(on.states)
        on.give()
        refused = on.states.wait(lambda s: s.received >= 2, after=before)
        assert refused.accepted == state.accepted

    def runs_again():
        on.give()
        return on.states.all()[-1].accepted > state.accepted

    wait_until(runs_again, "chunks are accepted once the second driver has ended")


def test_the_executor_accepts_a_second_driver_of_joints_that_it_does_not_take_from_it(executor):
    on = executor
    before = on.node.inputs.handled["joint_states"]
    with Intruder(
        "second_driver", JointState, "joint_states", qos.DRIVER, lambda: joints(on, ["finger"])
    ):
        wait_until(
            lambda: on.node.inputs.handled["joint_states"] > before + 200,
            "joint states are received",
        )
        state = on.run()
    assert CODE not in [r.code for r in state.rejections]


def test_publishers_that_disagree_on_the_instruction_are_refused_until_one_ends(stage):
    on = active(stage)
    on.chunks.wait()
    with (
        Intruder("one", String, "instruction", qos.DRIVER, lambda: String(data="pick"), 0.3),
        Intruder("two", String, "instruction", qos.DRIVER, lambda: String(data="place"), 0.3),
    ):
        on.rejected(CODE)
        log = on.logs.wait(lambda m: m.msg.startswith(CODE))
        assert "disagree" in log.msg
        assert "one and" in log.msg
        assert "two" in log.msg
        stopped = on.instructions.wait(lambda m: m.source == "conflict")
        assert (stopped.text, stopped.session) == ("", on.chunks.all()[-1].session)
    with Intruder("one", String, "instruction", qos.DRIVER, lambda: String(data="pick"), 0.3):
        again = on.instructions.wait(
            lambda m: m.instruction_id > stopped.instruction_id and m.text == "pick"
        )
        assert on.chunks.wait(lambda m: m.instruction_id == again.instruction_id)


def test_a_stop_is_followed_whoever_publishes_it(stage):
    on = active(stage)
    on.chunks.wait()
    with Intruder("rosbag2_player", String, "instruction", qos.DRIVER, String):
        assert on.instructions.wait(lambda m: m.text == "" and m.instruction_id == 2)
