# SPDX-License-Identifier: Apache-2.0
"""Episodes over real DDS: services start, stop and discard them; each is a separate bag."""

from pathlib import Path

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import Reader
from std_msgs.msg import String
from std_srvs.srv import Trigger
from support.policy_stage import wait_until

from groot_ros.bags.episode import Outcome, read_episode
from groot_ros.bridge import qos
from groot_ros.msg import ActionChunk, Instruction, RecorderState
from groot_ros.nodes.recorder_node import RecorderNode
from groot_ros.srv import StartEpisode, StopEpisode

pytestmark = pytest.mark.ros
SUCCESS, FAILURE = StopEpisode.Request.SUCCESS, StopEpisode.Request.FAILURE


class Stage:
    """A recorder of episodes, and a node that publishes and calls its services."""

    def __init__(self, folder: Path, arguments: tuple[str, ...]) -> None:
        rclpy.init(
            args=["--ros-args", "-p", f"output:={folder}", "-p", "episodes:=true", *arguments]
        )
        self.folder = folder
        self.node = rclpy.create_node("operator")
        self.recorder = RecorderNode()
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.recorder)
        self._executor.add_node(self.node)
        self.states: list[RecorderState] = []
        self.node.create_subscription(
            RecorderState, "recorder_state", self.states.append, qos.LATCHED
        )

    def spin_until(self, condition, what: str = "it is true") -> None:
        def spun() -> bool:
            self._executor.spin_once(timeout_sec=0.05)
            return bool(condition())

        wait_until(spun, what)

    def call(self, kind, name, **fields):
        client = self.node.create_client(kind, f"recorder_node/{name}")
        self.spin_until(client.service_is_ready, f"{name} is there")
        future = client.call_async(kind.Request(**fields))
        self.spin_until(future.done, f"{name} answers")
        return future.result()

    def start(self, **fields):
        return self.call(StartEpisode, "start_episode", **fields)

    def stop(self, outcome=SUCCESS):
        return self.call(StopEpisode, "stop_episode", outcome=outcome)

    def discard(self):
        return self.call(Trigger, "discard_episode")

    def publisher(self, kind, topic, profile=qos.DRIVER):
        made = self.node.create_publisher(kind, topic, profile)
        self.spin_until(made.get_subscription_count, f"{topic} is subscribed to")
        return made

    def end(self) -> None:
        self._executor.shutdown()
        self.recorder.close()
        self.recorder.destroy_node()
        self.node.destroy_node()
        rclpy.shutdown()


@pytest.fixture
def stage(ros_domain, tmp_path):
    stages = []

    def begin(*arguments: str) -> Stage:
        stages.append(Stage(tmp_path / "demos", arguments))
        return stages[-1]

    yield begin
    for made in stages:
        made.end()


def texts(bag: str) -> list[str]:
    with Reader(Path(bag)) as reader:
        return [deserialize_message(bytes(d), String).data for *_, d in reader.messages()]


def test_each_episode_is_a_bag_with_number_instruction_and_outcome(stage):
    on = stage("-p", "topics:=[said]", "-p", "instruction:=wave")
    said = on.publisher(String, "said")
    said.publish(String(data="between episodes"))
    for number, (instruction, outcome) in enumerate([("pick", SUCCESS), ("", FAILURE)], 1):
        started = on.start(instruction=instruction)
        assert (started.success, started.episode) == (True, number), started.message
        said.publish(String(data=f"in {number}"))
        on.spin_until(lambda: on.recorder.counts.get("/said") == 1, "it is recorded")
        stopped = on.stop(outcome)
        assert stopped.success, stopped.message
        assert stopped.bag == started.bag
        assert texts(started.bag) == [f"in {number}"]
    bags = sorted(on.folder.iterdir())
    infos = [read_episode(bag) for bag in bags]
    assert [bag.name[:13] for bag in bags] == ["episode_0001_", "episode_0002_"]
    assert [(i.number, i.instruction, i.outcome) for i in infos] == [
        (1, "pick", Outcome.SUCCESS),
        (2, "wave", Outcome.FAILURE),
    ]
    assert [i.name for i in infos] == [bag.name for bag in bags]
    on.spin_until(lambda: on.states and on.states[-1].failures == 1, "the state counts them")
    assert (on.states[-1].status, on.states[-1].successes) == (RecorderState.WAITING, 1)
    assert not on.recorder.failed


def test_a_latched_message_from_before_is_in_every_episode(stage):
    on = stage("-p", "topics:=[described]")
    described = on.publisher(String, "described", qos.LATCHED)
    described.publish(String(data="a robot"))
    for _ in range(2):
        started = on.start()
        on.spin_until(lambda: on.recorder.counts.get("/described", 0) >= 1, "it is recorded")
        on.stop()
        assert texts(started.bag) == ["a robot"]


def test_a_discarded_episode_is_deleted_and_its_number_used_again(stage):
    on = stage("-p", "topics:=[said]")
    said = on.publisher(String, "said")
    first = on.start()
    said.publish(String(data="wrong"))
    on.spin_until(lambda: on.recorder.counts.get("/said") == 1, "it is recorded")
    discarded = on.discard()
    assert (discarded.success, discarded.message) == (True, f"discarded {first.bag}")
    assert list(on.folder.iterdir()) == []
    assert on.start().episode == 1
    on.discard()
    on.recorder.close()
    assert on.recorder.failed


def test_requests_at_the_wrong_time_are_rejected_with_a_reason(stage):
    on = stage("-p", "topics:=[said]")
    said = on.publisher(String, "said")
    for response in (on.stop(), on.discard()):
        assert (response.success, response.message) == (
            False,
            "no episode is being recorded: start one first",
        )
    first = on.start()
    again = on.start()
    assert not again.success
    assert f"{first.bag} is being recorded: stop or discard it first" in again.message
    assert on.stop(outcome=77).message == "outcome 77 is not one of StopEpisode's constants"
    said.publish(String(data="kept"))
    on.spin_until(lambda: on.recorder.counts.get("/said") == 1, "it is recorded")
    assert on.stop().success


def test_an_episode_without_its_cameras_is_not_started_unless_that_is_allowed(stage):
    on = stage("-p", "robot:=so101")
    refused = on.start()
    assert not refused.success
    assert "nobody publishes /front/image_raw, /joint_states, /wrist/image_raw" in refused.message
    assert not on.folder.exists()
    assert on.start(allow_missing_inputs=True).success
    stopped = on.stop()
    assert not stopped.success
    assert "nothing was recorded: the bag was deleted" in stopped.message
    assert list(on.folder.iterdir()) == []


def test_policy_and_instruction_are_in_the_description(stage):
    on = stage("-p", "topics:=[action_chunk, active_instruction]")
    instruction = on.publisher(Instruction, "active_instruction", qos.LATCHED)
    chunks = on.publisher(ActionChunk, "action_chunk", qos.COMMAND)
    started = on.start()
    for text in ("", "pick up the cube", "place it"):
        instruction.publish(Instruction(text=text))
    chunks.publish(ActionChunk(checkpoint_hash="abc", embodiment="arm", engine="reference"))
    on.spin_until(lambda: sum(on.recorder.counts.values()) == 4, "they are recorded")
    on.stop()
    info = read_episode(Path(started.bag))
    assert info.instruction == "pick up the cube"
    assert (info.checkpoint_hash, info.embodiment, info.engine) == ("abc", "arm", "reference")


def test_the_episode_of_a_recorder_that_ends_is_kept_without_an_outcome(stage):
    on = stage("-p", "topics:=[said]")
    said = on.publisher(String, "said")
    bag = on.start().bag
    said.publish(String(data="kept"))
    on.spin_until(lambda: on.recorder.counts.get("/said") == 1, "it is recorded")
    on.recorder.close()
    assert texts(bag) == ["kept"]
    assert read_episode(Path(bag)).outcome == Outcome.UNKNOWN
    assert not on.recorder.failed


def test_an_episode_whose_recorder_was_killed_is_named_at_the_next_start(stage, tmp_path, capfd):
    killed = tmp_path / "demos" / "episode_0004_2026-01-01_00-00-00"
    killed.mkdir(parents=True)
    report = killed.with_name("episode_0003_2026-01-01_00-00-00_report")
    report.mkdir()
    on = stage("-p", "topics:=[said]")
    on.publisher(String, "said")
    error = capfd.readouterr().err
    assert f"groot-ros bag recover {killed}" in error
    assert str(report) not in error
    assert on.start().episode == 5
