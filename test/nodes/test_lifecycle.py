# SPDX-License-Identifier: Apache-2.0
"""The shared lifecycle, and the end of a process. Regressions pinned: exceptions of transition
callbacks are logged, impossible transitions do not end the process, a failed configure releases
what it acquired, the last message is published before the context shuts down.
"""

import signal
import subprocess
import sys
import textwrap
import threading
from contextlib import contextmanager

import pytest
import rclpy
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from std_msgs.msg import String

from groot_ros.nodes.lifecycle import ManagedNode, SetupError

pytestmark = pytest.mark.ros

OK = TransitionCallbackReturn.SUCCESS
FAILED = TransitionCallbackReturn.FAILURE
ERROR = TransitionCallbackReturn.ERROR


class Recorded(ManagedNode):
    """Records the calls of its hooks; those in `broken` raise."""

    def __init__(self, *broken, error=None):
        super().__init__("recorded")
        self.calls = []
        self.broken = set(broken)
        self.error = error or RuntimeError("broken")

    def _record(self, hook):
        self.calls.append(hook)
        if hook in self.broken:
            raise self.error

    def setup(self):
        self._record("setup")

    def start(self):
        self._record("start")

    def stop(self):
        self._record("stop")

    def teardown(self):
        self._record("teardown")


@pytest.fixture
def make(ros_domain):
    rclpy.init()
    nodes = []

    def made(*args, **kwargs) -> Recorded:
        nodes.append(Recorded(*args, **kwargs))
        return nodes[-1]

    yield made
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown()


def test_the_hooks_follow_the_transitions(make):
    node = make()
    assert node.trigger_configure() == OK
    assert node.trigger_activate() == OK
    assert node.active
    assert node.trigger_deactivate() == OK
    assert not node.active
    assert node.trigger_cleanup() == OK
    assert node.calls == ["setup", "start", "stop", "teardown"]
    assert node.lifecycle_state == State.PRIMARY_STATE_UNCONFIGURED


def test_a_failed_setup_is_torn_down_and_the_node_stays_unconfigured(make):
    node = make("setup")
    assert node.trigger_configure() == FAILED
    assert node.calls == ["setup", "teardown"]
    assert node.lifecycle_state == State.PRIMARY_STATE_UNCONFIGURED
    node.broken.clear()
    assert node.trigger_configure() == OK


def test_a_failed_start_is_stopped_and_the_node_stays_inactive(make):
    node = make("start")
    node.trigger_configure()
    assert node.trigger_activate() == FAILED
    assert node.calls == ["setup", "start", "stop"]
    assert node.lifecycle_state == State.PRIMARY_STATE_INACTIVE
    assert not node.active


def test_a_failing_stop_still_leaves_the_node_inactive(make):
    node = make("stop")
    node.trigger_configure()
    node.trigger_activate()
    assert node.trigger_deactivate() == OK
    assert node.lifecycle_state == State.PRIMARY_STATE_INACTIVE
    assert not node.active


def test_a_failing_teardown_ends_unconfigured_through_the_error_state(make):
    node = make("teardown")
    node.trigger_configure()
    assert node.trigger_cleanup() == ERROR
    assert node.lifecycle_state == State.PRIMARY_STATE_UNCONFIGURED


@pytest.mark.parametrize(
    ("error", "logged", "traced"),
    [(SetupError("set it so"), "configure failed: set it so", False),
     (KeyError("oops"), "configure failed: KeyError: 'oops'", True)],
)  # fmt: skip
def test_the_reason_of_a_failure_is_logged_and_a_bug_with_its_traceback(
    make, capfd, error, logged, traced
):
    make("setup", error=error).trigger_configure()
    written = capfd.readouterr().err
    assert logged in written
    assert ("Traceback" in written) is traced


def test_shutdown_of_an_active_node_stops_before_it_tears_down(make):
    node = make()
    node.trigger_configure()
    node.trigger_activate()
    assert node.trigger_shutdown() == OK
    assert node.calls == ["setup", "start", "stop", "teardown"]
    assert node.lifecycle_state == State.PRIMARY_STATE_FINALIZED


def test_close_calls_the_remaining_hooks_once(make):
    node = make()
    node.close()
    assert node.calls == []
    node.trigger_configure()
    node.close()
    node.close()
    assert node.calls == ["setup", "teardown"]


def test_autostart_activates_and_returns_false_if_it_cannot(make):
    assert make().autostart()
    assert not make("setup").autostart()
    assert not make("start").autostart()


def test_an_impossible_transition_by_service_is_rejected_and_the_node_continues(make, capfd):
    node = make()
    client_node = rclpy.create_node("client")
    client = client_node.create_client(ChangeState, "recorded/change_state")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    executor.add_node(client_node)
    assert client.wait_for_service(20.0)

    def change(transition):
        request = ChangeState.Request(transition=transition)
        future = client.call_async(request)
        executor.spin_until_future_complete(future, timeout_sec=20.0)
        return future.result().success

    assert not change(Transition(id=Transition.TRANSITION_ACTIVATE))
    assert not change(Transition(label="no such transition"))
    written = capfd.readouterr().err
    for name in ("activate", "no such transition"):
        line = f"rejected: {name} is not possible while unconfigured; possible: configure, shutdown"
        assert written.count(line) == 1
    assert "rcl_lifecycle" not in written
    assert node.calls == []
    assert change(Transition(id=Transition.TRANSITION_CONFIGURE))
    assert change(Transition(label="activate"))
    assert node.active
    executor.shutdown()
    client_node.destroy_node()


SCRIPT = """
import os, signal
from groot_ros.nodes.lifecycle import ManagedNode, SetupError
from groot_ros.nodes.run import run
from std_msgs.msg import String

class Publisher(ManagedNode):
    def __init__(self):
        super().__init__("publisher")
        if {bad_parameter}:
            raise ValueError("rate_hz must be at least 0.1, not -3")
    def setup(self):
        if {bad_setup}:
            raise SetupError("no checkpoint")
        self.publisher = self.create_publisher(String, "last_message", 10)
        self.create_timer(0.05, lambda: self.publisher.publish(String(data="working")))
    def stop(self):
        self.publisher.publish(String(data="hold"))
        assert self.publisher.wait_for_all_acked(), "never arrived"
        print("stopped", flush=True)
    def teardown(self):
        print("torn down", flush=True)

class Late:  # Destroyed with the interpreter, after Python has removed its signal handlers.
    def __del__(self, kill=os.kill, me=os.getpid(), number=signal.SIGINT):
        kill(me, number)

late = Late()
run(Publisher, threads={threads}, args=["--ros-args", "-p", "autostart:=true"])
"""


def process(**changes):
    values = {"bad_parameter": False, "bad_setup": False, "threads": 2, **changes}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT).format(**values)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def spinning(node):
    executor, ended = SingleThreadedExecutor(), threading.Event()
    executor.add_node(node)

    def spin():
        while not ended.is_set():
            executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        executor.shutdown()


@pytest.mark.parametrize(("number", "threads"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)])
def test_after_a_signal_the_last_message_is_published_and_a_second_signal_changes_nothing(
    ros_domain, number, threads
):
    rclpy.init()
    listener = rclpy.create_node("listener")
    received = {"working": threading.Event(), "hold": threading.Event()}
    listener.create_subscription(String, "last_message", lambda msg: received[msg.data].set(), 10)
    with spinning(listener), process(threads=threads) as publisher:
        try:
            assert received["working"].wait(30)
            publisher.send_signal(number)
            publisher.send_signal(number)
            out, err = publisher.communicate(timeout=30)
            assert received["hold"].wait(10), err
        finally:
            publisher.kill()
    listener.destroy_node()
    rclpy.shutdown()
    assert (out, publisher.returncode) == ("stopped\ntorn down\n", 0), err


def test_a_bad_parameter_is_one_line_and_status_2(ros_domain):
    out, err = (publisher := process(bad_parameter=True)).communicate(timeout=30)
    assert publisher.returncode == 2
    assert err == "groot_ros: rate_hz must be at least 0.1, not -3\n"
    assert out == ""


def test_an_autostart_that_fails_ends_the_process_with_status_1(ros_domain):
    out, err = (publisher := process(bad_setup=True)).communicate(timeout=30)
    assert publisher.returncode == 1
    assert "configure failed: no checkpoint" in err
    assert out == "torn down\n"
