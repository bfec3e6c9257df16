# SPDX-License-Identifier: Apache-2.0
"""The sensors of the contract: cameras and joint state sources."""

from dataclasses import dataclass
from typing import Literal

from groot_ros.core import s_to_ns
from groot_ros.core.config_reader import Fields
from groot_ros.robot.fields import read_joint_names, read_topic
from groot_ros.vision.encodings import COMPRESSED, ENCODINGS

Stamp = Literal["header", "arrival"]

STAMPS: tuple[Stamp, ...] = ("header", "arrival")
#: Longest time from the exposure of an image to its stamp, s.
MAX_LATENCY = 10.0


@dataclass(frozen=True)
class Camera:
    """One camera topic.

    Attributes:
        name: the view, as the checkpoint's video modality names it.
        encoding: a row of `vision.encodings`.
        stamp: whether an image is dated by its header or by its arrival.
        latency_ns: time from exposure to stamp, subtracted from the stamp.
        rate: expected frame rate, Hz.

    """

    name: str
    topic: str
    encoding: str
    stamp: Stamp
    latency_ns: int
    rate: float

    @property
    def compressed(self) -> bool:
        """Return whether the topic carries sensor_msgs/CompressedImage."""
        return self.encoding in COMPRESSED


@dataclass(frozen=True)
class JointStateSource:
    """One sensor_msgs/JointState topic, the joints that it is used for and its rate in Hz."""

    topic: str
    joints: tuple[str, ...]
    rate: float


def read_camera(name: str, section: Fields) -> Camera:
    """Read one entry of `cameras:`."""
    camera = Camera(
        name,
        topic=read_topic(section, "topic"),
        encoding=section.choice("encoding", (*(e.name for e in ENCODINGS), *COMPRESSED), "rgb8"),
        stamp=section.choice("stamp", STAMPS, "header"),
        latency_ns=s_to_ns(section.number("latency", 0.0, at_least=0.0, at_most=MAX_LATENCY)),
        rate=section.number("rate", above=0.0),
    )
    section.finish()
    return camera


def read_joint_state_source(section: Fields, all_joints: tuple[str, ...]) -> JointStateSource:
    """Read one entry of `joint_states:`; `joints` may be left out when there is one source."""
    source = JointStateSource(
        topic=read_topic(section, "topic"),
        joints=read_joint_names(section, all_joints, default=all_joints),
        rate=section.number("rate", 0.0, at_least=0.0),
    )
    section.finish()
    return source
