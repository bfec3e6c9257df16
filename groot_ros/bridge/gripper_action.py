# SPDX-License-Identifier: Apache-2.0
"""Grippers that are commanded by goals of an action: options, and the client of one gripper.

Goals are sent without waiting: answers and results arrive in callbacks of the node's thread.
ROS is imported where a client is created, because the options are read without it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from groot_ros.bridge.goal_schedule import (
    DEADBAND_SHARE,
    GOAL_PERIOD,
    RETRY_PERIOD,
    GoalSchedule,
)
from groot_ros.core import s_to_ns, time_to_ns
from groot_ros.core.config_reader import Fields
from groot_ros.robot.controller import CommandOutput, Controller, ControllerType, Guard
from groot_ros.robot.joint import GripperEnds, Joint

#: Checks of fault() after which a missing server or subscriber is reported: discovery takes time.
#: At the start its node may be starting, too: this matters once there is something to send.
_CHECKS_UNTIL_ABSENT = 2
_CHECKS_AT_START = 15
#: Checks of fault() for which a goal of another node is reported: goals are short.
_FOREIGN_CHECKS = 3
#: ns between two looks for the server while targets are given. A controller that is switched off
#: and on is away for about 0.1 s.
_SERVER_CHECK_NS = s_to_ns(0.05)
#: Number of goals that are remembered. A controller ends a superseded goal; more stay open only
#: with one that does not.
_REMEMBERED_GOALS = 20


@dataclass(frozen=True)
class GripperOptions:
    """Keys of the contract that gripper actions have.

    Attributes:
        deadband: change of the target that is worth a goal, rad or m.
        max_effort: of the motion to a goal, N or N m; None: the controller's own.
        scale: goal position per rad or m of the joint.
        offset: goal position where the joint is at 0.
        closes_upwards: whether the goal position is larger when the gripper is closed.

    """

    deadband: float
    max_effort: float | None
    scale: float
    offset: float
    closes_upwards: bool

    def to_goal_position(self, position: float) -> float:
        """Convert a position of the joint to one of a goal."""
        return self.scale * position + self.offset

    def to_joint_position(self, position: float) -> float:
        """Convert a position of a goal to one of the joint."""
        return (position - self.offset) / self.scale


@dataclass(eq=False)
class _Goal:
    """A goal that was sent and has no result yet."""

    position: float
    sent_ns: int
    handle: Any = None
    cancelled: bool = False


class PresenceCheck:
    """Decides when a server or subscriber that is not found is missing."""

    def __init__(self) -> None:
        self._limit = _CHECKS_AT_START
        self._absent_checks = 0

    def expect(self) -> None:
        """Record that it is needed, or was found, and is reported when it is missing."""
        self._limit = _CHECKS_UNTIL_ABSENT

    def is_missing(self, found: bool) -> bool:
        """Return whether it is missing, from one more check."""
        self._absent_checks = 0 if found else self._absent_checks + 1
        if found:
            self.expect()
        return self._absent_checks >= self._limit


class MissingPackageError(ValueError):
    """A ROS package that a controller needs is not installed; names it and the remedy."""


class GripperActionType(ControllerType):
    """Type of controllers that move one gripper joint to the goals of an action."""

    command = "target"
    default_topic = "gripper_cmd"
    topic_key: ClassVar[Literal["topic", "action"]] = "action"
    # A goal stands until the next one may be sent.
    target_lead = GOAL_PERIOD
    #: Name of the action in control_msgs.
    action: ClassVar[str]

    def read_options(self, section: Fields, joints: Sequence[Joint]) -> GripperOptions:
        """Read the options of a gripper."""
        joint, ends = require_gripper(section, joints)
        stroke = joint.limits.upper - joint.limits.lower
        scale = section.number("scale", 1.0)
        if scale == 0.0:
            raise section.error("scale", "must not be 0")
        return GripperOptions(
            section.number("deadband", DEADBAND_SHARE * stroke, above=0.0, at_most=stroke),
            section.number("max_effort", above=0.0) if section.has("max_effort") else None,
            scale,
            section.number("offset", 0.0),
            scale * (ends.closed - ends.open) > 0.0,
        )

    def connect(self, node: Any, controller: Controller, guard: Guard) -> CommandOutput:
        """Create the action client."""
        return GripperOutput(node, controller, self, guard)

    def action_type(self) -> Any:
        """Return the type of the action; raises MissingPackageError without control_msgs."""
        try:
            from control_msgs import action
        except ModuleNotFoundError as error:
            raise MissingPackageError(
                f"the action {self.action} is in the package control_msgs, which is not "
                "installed: apt install ros-$ROS_DISTRO-control-msgs"
            ) from error
        return getattr(action, self.action)

    @abstractmethod
    def to_goal(self, joint: str, position: float, max_effort: float | None) -> Any:
        """Return the goal for a position in the controller's unit."""

    @abstractmethod
    def goal_position(self, goal: Any) -> float | None:
        """Return the position of a goal, in the controller's unit; None without exactly one."""

    @abstractmethod
    def to_result(self, joint: str, position: float, *, stalled: bool, reached_goal: bool) -> Any:
        """Return the result of a goal that ended at a position in the controller's unit."""

    @abstractmethod
    def measured_position(self, result: Any) -> float | None:
        """Return the position that a result states, in the controller's unit; None without one."""


def require_gripper(section: Fields, joints: Sequence[Joint]) -> tuple[Joint, GripperEnds]:
    """Return the only joint of a controller and its ends; raises ContractError without them."""
    if len(joints) != 1:
        raise section.error(
            "joints", f"must be one joint, not {len(joints)}: give each one a controller entry"
        )
    (joint,) = joints
    if joint.gripper is None:
        raise section.error(
            "joints",
            f"has '{joint.name}', which does not follow its command like the joint of an arm: add "
            "'gripper: {closed, open}' to it",
        )
    if joint.kind == "continuous":
        raise section.error("joints", f"has the continuous joint '{joint.name}', without a stroke")
    return joint, joint.gripper


class GripperOutput(CommandOutput):
    """Action client of one gripper.

    Args:
        node: the node that commands it.
        controller: its entry of the contract.
        kind: conversion of goals and results.
        guard: wraps callbacks.

    """

    def __init__(
        self, node: Any, controller: Controller, kind: GripperActionType, guard: Guard
    ) -> None:
        from action_msgs.msg import GoalStatusArray
        from rclpy.action import ActionClient

        from groot_ros.bridge import qos

        self._node = node
        self._controller = controller
        self._options: GripperOptions = controller.options
        self._kind = kind
        self._guard = guard
        self._schedule = GoalSchedule(self._options.deadband)
        self._client = ActionClient(node, kind.action_type(), controller.topic)
        self._status = node.create_subscription(
            GoalStatusArray, f"{controller.topic}/_action/status", self._on_status, qos.LATCHED
        )
        self._since_ns = int(node.get_clock().now().nanoseconds)
        self._own_ids: deque[bytes] = deque(maxlen=_REMEMBERED_GOALS)
        self._goals: deque[_Goal] = deque(maxlen=_REMEMBERED_GOALS)
        self._newest: _Goal | None = None
        self._foreign_checks = 0
        self._fault = ""
        self._server = PresenceCheck()
        self._looked_ns: int | None = None

    def send(self, command: NDArray[np.float64], now_ns: int) -> None:
        """Send a goal if the target, [1] rad or m, has moved enough since the last one."""
        from unique_identifier_msgs.msg import UUID

        target = float(command[0])
        self._look_for_server(now_ns)
        if not self._schedule.is_due(target, now_ns):
            return
        if not self._client.server_is_ready():
            self._schedule.record_undelivered(now_ns)
            self._server.expect()
            return
        self._schedule.record_sent(target, now_ns)
        position = self._options.to_goal_position(target)
        goal = _Goal(position, now_ns)
        self._goals.append(goal)
        self._newest = goal
        (joint,) = self._controller.joints
        message = self._kind.to_goal(joint, position, self._options.max_effort)
        goal_id = uuid4().bytes
        self._own_ids.append(goal_id)
        future = self._client.send_goal_async(message, goal_uuid=UUID(uuid=list(goal_id)))
        future.add_done_callback(self._guard(partial(self._on_response, goal)))

    def _look_for_server(self, now_ns: int) -> None:
        """Forget the last goal if there is no server: one that comes back does not know it."""
        if self._looked_ns is not None and 0 <= now_ns - self._looked_ns < _SERVER_CHECK_NS:
            return
        self._looked_ns = now_ns
        if not self._client.server_is_ready():
            self._schedule.forget()

    def cancel(self) -> None:
        """Cancel every goal that has no result; one that is not accepted yet when it is."""
        for goal in self._goals:
            if not goal.cancelled:
                goal.cancelled = True
                self._schedule.forget()
                if goal.handle is not None:
                    self._cancel(goal)

    def fault(self) -> str:
        """Return why the gripper cannot be commanded, or how its last goal failed, or ""."""
        found = self._client.server_is_ready()
        is_missing = self._server.is_missing(found)
        if found:
            if not self._foreign_checks:
                return self._fault
            self._foreign_checks -= 1
            return f"another node sends goals to {self._name}: stop one of them"
        self._schedule.forget()
        if not is_missing:
            return ""
        return (
            f"{self._name} cannot be commanded: no server of the action "
            f"'{self._controller.topic}'; start or activate the controller, or correct 'action' "
            "of this controller in the robot contract"
        )

    def destroy(self) -> None:
        """Destroy the client; a goal in execution continues."""
        self._node.destroy_subscription(self._status)
        self._client.destroy()

    @property
    def _name(self) -> str:
        return f"gripper controller '{self._controller.name}'"

    def _on_status(self, msg: Any) -> None:
        """Notice goals of other nodes; those from before this client are of its predecessor."""
        from action_msgs.msg import GoalStatus

        active = (GoalStatus.STATUS_ACCEPTED, GoalStatus.STATUS_EXECUTING)
        for entry in msg.status_list:
            is_own = bytes(entry.goal_info.goal_id.uuid) in self._own_ids
            is_new = time_to_ns(entry.goal_info.stamp) > self._since_ns
            if entry.status in active and is_new and not is_own:
                self._foreign_checks = _FOREIGN_CHECKS

    def _on_response(self, goal: _Goal, future: Any) -> None:
        handle = future.result()
        if not handle.accepted:
            self._end(goal)
            if goal.cancelled or goal is not self._newest:
                return
            self._schedule.record_undelivered(goal.sent_ns, RETRY_PERIOD)
            self._fault = (
                f"{self._name} rejected the goal {goal.position:.4g}: activate the controller, or "
                "see its log; the goal is sent again every second"
            )
            return
        goal.handle = handle
        if goal.cancelled:
            self._cancel(goal)
        handle.get_result_async().add_done_callback(self._guard(partial(self._on_result, goal)))

    def _on_result(self, goal: _Goal, future: Any) -> None:
        self._end(goal)
        # The controller ends a superseded goal when it accepts the next one.
        if goal.cancelled or goal is not self._newest:
            return
        answer = future.result()
        self._fault = self._failure(goal, answer.status, answer.result)

    def _failure(self, goal: _Goal, status: int, result: Any) -> str:
        """Return how the newest goal failed; empty if it did not."""
        from action_msgs.msg import GoalStatus

        if status == GoalStatus.STATUS_SUCCEEDED:
            return ""
        if status == GoalStatus.STATUS_CANCELED:
            return (
                f"another node cancelled the goal {goal.position:.4g} of {self._name}: stop one of "
                "them"
            )
        measured = self._kind.measured_position(result)
        if not result.stalled:
            return (
                f"{self._name} aborted the goal {goal.position:.4g}: see its log; the next goal is "
                "sent when the target changes"
            )
        # Fingers that stop on an object before they are closed have grasped it.
        if self._was_closing(goal, measured):
            return ""
        return (
            f"{self._name} stalled while opening to {goal.position:.4g}, at {measured:.4g}: "
            "remove what blocks it, or correct the open end of its joint in the robot contract"
        )

    def _was_closing(self, goal: _Goal, measured: float | None) -> bool:
        """Return whether the gripper was closing when it stalled; also if that is unknown."""
        if measured is None or goal.position == measured:
            return True
        return (goal.position > measured) == self._options.closes_upwards

    def _end(self, goal: _Goal) -> None:
        if goal in self._goals:
            self._goals.remove(goal)

    def _cancel(self, goal: _Goal) -> None:
        future = goal.handle.cancel_goal_async()
        future.add_done_callback(self._guard(partial(self._on_cancelled, goal)))

    def _on_cancelled(self, goal: _Goal, future: Any) -> None:
        from action_msgs.srv import CancelGoal

        answer = future.result()
        # A server in Python answers ERROR_NONE without a goal.
        rejected = (CancelGoal.Response.ERROR_REJECTED, CancelGoal.Response.ERROR_NONE)
        if not answer.goals_canceling and answer.return_code in rejected:
            self._fault = (
                f"{self._name} did not cancel the goal {goal.position:.4g} at the emergency stop: "
                "it may still be moving; stop it at the hardware"
            )
