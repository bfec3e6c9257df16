# SPDX-License-Identifier: Apache-2.0
"""Joint states for views: published to subscribers only, at a low rate, in the contract's order."""

from types import SimpleNamespace

import numpy as np
import pytest
from sensor_msgs.msg import JointState

from groot_ros.bridge.joint_state_output import last_step
from groot_ros.control import ExecutorConfig
from groot_ros.core import ActionChunk, ActionGroup, ActionKind
from groot_ros.nodes.executor_reports import ExecutorReports


class Publisher:
    """Records what is published; has as many subscriptions as a test says."""

    def __init__(self) -> None:
        self.subscriptions = 0
        self.sent = []

    def get_subscription_count(self) -> int:
        return self.subscriptions

    def publish(self, msg) -> None:
        self.sent.append(msg)


def reports():
    """Return the executor's reports on a substitute for its node, and their publishers."""
    publishers = {}

    def create_publisher(_kind, topic, _qos):
        return publishers.setdefault(topic, Publisher())

    node = SimpleNamespace(create_publisher=create_publisher, get_name=lambda: "executor_node")
    return ExecutorReports(node), publishers["committed_joint_states"]


def control(**settings):
    """Return a substitute for an executor that is at 0.1 and 0.2 rad."""
    return SimpleNamespace(
        settings=ExecutorConfig(**settings),
        joint_names=("pan", "lift"),
        committed=lambda now_ns: np.array([0.1, 0.2]),
    )


@pytest.mark.parametrize(("rate", "messages"), [(20.0, 20), (100.0, 100), (1.0, 1), (0.0, 0)])
def test_committed_positions_are_published_at_the_configured_rate(rate, messages):
    sender, publisher = reports()
    publisher.subscriptions = 1
    for tick in range(100):
        sender.publish_committed(control(committed_joint_states_rate=rate), tick)
    assert len(publisher.sent) == messages
    for msg in publisher.sent:
        assert isinstance(msg, JointState)
        assert (msg.name, list(msg.position)) == (["pan", "lift"], [0.1, 0.2])


def test_without_subscribers_or_motion_nothing_is_published():
    sender, publisher = reports()
    for tick in range(10):
        sender.publish_committed(control(), tick)
    publisher.subscriptions = 1
    idle = control()
    idle.committed = lambda now_ns: None
    for tick in range(10):
        sender.publish_committed(idle, tick)
    assert publisher.sent == []


def test_the_last_step_of_a_chunk_is_in_the_order_of_the_contract():
    def group(kind, names, values):
        return ActionGroup(kind, names[0], names, ("rad",) * len(names), np.array(values))

    chunk = ActionChunk(
        stamp_ns=0,
        start_ns=0,
        dt=0.1,
        groups=(
            group(ActionKind.GRIPPER, ("finger",), [[0.0], [0.7]]),
            group(ActionKind.JOINT_POSITION, ("lift", "pan"), [[0.0, 0.0], [0.2, 0.1]]),
        ),
    )
    ends = last_step(chunk, ("pan", "lift", "wheel", "finger"))
    assert list(ends.items()) == [("pan", 0.1), ("lift", 0.2), ("finger", 0.7)]
