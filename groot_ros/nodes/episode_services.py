# SPDX-License-Identifier: Apache-2.0
"""Services of the recorder to start, stop and discard episodes, and the topic of its state."""

import shutil
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from rclpy.node import Node
from std_srvs.srv import Trigger

from groot_ros.bags import NOTHING_RECORDED, BagError
from groot_ros.bags.episode import Outcome
from groot_ros.bags.episode_recorder import (
    EpisodeRecorder,
    RecordedBag,
    next_episode,
    unfinished_episodes,
)
from groot_ros.bridge import qos
from groot_ros.bridge.messages import ns_to_time
from groot_ros.core import ns_to_s
from groot_ros.msg import RecorderState
from groot_ros.srv import StartEpisode, StopEpisode

_OUTCOMES = {
    StopEpisode.Request.UNKNOWN: Outcome.UNKNOWN,
    StopEpisode.Request.SUCCESS: Outcome.SUCCESS,
    StopEpisode.Request.FAILURE: Outcome.FAILURE,
}


class EpisodeServices:
    """Services below the recorder's name; without a folder of episodes they reject requests.

    Args:
        node: node of services and publisher.
        recorder: writes the bags.
        folder: folder of the episodes; None for a recorder of a single bag.
        instruction: of episodes that are started without one.
        missing_inputs: returns the topics of cameras and joint states without a publisher.
        inputs: returns the topics of cameras and joint states.

    Attributes:
        lost: messages that were lost in transport so far.
        outcomes: number of bags that were kept, by their outcome.
        dropped: topic -> number of messages missing in the bags that were kept.

    """

    def __init__(
        self,
        node: Node,
        recorder: EpisodeRecorder,
        folder: Path | None,
        instruction: str,
        inputs: Callable[[], set[str]],
        missing_inputs: Callable[[], list[str]],
    ) -> None:
        self._node = node
        self._recorder = recorder
        self._folder = folder
        self._instruction = instruction
        self._inputs = inputs
        self._missing_inputs = missing_inputs
        self._started_ns = 0
        self._discarded = 0
        self.lost = 0
        self.outcomes: Counter[Outcome] = Counter()
        self.dropped: Counter[str] = Counter()
        self._publisher = node.create_publisher(RecorderState, "recorder_state", qos.LATCHED)
        node.create_service(StartEpisode, "~/start_episode", self._on_start)
        node.create_service(StopEpisode, "~/stop_episode", self._on_stop)
        node.create_service(Trigger, "~/discard_episode", self._on_discard)
        if folder is not None:
            self._announce(folder)

    def close(self) -> RecordedBag | None:
        """Close the present bag; its outcome is unknown. Return None if there is none."""
        return self._stop(Outcome.UNKNOWN) if self._recorder.recording else None

    @property
    def free_bytes(self) -> int:
        """Free space on the disk of the bags."""
        folder = self._folder or self._recorder.path or Path()
        there = next(p for p in (folder, *folder.absolute().parents) if p.is_dir())
        return shutil.disk_usage(there).free

    def publish_state(self) -> None:
        """Publish the state."""
        recorder = self._recorder
        msg = RecorderState(
            status=RecorderState.RECORDING if recorder.recording else RecorderState.WAITING,
            bag=str(recorder.path or ""),
            episode=recorder.info.number,
            instruction=recorder.info.instruction,
            duration=ns_to_s(self._now_ns() - self._started_ns) if recorder.recording else 0.0,
            messages=sum(recorder.counts.values()),
            bytes=recorder.written_bytes,
            dropped=sum(recorder.dropped.values()),
            lost=self.lost,
            missing_inputs=self._missing_inputs(),
            free_bytes=self.free_bytes,
            successes=self.outcomes[Outcome.SUCCESS],
            failures=self.outcomes[Outcome.FAILURE],
            without_outcome=self.outcomes[Outcome.UNKNOWN],
            discarded=self._discarded,
        )
        msg.header.stamp = ns_to_time(self._now_ns())
        self._publisher.publish(msg)

    def start_bag(self, path: Path, number: int = 0, instruction: str = "") -> None:
        """Begin a bag; raise BagError if it cannot be created."""
        now_ns = self._now_ns()
        self._recorder.start(
            path, now_ns, number=number, instruction=instruction or self._instruction
        )
        self._started_ns = now_ns

    def _announce(self, folder: Path) -> None:
        for path in unfinished_episodes(folder):
            self._node.get_logger().warning(
                f"{path} was not finished, as its recorder was killed: save its messages with "
                f"'groot-ros bag recover {path}'"
            )
        there = len([p for p in folder.glob("episode_*") if p.is_dir()])
        self._node.get_logger().info(
            f"waiting for episodes, {there} are in {folder}: groot-ros episode start"
        )

    def _on_start(
        self, request: StartEpisode.Request, response: StartEpisode.Response
    ) -> StartEpisode.Response:
        try:
            folder = self._episode_folder()
            missing = self._missing_inputs()
            if missing and not request.allow_missing_inputs:
                raise BagError(
                    f"nobody publishes {', '.join(missing)}: start its driver, or allow missing "
                    "inputs"
                )
            path, number = next_episode(folder, datetime.now())
            self.start_bag(path, number, request.instruction)
        except BagError as error:
            response.message = str(error)
            return response
        instruction = self._recorder.info.instruction
        response.success = True
        response.bag, response.episode = str(path), number
        response.message = f"episode {number}: recording into {path}"
        if instruction:
            response.message += f" ('{instruction}')"
        self._node.get_logger().info(response.message)
        self.publish_state()
        return response

    def _on_stop(
        self, request: StopEpisode.Request, response: StopEpisode.Response
    ) -> StopEpisode.Response:
        try:
            self._episode_folder()
            outcome = _OUTCOMES.get(request.outcome)
            if outcome is None:
                raise BagError(f"outcome {request.outcome} is not one of StopEpisode's constants")
            stopped = self._stop(outcome)
        except BagError as error:
            response.message = str(error)
            return response
        response.bag = str(stopped.path)
        silent = sorted(t for t in self._inputs() if not stopped.counts.get(t))
        problems = [stopped.problem] if stopped.problem else []
        if stopped.dropped:
            problems.append(f"{sum(stopped.dropped.values())} messages are NOT in the bag")
        if not sum(stopped.counts.values()):
            problems.append(f"{NOTHING_RECORDED}: the bag was deleted")
        elif silent:
            problems.append(f"nothing was received on {', '.join(silent)}")
        self.publish_state()
        response.success = not problems
        response.message = "; ".join([str(stopped), *problems])
        return response

    def _on_discard(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            self._episode_folder()
            path = self._recorder.discard()
        except BagError as error:
            response.message = str(error)
            return response
        self._discarded += 1
        response.success = True
        response.message = f"discarded {path}"
        self._node.get_logger().info(response.message)
        self.publish_state()
        return response

    def _stop(self, outcome: Outcome) -> RecordedBag:
        stopped = self._recorder.stop(outcome)
        if self._folder is not None and not sum(stopped.counts.values()) and not stopped.problem:
            shutil.rmtree(stopped.path)
        else:
            self.outcomes[outcome] += 1
        self.dropped += stopped.dropped
        self._node.get_logger().info(str(stopped))
        if stopped.problem:
            self._node.get_logger().error(stopped.problem)
        return stopped

    def _episode_folder(self) -> Path:
        if self._folder is None:
            raise BagError(
                "this recorder writes a single bag: start it with 'groot-ros bag record --episodes "
                "FOLDER' (parameter episodes)"
            )
        return self._folder

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
