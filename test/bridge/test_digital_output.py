# SPDX-License-Identifier: Apache-2.0
"""Digital outputs: threshold with hysteresis, and what is published when."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Bool

from groot_ros.bridge import qos
from groot_ros.bridge.controllers.digital_output import DigitalOptions, DigitalOutput, Threshold
from groot_ros.nodes.guarded import GuardedNode


def values(positions, threshold=0.5, hysteresis=0.1):
    signal = Threshold(threshold, hysteresis)
    return [signal.value for p in positions if signal.update(p) is not None]


def test_the_value_is_true_above_the_threshold_and_false_below_the_hysteresis():
    positions = [0.0, 0.5, 0.501, 0.45, 0.4, 0.399, 0.45, 0.5, 0.51]
    expected = [False, False, True, True, True, False, False, False, True]
    assert values(positions) == expected


def test_noise_within_the_hysteresis_changes_the_value_once():
    noise = 0.5 + 0.04 * np.random.default_rng(0).standard_normal(1000).clip(-2, 2)
    steady, flickering = Threshold(0.5, 0.1), Threshold(0.5, 0.0)
    assert sum(steady.update(p) for p in noise) <= 2
    assert sum(flickering.update(p) for p in noise) > 300


class Stage:
    """A digital output and a driver, in one executor."""

    def __init__(self) -> None:
        rclpy.init()
        self.node = GuardedNode("executor")
        self.driver = rclpy.create_node("driver")
        self._spinner = SingleThreadedExecutor()
        for node in (self.node, self.driver):
            self._spinner.add_node(node)
        entry = SimpleNamespace(
            name="suction", topic="suction/command", options=DigitalOptions(0.5, 0.1)
        )
        self.output = DigitalOutput(self.node, entry)
        self.received: list[bool] = []

    def subscribe(self) -> None:
        self.driver.create_subscription(
            Bool, "suction/command", lambda m: self.received.append(m.data), qos.LATCHED
        )

    def send(self, position: float) -> None:
        self.output.send(np.array([position]), 10**18)

    def spin_until(self, condition, what: str) -> None:
        end = time.monotonic() + 30.0
        while not condition():
            assert time.monotonic() < end, f"never: {what}"
            self._spinner.spin_once(timeout_sec=0.02)

    def end(self) -> None:
        self._spinner.shutdown()
        for node in (self.node, self.driver):
            node.destroy_node()
        rclpy.shutdown()


@pytest.fixture
def stage(ros_domain):
    made = Stage()
    yield made
    made.end()


@pytest.mark.ros
def test_changes_are_published_once_and_then_repeated_each_second(stage):
    stage.subscribe()
    stage.spin_until(lambda: not stage.output.fault(), "the driver is found")
    stage.send(0.2)
    stage.spin_until(lambda: stage.received == [False], "the first value arrives")
    for position in (0.6, 0.9, 0.45, 0.7):
        stage.send(position)
    stage.spin_until(lambda: len(stage.received) == 2, "the change arrives")
    stage.spin_until(lambda: len(stage.received) == 3, "the value is repeated")
    assert stage.received == [False, True, True]


@pytest.mark.ros
def test_a_driver_that_starts_later_receives_the_value(stage):
    stage.send(0.9)
    stage.subscribe()
    stage.spin_until(lambda: stage.received, "the latched value arrives")
    assert stage.received[0] is True


@pytest.mark.ros
def test_neither_an_emergency_stop_nor_cleanup_drops_what_is_held(stage):
    stage.subscribe()
    stage.spin_until(lambda: not stage.output.fault(), "the driver is found")
    stage.send(0.9)
    stage.output.cancel()
    stage.output.destroy()
    stage.spin_until(lambda: stage.received, "the value arrives")
    assert set(stage.received) == {True}


@pytest.mark.ros
def test_without_a_driver_the_fault_says_so(stage):
    # At the start its driver may be starting, too, and nothing is to be sent.
    assert [stage.output.fault() for _ in range(5)] == [""] * 5
    stage.send(0.9)
    assert stage.output.fault() == (
        "digital output 'suction' cannot be commanded: no node subscribes to /suction/command; "
        "start its driver, or correct 'topic' of this controller in the robot contract"
    )
    stage.subscribe()
    stage.spin_until(lambda: not stage.output.fault(), "the driver is found")
