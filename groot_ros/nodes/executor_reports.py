# SPDX-License-Identifier: Apache-2.0
"""Reports of the executor: its state, diagnostics, and rejections in the log."""

import time
from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node

from groot_ros.bridge import qos
from groot_ros.bridge.competing_inputs import COMPETING_PUBLISHERS
from groot_ros.bridge.diagnosis import (
    ExecutorDiagnosis,
    Finding,
    LastingProblems,
    diagnostic_array,
)
from groot_ros.bridge.joint_state_output import JointStateOutput
from groot_ros.bridge.messages import executor_state_to_msg
from groot_ros.control import Executor, Rejection
from groot_ros.core import COMMITTED_JOINT_STATES, NS_PER_S, ExecutorStatus
from groot_ros.core import ExecutorState as StateRecord
from groot_ros.msg import ExecutorState
from groot_ros.nodes.realtime import TickTiming
from groot_ros.observation.rejections import EXPECTED_REJECTIONS, RejectionCounts
from groot_ros.robot import RobotContract

#: Time in which the same reason is logged only once, ns.
_QUIET_NS = 5 * NS_PER_S


class ExecutorReports:
    """Publishers of the executor's state and diagnostics, and its log of rejections.

    Attributes:
        states: publisher of the state.

    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.states = node.create_publisher(ExecutorState, "executor_state", qos.LATCHED)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", qos.DRIVER)
        self._committed = JointStateOutput(node, COMMITTED_JOINT_STATES)
        self._ticks = 0
        self.reset()

    def reset(self, robot: RobotContract | None = None) -> None:
        """Forget what was reported before; `robot` is the robot that is driven, if known."""
        self._robot = "" if robot is None else robot.robot
        joints = {} if robot is None else robot.joints
        grippers = {name for name, joint in joints.items() if joint.gripper is not None}
        self._rejections = RejectionCounts(_QUIET_NS)
        self._diagnosis = ExecutorDiagnosis(self._node.get_name(), grippers)
        self._lasting = LastingProblems()
        self._last: StateRecord | None = None
        self._output_faults: Sequence[str] = ()

    def publish_state(self, state: StateRecord) -> None:
        """Publish a state."""
        self.states.publish(executor_state_to_msg(state))
        before, self._last = self._last, state
        if before is not None and state.late_splices > before.late_splices:
            detail = (
                f"{state.splice_delay:.3f} s after sending; the lead time is now "
                f"{state.splice_lead_time:.3f} s"
            )
            self._node.get_logger().warning(
                f"a splice took effect late, {detail}", throttle_duration_sec=5.0
            )

    def publish_committed(self, control: Executor, now_ns: int) -> None:
        """Publish the committed positions, in every n-th call and while anything subscribes."""
        settings = control.settings
        self._ticks += 1
        rate = settings.committed_joint_states_rate
        if not rate or self._ticks < round(settings.rate_hz / rate):
            return
        self._ticks = 0
        if self._committed.subscribed:
            positions = control.committed(now_ns)
            if positions is not None:
                joints = zip(control.joint_names, positions.tolist(), strict=True)
                self._committed.publish(now_ns, dict(joints))

    def has_changed(self, status: ExecutorStatus, reason: str) -> bool:
        """Return whether status or reason differ from the last published state."""
        last = self._last
        return last is None or (last.status, last.reason) != (status, reason)

    def publish_diagnostics(
        self,
        state: StateRecord,
        faults: Sequence[str],
        timing: TickTiming,
        missing: str,
        warnings: Sequence[Finding],
    ) -> None:
        """Publish the diagnosis of motion and timer.

        Args:
            state: the current state.
            faults: errors outside the motion.
            timing: of the timer.
            missing: description of inputs from which nothing was received, "" if there are none.
            warnings: other problems outside the motion.

        """
        name = self._node.get_name()
        ticks = timing.status(name)
        statuses = [ticks, self._diagnosis.status(state, faults, missing, warnings)]
        self._diagnostics.publish(
            diagnostic_array(self._node, self._robot, state.stamp_ns, statuses)
        )
        late = [] if ticks.level == DiagnosticStatus.OK else [_late_timer(ticks)]
        for problem in (*self._diagnosis.to_log, *self._lasting.record(late)):
            self._node.get_logger().warning(problem)

    def log_output_faults(self, faults: Sequence[str]) -> None:
        """Log the faults of controllers that are new, and that there are none any more."""
        for fault in faults:
            if fault not in self._output_faults:
                self._node.get_logger().error(fault)
        if self._output_faults and not faults:
            self._node.get_logger().info("all controllers can be commanded again")
        self._output_faults = tuple(faults)

    def log_rejection(self, rejection: Rejection | None) -> None:
        """Log a rejection, each reason once in a while."""
        if rejection is None or not self._rejections.record_rejection(
            rejection.reason, time.monotonic_ns()
        ):
            return
        logger = self._node.get_logger()
        if rejection.reason in EXPECTED_REJECTIONS:
            logger.info(f"rejected: {rejection}")
        elif rejection.reason in ("second_policy", "second_executor", COMPETING_PUBLISHERS):
            logger.error(f"rejected: {rejection}")
        else:
            logger.warning(f"rejected: {rejection}")


def _late_timer(ticks: DiagnosticStatus) -> Finding:
    remedy = (
        "give the executor its own core (executor_cpus) and real-time priority, or lower rate_hz"
    )
    return Finding(ticks.level, ticks.message, "late_timer", remedy)
