"""What the robot senses: cameras and joint state sources."""

from dataclasses import dataclass
from typing import Literal

from groot_ros.core import s_to_ns
from groot_ros.robot.reader import Section

#: s from exposure to stamp that a camera can have.
_LATENCIES = (0.0, 10.0)

ENCODINGS = ("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "mono16", "yuv422", "yuv422_yuy2")


@dataclass(frozen=True)
class Camera:
    """One camera topic.

    Attributes:
        name: the view, as the checkpoint's video modality names it.
        encoding: a ROS image encoding, or "jpeg"/"png" for sensor_msgs/CompressedImage.
        stamp: whether the header's stamp is the moment of exposure, or the arrival counts.
        latency_ns: subtracted from the stamp: exposure to stamp.
        rate: Hz the camera is expected to deliver.

    """

    name: str
    topic: str
    encoding: str
    stamp: Literal["header", "arrival"]
    latency_ns: int
    rate: float

    @property
    def compressed(self) -> bool:
        """Whether the topic carries sensor_msgs/CompressedImage."""
        return self.encoding in ("jpeg", "png")


@dataclass(frozen=True)
class JointStateSource:
    """One sensor_msgs/JointState topic and the joints it is trusted for."""

    topic: str
    joints: tuple[str, ...]
    rate: float


def read_camera(name: str, section: Section) -> Camera:
    """One entry of `cameras:`."""
    stamp = section.text("stamp", "header", choices=("header", "arrival"))
    camera = Camera(
        name,
        section.topic("topic"),
        section.text("encoding", "rgb8", choices=(*ENCODINGS, "jpeg", "png")),
        "arrival" if stamp == "arrival" else "header",
        s_to_ns(section.within("latency", _LATENCIES, 0.0)),
        section.number("rate", above=0.0),
    )
    section.finish()
    return camera


def read_joint_state_source(section: Section, all_joints: tuple[str, ...]) -> JointStateSource:
    """One entry of `joint_states:`; `joints` may be left out when there is one source."""
    source = JointStateSource(
        section.topic("topic"),
        section.names("joints", all_joints),
        section.number("rate", 0.0, at_least=0.0),
    )
    for joint in source.joints:
        if joint not in all_joints:
            raise section.error("joints", f"'{joint}' is not under 'joints:' of the contract")
    section.finish()
    return source
