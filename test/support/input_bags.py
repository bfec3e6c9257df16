# SPDX-License-Identifier: Apache-2.0
"""Bags with the inputs of a robot, written without ROS: cameras, joint states, instruction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

TYPES = get_typestore(Stores.ROS2_JAZZY)
#: Reception of the first message, ns.
START = 1_700_000_000_000_000_000


def message(type_name: str, /, **fields: Any) -> Any:
    """Make a message of a standard type, such as "std_msgs/msg/String"."""
    return TYPES.types[type_name](**fields)


def header(stamp_ns: int) -> Any:
    """Make a std_msgs/Header."""
    stamp = message("builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return message("std_msgs/msg/Header", stamp=stamp, frame_id="")


def image(stamp_ns: int, value: int, size: tuple[int, int] = (48, 64)) -> Any:
    """Make an rgb8 image of one value."""
    height, width = size
    return message(
        "sensor_msgs/msg/Image",
        header=header(stamp_ns),
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * width,
        data=np.full(3 * height * width, value, dtype=np.uint8),
    )


def joint_state(stamp_ns: int, names: Sequence[str], positions: Sequence[float]) -> Any:
    """Make a joint state."""
    none = np.empty(0)
    return message(
        "sensor_msgs/msg/JointState",
        header=header(stamp_ns),
        name=list(names),
        position=np.asarray(positions, dtype=np.float64),
        velocity=none,
        effort=none,
    )


def trajectory(
    stamp_ns: int, names: Sequence[str], points: Sequence[tuple[float, Sequence[float]]]
) -> Any:
    """Make a trajectory from (s after the stamp, positions)."""
    none = np.empty(0)
    return message(
        "trajectory_msgs/msg/JointTrajectory",
        header=header(stamp_ns),
        joint_names=list(names),
        points=[
            message(
                "trajectory_msgs/msg/JointTrajectoryPoint",
                positions=np.asarray(positions, dtype=np.float64),
                velocities=none,
                accelerations=none,
                effort=none,
                time_from_start=message(
                    "builtin_interfaces/msg/Duration",
                    sec=int(after),
                    nanosec=round(1e9 * (after - int(after))),
                ),
            )
            for after, positions in points
        ],
    )


@dataclass
class BagOf:
    """Messages of a bag, in any order; `write` sorts them by their reception."""

    sent: list[tuple[int, str, Any]] = field(default_factory=list)

    def add(self, topic: str, received_ns: int, content: Any) -> None:
        """Add a message."""
        self.sent.append((received_ns, topic, content))

    def write(
        self,
        path: Path,
        *,
        plugin: StoragePlugin = StoragePlugin.MCAP,
        compression: CompressionMode = CompressionMode.NONE,
    ) -> Path:
        """Write the bag; return its path."""
        writer = Writer(path, version=9, storage_plugin=plugin)
        if compression is not CompressionMode.NONE:
            writer.set_compression(compression, CompressionFormat.ZSTD)
        with writer:
            topics: dict[str, Any] = {}
            for received, topic, content in sorted(self.sent, key=lambda each: each[0]):
                kind = content.__msgtype__
                if topic not in topics:
                    topics[topic] = writer.add_connection(topic, kind, typestore=TYPES)
                writer.write(topics[topic], received, TYPES.serialize_cdr(content, kind))
        return path


def so101_inputs(
    joints: Sequence[str],
    *,
    seconds: float = 2.0,
    position: Callable[[float], float] = lambda t: 0.1 * t,
    value: Callable[[int], int] = lambda number: number,
) -> BagOf:
    """Return two cameras at 10 Hz and joint states at 50 Hz, each received 1 ms after its stamp.

    Args:
        joints: names in the joint states.
        seconds: duration.
        position: s since START -> position of every joint.
        value: number of the image -> its pixels.

    """
    bag = BagOf()
    bag.add("/instruction", START, message("std_msgs/msg/String", data="touch the cube"))
    for number in range(round(50 * seconds)):
        stamp = START + number * 20_000_000
        positions = [position(number / 50)] * len(joints)
        bag.add("/joint_states", stamp + 1_000_000, joint_state(stamp, joints, positions))
    for number in range(round(10 * seconds)):
        stamp = START + number * 100_000_000
        for view in ("front", "wrist"):
            bag.add(f"/{view}/image_raw", stamp + 1_000_000, image(stamp, value(number)))
    return bag
