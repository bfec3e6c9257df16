# SPDX-License-Identifier: Apache-2.0
"""Bags of a moving SO-101 with commands, as a recorder without ROS would write them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.share import robot_path
from groot_ros.robot import load_contract
from support.input_bags import START, BagOf, image, joint_state, message, trajectory

SO101 = load_contract(robot_path("so101"))
JOINTS = SO101.joint_names
FPS = 30


def ns(seconds: float) -> int:
    """Return START plus a time, ns."""
    return START + round(seconds * 1e9)


def smooth_image(stamp_ns: int, size: tuple[int, int] = (48, 64)) -> Any:
    """Make an image with a gradient that moves, which a codec keeps well."""
    height, width = size
    phase = (stamp_ns - START) / 1e9
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 20 + phase), np.cos(y / 15 - phase), np.sin((x + y) / 30 + phase)]
    rgb = np.stack([(128 + 100 * wave).astype(np.uint8) for wave in waves], axis=-1)
    made = image(stamp_ns, 0, size)
    made.data = rgb.reshape(-1)
    return made


def wave(t: float) -> float:
    """Return a joint position that moves from the start on."""
    return 0.4 * math.sin(1.5 * t)


@dataclass
class RobotRun:
    """A run of the arm; every part of it can be replaced.

    Attributes:
        seconds: duration.
        position: s -> measured position of joint number j is this plus 0.01 j.
        command: s -> command, with the same offsets.
        rate: of the cameras, Hz.
        jitter: s, standard deviation of the stamps of the joint states.
        lost: s -> whether the images at this time are lost.
        instructions: (s, text), on the topic active_instruction.

    """

    seconds: float = 3.0
    position: Callable[[float], float] = wave
    command: Callable[[float], float] | None = wave
    rate: float = FPS
    jitter: float = 0.0
    lost: Callable[[float], bool] = lambda _: False
    instructions: tuple[tuple[float, str], ...] = ((0.0, "touch the red cube"),)
    size: tuple[int, int] = (48, 64)

    def joint_stamps(self) -> NDArray[np.int64]:
        """Return the stamps of the joint states, 100 Hz with jitter."""
        random = np.random.default_rng(0)
        count = round(self.seconds * 100)
        spread = self.jitter * random.standard_normal(count).clip(-3, 3)
        spread[0] = spread[-1] = 0.0
        return START + np.round((np.arange(count) / 100 + spread) * 1e9).astype(np.int64)

    def image_times(self) -> Iterator[float]:
        """Return the times of the images that are not lost, s."""
        for number in range(round(self.seconds * self.rate)):
            if not self.lost(number / self.rate):
                yield number / self.rate

    def messages(self) -> BagOf:
        """Return all messages; each is received 2 ms after its stamp."""
        bag = BagOf()
        for t, text in self.instructions:
            bag.add("/instruction", ns(t), message("std_msgs/msg/String", data=text))
        for stamp in self.joint_stamps().tolist():
            t = (stamp - START) / 1e9
            positions = [self.position(t) + 0.01 * j for j in range(len(JOINTS))]
            bag.add("/joint_states", stamp + 2_000_000, joint_state(stamp, JOINTS, positions))
        for t in self.image_times():
            for view in SO101.cameras:
                made = smooth_image(ns(t), self.size)
                bag.add(f"/{view}/image_raw", ns(t) + 2_000_000, made)
        if self.command is not None:
            for number in range(round(self.seconds * 10)):
                t = number / 10
                for controller in SO101.controllers:
                    offsets = [0.01 * JOINTS.index(joint) for joint in controller.joints]
                    points = [
                        (after, [self.command(t + after) + offset for offset in offsets])
                        for after in (0.0, 0.05, 0.1, 0.15)
                    ]
                    sent = trajectory(ns(t), controller.joints, points)
                    bag.add(f"/{controller.topic}", ns(t), sent)
        return bag

    def write(self, path: Path) -> Path:
        """Write the bag; return its path."""
        return self.messages().write(path)
