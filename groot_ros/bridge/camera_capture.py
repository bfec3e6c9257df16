# SPDX-License-Identifier: Apache-2.0
"""Receive one image of each camera, the joint positions and the CameraInfo of a running robot."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState

from groot_ros.bridge import qos, rclpy_patches
from groot_ros.bridge.graph_client import initialised_context
from groot_ros.core import MalformedError, time_to_ns
from groot_ros.robot import RobotContract
from groot_ros.vision.camera_reference import Intrinsics
from groot_ros.vision.compressed import checked_decoder

#: s after the last image in which a CameraInfo with a publisher is awaited.
_INFO_TIMEOUT = 1.0


@dataclass(frozen=True)
class CapturedFrame:
    """One image of a camera, uint8 RGB [H, W, 3], decoded as the policy node does."""

    picture: NDArray[np.uint8]
    stamp_ns: int
    topic: str


@dataclass
class Capture:
    """Messages received so far.

    Attributes:
        frames: view -> image.
        problems: view -> why its images cannot be used.
        joints: joint -> measured position, rad or m.
        intrinsics: view -> focal lengths, for the cameras that publish CameraInfo.

    """

    frames: dict[str, CapturedFrame] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    joints: dict[str, float] = field(default_factory=dict)
    intrinsics: dict[str, Intrinsics] = field(default_factory=dict)

    def missing(self, contract: RobotContract) -> dict[str, str]:
        """Return view or joint state topic -> why nothing of it could be used."""
        found = {
            view: self.problems.get(view, f"no image on {camera.topic}")
            for view, camera in contract.cameras.items()
            if view not in self.frames
        }
        for source in contract.sources:
            lacking = [joint for joint in source.joints if joint not in self.joints]
            if lacking:
                found[source.topic] = f"no position of {', '.join(lacking)} on {source.topic}"
        return found


def capture(contract: RobotContract, namespace: str, timeout: float) -> Capture:
    """Receive from all cameras and joint state sources of a contract; ends when all are complete.

    Args:
        contract: names the topics.
        namespace: of the robot.
        timeout: s after which what was received is returned.

    """
    context = initialised_context()
    receiver: _Receiver | None = None
    try:
        receiver = _Receiver(contract, namespace, context)
        receiver.run(timeout)
        return receiver.received
    finally:
        if receiver is not None:
            receiver.close()
        rclpy.shutdown(context=context)


def camera_info_topic(topic: str) -> str:
    """Return where a camera publishes CameraInfo: next to its image, as in image_transport."""
    raw = topic.removesuffix("/compressed")
    parent, slash, _ = raw.rpartition("/")
    return f"{parent}{slash}camera_info"


class _Receiver:
    def __init__(self, contract: RobotContract, namespace: str, context: rclpy.Context) -> None:
        self._contract = contract
        self.received = Capture()
        self._node = rclpy.create_node("groot_ros_cameras", context=context, namespace=namespace)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._images: dict[str, Any] = {}
        self._infos = {
            view: camera_info_topic(camera.topic) for view, camera in contract.cameras.items()
        }
        subscribe = self._node.create_subscription
        for view, camera in contract.cameras.items():
            kind = CompressedImage if camera.compressed else Image
            subscribe(kind, camera.topic, self._callback(self._on_image, view), qos.SENSOR)
            subscribe(
                CameraInfo, self._infos[view], self._callback(self._on_info, view), qos.SENSOR
            )
        for source in contract.sources:
            subscribe(
                JointState,
                source.topic,
                self._callback(self._on_joints, source.joints),
                qos.JOINT_STATES,
            )

    @staticmethod
    def _callback(method: Callable[..., None], of: Any) -> Callable[[Any], None]:
        return partial(method, of)

    def run(self, timeout: float) -> None:
        """Spin until everything was received, or for `timeout` s."""
        end = time.monotonic() + timeout
        infos_end = end
        while time.monotonic() < min(end, infos_end):
            rclpy_patches.spin_once(self._executor, 0.1, self._node.get_logger().debug)
            if not self.received.missing(self._contract):
                awaited = [v for v in self._infos if self._awaits_info(v)]
                if not awaited:
                    break
                infos_end = min(infos_end, time.monotonic() + _INFO_TIMEOUT)

    def close(self) -> None:
        self._executor.shutdown(timeout_sec=2.0)
        self._node.destroy_node()

    def _awaits_info(self, view: str) -> bool:
        return view not in self.received.intrinsics and bool(
            self._node.count_publishers(self._node.resolve_topic_name(self._infos[view]))
        )

    def _on_image(self, view: str, msg: Any) -> None:
        if view in self.received.frames:
            return
        camera = self._contract.cameras[view]
        topic = self._node.resolve_topic_name(camera.topic)
        try:
            picture = checked_decoder(msg, camera.encoding)()
        except MalformedError as error:
            self.received.problems[view] = f"{topic}: {error.detail}"
            return
        self.received.frames[view] = CapturedFrame(picture, time_to_ns(msg.header.stamp), topic)

    def _on_info(self, view: str, msg: CameraInfo) -> None:
        fx, fy = float(msg.k[0]), float(msg.k[4])
        # A driver without calibration publishes zeros.
        if fx > 0.0 and fy > 0.0 and msg.width > 0:
            self.received.intrinsics[view] = Intrinsics(fx, fy, int(msg.width))

    def _on_joints(self, joints: tuple[str, ...], msg: JointState) -> None:
        positions: Mapping[str, float] = dict(zip(msg.name, msg.position, strict=False))
        for joint in joints:
            if joint in positions and np.isfinite(positions[joint]):
                self.received.joints[joint] = float(positions[joint])
