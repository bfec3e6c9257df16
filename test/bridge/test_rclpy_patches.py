# SPDX-License-Identifier: Apache-2.0
"""The executor that waits less often runs everything that rclpy's runs; polled subscriptions."""

import gc
import threading
from unittest.mock import patch

import pytest
import rclpy
from rcl_interfaces.srv import GetParameters
from rclpy.exceptions import InvalidHandle
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from std_msgs.msg import String
from support.policy_stage import wait_until

from groot_ros.bridge.messages import ns_to_time
from groot_ros.bridge.rclpy_patches import (
    HAS_RECEPTION_TIME,
    ClockThread,
    FrugalExecutor,
    deliver,
    poll,
    shut_down,
)

pytestmark = pytest.mark.ros

TIMEOUT = 30.0


class BusyNode(Node):
    """A timer at 200 Hz, and a count of how often an executor asked for it."""

    def __init__(self):
        super().__init__("busy")
        self.fired = 0
        self.timer = self.create_timer(0.005, self._on_timer)

    def _on_timer(self):
        self.fired += 1


def counting(kind):
    """Return an executor that counts its waits by how often it asks for the node's timer."""

    class Counting(kind):
        waits = 0

        def can_execute(self, entity):
            self.waits += entity is self.timer
            return super().can_execute(entity)

    return Counting


def spin_until(executor, done):
    clock = threading.Event()
    alarm = threading.Timer(TIMEOUT, clock.set)
    alarm.start()
    while not done():
        assert not clock.is_set(), "it never happened"
        executor.spin_once(timeout_sec=0.1)
    alarm.cancel()


@pytest.fixture
def node(ros_domain):
    rclpy.init()
    node = BusyNode()
    yield node
    node.destroy_node()
    rclpy.shutdown()


def waits_per_callback(executor, node):
    executor.timer = node.timer
    executor.add_node(node)
    spin_until(executor, lambda: node.fired >= 5)
    fired, waits = node.fired, executor.waits
    spin_until(executor, lambda: node.fired >= fired + 100)
    executor.shutdown()
    return (executor.waits - waits) / (node.fired - fired)


def test_it_waits_once_for_each_callback_and_rclpy_twice(node):
    assert waits_per_callback(counting(FrugalExecutor)(), node) == pytest.approx(1.0, abs=0.2)
    assert waits_per_callback(counting(SingleThreadedExecutor)(), node) > 1.7


def test_a_busy_node_answers_the_services_of_rclpy(node):
    executor = FrugalExecutor()
    executor.add_node(node)
    client = node.create_client(GetParameters, "busy/get_parameters")
    spin_until(executor, client.service_is_ready)
    answer = client.call_async(GetParameters.Request(names=["use_sim_time"]))
    spin_until(executor, answer.done)
    assert answer.result().values[0].bool_value is False
    executor.shutdown()


def test_what_a_callback_or_another_thread_creates_is_executed(node):
    executor = FrugalExecutor()
    executor.add_node(node)
    node.destroy_timer(node.timer)
    ran = []

    def create_another():
        ran.append("first")
        node.create_timer(0.001, lambda: ran.append("second"))
        first.cancel()

    first = node.create_timer(0.001, create_another)
    spin_until(executor, lambda: "second" in ran)
    publisher = node.create_publisher(String, "words", 10)
    thread = threading.Thread(
        target=lambda: node.create_subscription(String, "words", lambda m: ran.append(m.data), 10)
    )
    thread.start()
    thread.join()
    spin_until(executor, lambda: publisher.get_subscription_count() == 1)
    publisher.publish(String(data="third"))
    spin_until(executor, lambda: "third" in ran)
    executor.shutdown()


def test_another_thread_wakes_it_while_it_waits(node):
    executor = FrugalExecutor()
    node.destroy_timer(node.timer)
    executor.add_node(node)
    task = []
    waker = threading.Timer(0.05, lambda: task.append(executor.create_task(lambda: "done")))
    waker.start()
    spin_until(executor, lambda: bool(task) and task[0].done())
    assert task[0].result() == "done"
    executor.shutdown()


def test_a_polled_subscription_delivers_what_has_arrived_when_it_is_asked(node):
    received = []
    subscription = node.create_subscription(String, "words", lambda m: received.append(m.data), 10)
    publisher = node.create_publisher(String, "words", 10)
    poll(subscription)
    deliver(subscription)
    assert received == []
    words = ["one", "two", "three"]
    for word in words:
        publisher.publish(String(data=word))

    def delivered():
        deliver(subscription)
        return len(received) == 3

    wait_until(delivered, "all words are delivered")
    assert received == words


@pytest.mark.skipif(not HAS_RECEPTION_TIME, reason="rclpy of Humble has no message information")
def test_a_polled_subscription_with_message_information_gets_it(node):
    received = []

    def with_info(message: String, info: dict) -> None:
        received.append((message.data, "source_timestamp" in info))

    subscription = node.create_subscription(String, "words", with_info, 10)
    publisher = node.create_publisher(String, "words", 10)
    publisher.publish(String(data="one"))

    def delivered():
        deliver(subscription)
        return bool(received)

    wait_until(delivered, "the word is delivered")
    assert received == [("one", True)]


def test_a_polled_subscription_that_nobody_asks_is_served_by_the_executor(node):
    executor = FrugalExecutor()
    executor.add_node(node)
    received = []
    subscription = node.create_subscription(String, "words", lambda m: received.append(m.data), 10)
    poll(subscription)
    publisher = node.create_publisher(String, "words", 10)
    publisher.publish(String(data="one"))
    spin_until(executor, lambda: received == ["one"])
    executor.shutdown()


@pytest.fixture
def node_on_sim_time(ros_domain):
    rclpy.init()
    node = Node("simulated", parameter_overrides=[Parameter("use_sim_time", value=True)])
    yield node
    node.destroy_node()
    rclpy.shutdown()


@pytest.mark.parametrize("kind", [FrugalExecutor, MultiThreadedExecutor])
def test_the_clock_advances_without_waking_the_executor_and_timers_follow_it(
    node_on_sim_time, kind
):
    node, ended, fired = node_on_sim_time, threading.Event(), []
    clock = ClockThread(node)
    timer = node.create_timer(0.1, lambda: fired.append(node.get_clock().now().nanoseconds))
    executors = []

    def spin():
        # In the thread that creates it, as FrugalExecutor requires.
        executor = counting(kind)()
        executor.timer = timer
        executor.add_node(node)
        executors.append(executor)
        while not ended.is_set():
            executor.spin_once(timeout_sec=1.0)
        executor.shutdown()

    spinning = threading.Thread(target=spin)
    spinning.start()
    publisher = node.create_publisher(Clock, "/clock", 1)
    wait_until(lambda: publisher.get_subscription_count() == 1 and executors, "it is subscribed")
    for step in range(1, 101):
        now_ns = 1_000_000_000 + step * 4_000_000
        publisher.publish(Clock(clock=ns_to_time(now_ns)))
        wait_until(lambda now=now_ns: node.get_clock().now().nanoseconds == now, "it is read")
    wait_until(lambda: len(fired) >= 3, "the timer is called")
    waits = executors[0].waits
    ended.set()
    executors[0].wake()
    spinning.join(TIMEOUT)
    clock.stop()
    assert 3 <= len(fired) <= 5
    # A timer costs up to three waits, its creation and those of the entities a few more.
    assert waits < 40


def test_the_thread_of_the_clock_ignores_an_impossible_time_and_ends_with_sim_time(
    node_on_sim_time, capfd
):
    node, threads = node_on_sim_time, threading.active_count()
    clock = ClockThread(node)
    publisher = node.create_publisher(Clock, "/clock", 1)
    wait_until(lambda: publisher.get_subscription_count() == 1, "it is subscribed")
    impossible = Clock()
    impossible.clock.sec = -1
    publisher.publish(impossible)
    wait_until(lambda: "message ignored" in capfd.readouterr().err, "the error is reported")
    publisher.publish(Clock(clock=ns_to_time(5_000_000_000)))
    wait_until(lambda: node.get_clock().now().nanoseconds == 5_000_000_000, "it is read")
    with patch("threading.excepthook") as unexpected:
        node.set_parameters([Parameter("use_sim_time", value=False)])
        wait_until(lambda: threading.active_count() == threads, "the thread has ended")
    unexpected.assert_not_called()
    clock.stop()


def test_without_sim_time_there_is_no_thread_for_the_clock(node):
    threads = threading.active_count()
    clock = ClockThread(node)
    assert threading.active_count() == threads
    clock.stop()


def test_an_error_of_a_last_callback_is_reported_and_not_printed(node, capfd):
    executor = MultiThreadedExecutor(num_threads=2)
    started, ended = threading.Event(), threading.Event()

    def destroyed():
        started.set()
        assert ended.wait(TIMEOUT)
        raise InvalidHandle("destruction was requested")

    executor.create_task(destroyed)
    executor.spin_once(timeout_sec=TIMEOUT)
    assert started.wait(TIMEOUT)
    ended.set()
    reported = []
    shut_down(executor, TIMEOUT, reported.append)
    del executor
    gc.collect()
    assert reported == ["destruction was requested"]
    assert "never retrieved" not in capfd.readouterr().err
