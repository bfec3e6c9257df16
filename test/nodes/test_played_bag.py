# SPDX-License-Identifier: Apache-2.0
"""A bag that is played on the network of a live robot moves nothing."""

import pytest
import rclpy
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from support.executor_stage import ARM, ExecutorStage
from support.intruder import Intruder
from support.policy_stage import active, rgb_image, stages, wait_until
from trajectory_msgs.msg import JointTrajectory

from groot_ros.bridge import qos
from groot_ros.bridge.graph_monitor import BAG_PLAYERS
from groot_ros.bridge.messages import ns_to_time
from groot_ros.core import s_to_ns
from groot_ros.msg import ExecutorState, Instruction, PolicyStatus

pytestmark = pytest.mark.ros

#: s between the recording and now.
AGE = 3600.0


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


@pytest.mark.parametrize("player", BAG_PLAYERS)
def test_an_instruction_of_a_bag_player_is_rejected_and_logged(stage, player):
    on = active(stage, instruction="''")
    on.idles()
    with Intruder(player, String, "instruction", qos.LATCHED, lambda: String(data="pick")):
        status = on.rejected("played_instruction")
        log = on.logs.wait(lambda m: m.msg.startswith("played_instruction"))
    assert player in log.msg
    assert "'pick'" in log.msg
    assert log.level == 40  # ERROR
    assert (status.instruction_id, len(on.chunks)) == (0, 0)
    # Once the player has ended, an operator is followed again.
    with Intruder("operator", String, "instruction", qos.LATCHED, lambda: String(data="place")):
        assert on.chunks.wait().instruction == "place"


def test_a_latched_instruction_of_a_player_is_rejected_when_the_policy_starts_later(stage):
    on = stage(instruction="''")
    with Intruder("rosbag2_player", String, "instruction", qos.LATCHED, lambda: String(data="go")):
        on.bring_up()
        on.rejected("played_instruction")
    assert (on.node.instruction.id, len(on.chunks)) == (0, 0)


def test_in_a_simulation_a_played_instruction_is_followed(stage):
    on = stage(instruction="''", use_sim_time=True)
    with Intruder("rosbag2_player", String, "instruction", qos.LATCHED, lambda: String(data="go")):
        assert on.instructions.wait(lambda m: m.text == "go").source == "topic"


def test_with_the_topic_switched_off_only_the_service_instructs_and_the_topic_stops(stage):
    on = active(stage, instruction="''", accept_instruction_topic=False)
    on.instruction.publish(String(data="pick"))
    on.rejected("instruction_topic_off")
    assert on.node.instruction.id == 0
    assert on.instruct("place").success
    assert on.chunks.wait().instruction == "place"
    on.instruction.publish(String(data=""))
    assert on.instructions.wait(lambda m: m.instruction_id == 2).text == ""


def test_an_executor_ignores_everything_that_a_bag_contains(executor):
    """Chunks, instructions, states and trajectories of a run of an hour ago."""
    on = executor
    ids = iter(range(1, 10**6))

    def played_chunk(msg):
        msg.id = next(ids)

    node = rclpy.create_node("rosbag2_player")
    topics = {
        "instruction": (String, qos.LATCHED),
        "active_instruction": (Instruction, qos.LATCHED),
        "policy_status": (PolicyStatus, qos.LATCHED),
    }
    player = {name: node.create_publisher(kind, name, p) for name, (kind, p) in topics.items()}
    player["instruction"].publish(String(data="pick"))
    player["active_instruction"].publish(
        Instruction(text="pick", instruction_id=1, session="of a bag", source="topic")
    )
    player["policy_status"].publish(PolicyStatus(lifecycle=3, session="of a bag"))
    for count in range(1, 6):
        on.give(played_chunk, latency=AGE, session="of a bag")
        state = on.states.wait(lambda s, count=count: s.received == count)
    assert (state.accepted, counts(state)["too_old"]) == (0, 5)
    assert len(on.trajectories) == 0
    # The live policy is not kept out, and what is played does not stop or change its motion.
    running = on.run()
    assert running.accepted == 1
    player["active_instruction"].publish(
        Instruction(text="", instruction_id=2, session="of a bag", source="topic")
    )
    player["policy_status"].publish(PolicyStatus(lifecycle=2, session="of a bag"))
    on.give(played_chunk, latency=AGE, session="of a bag")
    last = on.states.wait(lambda s: counts(s).get("second_policy", 0) == 1)
    assert last.reason_code in ("EXECUTING", "NO_CHUNK")
    assert on.node.control.live_session == "a"
    node.destroy_node()


def test_joint_states_that_are_played_stop_the_robot_and_the_player_is_named(executor):
    on = executor
    on.run()

    def played():
        msg = JointState(name=list(ARM), position=[1.0, 1.0])
        msg.header.stamp = ns_to_time(on.now_ns - s_to_ns(AGE))
        return msg

    with Intruder("rosbag2_player", JointState, "joint_states", qos.DRIVER, played):
        state = on.states.wait(lambda s: "rosbag2_player" in s.reason)
    assert state.reason_code == ExecutorState.REASON_JOINT_STATES_LOST
    # None of the played positions was taken for a measurement.
    assert abs(on.trajectories.all()[-1].points[-1].positions[0]) < 0.5


def test_trajectories_that_are_played_are_an_error_in_the_log(executor, capfd):
    on = executor
    on.run()
    with Intruder("rosbag2_player", JointTrajectory, "arm/joint_trajectory", 1, JointTrajectory):
        on.diagnosed("motion", "/rosbag2_player publishes on /arm/joint_trajectory")
        text = ""

        def found():
            nonlocal text
            text += capfd.readouterr().err
            return "another node commands this robot: /rosbag2_player publishes" in text

        wait_until(found, "the log has the publisher")
    assert text.count("another node commands this robot") == 1


def test_images_that_are_played_are_refused_and_the_player_is_named(stage):
    on = active(stage)
    on.chunks.wait()

    def played():
        image = rgb_image(77)
        image.header.stamp = ns_to_time(on.node.get_clock().now().nanoseconds - s_to_ns(AGE))
        return image

    with Intruder("rosbag2_player", Image, "front/image_raw", qos.DRIVER, played):
        on.rejected("competing_publishers")
        log = on.logs.wait(lambda m: m.msg.startswith("competing_publishers"))
    assert "rosbag2_player" in log.msg
    on.chunks.wait(after=len(on.chunks))
