# SPDX-License-Identifier: Apache-2.0
"""A clock that went back during a recording is found in what readers would sort."""

from pathlib import Path

import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from support.input_bags import TYPES, message
from support.robot_bags import SO101, RobotRun

from groot_ros.bags import BagError
from groot_ros.bags.clock import require_steady_clock
from groot_ros.bags.playback import Playback
from groot_ros.bags.reader import open_bag
from groot_ros.bags.recording import RobotBag
from groot_ros.core.share import robot_path
from groot_ros.datasets.from_bags import ConversionSettings, convert_bag
from groot_ros.datasets.rows import RowSettings

STRING = "std_msgs/msg/String"


def bag_with(
    path: Path,
    stamps: dict[str, list[float]],
    plugin: StoragePlugin = StoragePlugin.MCAP,
    text: str = "x",
    mode: CompressionMode = CompressionMode.NONE,
) -> Path:
    """Write messages of several topics at stamps in s, topic by topic in this order."""
    writer = Writer(path, version=9, storage_plugin=plugin)
    if mode is not CompressionMode.NONE:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        for topic, seconds in stamps.items():
            connection = writer.add_connection(topic, STRING, typestore=TYPES)
            for stamp in seconds:
                raw = TYPES.serialize_cdr(message(STRING, data=text), STRING)
                writer.write(connection, round(stamp * 1e9), raw)
    return path


def check(bag: Path) -> None:
    with open_bag(bag) as (reader, _):
        require_steady_clock(bag, reader)


@pytest.mark.parametrize("plugin", list(StoragePlugin))
def test_a_reset_is_an_error_with_its_size_and_its_topic(tmp_path, plugin) -> None:
    bag = bag_with(tmp_path / "bag", {"/a": [1, 2, 9.5], "/b": [10, 11, 2.5, 3.5]}, plugin)
    with pytest.raises(BagError, match=r"goes back by 8.500 s in the messages of /b, .* record"):
        check(bag)


@pytest.mark.parametrize("plugin", list(StoragePlugin))
def test_topics_written_one_after_the_other_and_jitter_are_no_reset(tmp_path, plugin) -> None:
    stamps = {"/a": [1, 2, 3, 60], "/b": [1, 2.5, 2.0, 3, 4]}
    check(bag_with(tmp_path / "bag", stamps, plugin))


def test_a_reset_between_chunks_is_found(tmp_path) -> None:
    # rosbags ends a chunk at 1 MiB.
    seconds = [float(t) for t in range(30)]
    bag = bag_with(tmp_path / "bag", {"/a": [*seconds, *seconds]}, text="x" * 100_000)
    with pytest.raises(BagError, match=r"goes back by 29\.000 s"):
        check(bag)


@pytest.mark.parametrize("plugin", list(StoragePlugin))
@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_a_reset_in_a_compressed_bag_is_found(tmp_path, plugin, mode) -> None:
    bag = bag_with(tmp_path / "bag", {"/a": [10, 1]}, plugin, mode=mode)
    with pytest.raises(BagError, match=r"goes back by 9\.000 s"):
        check(bag)


def test_a_single_file_is_checked(tmp_path) -> None:
    bag = bag_with(tmp_path / "bag", {"/a": [10, 1]})
    with pytest.raises(BagError, match=r"goes back by 9\.000 s"):
        check(bag / "bag.mcap")


def reset_run(path: Path) -> Path:
    """Write a run whose simulation is reset after 3 s: all stamps begin again."""
    bag = RobotRun(seconds=3.0).messages()
    first = sorted(bag.sent, key=lambda each: each[0])
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {
            topic: writer.add_connection(topic, content.__msgtype__, typestore=TYPES)
            for topic, content in {t: c for _, t, c in first}.items()
        }
        for received, topic, content in [*first, *first]:
            raw = TYPES.serialize_cdr(content, content.__msgtype__)
            writer.write(topics[topic], received, raw)
    return path


def test_a_bag_with_a_reset_is_neither_converted_nor_evaluated(tmp_path) -> None:
    bag = reset_run(tmp_path / "bag")
    settings = ConversionSettings(RowSettings(fps=0), robot_path("so101"))
    with pytest.raises(BagError, match=r"the clock of bag .* goes back by 2\.9\d\d s"):
        convert_bag(bag, settings, tmp_path)
    with pytest.raises(BagError, match=r"the clock of bag .* goes back by"):
        RobotBag(bag, SO101)


def test_a_bag_with_a_reset_is_not_played(tmp_path) -> None:
    bag = reset_run(tmp_path / "bag")
    with pytest.raises(BagError, match=r"the clock of bag .* goes back by"):
        Playback(bag, ["/joint_states"])
