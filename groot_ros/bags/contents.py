# SPDX-License-Identifier: Apache-2.0
"""Topics, counts and time span of a bag."""

import struct
import sys
from dataclasses import dataclass
from pathlib import Path

import apsw
from mcap.writer import MCAP0_MAGIC
from rosbags.rosbag2 import Reader, ReaderError
from rosbags.serde import SerdeError

from groot_ros.bags import BagError
from groot_ros.bags.recovery import mcap_file, read_messages
from groot_ros.core import ns_to_s

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdError
else:
    from backports.zstd import ZstdError

#: What rosbags, and the packages that it reads with, raise for a damaged bag: a file that ends
#: early, impossible lengths, texts that are none, compressed data that is damaged (LZ4: the
#: RuntimeError).
UNREADABLE = (
    ReaderError,
    SerdeError,
    ZstdError,
    apsw.Error,
    AssertionError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    UnicodeDecodeError,
    struct.error,
)


@dataclass(frozen=True)
class TopicContents:
    """One topic of a bag."""

    name: str
    type: str
    count: int


@dataclass(frozen=True)
class BagContents:
    """Topics of a bag, and the time span of its messages.

    Attributes:
        path: directory or .mcap file.
        topics: sorted by name.
        start_ns: stamp of the first message.
        end_ns: stamp of the last message.
        bytes: size of its files.
        finished: False for a bag that was not closed, because the recording process was killed.

    """

    path: Path
    topics: tuple[TopicContents, ...]
    start_ns: int
    end_ns: int
    bytes: int
    finished: bool = True

    @property
    def count(self) -> int:
        """Number of messages of all topics."""
        return sum(topic.count for topic in self.topics)

    @property
    def duration(self) -> float:
        """Seconds from the first message to the last."""
        return ns_to_s(self.end_ns - self.start_ns) if self.count else 0.0

    def rate(self, topic: TopicContents) -> float:
        """Return the mean rate over the bag, Hz; 0 for fewer than two messages."""
        return (topic.count - 1) / self.duration if topic.count > 1 and self.duration else 0.0


def read_contents(path: Path) -> BagContents:
    """Read the contents of a bag directory or an .mcap file; an unfinished one is read completely.

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
    except UNREADABLE as error:
        raise unreadable_bag(path, error) from error


def unreadable_bag(path: Path, error: Exception) -> BagError:
    """Return the error to raise for a bag that cannot be opened, with what to do about it."""
    if not path.exists():
        return BagError(f"there is no bag at {path}")
    files = [path] if path.is_file() else sorted(path.glob("*.mcap"))
    advice = ""
    if files and all(_has_magic(file, 0) for file in files):
        advice = f"; try groot-ros bag recover {path}"
        if not all(_has_magic(file, -len(MCAP0_MAGIC)) for file in files):
            return BagError(f"bag {path} was not closed properly{advice}")
    elif path.is_file():
        return BagError(f"{path} is not a bag: give the directory of a bag, or an .mcap file")
    problem = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, SerdeError):
        # The records are intact, so copying them does not help.
        advice = ": its recorder or another program wrote messages that are damaged"
    return BagError(f"bag {path} cannot be read: {problem}{advice}")


def _has_magic(file: Path, position: int) -> bool:
    """Return whether the file has the magic of MCAP at its begin (0) or its end (-8)."""
    # The magic at the begin must not count as that at the end.
    if position != 0 and file.stat().st_size < 2 * len(MCAP0_MAGIC):
        return False
    with file.open("rb") as opened:
        opened.seek(position, 0 if position == 0 else 2)
        return opened.read(len(MCAP0_MAGIC)) == MCAP0_MAGIC


def _read_unfinished(path: Path) -> BagContents:
    counts: dict[tuple[str, str], int] = {}
    stamps = []
    for topic, stamp_ns, _ in read_messages(mcap_file(path)):
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
