# SPDX-License-Identifier: Apache-2.0
"""The operator's commands, as calls of the services of policy and executor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from std_srvs.srv import SetBool, Trigger

from groot_ros.bridge.graph_client import GraphClient, NoAnswerError, ServiceCall
from groot_ros.core import is_blank
from groot_ros.core.prompt import Pictures
from groot_ros.srv import SetInstruction, SetPrompt

POLICY, EXECUTOR = "policy_node", "executor_node"


class Outcome(IntEnum):
    """Result of a command; the number is the exit status of its verb."""

    ACCEPTED = 0
    REJECTED = 1
    NO_ANSWER = 3


@dataclass(frozen=True)
class Reply:
    """Reply of one node to a command.

    Attributes:
        node: name of the node.
        outcome: whether it accepted the command.
        message: what the node answered, or why there is no answer.

    """

    node: str
    outcome: Outcome
    message: str


@dataclass(frozen=True)
class Command:
    """A command of the operator.

    Attributes:
        calls: returns the requests of each step; a step begins when the one before is answered.
        any_node: whether the command has taken effect as soon as one node has accepted it.

    """

    calls: Callable[[str], Sequence[Sequence[ServiceCall]]]
    any_node: bool = False

    def outcome(self, replies: Sequence[Reply]) -> Outcome:
        """Return the outcome of the command, from the replies of its nodes."""
        outcomes = [reply.outcome for reply in replies]
        if self.any_node:
            # A stop that was rejected by one node and not received by the other is rejected.
            return min(outcomes)
        return max(outcomes)


# A request that lets the robot move is never repeated: the second one could arrive after the stop
# of another operator, and undo it.


def _instruct(text: str) -> ServiceCall:
    service = f"{POLICY}/set_instruction"
    request = SetInstruction.Request(instruction=text)
    return ServiceCall(service, SetInstruction, request, repeatable=is_blank(text))


def _trigger(node: str, service: str, *, repeatable: bool) -> ServiceCall:
    return ServiceCall(f"{node}/{service}", Trigger, Trigger.Request(), repeatable)


def _set(service: str, on: bool) -> ServiceCall:
    return ServiceCall(f"{EXECUTOR}/{service}", SetBool, SetBool.Request(data=on), repeatable=on)


_STOP = _trigger(EXECUTOR, "stop", repeatable=True)
#: Verb -> command. The text is that of `say`.
COMMANDS = {
    "say": Command(lambda text: [[_instruct(text)]]),
    # To both nodes at the same time: it must take effect where only one of them is there.
    "stop": Command(lambda _: [[_STOP, _instruct("")]], any_node=True),
    "hold": Command(lambda _: [[_set("hold", True)]]),
    "release": Command(lambda _: [[_set("hold", False)]]),
    "estop": Command(lambda _: [[_set("estop", True)]]),
    "resume": Command(lambda _: [[_trigger(EXECUTOR, "resume", repeatable=False)]]),
    # The executor first: chunks of the old episode must not move the robot again.
    # Not repeated either, as it ends the rejection of an instruction that was stopped.
    "reset": Command(
        lambda _: [
            [_trigger(EXECUTOR, "reset", repeatable=False)],
            [_trigger(POLICY, "reset", repeatable=False)],
        ]
    ),
    "step": Command(lambda _: [[_trigger(EXECUTOR, "step", repeatable=False)]]),
}


def prompt_command(pictures: Pictures) -> Command:
    """Return the command that gives a prompt with these pictures."""
    # Imported here: a stop does not wait for the decoders of images.
    from groot_ros.bridge.prompt_messages import prompt_to_msg

    def calls(text: str) -> list[list[ServiceCall]]:
        request = SetPrompt.Request(prompt=prompt_to_msg(text, pictures))
        return [[ServiceCall(f"{POLICY}/set_prompt", SetPrompt, request, repeatable=False)]]

    return Command(calls)


def run_command(
    client: GraphClient, command: Command, text: str = "", timeout: float = 3.0
) -> tuple[Outcome, list[Reply]]:
    """Call the services of a command; return its outcome and the reply of each node.

    Args:
        client: in the namespace of the robot.
        command: one of COMMANDS.
        text: the instruction of `say`, or the text of a prompt.
        timeout: s until a service must be discovered, and from then until it must answer.

    """
    replies = []
    for step in command.calls(text):
        for call, response in zip(step, client.call(step, timeout), strict=True):
            node = call.service.partition("/")[0]
            if isinstance(response, NoAnswerError):
                replies.append(Reply(node, Outcome.NO_ANSWER, str(response)))
            else:
                outcome = Outcome.ACCEPTED if response.success else Outcome.REJECTED
                replies.append(Reply(node, outcome, response.message))
    return command.outcome(replies), replies
