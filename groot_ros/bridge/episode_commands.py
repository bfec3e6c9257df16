# SPDX-License-Identifier: Apache-2.0
"""Commands of the recorder: start, stop and discard an episode, and read its state."""

import os
import threading
from dataclasses import dataclass

from std_srvs.srv import Trigger

from groot_ros.bridge import qos
from groot_ros.bridge.graph_client import GraphClient, NoAnswerError, ServiceCall
from groot_ros.bridge.operator_commands import Command
from groot_ros.msg import RecorderState
from groot_ros.srv import StartEpisode, StopEpisode

RECORDER = "recorder_node"
#: Outcome -> its number in the request.
_OUTCOMES = {
    "success": StopEpisode.Request.SUCCESS,
    "failure": StopEpisode.Request.FAILURE,
    "unknown": StopEpisode.Request.UNKNOWN,
}
OUTCOMES = tuple(_OUTCOMES)


@dataclass(frozen=True)
class RecorderReport:
    """State of the recorder, as an operator needs it."""

    recording: bool
    bag: str
    episode: int
    instruction: str
    duration: float
    messages: int
    bytes: int
    dropped: int
    lost: int
    missing_inputs: tuple[str, ...]
    free_bytes: int
    successes: int
    failures: int
    without_outcome: int
    discarded: int


# None of these requests is repeated: a second one could start or end the next episode.


def start_episode(instruction: str = "", *, allow_missing_inputs: bool = False) -> Command:
    """Return the command that starts an episode."""
    request = StartEpisode.Request(
        instruction=instruction, allow_missing_inputs=allow_missing_inputs
    )
    call = ServiceCall(f"{RECORDER}/start_episode", StartEpisode, request, repeatable=False)
    return Command(lambda _: [[call]])


def stop_episode(outcome: str) -> Command:
    """Return the command that keeps the episode; `outcome` is one of OUTCOMES."""
    request = StopEpisode.Request(outcome=_OUTCOMES[outcome])
    call = ServiceCall(f"{RECORDER}/stop_episode", StopEpisode, request, repeatable=False)
    return Command(lambda _: [[call]])


def discard_episode() -> Command:
    """Return the command that deletes the episode."""
    call = ServiceCall(f"{RECORDER}/discard_episode", Trigger, Trigger.Request(), repeatable=False)
    return Command(lambda _: [[call]])


class RecorderWatch:
    """Subscription to the state of the recorder, as long as its client lives.

    Attributes:
        latest: the newest state; None if none was received yet.

    """

    def __init__(self, client: GraphClient) -> None:
        self.latest: RecorderReport | None = None
        self._received = threading.Event()
        client.node.create_subscription(
            RecorderState, "recorder_state", self._on_state, qos.LATCHED
        )

    def wait(self, timeout: float) -> RecorderReport | None:
        """Return a state as soon as there is one, None if there is none within `timeout` s."""
        self._received.wait(timeout)
        return self.latest

    def _on_state(self, msg: RecorderState) -> None:
        self.latest = _report(msg)
        self._received.set()


def read_recorder(client: GraphClient, timeout: float = 3.0) -> RecorderReport:
    """Return the state of the recorder.

    Raises:
        NoAnswerError: none was received within `timeout` s.

    """
    report = RecorderWatch(client).wait(timeout)
    if report is None:
        topic = client.node.resolve_topic_name("recorder_state")
        raise NoAnswerError(
            f"no message on {topic} within {timeout:g} s "
            f"(ROS_DOMAIN_ID {os.environ.get('ROS_DOMAIN_ID') or '0'}): start a recorder with "
            "'groot-ros bag record', or give --namespace"
        )
    return report


def _report(msg: RecorderState) -> RecorderReport:
    return RecorderReport(
        recording=msg.status == RecorderState.RECORDING,
        bag=msg.bag,
        episode=msg.episode,
        instruction=msg.instruction,
        duration=msg.duration,
        messages=msg.messages,
        bytes=msg.bytes,
        dropped=msg.dropped,
        lost=msg.lost,
        missing_inputs=tuple(msg.missing_inputs),
        free_bytes=msg.free_bytes,
        successes=msg.successes,
        failures=msg.failures,
        without_outcome=msg.without_outcome,
        discarded=msg.discarded,
    )
