"""From proposed chunks to bounded, continuous motion: plain numpy, no ROS, no torch."""

from groot_ros.control.executor import Executor
from groot_ros.control.outputs import Update
from groot_ros.control.rejection import Rejection
from groot_ros.control.settings import ExecutorConfig
from groot_ros.control.trajectory import JointTrajectory

__all__ = ["Executor", "ExecutorConfig", "JointTrajectory", "Rejection", "Update"]
