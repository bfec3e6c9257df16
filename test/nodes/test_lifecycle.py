"""The shared lifecycle and how a process ends. Regressions pinned: exceptions of transition
callbacks are logged, impossible transitions do not end the process, a failed configure gives
back what it took, the last message leaves before the context goes down.
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
    """Notes its hooks; those in `broken` raise."""

    def __init__(self, *broken, error=None):
        super().__init__("recorded")
        self.calls = []
        self.broken = set(broken)
        self.error = error or RuntimeError("broken")

    def _note(self, hook):
        self.calls.append(hook)
        if hook in self.broken:
            raise self.error

    def setup(self):
        self._note("setup")

    def start(self):
        self._note("start")

    def stop(self):
        self._note("stop")

    def teardown(self):
        self._note("teardown")

    @property
    def state(self):
        return self._state_machine.current_state[0]


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
    assert node.state == State.PRIMARY_STATE_UNCONFIGURED


def test_a_failed_setup_is_torn_down_and_the_node_stays_unconfigured(make):
    node = make("setup")
    assert node.trigger_configure() == FAILED
    assert node.calls == ["setup", "teardown"]
    assert node.state == State.PRIMARY_STATE_UNCONFIGURED
    node.broken.clear()
    assert node.trigger_configure() == OK


def test_a_failed_start_is_stopped_and_the_node_stays_inactive(make):
    node = make("start")
    node.trigger_configure()
    assert node.trigger_activate() == FAILED
    assert node.calls == ["setup", "start", "stop"]
    assert node.state == State.PRIMARY_STATE_INACTIVE
    assert not node.active


def test_a_failing_stop_still_leaves_the_node_inactive(make):
    node = make("stop")
    node.trigger_configure()
    node.trigger_activate()
    assert node.trigger_deactivate() == OK
    assert node.state == State.PRIMARY_STATE_INACTIVE
    assert not node.active


def test_a_failing_teardown_ends_unconfigured_by_way_of_the_error_state(make):
    node = make("teardown")
    node.trigger_configure()
    assert node.trigger_cleanup() == ERROR
    assert node.state == State.PRIMARY_STATE_UNCONFIGURED


@pytest.mark.parametrize(
    ("error", "told", "traced"),
    [(SetupError("mend it so"), "configure failed: mend it so", False),
     (KeyError("oops"), "configure failed: KeyError: 'oops'", True)],
)  # fmt: skip
def test_the_reason_of_a_failure_is_logged_and_a_bug_with_its_traceback(
    make, capfd, error, told, traced
):
    make("setup", error=error).trigger_configure()
    written = capfd.readouterr().err
    assert told in written
    assert ("Traceback" in written) is traced


def test_shutdown_of_an_active_node_stops_before_it_tears_down(make):
    node = make()
    node.trigger_configure()
    node.trigger_activate()
    assert node.trigger_shutdown() == OK
    assert node.calls == ["setup", "start", "stop", "teardown"]
    assert node.state == State.PRIMARY_STATE_FINALIZED


def test_close_does_what_is_left_to_do_and_only_once(make):
    node = make()
    node.close()
    assert node.calls == []
    node.trigger_configure()
    node.close()
    node.close()
    assert node.calls == ["setup", "teardown"]


def test_autostart_goes_up_to_active_and_says_when_it_cannot(make):
    assert make().autostart()
    assert not make("setup").autostart()
    assert not make("start").autostart()


def test_an_impossible_transition_by_service_is_rejected_and_the_node_answers_on(make):
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

class Speaker(ManagedNode):
    def __init__(self):
        super().__init__("speaker")
        if {bad_parameter}:
            raise ValueError("rate_hz must be at least 0.1, not -3")
    def setup(self):
        if {bad_setup}:
            raise SetupError("no checkpoint")
        self.publisher = self.create_publisher(String, "last_words", 10)
        self.create_timer(0.05, lambda: self.publisher.publish(String(data="working")))
    def stop(self):
        self.publisher.publish(String(data="hold"))
        assert self.publisher.wait_for_all_acked(), "never arrived"
        print("stopped", flush=True)
    def teardown(self):
        print("torn down", flush=True)

class Late:  # Goes with the interpreter, when Python's own signal handlers are gone.
    def __del__(self, kill=os.kill, me=os.getpid(), number=signal.SIGINT):
        kill(me, number)

late = Late()
run(Speaker, threads={threads}, args=["--ros-args", "-p", "autostart:=true"])
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
def test_a_signal_lets_the_last_message_out_and_a_second_one_changes_nothing(
    ros_domain, number, threads
):
    rclpy.init()
    listener = rclpy.create_node("listener")
    heard = {"working": threading.Event(), "hold": threading.Event()}
    listener.create_subscription(String, "last_words", lambda msg: heard[msg.data].set(), 10)
    with spinning(listener), process(threads=threads) as speaker:
        try:
            assert heard["working"].wait(30)
            speaker.send_signal(number)
            speaker.send_signal(number)
            out, err = speaker.communicate(timeout=30)
            assert heard["hold"].wait(10), err
        finally:
            speaker.kill()
    listener.destroy_node()
    rclpy.shutdown()
    assert (out, speaker.returncode) == ("stopped\ntorn down\n", 0), err


def test_a_bad_parameter_is_one_line_and_status_2(ros_domain):
    out, err = (speaker := process(bad_parameter=True)).communicate(timeout=30)
    assert speaker.returncode == 2
    assert err == "groot_ros: rate_hz must be at least 0.1, not -3\n"
    assert out == ""


def test_an_autostart_that_fails_ends_the_process_with_status_1(ros_domain):
    out, err = (speaker := process(bad_setup=True)).communicate(timeout=30)
    assert speaker.returncode == 1
    assert "configure failed: no checkpoint" in err
    assert out == "torn down\n"
