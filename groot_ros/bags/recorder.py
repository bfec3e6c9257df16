# SPDX-License-Identifier: Apache-2.0
"""Recording in a separate thread, so that a slow disk does not delay reception."""

import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple

from rosbags.interfaces import Qos

from groot_ros.bags.definitions import MessageDefinition
from groot_ros.bags.writer import BagWriter

#: Bytes that may wait for the disk: 2.3 s of two 640x480 cameras at 30 Hz. With more, closing
#: would take longer than a supervisor waits.
MAX_WAITING_BYTES = 128 * 2**20
#: Time between flushes, s: the most that a killed process loses.
FLUSH_PERIOD = 1.0


class _Message(NamedTuple):
    topic: str
    stamp_ns: int
    data: bytes


class Recorder:
    """Queue of messages from any thread that one thread writes in order.

    Messages are dropped and counted while `max_waiting_bytes` are waiting, so that the bag is
    complete up to that point instead of missing single messages throughout.

    Attributes:
        dropped: topic -> number of messages that were not recorded.
        problem: exception that ended recording early, usually a BagError, or None.

    """

    def __init__(
        self,
        writer: BagWriter,
        *,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        flush_period: float = FLUSH_PERIOD,
    ) -> None:
        self.dropped: Counter[str] = Counter()
        self.problem: Exception | None = None
        self._writer = writer
        self._max_waiting_bytes = max_waiting_bytes
        self._flush_period = flush_period
        self._waiting: deque[_Message] = deque()
        self._waiting_bytes = 0
        self._ending = False
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="bag writer")
        self._thread.start()

    @property
    def counts(self) -> dict[str, int]:
        """Topic -> number of messages written."""
        return dict(self._writer.counts)

    def add_topic(
        self, topic: str, definition: MessageDefinition, offered: Sequence[Qos] = ()
    ) -> None:
        """Add a topic before its first message."""
        with self._writing:
            self._writer.add_topic(topic, definition, offered)

    def offer(self, topic: str, stamp_ns: int, data: bytes) -> None:
        """Queue a message for writing, or count it as dropped."""
        with self._changed:
            if self.problem or self._waiting_bytes + len(data) > self._max_waiting_bytes:
                self.dropped[topic] += 1
                return
            self._waiting.append(_Message(topic, stamp_ns, data))
            self._waiting_bytes += len(data)
            self._changed.notify()

    def close(self, *, discard: bool = False) -> None:
        """Write all waiting messages and close the bag; `problem` is None if that succeeded.

        Args:
            discard: drop the waiting messages, because the bag will be deleted.

        """
        with self._changed:
            self._ending = True
            if discard:
                self._waiting.clear()
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._write_some():
                with self._writing:
                    self._writer.flush()
            with self._writing:
                self._writer.close()
        except Exception as error:
            with self._changed:
                self.problem = error
                self.dropped.update(message.topic for message in self._waiting)
                self._waiting.clear()

    def _write_some(self) -> bool:
        """Write for one flush period; return False when all messages are written after close()."""
        deadline = time.monotonic() + self._flush_period
        while (left := deadline - time.monotonic()) > 0:
            with self._changed:
                if not self._waiting and not self._ending:
                    self._changed.wait(left)
                if not self._waiting:
                    if self._ending:
                        return False
                    continue
                message = self._waiting[0]
            with self._writing:
                self._writer.write(*message)
            with self._changed:
                if self._waiting:
                    self._waiting.popleft()
                self._waiting_bytes -= len(message.data)
        return True
