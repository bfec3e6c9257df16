# SPDX-License-Identifier: Apache-2.0
"""Subscriptions of the executor: joint states, controllers, instructions; all but the chunks."""

import math
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from lifecycle_msgs.msg import State
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from groot_ros.bridge import qos, rclpy_patches
from groot_ros.bridge.competing_inputs import COMPETING_PUBLISHERS, CompetingInput
from groot_ros.bridge.instruction_mismatch import HeldInstruction, InstructionMismatch
from groot_ros.bridge.live_graph import InputTopic, MissingInputs
from groot_ros.control import Executor, ExecutorConfig, Rejection, Update
from groot_ros.core import is_blank, ns_to_s, other_clock_hint, time_to_ns
from groot_ros.msg import Instruction, PolicyStatus
from groot_ros.nodes.instruction_channel import subscribe_instruction
from groot_ros.robot import JointStateSource, RobotContract
from groot_ros.robot.controller import StateTopic, controller_type
from groot_ros.robot.speed_scaling import SpeedScalingTopic


class ExecutorInputs:
    """Subscriptions that pass their messages to the executor, from open() to close().

    Attributes:
        active: whether the robot is driven; otherwise nothing is published.
        mismatch: comparison of the policy's instruction with the executor's.

    Args:
        node: creates the subscriptions.
        control: receives the inputs.
        publish: publishes what follows from an input.
        log_rejection: logs why an input was not used.

    """

    def __init__(
        self,
        node: Node,
        control: Executor,
        publish: Callable[[Update | None], None],
        log_rejection: Callable[[Rejection | None], None],
    ) -> None:
        self.active = False
        self.mismatch = InstructionMismatch()
        self._node = node
        self._control = control
        self._publish = publish
        self._log_rejection = log_rejection
        self._competing: dict[JointStateSource, CompetingInput] = {}
        self._silent: set[str] = set()
        self._missing = MissingInputs(node, {})
        self._polled: list[Subscription] = []
        self._subscriptions: list[Subscription] = []

    def open(self, contract: RobotContract) -> None:
        """Create the subscriptions; those of a call that fails are destroyed by close(), too."""
        messages = {source.topic: "sensor_msgs/msg/JointState" for source in contract.sources}
        if (scaling := contract.speed_scaling) is not None:
            messages[scaling.topic] = scaling.type.replace("/", "/msg/")
        self._silent = set(messages)
        resolve = self._node.resolve_topic_name
        self._missing = MissingInputs(
            self._node, {name: InputTopic(resolve(name), type_) for name, type_ in messages.items()}
        )
        for source in contract.sources:
            self._subscribe_joint_states(source)
        stops = (self.on_instruction, self.on_instruction)
        group = MutuallyExclusiveCallbackGroup()
        self._subscriptions += subscribe_instruction(self._node, stops, group)
        self._subscribe(
            Instruction, "active_instruction", self.on_active_instruction, qos.LATCHED, events=False
        )
        self._subscribe(
            PolicyStatus, "policy_status", self.on_policy_status, qos.LATCHED, events=False
        )
        if scaling is not None:
            on_scaling = partial(self.on_speed_scaling, scaling)
            self._subscribe(scaling.message_type(), scaling.topic, on_scaling, qos.SENSOR)
        for controller in contract.controllers:
            if state := controller_type(controller.type).state():
                on_state = partial(self.on_controller_state, controller.name, state)
                topic = state.name(controller.topic)
                self._poll(self._subscribe(state.message, topic, on_state, qos.JOINT_STATES))

    def report_missing(self) -> str:
        """Log inputs from which nothing was received, and return a line about them or ""."""
        return self._missing.update(self._silent, time.monotonic_ns())

    def begin(self) -> None:
        """Start to report missing inputs, at activation."""
        self._missing.begin(time.monotonic_ns())

    def close(self) -> None:
        """Destroy the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions, self._polled = [], []

    def _subscribe(
        self,
        message: Any,
        topic: str,
        callback: Callable[..., None],
        profile: Any,
        *,
        events: bool = True,
    ) -> Subscription:
        options: dict[str, Any] = {}
        if not events:
            options["event_callbacks"] = rclpy_patches.NO_SUBSCRIPTION_EVENTS
        self._subscriptions.append(
            self._node.create_subscription(message, topic, callback, profile, **options)
        )
        return self._subscriptions[-1]

    def _subscribe_joint_states(self, source: JointStateSource) -> None:
        topic = self._node.resolve_topic_name(source.topic)
        self._competing[source] = CompetingInput(self._node, topic, source.joints, source.rate)
        callback = rclpy_patches.with_publication_number(partial(self.on_joint_state, source))
        subscription = self._subscribe(JointState, source.topic, callback, qos.JOINT_STATES)
        if source.stamp == "header":
            self._poll(subscription)

    def _poll(self, subscription: Subscription) -> None:
        """Take the messages at each tick, which needs them: each wait costs a third of a tick."""
        rclpy_patches.poll(subscription)
        self._polled.append(subscription)

    def take_measurements(self) -> None:
        """Take the joint and controller states that have arrived since the last tick."""
        for subscription in self._polled:
            rclpy_patches.deliver(subscription)

    def on_joint_state(
        self, source: JointStateSource, msg: JointState, number: int | None = None
    ) -> None:
        """Update the measured state of the joints that this source is trusted for."""
        control, now = self._control, self._now()
        self._silent.discard(source.topic)
        # Before the first /clock no stamp can be judged; its absence is reported.
        if now == 0:
            return
        trusted: Collection[str] = source.joints
        competing = self._competing[source]
        if conflict := competing.check_message(msg.name, number):
            rejection = Rejection(COMPETING_PUBLISHERS, conflict)
            self._log_rejection(
                control.reject_joint_state(rejection, competing.contested, forget=True)
            )
            trusted = set(trusted).difference(competing.contested)
        stamp = now if source.stamp == "arrival" else time_to_ns(msg.header.stamp)
        if rejection_of_stamp := _check_stamp(source, stamp, now, control.settings):
            # Messages wait during a transition of the node; their age is no fault then.
            if self.active or rejection_of_stamp.reason != "stale_joint_state":
                self._log_rejection(control.reject_joint_state(rejection_of_stamp, trusted))
            return
        self._log_rejection(
            control.observe(
                stamp - source.latency_ns, msg.name, msg.position, msg.velocity, trusted
            )
        )

    # Controllers

    def on_controller_state(self, controller: str, state: StateTopic, msg: Any) -> None:
        """Compare a controller's reference with what it was sent."""
        if self.active:
            stamp, now = time_to_ns(msg.header.stamp), self._now()
            self._publish(
                self._control.check_controller(
                    controller, stamp, state.reference(msg), now, state.speed_scaling(msg)
                )
            )

    def on_speed_scaling(self, topic: SpeedScalingTopic, msg: Any) -> None:
        """Follow the speed scaling that the robot reports."""
        self._silent.discard(topic.topic)
        factor = topic.factor(msg)
        if math.isfinite(factor):
            self._publish_if_active(self._control.report_speed_scaling(factor, self._now()))

    # Policy and operator

    def on_policy_status(self, msg: PolicyStatus) -> None:
        """End the policy's session if the policy is no longer active; note its instruction."""
        held = HeldInstruction(msg.session, msg.instruction_id, msg.instruction)
        self.mismatch.record_policy(held, time.monotonic_ns())
        if msg.lifecycle != State.PRIMARY_STATE_ACTIVE:
            self._control.end_session(msg.session)

    def on_active_instruction(self, msg: Instruction) -> None:
        """Follow a new instruction of the policy whose chunks are executed."""
        if not msg.session:
            return
        self._control.announce_instruction(msg.session, msg.text, msg.instruction_id)
        if msg.session == self._control.live_session:
            update = self._control.instruct(msg.text, self._now(), msg.instruction_id)
            self._publish_if_active(update)

    def on_instruction(self, msg: String) -> None:
        """Stop if an empty instruction is received; others are for the policy."""
        if is_blank(msg.data):
            self._publish_if_active(self._control.instruct("", self._now()))

    def _publish_if_active(self, update: Update | None) -> None:
        if self.active:
            self._publish(update)

    def _now(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)


def _check_stamp(
    source: JointStateSource, stamp_ns: int, now_ns: int, settings: ExecutorConfig
) -> Rejection | None:
    """Return why a joint state of this stamp cannot be used, or None.

    If one from the future were kept, it would hide all later states until its own time; one that is
    too old on arrival, as from a bag, would replace the newest measurement.
    """
    if stamp_ns == 0:
        return Rejection(
            "zero_stamp",
            f"'{source.topic}' does not stamp its messages: set 'stamp: arrival' of source "
            f"'{source.name}' in the robot contract",
        )
    age = ns_to_s(now_ns - stamp_ns)
    hint = other_clock_hint(age)
    if age < -settings.max_future:
        return Rejection("clock_skew", f"a joint state is stamped {-age:.3f} s ahead{hint}")
    if age > settings.joint_state_timeout:
        return Rejection(
            "stale_joint_state",
            f"'{source.topic}' is {age:.2f} s old on arrival, joint_state_timeout is "
            f"{settings.joint_state_timeout:g}{hint}",
        )
    return None
