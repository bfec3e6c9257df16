# SPDX-License-Identifier: Apache-2.0
"""While a node shuts down no callback begins, and running callbacks are awaited."""

import threading

import pytest
import rclpy
from rclpy.executors import MultiThreadedExecutor
from rclpy.parameter import Parameter
from std_msgs.msg import String
from std_srvs.srv import Trigger
from support.policy_stage import wait_until

from groot_ros.nodes.guarded import GuardedNode

pytestmark = pytest.mark.ros


@pytest.fixture
def node(ros_domain):
    context = rclpy.Context()
    rclpy.init(context=context)
    made = GuardedNode("ending", context=context)
    executor = MultiThreadedExecutor(2, context=context)
    executor.add_node(made)
    ended = threading.Event()

    def spin():
        while not ended.is_set():
            executor.spin_once(timeout_sec=0.05)

    thread = threading.Thread(target=spin)
    thread.start()
    yield made
    ended.set()
    thread.join()
    executor.shutdown()
    made.destroy_node()
    rclpy.shutdown(context=context)


def test_a_running_callback_is_awaited_and_the_next_does_not_begin(node):
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()
    begins = []

    def on_message(msg):
        begins.append(msg.data)
        begun.set()
        assert may_end.wait(60)
        ended.set()

    subscription = node.create_subscription(String, "text", on_message, 10)
    publisher = node.create_publisher(String, "text", 10)
    wait_until(lambda: publisher.get_subscription_count() == 1, "the topic is connected")
    publisher.publish(String(data="first"))
    assert begun.wait(60)
    assert not node.drain_callbacks(0.01)
    threading.Timer(0.1, may_end.set).start()
    assert node.drain_callbacks(20.0)
    assert ended.is_set()
    # As in a pool thread of rclpy that had not started its callback yet.
    subscription.callback(String(data="second"))
    assert begins == ["first"]


def test_a_service_of_a_node_that_shuts_down_answers_that_it_did_nothing(node):
    done = []

    def serve(_, response):
        done.append(1)
        response.success = True
        return response

    node.create_service(Trigger, "~/do", serve)
    client = node.create_client(Trigger, "ending/do")
    wait_until(client.service_is_ready, "the service is there")
    assert node.drain_callbacks(20.0)
    future = client.call_async(Trigger.Request())
    wait_until(future.done, "the service answers")
    answer = future.result()
    assert (answer.success, answer.message) == (False, "the node is shutting down")
    assert done == []


def test_an_unknown_parameter_is_named_with_the_one_that_may_be_meant(node):
    node.declare_parameter("rate_hz", 5.0)
    (result,) = node.set_parameters([Parameter("rate_hz", value=6.0)])
    assert result.successful
    for name, hint in (("rate_hx", "; did you mean rate_hz?"), ("nope", "")):
        result = node.set_parameters_atomically([Parameter(name, value=1.0)])
        assert (result.successful, result.reason) == (
            False,
            f"ending has no parameter {name}{hint}",
        )
