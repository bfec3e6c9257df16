# SPDX-License-Identifier: Apache-2.0
"""From proposed chunks to bounded, continuous motion: plain numpy, no ROS, no torch."""

from groot_ros.control.chunk_validation import Rejection
from groot_ros.control.executor import Executor
from groot_ros.control.outputs import JointTrajectory, Update
from groot_ros.control.settings import ExecutorConfig

__all__ = ["Executor", "ExecutorConfig", "JointTrajectory", "Rejection", "Update"]
