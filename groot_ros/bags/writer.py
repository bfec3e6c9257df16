# SPDX-License-Identifier: Apache-2.0
"""Writer of an MCAP bag with the metadata.yaml of rosbag2."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rosbags.interfaces import Connection, Qos
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError

from groot_ros.bags import BagError
from groot_ros.bags.definitions import MessageDefinition
from groot_ros.bags.mcap_file import McapFile

#: Free bytes on the disk below which recording stops, so that the bag can still be closed.
MIN_FREE_BYTES = 64 * 2**20
#: The free space is checked each time this many bytes were written.
_CHECK_EVERY_BYTES = 8 * 2**20


def metadata_version() -> Literal[8, 9]:
    """Return the version of metadata.yaml: 8 on Humble, which cannot parse the QoS of 9, else 9."""
    return 8 if os.environ.get("ROS_DISTRO") == "humble" else 9


class _Writer(Writer):
    """Bag writer of rosbags, with McapFile as its storage."""

    STORAGE_PLUGINS = {StoragePlugin.MCAP: McapFile}  # noqa: RUF012


class BagWriter:
    """Writer of one bag directory, <path>/<name>.mcap and metadata.yaml.

    metadata.yaml is written by close(). If the process is killed before that, flushed messages can
    be recovered, see `groot_ros.bags.recovery`.

    Args:
        path: directory of the bag; must not exist yet.
        version: version of metadata.yaml; by default that of the running ROS distribution.
        min_free_bytes: see MIN_FREE_BYTES.

    Raises:
        BagError: the directory exists or cannot be created.

    """

    def __init__(
        self,
        path: Path,
        *,
        version: Literal[8, 9] | None = None,
        min_free_bytes: int = MIN_FREE_BYTES,
    ) -> None:
        self.path = path
        self.counts: dict[str, int] = {}
        self._connections: dict[str, Connection] = {}
        self._min_free_bytes = min_free_bytes
        self._unchecked_bytes = 0
        self._closed = False
        try:
            if path.exists() or path.is_symlink():
                raise BagError(f"{path} already exists: choose another directory, or move it")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._require_free_space(path.parent)
            self._writer = _Writer(
                path, version=version or metadata_version(), storage_plugin=StoragePlugin.MCAP
            )
            self._writer.open()
        except OSError as error:
            raise BagError(f"bag {path} cannot be created: {error.strerror}") from error

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
        self._unchecked_bytes += len(data)

    def flush(self) -> None:
        """Pass everything to the operating system, so that a killed process does not lose it.

        Raises:
            BagError: the disk is full or failed; earlier messages are kept.

        """
        storage = self._writer.storage
        assert isinstance(storage, McapFile)
        try:
            storage.flush()
        except OSError as error:
            raise self._abort(error) from error

    def close(self) -> None:
        """Write index and metadata.yaml; later calls do nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._writer.close()
        except OSError as error:
            raise self._abort(error) from error

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
