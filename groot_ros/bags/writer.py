# SPDX-License-Identifier: Apache-2.0
"""Writer of an MCAP bag with the metadata.yaml of rosbag2.

The package `mcap` writes the file, `rosbags` the metadata.yaml.
"""

import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.interfaces import Connection, ConnectionExtRosbag2, Qos
from rosbags.rosbag2 import CompressionMode, StoragePlugin, Writer, WriterError

from groot_ros.bags import BagError
from groot_ros.bags.definitions import MessageDefinition
from groot_ros.bags.episode import EPISODE_KEY, EpisodeInfo, metadata_record

#: Free bytes on the disk below which recording stops, so that the bag can still be closed.
MIN_FREE_BYTES = 64 * 2**20
#: The free space is checked each time this many bytes were written.
_CHECK_EVERY_BYTES = 8 * 2**20
#: Compression of a bag's chunks.
COMPRESSIONS = {"none": CompressionType.NONE, "zstd": CompressionType.ZSTD}


def metadata_version() -> Literal[8, 9]:
    """Return the version of metadata.yaml: 8 on Humble, which cannot parse the QoS of 9, else 9."""
    return 8 if os.environ.get("ROS_DISTRO") == "humble" else 9


def _with_distribution(metadata: str) -> str:
    """Return rosbag2's metadata with the ROS distribution that runs; `rosbags` states itself."""
    distribution = os.environ.get("ROS_DISTRO", "")
    if not distribution.isidentifier():
        return metadata
    return re.sub(r"(?m)^( *ros_distro: )rosbags$", rf"\g<1>{distribution}", metadata)


class McapStorage:
    """MCAP file as a storage of `rosbags.rosbag2.Writer`; its own would not flush or compress.

    Args:
        path: directory of the bag, which also names the file.
        compression: of rosbag2, not of MCAP; always NONE.

    """

    #: Compression of the chunks; `_writer_class` sets it, as rosbags passes no options on.
    compression = CompressionType.NONE

    def __init__(self, path: Path, compression: CompressionMode) -> None:
        assert compression is CompressionMode.NONE
        self.path = path / f"{path.name}.mcap"
        self._file = self.path.open("xb")
        # Checksums would take as long as everything else; rosbag2 writes none either.
        self._mcap = McapWriter(self._file, compression=self.compression, enable_crcs=False)
        self._mcap.start("ros2", "groot_ros")
        self._schemas: dict[str, int] = {}
        self._channels: dict[int, int] = {}

    def add_msgtype(self, connection: Connection) -> None:
        """Write a message type, before its first topic."""
        self._schemas[connection.msgtype] = self._mcap.register_schema(
            connection.msgtype, "ros2msg", connection.msgdef.data.encode()
        )

    def add_connection(self, connection: Connection, offered_qos_profiles: str) -> None:
        """Write a topic, before its first message."""
        assert isinstance(connection.ext, ConnectionExtRosbag2)
        self._channels[connection.id] = self._mcap.register_channel(
            connection.topic,
            connection.ext.serialization_format,
            self._schemas[connection.msgtype],
            {"offered_qos_profiles": offered_qos_profiles},
        )

    def write(self, connection: Connection, timestamp: int, data: bytes | memoryview) -> None:
        """Write a message."""
        self._mcap.add_message(self._channels[connection.id], timestamp, bytes(data), timestamp)

    def add_metadata(self, name: str, entries: dict[str, str]) -> None:
        """Write named texts; the messages so far come first."""
        self._mcap.flush()
        self._mcap.add_metadata(name, entries)

    def flush(self) -> None:
        """Pass everything to the operating system."""
        self._mcap.flush()

    def close(self, version: int, metadata: str) -> None:
        """Write index and metadata; `metadata` is the YAML text of rosbag2's metadata."""
        self.add_metadata("rosbag2", {"serialized_metadata": _with_distribution(metadata)})
        self._mcap.finish()
        self._file.close()

    def abort(self) -> None:
        """Close the file after an error, which it may repeat."""
        with suppress(OSError):
            self._file.close()


def _writer_class(mcap_compression: CompressionType) -> type[Writer]:
    class Storage(McapStorage):
        compression = mcap_compression

    class WithStorage(Writer):
        STORAGE_PLUGINS = {StoragePlugin.MCAP: Storage}  # noqa: RUF012

    return WithStorage


class BagWriter:
    """Writer of one bag directory, <path>/<name>.mcap and metadata.yaml.

    metadata.yaml is written by close(). If the process is killed before that, flushed messages can
    be recovered, see `groot_ros.bags.recovery`.

    Args:
        path: directory of the bag; must not exist yet.
        episode: description of the recording; written now and, as it is then, by close().
        compression: one of COMPRESSIONS.
        version: version of metadata.yaml; by default that of the running ROS distribution.
        min_free_bytes: see MIN_FREE_BYTES.

    Attributes:
        episode: may be replaced until close().
        counts: topic -> number of messages written.
        bytes: size of the messages written.
        span_ns: earliest and latest stamp; None without messages.

    Raises:
        BagError: the directory exists or cannot be created.

    """

    def __init__(
        self,
        path: Path,
        *,
        episode: EpisodeInfo | None = None,
        compression: str = "none",
        version: Literal[8, 9] | None = None,
        min_free_bytes: int = MIN_FREE_BYTES,
    ) -> None:
        self.path = path
        self.episode = episode
        self.counts: dict[str, int] = {}
        self.bytes = 0
        self.span_ns: tuple[int, int] | None = None
        self._connections: dict[str, Connection] = {}
        self._min_free_bytes = min_free_bytes
        self._unchecked_bytes = 0
        self._closed = False
        if compression not in COMPRESSIONS:
            raise BagError(
                f"compression must be one of {', '.join(COMPRESSIONS)}, not '{compression}'"
            )
        try:
            if path.exists() or path.is_symlink():
                raise BagError(f"{path} already exists: choose another directory, or move it")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._require_free_space(path.parent)
            writer_class = _writer_class(COMPRESSIONS[compression])
            self._writer = writer_class(
                path, version=version or metadata_version(), storage_plugin=StoragePlugin.MCAP
            )
            self._writer.open()
            if episode is not None:
                self._storage.add_metadata(EPISODE_KEY, metadata_record(episode))
                self._storage.flush()
        except OSError as error:
            raise BagError(f"bag {path} cannot be created: {error.strerror}") from error

    @property
    def _storage(self) -> McapStorage:
        storage = self._writer.storage
        assert isinstance(storage, McapStorage)
        return storage

    def add_topic(
        self, topic: str, definition: MessageDefinition, offered: Sequence[Qos] = ()
    ) -> None:
        """Add a topic before its first message; `offered` is the QoS of its publishers."""
        try:
            self._connections[topic] = self._writer.add_connection(
                topic,
                definition.name,
                msgdef=definition.text,
                rihs01=definition.rihs01,
                offered_qos_profiles=offered,
            )
        except WriterError as error:
            raise BagError(f"bag {self.path}, topic {topic}: {error}") from error
        except OSError as error:
            raise self._abort(error) from error
        self.counts.setdefault(topic, 0)

    def write(self, topic: str, stamp_ns: int, data: bytes) -> None:
        """Write one serialised message.

        Args:
            topic: added before.
            stamp_ns: time of reception, ns.
            data: CDR bytes as a raw subscription delivers them.

        Raises:
            BagError: the disk is full or failed; earlier messages are kept.

        """
        if self._unchecked_bytes >= _CHECK_EVERY_BYTES:
            self._unchecked_bytes = 0
            try:
                self._require_free_space(self.path)
            except BagError:
                self.close()
                raise
        try:
            self._writer.write(self._connections[topic], stamp_ns, data)
        except OSError as error:
            raise self._abort(error) from error
        self.counts[topic] += 1
        self.bytes += len(data)
        first, last = self.span_ns or (stamp_ns, stamp_ns)
        self.span_ns = min(first, stamp_ns), max(last, stamp_ns)
        self._unchecked_bytes += len(data)

    def flush(self) -> None:
        """Pass everything to the operating system, so that a killed process does not lose it.

        Raises:
            BagError: the disk is full or failed; earlier messages are kept.

        """
        try:
            self._storage.flush()
        except OSError as error:
            raise self._abort(error) from error

    def close(self) -> None:
        """Write index, description and metadata.yaml; later calls do nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            if self.episode is not None:
                self._storage.add_metadata(EPISODE_KEY, metadata_record(self.episode))
                self._writer.set_custom_data(EPISODE_KEY, self.episode.to_custom_data())
            self._writer.close()
            self._state_distribution()
        except OSError as error:
            raise self._abort(error) from error

    def _state_distribution(self) -> None:
        """Replace metadata.yaml by one with the ROS distribution."""
        file = self.path / "metadata.yaml"
        part = file.with_suffix(".yaml.tmp")
        part.write_text(_with_distribution(file.read_text(encoding="utf-8")), encoding="utf-8")
        part.replace(file)

    def discard(self) -> None:
        """Close the bag if necessary, and delete it."""
        self._closed = True
        self._writer.abort()
        shutil.rmtree(self.path)

    def _require_free_space(self, where: Path) -> None:
        free = shutil.disk_usage(where).free
        if free < self._min_free_bytes:
            raise BagError(
                f"bag {self.path}: recording stops while it can still be closed properly, "
                f"only {free / 2**20:.0f} MiB are free on the disk"
            )

    def _abort(self, error: OSError) -> BagError:
        self._closed = True
        self._writer.abort()
        return BagError(
            f"bag {self.path} cannot be written: {error.strerror}; recover its messages with "
            f"'groot-ros bag recover {self.path}'"
        )
