# SPDX-License-Identifier: Apache-2.0
"""Recording of the same topics into one bag after another: episodes of a robot.

A folder of episodes contains bags named episode_NUMBER_DATE_TIME, which sort by their number.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from rosbags.interfaces import Qos

from groot_ros.bags import BagError
from groot_ros.bags.definitions import MessageDefinition
from groot_ros.bags.episode import EpisodeInfo, Outcome
from groot_ros.bags.recorder import Recorder
from groot_ros.bags.writer import BagWriter
from groot_ros.core import ns_to_s

_NAME = re.compile(r"episode_(\d+)_")
#: Whole name of the directory of an episode, unlike those of the reports next to it.
_DIRECTORY = re.compile(r"episode_\d+_\d+-\d+-\d+_\d+-\d+-\d+")


class _Topic(NamedTuple):
    definition: MessageDefinition
    offered: tuple[Qos, ...]


@dataclass(frozen=True)
class RecordedBag:
    """A bag that was closed.

    Attributes:
        path: its directory.
        info: its description.
        counts: topic -> number of messages.
        bytes: size of the messages.
        seconds: from the first message to the last.
        dropped: topic -> number of messages that were received but not written.
        problem: why recording ended early; empty if it did not.

    """

    path: Path
    info: EpisodeInfo
    counts: dict[str, int]
    bytes: int
    seconds: float
    dropped: Counter[str]
    problem: str = ""

    def __str__(self) -> str:
        messages = sum(self.counts.values())
        label = f"episode {self.info.number}" if self.info.number else "recorded"
        outcome = self.info.outcome
        judged = f" ({outcome.value})" if self.info.number and outcome != Outcome.UNKNOWN else ""
        return (
            f"{label}{judged}: {messages} messages of {len(self.counts)} topics, "
            f"{self.seconds:.1f} s, {self.bytes / 1e6:.1f} MB in {self.path}"
        )


def next_episode(folder: Path, now: datetime) -> tuple[Path, int]:
    """Return path and number of the next episode: one more than the highest number there is."""
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    numbers = [int(found[1]) for name in names if (found := _NAME.match(name))]
    number = max(numbers, default=0) + 1
    return folder / f"episode_{number:04d}_{now:%Y-%m-%d_%H-%M-%S}", number


def unfinished_episodes(folder: Path) -> list[Path]:
    """Return the episodes whose recording was killed, in the order of their numbers."""
    found = folder.glob("episode_*") if folder.is_dir() else ()
    return sorted(
        p for p in found if _DIRECTORY.fullmatch(p.name) and not (p / "metadata.yaml").is_file()
    )


class EpisodeRecorder:
    """Writer of one bag at a time; between bags, messages are not kept.

    The last message of each latched topic is kept, and written at the start of the next bag, since
    its publisher will not repeat it.

    Args:
        description: what is known of every recording, see `describe_recording`.
        compression: one of `writer.COMPRESSIONS`.

    """

    def __init__(self, description: EpisodeInfo, compression: str = "none") -> None:
        self._description = description
        self._compression = compression
        self._topics: dict[str, _Topic] = {}
        self._latched: dict[str, bytes | None] = {}
        self._writer: BagWriter | None = None
        self._recorder: Recorder | None = None

    @property
    def path(self) -> Path | None:
        """Return the directory of the present bag, or of the last one."""
        return None if self._writer is None else self._writer.path

    @property
    def info(self) -> EpisodeInfo:
        """Return the description of the present bag, or of the last one."""
        info = None if self._writer is None else self._writer.episode
        return info or self._description

    @property
    def recording(self) -> bool:
        """Return whether a bag is being written."""
        return self._recorder is not None

    @property
    def counts(self) -> dict[str, int]:
        """Return topic -> number of messages in the present bag, or in the last one."""
        return {} if self._writer is None else dict(self._writer.counts)

    @property
    def written_bytes(self) -> int:
        """Return the size of the messages in the present bag, or in the last one."""
        return 0 if self._writer is None else self._writer.bytes

    @property
    def dropped(self) -> Counter[str]:
        """Return topic -> number of messages of the present bag that were not written."""
        return Counter() if self._recorder is None else Counter(self._recorder.dropped)

    @property
    def problem(self) -> Exception | None:
        """Return why recording of the present bag ended; None if it did not."""
        return None if self._recorder is None else self._recorder.problem

    def add_topic(
        self,
        topic: str,
        definition: MessageDefinition,
        offered: Sequence[Qos] = (),
        *,
        latched: bool = False,
    ) -> None:
        """Add a topic to the present bag and to all later ones.

        Args:
            topic: absolute name.
            definition: its message type.
            offered: QoS of its publishers.
            latched: whether they keep their last message for late subscribers.

        """
        self._topics[topic] = _Topic(definition, tuple(offered))
        if latched:
            self._latched[topic] = None
        if self._recorder is not None:
            self._recorder.add_topic(topic, definition, offered)

    def start(self, path: Path, now_ns: int, *, number: int = 0, instruction: str = "") -> None:
        """Begin a bag.

        Args:
            path: its directory, which must not exist yet.
            now_ns: stamp of the messages of latched topics that were received before.
            number: of the episode; 0 for a bag that is not one.
            instruction: what the robot is to do; empty: the first instruction that is followed.

        Raises:
            BagError: a bag is being recorded, or the new one cannot be created.

        """
        if self._recorder is not None:
            raise BagError(f"{self.path} is being recorded: stop or discard it first")
        info = replace(self._description, instruction=instruction).started_now(path.name, number)
        self._writer = BagWriter(path, episode=info, compression=self._compression)
        self._recorder = Recorder(self._writer)
        for topic, known in self._topics.items():
            self._recorder.add_topic(topic, *known)
        for topic, data in self._latched.items():
            if data is not None:
                self._recorder.offer(topic, now_ns, data)

    def offer(self, topic: str, stamp_ns: int, data: bytes) -> None:
        """Queue a message for the present bag; without one only remember it if it is latched."""
        if topic in self._latched:
            self._latched[topic] = data
        if self._recorder is not None:
            self._recorder.offer(topic, stamp_ns, data)

    def describe_policy(self, checkpoint_hash: str, embodiment: str, engine: str) -> None:
        """Note in the present bag which policy controls the robot."""
        if self._writer is not None and self._recorder is not None:
            self._writer.episode = replace(
                self.info, checkpoint_hash=checkpoint_hash, embodiment=embodiment, engine=engine
            )

    def describe_instruction(self, followed: str) -> None:
        """Note the instruction that a policy follows, unless there is one already."""
        if self._writer is not None and self._recorder is not None and not self.info.instruction:
            self._writer.episode = replace(self.info, instruction=followed)

    def stop(self, outcome: Outcome = Outcome.UNKNOWN) -> RecordedBag:
        """Write what is queued, and close the bag.

        Raises:
            BagError: no bag is being recorded.

        """
        writer, recorder = self._require_recording()
        writer.episode = replace(self.info, outcome=outcome)
        self._recorder = None
        recorder.close()
        first, last = writer.span_ns or (0, 0)
        return RecordedBag(
            writer.path,
            self.info,
            recorder.counts,
            writer.bytes,
            ns_to_s(last - first),
            Counter(recorder.dropped),
            "" if recorder.problem is None else str(recorder.problem),
        )

    def discard(self) -> Path:
        """Delete the present bag; return its path.

        Raises:
            BagError: no bag is being recorded, or it cannot be deleted.

        """
        writer, recorder = self._require_recording()
        self._recorder = None
        recorder.close(discard=True)
        try:
            writer.discard()
        except OSError as error:
            raise BagError(f"{writer.path} was not deleted: {error.strerror}") from error
        return writer.path

    def _require_recording(self) -> tuple[BagWriter, Recorder]:
        if self._writer is None or self._recorder is None:
            raise BagError("no episode is being recorded: start one first")
        return self._writer, self._recorder
