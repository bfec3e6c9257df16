# SPDX-License-Identifier: Apache-2.0
"""Signals that arrive before a node's process is ready."""

import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

from groot_ros.core.share import robot_path

pytestmark = pytest.mark.ros
PARAMETERS = {
    "checkpoint": "slow",
    "robot": robot_path("so101"),
    "torch_threads": 1,
}
ARGUMENTS = ["--ros-args", *(a for k, v in PARAMETERS.items() for a in ("-p", f"{k}:={v}"))]
SLOW = Path(__file__).parents[1] / "support" / "slow_policy.py"


@contextmanager
def process(*arguments: str, **options: object):
    """Run Python with these arguments; kill it at the end if it is still running."""
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    ) as started:
        try:
            yield started
        finally:
            started.kill()


@pytest.fixture
def operator(ros_domain):
    """A node that calls the services of another."""
    rclpy.init()
    node = rclpy.create_node("operator")
    yield node
    node.destroy_node()
    rclpy.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("autostart", [True, False])
def test_a_node_that_is_loading_a_model_ends_immediately_and_without_a_traceback(
    operator, number, autostart
):
    with process(str(SLOW), *ARGUMENTS, "-p", f"autostart:={autostart}") as node:
        if not autostart:
            client = operator.create_client(ChangeState, "policy_node/change_state")
            assert client.wait_for_service(60)
            configure = Transition(id=Transition.TRANSITION_CONFIGURE)
            client.call_async(ChangeState.Request(transition=configure))
        assert any("loading" in line for line in node.stdout)
        node.send_signal(number)
        code, rest = node.wait(60), node.stdout.read()
    assert code == 0, rest
    assert "Traceback" not in rest
    assert "Fatal" not in rest


def test_a_node_that_is_still_importing_ends_immediately_and_without_a_traceback(
    ros_domain, tmp_path
):
    # Stands in for a module that the node imports and that takes long.
    (tmp_path / "rclpy.py").write_text(
        "import time\nprint('importing', flush=True)\ntime.sleep(600)\n"
    )
    with process("-m", "groot_ros.nodes", "policy_node", *ARGUMENTS, cwd=tmp_path) as node:
        assert node.stdout.readline() == "importing\n"
        node.send_signal(signal.SIGINT)
        assert node.wait(60) == -signal.SIGINT
        assert node.stdout.read() == ""


@pytest.mark.parametrize("arguments", [[], ["run"], ["no_node"]])
def test_without_the_name_of_a_node_the_names_are_listed(arguments):
    command = [sys.executable, "-m", "groot_ros.nodes", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 1
    assert ran.stderr == (
        "usage: python -m groot_ros.nodes "
        "{executor_node,expert_node,lockstep_node,player_node,policy_node,recorder_node,"
        "sim_robot_node} [--ros-args ...]\n"
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--params-file", "/nonexist.yaml"], "/nonexist.yaml"),
        (["-p", "autostart:='yes'"], "autostart"),
        (["-p", "rate_hz:=fast"], "rate_hz must be a number"),
    ],
)
def test_a_wrong_argument_is_one_line_without_a_traceback(ros_domain, arguments, problem):
    command = [sys.executable, "-m", "groot_ros.nodes", "executor_node", "--ros-args", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 2
    (line,) = [each for each in ran.stderr.splitlines() if each.startswith("groot_ros: ")]
    assert problem in line
    assert "Traceback" not in ran.stderr


def test_a_node_without_autostart_says_that_it_waits(ros_domain):
    with process("-m", "groot_ros.nodes", "executor_node") as node:
        assert any("unconfigured: waiting for configure" in line for line in node.stdout)
        node.send_signal(signal.SIGINT)
        assert node.wait(60) == 0


def test_a_simulated_robot_without_a_contract_names_the_parameter(ros_domain):
    command = [sys.executable, "-m", "groot_ros.nodes", "sim_robot_node"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "groot_ros: robot is not set: give the file of a robot contract" in ran.stderr
