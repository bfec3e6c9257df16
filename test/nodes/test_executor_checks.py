# SPDX-License-Identifier: Apache-2.0
"""The checks of robot contract and parameters when the executor is configured."""

from contextlib import contextmanager
from pathlib import Path

import pytest
import rclpy
import yaml
from rclpy.lifecycle import TransitionCallbackReturn

from groot_ros.core.share import robot_path
from groot_ros.nodes.executor_node import ExecutorNode

pytestmark = pytest.mark.ros


@contextmanager
def executor(folder: Path, rate: float, **parameters: object):
    """Create an executor whose joint states have this rate."""
    contract = yaml.safe_load(robot_path("so101").read_text())
    contract["inputs"]["sources"]["arm"]["rate"] = rate
    file = folder / "robot.yaml"
    file.write_text(yaml.safe_dump(contract, sort_keys=False))
    given = {"robot": file, **parameters}
    rclpy.init(args=["--ros-args", *(a for k, v in given.items() for a in ("-p", f"{k}:={v}"))])
    node = ExecutorNode()
    try:
        yield node
    finally:
        node.close()
        node.destroy_node()
        rclpy.shutdown()


def test_joint_states_that_always_come_too_late_fail_configure(ros_domain, tmp_path, capfd):
    with executor(tmp_path, rate=1.0) as node:
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    log = capfd.readouterr().err
    expected = f"configure failed: {tmp_path}/robot.yaml: 'inputs.sources.arm.rate' is 1 Hz: a "
    assert expected in log
    assert "joint_state_timeout 0.5 s: set joint_state_timeout to at least 2.4" in log


def test_a_timeout_that_one_lost_message_exceeds_is_a_warning(ros_domain, tmp_path, capfd):
    with executor(tmp_path, rate=100.0, joint_state_timeout=0.02) as node:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert "lost_joint_state" not in capfd.readouterr().err
    with executor(tmp_path, rate=60.0, joint_state_timeout=0.02) as node:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert "lost_joint_state: " in capfd.readouterr().err
