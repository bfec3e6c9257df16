"""What a bag holds, at a glance."""

from dataclasses import dataclass
from pathlib import Path

from rosbags.rosbag2 import Reader, ReaderError

from groot_ros.bags.error import BagError
from groot_ros.bags.recovery import mcap_file, saved_messages
from groot_ros.core import ns_to_s


@dataclass(frozen=True)
class TopicContents:
    """One topic of a bag."""

    name: str
    type: str
    count: int


@dataclass(frozen=True)
class BagContents:
    """A bag's topics, by name, and the span of its messages.

    Attributes:
        finished: False for a bag whose recording process was killed.
        bytes: size of its files.

    """

    path: Path
    topics: tuple[TopicContents, ...]
    start_ns: int
    end_ns: int
    bytes: int
    finished: bool = True

    @property
    def count(self) -> int:
        """Messages of all topics."""
        return sum(topic.count for topic in self.topics)

    @property
    def duration(self) -> float:
        """Seconds from the first message to the last."""
        return ns_to_s(self.end_ns - self.start_ns) if self.count else 0.0

    def rate(self, topic: TopicContents) -> float:
        """Hz, mean over the bag; 0 where one message tells no rate."""
        return (topic.count - 1) / self.duration if topic.count > 1 and self.duration else 0.0


def read_contents(path: Path) -> BagContents:
    """Look into a bag directory or an .mcap file; an unfinished one is read through.

    Raises:
        BagError: there is no bag, or it is damaged.

    """
    if not path.exists():
        raise BagError(f"there is no bag at {path}")
    if path.is_dir() and not (path / "metadata.yaml").exists():
        return _read_unfinished(path)
    try:
        with Reader(path) as reader:
            topics = [TopicContents(c.topic, c.msgtype, c.msgcount) for c in reader.connections]
            # rosbags' end is one past the last message.
            end_ns = reader.end_time - 1
            return BagContents(path, _sorted(topics), reader.start_time, end_ns, _size(path))
    except ReaderError as error:
        one_line = " ".join(str(error).split())
        raise BagError(f"bag {path} cannot be read: {one_line}") from error


def _read_unfinished(path: Path) -> BagContents:
    counts: dict[tuple[str, str], int] = {}
    stamps = []
    for topic, stamp_ns, _ in saved_messages(mcap_file(path)):
        key = (topic.name, topic.definition.name)
        counts[key] = counts.get(key, 0) + 1
        stamps.append(stamp_ns)
    topics = [TopicContents(*key, count) for key, count in counts.items()]
    return BagContents(
        path,
        _sorted(topics),
        min(stamps, default=0),
        max(stamps, default=0),
        _size(path),
        finished=False,
    )


def _sorted(topics: list[TopicContents]) -> tuple[TopicContents, ...]:
    return tuple(sorted(topics, key=lambda topic: topic.name))


def _size(path: Path) -> int:
    files = [path] if path.is_file() else path.iterdir()
    return sum(file.stat().st_size for file in files if file.is_file())
