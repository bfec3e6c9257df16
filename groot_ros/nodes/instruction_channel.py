# SPDX-License-Identifier: Apache-2.0
"""Instructions for the policy from topics and services, and the topics that say which it follows.

A prompt of words and pictures is an instruction with pictures. Messages of the topics are checked,
because any node can publish there: a bag that is played, or a second operator, must not move the
robot. An empty instruction, which stops, is always followed.
"""

from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import TypeAlias

from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.subscription import Subscription
from std_msgs.msg import String

from groot_ros.bridge import qos, rclpy_patches
from groot_ros.bridge.competing_inputs import COMPETING_PUBLISHERS, CompetingInstructions
from groot_ros.bridge.messages import ns_to_time
from groot_ros.bridge.prompt_messages import pictures_from_msg, prompt_to_msg
from groot_ros.core import MalformedError, instruction_problem, is_blank
from groot_ros.core.prompt import NO_PICTURES, Pictures
from groot_ros.msg import Instruction, MultimodalPrompt
from groot_ros.nodes.publisher_gate import PublisherGate
from groot_ros.observation.instruction import InstructionBox
from groot_ros.srv import SetInstruction, SetPrompt

#: Text and pictures.
_Given: TypeAlias = tuple[str, Pictures]

#: s between two looks at the publishers of the topics.
_GRAPH_PERIOD = 0.1


def subscribe_instruction(
    node: Node, callbacks: tuple[Callable[..., None], Callable[..., None]], group: CallbackGroup
) -> list[Subscription]:
    """Subscribe to the instruction topic with any QoS of its publisher.

    Two subscriptions receive each message, each of them in order. They share a callback group:
    otherwise a thread with an old message could be overtaken by a thread with the next one. The
    reliable subscription is called last, so the last message cannot be lost.

    Args:
        node: the subscribing node.
        callbacks: one for each subscription.
        group: a mutually exclusive callback group.

    """
    return [
        node.create_subscription(
            String,
            "instruction",
            callback,
            profile,
            callback_group=group,
            event_callbacks=rclpy_patches.NO_SUBSCRIPTION_EVENTS,
        )
        for callback, profile in zip(
            callbacks, (qos.INSTRUCTION, qos.INSTRUCTION_LATCHED), strict=True
        )
    ]


class InstructionChannel:
    """Stores instructions from topic and service, and publishes the one that is followed.

    Args:
        node: node of subscriptions, publisher and service.
        box: receives the instructions.
        on_change: called after each new instruction.
        reject: called with (reason, detail) for each instruction that is not followed.
        session: returns the session of the policy, empty while it is not active.
        accepts_topic: returns whether instructions on the topics are followed.
        problem: returns why the policy cannot follow a text with these pictures, or "".
        group: callback group of the services.

    Attributes:
        rejection: why the newest instruction is not followed; empty if it is.

    """

    def __init__(
        self,
        node: Node,
        box: InstructionBox,
        on_change: Callable[[], None],
        reject: Callable[[str, str], None],
        session: Callable[[], str],
        accepts_topic: Callable[[], bool],
        problem: Callable[[str, Pictures], str],
        group: CallbackGroup,
    ) -> None:
        self._node = node
        self._box = box
        self._on_change = on_change
        self._report_rejection = reject
        self.rejection = ""
        self._session = session
        self._accepts_topic = accepts_topic
        self._problem = problem
        self._lock = Lock()
        self._publisher = node.create_publisher(
            Instruction,
            "active_instruction",
            qos.LATCHED,
            event_callbacks=rclpy_patches.NO_PUBLISHER_EVENTS,
        )
        self._prompts = node.create_publisher(
            MultimodalPrompt,
            "active_prompt",
            qos.LATCHED,
            event_callbacks=rclpy_patches.NO_PUBLISHER_EVENTS,
        )
        #: Number of the instruction whose pictures were published; None before the first.
        self._shown: int | None = None
        follow = partial(self._follow, source=Instruction.SOURCE_TOPIC)
        self._gates = {
            name: PublisherGate[_Given](
                node, node.resolve_topic_name(name), f"set_{name}", follow, self._reject
            )
            for name in ("instruction", "prompt")
        }
        own = MutuallyExclusiveCallbackGroup()
        # A conflict shows in the order of the messages, so each subscription has its own check.
        subscribe_instruction(
            node,
            (self._on_topic_of(node), self._on_topic_of(node)),
            own,
        )
        node.create_subscription(
            MultimodalPrompt,
            "prompt",
            self._on_prompt,
            qos.LATCHED,
            callback_group=own,
            event_callbacks=rclpy_patches.NO_SUBSCRIPTION_EVENTS,
        )
        node.create_timer(
            _GRAPH_PERIOD,
            self._on_graph_period,
            callback_group=own,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        node.create_service(
            SetInstruction, "~/set_instruction", self._on_service, callback_group=group
        )
        node.create_service(
            SetPrompt, "~/set_prompt", self._on_prompt_service, callback_group=group
        )

    def publish(self) -> None:
        """Publish the instruction that is followed, as after a change of the session."""
        current = self._box.current
        msg = Instruction(
            text=current.text,
            instruction_id=current.id,
            session=self._session(),
            source=current.source,
        )
        msg.header.stamp = ns_to_time(int(self._node.get_clock().now().nanoseconds))
        self._publisher.publish(msg)
        # Pictures are large: once for each instruction, and never for a policy without them.
        if current.id != self._shown and (current.pictures or self._shown is not None):
            prompt = prompt_to_msg(current.text, current.pictures)
            prompt.header.stamp = msg.header.stamp
            self._prompts.publish(prompt)
            self._shown = current.id

    def check_present(self) -> None:
        """Stop if the policy, which was loaded since, cannot follow the present instruction."""
        current = self._box.current
        if not current.stops and (problem := self._problem(current.text, current.pictures)):
            self._set("", current.source)
            self._reject("bad_prompt", problem)

    def _on_topic_of(self, node: Node) -> Callable[..., None]:
        check = CompetingInstructions(node, self._gates["instruction"].topic)
        return rclpy_patches.with_publication_number(partial(self._on_topic, check))

    def _on_topic(self, check: CompetingInstructions, msg: String, number: int | None) -> None:
        conflict = check.check_instruction(msg.data, number)
        problem = instruction_problem(msg.data)
        if is_blank(msg.data):
            self._stop(Instruction.SOURCE_TOPIC)
            return
        if problem:
            self._reject("bad_instruction", problem)
            return
        if not self._accepts("instruction", msg.data):
            return
        if conflict:
            self._stop(Instruction.SOURCE_CONFLICT)
            self._reject(COMPETING_PUBLISHERS, conflict)
            return
        self._gates["instruction"].admit((msg.data, NO_PICTURES), msg.data)

    def _on_prompt(self, msg: MultimodalPrompt) -> None:
        if is_blank(msg.text):
            self._stop(Instruction.SOURCE_TOPIC)
            return
        try:
            pictures = pictures_from_msg(msg)
        except MalformedError as error:
            self._reject(error.reason, error.detail)
            return
        if self._accepts("prompt", msg.text):
            self._gates["prompt"].admit((msg.text, pictures), msg.text)

    def _accepts(self, name: str, text: str) -> bool:
        """Return whether the topics are followed; reject the instruction if they are not."""
        if self._accepts_topic():
            return True
        self._reject(
            "instruction_topic_off",
            f"'{text}' on '{self._gates[name].topic}': accept_instruction_topic is false, use the "
            f"service set_{name}",
        )
        return False

    def _stop(self, source: str) -> None:
        """Follow an empty instruction, and nothing that was received before it."""
        for gate in self._gates.values():
            gate.drop()
        self._set("", source)

    def _on_graph_period(self) -> None:
        for gate in self._gates.values():
            gate.update()

    def _follow(self, given: _Given, source: str) -> None:
        text, pictures = given
        if problem := self._problem(text, pictures):
            self._reject("bad_prompt", problem)
        else:
            self._set(text, source, pictures)

    def _on_service(
        self, request: SetInstruction.Request, response: SetInstruction.Response
    ) -> SetInstruction.Response:
        problem, reason = instruction_problem(request.instruction), "bad_instruction"
        if not problem and not is_blank(request.instruction):
            problem, reason = self._problem(request.instruction, NO_PICTURES), "bad_prompt"
        if problem:
            self._reject(reason, problem)
            response.message = problem
            response.instruction_id = self._box.current.id
            return response
        response.success = True
        response.message, response.instruction_id = self._serve(request.instruction, NO_PICTURES)
        return response

    def _on_prompt_service(
        self, request: SetPrompt.Request, response: SetPrompt.Response
    ) -> SetPrompt.Response:
        text, pictures, problem = request.prompt.text, NO_PICTURES, ""
        if not is_blank(text):
            try:
                pictures = pictures_from_msg(request.prompt)
                problem = self._problem(text, pictures)
            except MalformedError as error:
                problem = error.detail
        if problem:
            self._reject("bad_prompt", problem)
            response.message = problem
            response.instruction_id = self._box.current.id
            return response
        response.success = True
        response.message, response.instruction_id = self._serve(text, pictures)
        return response

    def _serve(self, text: str, pictures: Pictures) -> tuple[str, int]:
        """Follow an instruction of a service; return what to answer, and its number."""
        if not self._set(text, Instruction.SOURCE_SERVICE, pictures):
            # An executor that was stopped by itself follows it again.
            with self._lock:
                self.publish()
        current = self._box.current
        answer = "stopped: the instruction is empty" if current.stops else current.text
        return answer, current.id

    def _reject(self, reason: str, detail: str) -> None:
        self.rejection = f"{reason}: {detail}"
        self._report_rejection(reason, detail)

    def _set(self, text: str, source: str, pictures: Pictures = NO_PICTURES) -> bool:
        """Follow an instruction; return False if it is the present one."""
        self.rejection = ""
        with self._lock:
            if not self._box.set(text, source, pictures):
                return False
            shown = f" with pictures of {', '.join(sorted(pictures))}" if pictures else ""
            self._node.get_logger().info(f"instruction {self._box.current.id}: '{text}'{shown}")
            self.publish()
        self._on_change()
        return True
