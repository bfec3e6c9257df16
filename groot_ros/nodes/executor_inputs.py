"""The executor's subscriptions: the robot, its controllers, the policy and the operator."""

from functools import partial
from typing import Any, Protocol

from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from groot_ros.bridge import no_events, qos
from groot_ros.bridge.controller_state import state_topic
from groot_ros.msg import ActionChunk, PolicyStatus
from groot_ros.nodes.instruction_channel import subscribe_instruction
from groot_ros.robot import JointStateSource, RobotContract

try:
    from control_msgs.msg import JointTrajectoryControllerState
except ImportError:  # not in every installation; without it a rejection is seen in the robot alone
    JointTrajectoryControllerState = None


class Listener(Protocol):
    """Who takes the messages."""

    def on_joint_state(self, source: JointStateSource, msg: JointState) -> None:
        """Of one source of the contract."""

    def on_instruction(self, msg: String) -> None:
        """Of the operator; every word comes twice."""

    def on_chunk(self, msg: ActionChunk) -> None:
        """Of a policy."""

    def on_policy_status(self, msg: PolicyStatus) -> None:
        """Of a policy."""

    def on_controller_state(self, controller: str, msg: Any) -> None:
        """A JointTrajectoryControllerState of the controller of this name."""


class ExecutorInputs:
    """Subscriptions by a robot contract, until close()."""

    def __init__(self, node: Node, contract: RobotContract, listener: Listener) -> None:
        self._node = node
        subscribe = node.create_subscription
        self._subscriptions: list[Subscription] = [
            subscribe(
                JointState,
                source.topic,
                partial(listener.on_joint_state, source),
                qos.JOINT_STATES,
            )
            for source in contract.joint_states
        ]
        self._subscriptions += subscribe_instruction(node, listener.on_instruction)
        self._subscriptions += [
            subscribe(ActionChunk, "action_chunk", listener.on_chunk, qos.CHUNKS),
            subscribe(
                PolicyStatus,
                "policy_status",
                listener.on_policy_status,
                qos.LATCHED,
                event_callbacks=no_events.SUBSCRIPTION,
            ),
        ]
        if JointTrajectoryControllerState is not None:
            self._subscriptions += [
                subscribe(
                    JointTrajectoryControllerState,
                    state_topic(c.topic),
                    partial(listener.on_controller_state, c.name),
                    qos.SENSOR,
                )
                for c in contract.controllers
                if c.type == "joint_trajectory_controller"
            ]

    def close(self) -> None:
        """Listen no longer."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
