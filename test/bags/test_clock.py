# SPDX-License-Identifier: Apache-2.0
"""A clock that went back during a recording is found in what readers would sort."""

from pathlib import Path

import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from support.input_bags import TYPES, message

from groot_ros.bags import BagError
from groot_ros.bags.clock import require_steady_clock

STRING = "std_msgs/msg/String"


def bag_with(
    path: Path,
    stamps: dict[str, list[float]],
    plugin: StoragePlugin = StoragePlugin.MCAP,
    text: str = "x",
) -> Path:
    """Write messages of several topics at stamps in s, topic by topic in this order."""
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        for topic, seconds in stamps.items():
            connection = writer.add_connection(topic, STRING, typestore=TYPES)
            for stamp in seconds:
                raw = TYPES.serialize_cdr(message(STRING, data=text), STRING)
                writer.write(connection, round(stamp * 1e9), raw)
    return path


@pytest.mark.parametrize("plugin", list(StoragePlugin))
def test_a_reset_is_an_error_with_its_size_and_its_topic(tmp_path, plugin) -> None:
    bag = bag_with(tmp_path / "bag", {"/a": [1, 2, 9.5], "/b": [10, 11, 2.5, 3.5]}, plugin)
    with pytest.raises(BagError, match=r"goes back by 8.500 s in the messages of /b, .* record"):
        require_steady_clock(bag)


@pytest.mark.parametrize("plugin", list(StoragePlugin))
def test_topics_written_one_after_the_other_and_jitter_are_no_reset(tmp_path, plugin) -> None:
    stamps = {"/a": [1, 2, 3, 60], "/b": [1, 2.5, 2.0, 3, 4]}
    require_steady_clock(bag_with(tmp_path / "bag", stamps, plugin))


def test_a_reset_between_chunks_is_found(tmp_path) -> None:
    # rosbags ends a chunk at 1 MiB.
    seconds = [float(t) for t in range(30)]
    bag = bag_with(tmp_path / "bag", {"/a": [*seconds, *seconds]}, text="x" * 100_000)
    with pytest.raises(BagError, match=r"goes back by 29\.000 s"):
        require_steady_clock(bag)


def test_a_file_that_is_compressed_as_a_whole_is_not_checked(tmp_path) -> None:
    bag = bag_with(tmp_path / "bag", {"/a": [10, 1]})
    (bag / "bag.mcap").rename(bag / "bag.mcap.zstd")
    require_steady_clock(bag)
