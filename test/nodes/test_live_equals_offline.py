# SPDX-License-Identifier: Apache-2.0
"""Chunks of the live nodes come out equal when they are computed again from the bag of the run."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from sensor_msgs.msg import Image
from support.policy_stage import wait_until
from support.robot_checkpoint import write_robot_checkpoint
from support.robot_world import World
from support.tiny_checkpoint import write_tiny_checkpoint
from support.tiny_policy import load

from groot_ros.bags.recording import RobotBag
from groot_ros.core import RtcMode
from groot_ros.core.share import robot_path
from groot_ros.evaluation.reproduction import reproduce
from groot_ros.nodes.recorder_node import RecorderNode
from groot_ros.nodes.sim_robot_node import SimRobotNode
from groot_ros.robot import load_contract

pytestmark = [pytest.mark.ros, pytest.mark.slow]

#: Share of the images that are never published.
LOSS = 0.2


class LossyRobot(SimRobotNode):
    """The simulated robot, whose cameras lose images before they are published."""

    sent: Counter

    def create_publisher(self, kind, topic, *arguments, **options):
        publisher = super().create_publisher(kind, topic, *arguments, **options)
        if kind is Image:
            self.sent = getattr(self, "sent", Counter())
            rng, publish = np.random.default_rng(len(topic)), publisher.publish

            def sometimes(message):
                lost = rng.random() < LOSS
                self.sent["lost" if lost else "published"] += 1
                if not lost:
                    publish(message)

            publisher.publish = sometimes
        return publisher


@pytest.fixture
def slow_robot(tmp_path):
    """A contract with steps of 0.1 s: a chunk is long enough to continue committed motion."""
    text = Path(robot_path("so101")).read_text()
    path = tmp_path / "so101.yaml"
    path.write_text(re.sub(r"(?m)^action_dt: .*$", "action_dt: 0.1", text))
    model = robot_path("so101").parent / "models"
    (tmp_path / "models").symlink_to(model)
    return path


def record(checkpoint: Path, robot: Path, bag: Path, monkeypatch) -> Counter:
    """Record 16 chunks; return the counts of images."""
    monkeypatch.setattr("support.robot_world.SimRobotNode", LossyRobot)
    own = {"rtc.mode": "guided", "rate_hz": 5.0}
    world = World(robot.with_suffix(""), checkpoint, RecorderNode, output=bag, **own)
    (recorder,) = world.more
    try:
        world.start()
        wait_until(lambda: recorder.counts.get("/action_chunk", 0) >= 16, "chunks are recorded")
        return Counter(world.sim.sent)
    finally:
        world.end()


def without_images(bag: Path, out: Path, *, every: int) -> Path:
    """Copy a bag, without every n-th image."""
    with (
        Reader(bag) as reader,
        Writer(out, version=9, storage_plugin=StoragePlugin.MCAP) as writer,
    ):
        topics = {
            c.topic: writer.add_connection(
                c.topic, c.msgtype, msgdef=c.msgdef.data, rihs01=c.digest or None
            )
            for c in reader.connections
        }
        images = 0
        for connection, stamp, data in reader.messages():
            images += connection.msgtype == "sensor_msgs/msg/Image"
            if connection.msgtype != "sensor_msgs/msg/Image" or images % every:
                writer.write(topics[connection.topic], stamp, data)
    return out


def test_every_live_chunk_of_a_run_with_lost_images_is_computed_again_exactly(
    ros_domain, tmp_path, slow_robot, monkeypatch
):
    contract = load_contract(slow_robot)
    checkpoint = write_robot_checkpoint(contract, tmp_path / "checkpoint")
    sent = record(checkpoint, slow_robot, tmp_path / "bag", monkeypatch)
    assert 0.1 < sent["lost"] / sent.total() < 0.3
    torch.set_num_threads(1)
    policy = load(checkpoint, robot=contract)

    bag = RobotBag(tmp_path / "bag", contract).read()
    found = reproduce(bag, policy)
    assert found.recorded == len(bag.chunks) >= 16
    assert found.differing == []
    # Few chunks, if any: the recorder may miss an image at the start, as it subscribes later.
    assert found.exact == found.recorded - found.not_reproducible.total()
    assert found.exact >= 0.75 * found.recorded
    continued = [c.chunk for c in bag.chunks if c.chunk.rtc_mode == RtcMode.GUIDED]
    assert len(continued) >= 3
    assert all(c.overlap_steps >= c.frozen_steps > 0 for c in continued)

    incomplete = without_images(tmp_path / "bag", tmp_path / "incomplete", every=3)
    fewer = reproduce(RobotBag(incomplete, contract).read(), policy)
    assert fewer.differing == []
    assert fewer.not_reproducible["image_not_recorded"] >= 3
    assert fewer.exact + fewer.not_reproducible.total() == fewer.recorded == found.recorded

    other = write_tiny_checkpoint(tmp_path / "other", seed=1)
    counts = reproduce(bag, load(other, robot=contract)).not_reproducible
    assert counts == {"other_checkpoint": found.recorded}
