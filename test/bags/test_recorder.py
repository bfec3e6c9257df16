# SPDX-License-Identifier: Apache-2.0
import threading

import pytest
from rosbags.rosbag2 import Reader

from groot_ros.bags import BagError
from groot_ros.bags.contents import read_contents
from groot_ros.bags.recorder import Recorder
from groot_ros.bags.writer import BagWriter


class BlockingWriter(BagWriter):
    """Waits in write() until `go` is set, then raises `error` if there is one."""

    def __init__(self, path):
        super().__init__(path)
        self.go = threading.Event()
        self.entered = threading.Event()
        self.error = None

    def write(self, topic, stamp_ns, data):
        self.entered.set()
        assert self.go.wait(10)
        if self.error:
            raise self.error
        super().write(topic, stamp_ns, data)


@pytest.fixture
def blocked(tmp_path, string_definition):
    writer = BlockingWriter(tmp_path / "bag")
    recorder = Recorder(writer, max_waiting_bytes=100)
    recorder.add_topic("/a", string_definition)
    yield writer, recorder
    writer.go.set()
    recorder.close()


def test_everything_offered_is_in_the_bag_in_order_once_it_is_closed(
    tmp_path, string_definition, string_cdr
):
    recorder = Recorder(BagWriter(tmp_path / "bag"), flush_period=0.001)
    recorder.add_topic("/a", string_definition)
    sent = [(i, string_cdr(str(i))) for i in range(1000)]
    for stamp_ns, data in sent:
        recorder.offer("/a", stamp_ns, data)
    recorder.close()
    with Reader(tmp_path / "bag") as reader:
        assert [(stamp, bytes(data)) for _, stamp, data in reader.messages()] == sent
    assert recorder.counts == {"/a": 1000}
    assert not recorder.dropped


def test_offering_does_not_wait_for_the_disk_and_dropped_messages_are_counted(blocked):
    writer, recorder = blocked
    recorder.offer("/a", 0, b"0" * 10)
    assert writer.entered.wait(10)
    for i in range(1, 15):
        recorder.offer("/a", i, b"0" * 10)
    assert recorder.dropped == {"/a": 5}
    writer.go.set()
    recorder.close()
    assert recorder.counts == {"/a": 10}
    with Reader(writer.path) as reader:
        assert [stamp for _, stamp, _ in reader.messages()] == list(range(10))


def test_a_broken_disk_ends_recording_and_counts_what_is_missing(blocked):
    writer, recorder = blocked
    recorder.offer("/a", 0, b"0" * 10)
    assert writer.entered.wait(10)
    recorder.offer("/a", 1, b"0" * 10)
    writer.error = BagError("bag: no space")
    writer.go.set()
    recorder.close()
    recorder.offer("/a", 2, b"0" * 10)
    assert str(recorder.problem) == "bag: no space"
    assert recorder.dropped == {"/a": 3}


def test_what_was_flushed_can_be_read_while_recording_continues(
    tmp_path, string_definition, string_cdr
):
    flushed = threading.Event()

    class Watched(BagWriter):
        def flush(self):
            super().flush()
            if self.counts.get("/a"):
                flushed.set()

    recorder = Recorder(Watched(tmp_path / "bag"), flush_period=0.01)
    recorder.add_topic("/a", string_definition)
    recorder.offer("/a", 5, string_cdr("x"))
    assert flushed.wait(10)
    contents = read_contents(tmp_path / "bag")
    assert (contents.count, contents.finished) == (1, False)
    recorder.close()
    assert read_contents(tmp_path / "bag").finished
