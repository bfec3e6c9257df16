# SPDX-License-Identifier: Apache-2.0
"""Message definitions as a bag stores them: the text of a type and its RIHS01 hash."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rosbags.interfaces import Nodetype
from rosbags.interfaces.typing import FieldDesc, Typesdict
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore

from groot_ros.bags import BagError
from groot_ros.core.share import share_directory


@dataclass(frozen=True)
class MessageDefinition:
    """One message type.

    Attributes:
        name: "package/msg/Name".
        text: definition of the type and of all nested types, as MCAP's "ros2msg" schema.
        rihs01: hash of REP-2016, "RIHS01_...", as publishers announce it.

    """

    name: str
    text: str
    rihs01: str

    @classmethod
    def parse(cls, name: str, text: str) -> "MessageDefinition":
        """Create a definition from a text that contains all nested types."""
        store = get_typestore(Stores.EMPTY)
        store.register(get_types_from_msg(text, name))
        return cls(name, text, store.hash_rihs01(name))


class MessageDefinitions:
    """Search for definitions: installed packages, this package's sources, then the standard types.

    Args:
        share_folders: folders that contain the packages' folders with `msg/*.msg`; by default those
            below the prefixes of AMENT_PREFIX_PATH, as in ROS.

    """

    def __init__(self, share_folders: Sequence[Path] | None = None) -> None:
        if share_folders is None:
            prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
            share_folders = [Path(prefix) / "share" for prefix in prefixes if prefix]
        self._share_folders = tuple(share_folders)
        self._standard = get_typestore(Stores.ROS2_JAZZY)
        self._known = get_typestore(Stores.EMPTY)

    def find(self, name: str) -> MessageDefinition:
        """Return the definition of "package/msg/Name"; BagError if there is no .msg file of it."""
        try:
            self._load(name)
            text, _ = self._known.generate_msgdef(name, ros_version=2)
            return MessageDefinition(name, text, self._known.hash_rihs01(name))
        except TypesysError as error:
            raise BagError(f"definition of {name}: {error}") from error

    def _load(self, name: str) -> None:
        if name in self._known.fielddefs:
            return
        types = self._read(name)
        for _, fields in types.values():
            for _, field in fields:
                nested = _nested(field)
                if nested is not None:
                    self._load(nested)
        self._known.register(types)

    def _read(self, name: str) -> Typesdict:
        package, _, short_name = name.partition("/msg/")
        folders = [folder / package for folder in self._share_folders]
        if package == "groot_ros":
            folders.append(share_directory())
        for folder in folders:
            path = folder / "msg" / f"{short_name}.msg"
            if path.is_file():
                return get_types_from_msg(path.read_text(encoding="utf-8"), name)
        if name in self._standard.fielddefs:
            return {name: self._standard.fielddefs[name]}
        raise BagError(
            f"there is no definition of {name}: source the workspace that built it "
            f"(looked for {package}/msg/{short_name}.msg below AMENT_PREFIX_PATH)"
        )


def _nested(field: FieldDesc) -> str | None:
    """Return the message type of a field, None for a primitive type."""
    element = field[1][0] if field[0] in (Nodetype.ARRAY, Nodetype.SEQUENCE) else field
    return str(element[1]) if element[0] is Nodetype.NAME else None
