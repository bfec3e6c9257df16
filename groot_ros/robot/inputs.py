# SPDX-License-Identifier: Apache-2.0
"""The inputs of the contract: cameras, joint state sources and the policy's state groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from groot_ros.core import s_to_ns
from groot_ros.core.config_reader import REQUIRED, Fields
from groot_ros.robot.fields import read_joint_name, read_joint_names, read_topic
from groot_ros.robot.joint import Joint
from groot_ros.vision.encodings import COMPRESSED, DETECTIONS, find_encoding, is_colour

Stamp = Literal["header", "arrival"]
Mount = Literal["fixed", "arm"]

STAMPS: tuple[Stamp, ...] = ("header", "arrival")
#: Encodings of label images (sensor_msgs/Image); DETECTIONS is vision_msgs/Detection2DArray.
LABEL_ENCODINGS = ("mono8", "mono16", DETECTIONS)
MOUNTS: tuple[Mount, ...] = ("fixed", "arm")
#: Longest time from a measurement or an exposure to its stamp, s.
MAX_LATENCY = 10.0


@dataclass(frozen=True)
class Labels:
    """Topic with the object of each pixel of a camera's images, stamped as the image.

    Attributes:
        encoding: one of LABEL_ENCODINGS.

    """

    topic: str
    encoding: str

    @property
    def message(self) -> str:
        """Return the type of the topic, such as "sensor_msgs/msg/Image"."""
        detections = self.encoding == DETECTIONS
        return "vision_msgs/msg/Detection2DArray" if detections else "sensor_msgs/msg/Image"


@dataclass(frozen=True)
class Camera:
    """One camera topic.

    Attributes:
        name: the view, as the checkpoint's video modality names it.
        encoding: a row of `vision.encodings`.
        stamp: whether an image is dated by its header or by its arrival.
        latency_ns: time from exposure to stamp, subtracted from the stamp.
        rate: expected frame rate, Hz.
        mount: whether the camera stands still or moves with the joints of the robot.
        labels: where the objects in its images are labelled; None if nowhere.

    """

    name: str
    topic: str
    encoding: str
    stamp: Stamp
    latency_ns: int
    rate: float
    mount: Mount = "fixed"
    labels: Labels | None = None

    @property
    def compressed(self) -> bool:
        """Return whether the topic carries sensor_msgs/CompressedImage."""
        return self.encoding in COMPRESSED

    @property
    def colour(self) -> bool:
        """Return whether the contract promises colour."""
        return is_colour(self.encoding)


@dataclass(frozen=True)
class JointStateSource:
    """One sensor_msgs/JointState topic.

    Attributes:
        joints: the joints whose state is taken from this topic; others in it are ignored.
        stamp: whether a message is dated by its header or by its arrival.
        latency_ns: time from measurement to stamp, subtracted from the stamp.
        rate: expected rate, Hz; 0 if not stated.

    """

    name: str
    topic: str
    joints: tuple[str, ...]
    stamp: Stamp = "header"
    latency_ns: int = 0
    rate: float = 0.0


@dataclass(frozen=True)
class Inputs:
    """Section `inputs:` of the contract.

    Attributes:
        state: state group of the checkpoint -> joints of its columns, in column order.
        sources: where the joints are measured.

    """

    state: Mapping[str, tuple[str, ...]]
    sources: tuple[JointStateSource, ...]


def read_camera(name: str, section: Fields) -> Camera:
    """Read one entry of `cameras:`."""
    camera = Camera(
        name,
        topic=read_topic(section, "topic"),
        encoding=_read_encoding(section),
        stamp=section.choice("stamp", STAMPS, "header"),
        latency_ns=_read_latency(section),
        rate=section.number("rate", above=0.0),
        mount=section.choice("mount", MOUNTS, "fixed"),
        labels=_read_labels(section) if section.has("labels") else None,
    )
    if camera.labels is not None and camera.stamp == "arrival":
        raise section.error(
            "labels",
            "needs 'stamp: header': labels belong to the image with the same stamp",
        )
    section.finish()
    return camera


def _read_labels(camera: Fields) -> Labels:
    section = camera.section("labels")
    labels = Labels(
        read_topic(section, "topic"), section.choice("encoding", LABEL_ENCODINGS, "mono16")
    )
    section.finish()
    return labels


def read_inputs(section: Fields, joints: Mapping[str, Joint], commanded: Sequence[str]) -> Inputs:
    """Read `inputs:`.

    A joint is measured by the source that its state group names, or that lists it under `joints`.
    A single source measures all joints. A gripper that is neither read nor listed is not measured.

    Args:
        section: the section.
        joints: all joints of the contract.
        commanded: joints that a controller moves; each must be measured unless it is a gripper.

    """
    entries = dict(section.sections("sources"))
    only = next(iter(entries)) if len(entries) == 1 else None
    source_of: dict[str, str] = {}

    def assign(joint: str, source: str, at: Fields, key: str) -> None:
        other = source_of.setdefault(joint, source)
        if other != source:
            raise at.error(
                key, f"is '{source}' for joint '{joint}', which '{other}' measures elsewhere"
            )

    state = {}
    groups = section.section("state")
    for group in groups.value:
        columns: list[str] = []
        for entry in groups.section_list(group):
            joint = read_joint_name(entry, "joint", joints)
            source = entry.name("source", REQUIRED if only is None else only)
            entry.finish()
            if source not in entries:
                known = ", ".join(entries)
                raise entry.error("source", f"is '{source}', which is not under 'sources': {known}")
            if joint in columns:
                raise groups.error(group, f"lists joint '{joint}' more than once")
            assign(joint, source, entry, "source")
            columns.append(joint)
        state[group] = tuple(columns)
    for name, entry in entries.items():
        for joint in read_joint_names(entry, joints) if entry.has("joints") else ():
            assign(joint, name, entry, "joints")
    for joint in (j.name for j in joints.values() if j.gripper is None):
        if only is not None:
            source_of.setdefault(joint, only)
        if joint in commanded and joint not in source_of:
            raise section.error(
                "sources",
                f"has no entry that measures joint '{joint}', which a controller moves: list it "
                "under 'joints' of one",
            )
    sources = tuple(
        _read_source(name, entry, tuple(j for j in joints if source_of.get(j) == name))
        for name, entry in entries.items()
    )
    section.finish()
    return Inputs(state, sources)


def _read_source(name: str, section: Fields, joints: tuple[str, ...]) -> JointStateSource:
    source = JointStateSource(
        name,
        topic=read_topic(section, "topic"),
        joints=joints,
        stamp=section.choice("stamp", STAMPS, "header"),
        latency_ns=_read_latency(section),
        rate=section.number("rate", 0.0, at_least=0.0),
    )
    section.finish()
    return source


def _read_encoding(section: Fields) -> str:
    if not section.has("encoding"):
        return "rgb8"
    try:
        return find_encoding(section.text("encoding"))
    except ValueError as error:
        raise section.error("encoding", f"is {error}") from error


def _read_latency(section: Fields) -> int:
    return s_to_ns(section.number("latency", 0.0, at_least=0.0, at_most=MAX_LATENCY))
