# SPDX-License-Identifier: Apache-2.0
"""Conversion of a bag with two 640x480 cameras at 30 Hz into a data set, on one core.

    python -m benchmarks conversion [--seconds 10]

The arm of the simulator moves before both cameras, and the images have the noise of a sensor (2
grey levels), which costs the encoder more than clean ones. Joint states have 210 Hz. The bag is
uncompressed and in the page cache. Measured is the CPU time of everything: reading, choosing rows,
decoding, encoding, verification and statistics. Target: 1.5 times real time.
"""

import argparse
import math
import resource
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groot_ros.bags.episode import EpisodeInfo
from groot_ros.core import NS_PER_S
from groot_ros.core.share import robot_path
from groot_ros.datasets.from_bags import ConversionSettings, convert_bags
from groot_ros.datasets.rows import RowSettings
from groot_ros.datasets.to_bag import MessageWriter
from groot_ros.evaluation.table import format_table
from groot_ros.robot import RobotContract, load_contract
from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.camera import CameraRenderer

WIDTH, HEIGHT, FPS = 640, 480, 30
#: Joint states for each frame: 210 Hz.
JOINT_STATES = 7
_NOISE = 2.0
#: Different images that are rendered; they are shown forwards and backwards, each time with noise.
_RENDERED = 60


def make_bag(path: Path, contract: RobotContract, seconds: float) -> None:
    """Write a bag of a moving arm."""
    pictures = _render(contract)
    noise = np.random.default_rng(0)
    joints = list(contract.joint_names)
    frames = round(seconds * FPS)
    with MessageWriter(path, EpisodeInfo(instruction="touch the red cube")) as bag:
        for number in range(frames):
            stamp = NS_PER_S + number * NS_PER_S // FPS
            target = np.tile(_position((number + 1) / FPS), 2 * len(joints))
            commanded = {
                "header": stamp,
                "session": "benchmark",
                "start": stamp,
                "dt": 1.0 / FPS,
                "joint_names": joints,
                "positions": target,
                "velocities": np.zeros(len(target)),
            }
            bag.write("committed_timeline", "groot_ros/msg/CommittedTimeline", stamp, commanded)
            shown = abs((number + _RENDERED) % (2 * _RENDERED) - _RENDERED) % _RENDERED
            for view, camera in contract.cameras.items():
                noisy = pictures[view][shown] + noise.normal(0.0, _NOISE, (HEIGHT, WIDTH, 3))
                image = {
                    "header": stamp,
                    "height": HEIGHT,
                    "width": WIDTH,
                    "encoding": "rgb8",
                    "step": 3 * WIDTH,
                    "data": noisy.clip(0, 255).astype(np.uint8).reshape(-1),
                }
                bag.write(camera.topic, "sensor_msgs/msg/Image", stamp, image)
            for sample in range(JOINT_STATES):
                at = stamp + sample * NS_PER_S // (FPS * JOINT_STATES)
                positions = np.full(len(joints), _position((at - NS_PER_S) / NS_PER_S))
                state = {"header": at, "name": joints, "position": positions}
                bag.write("joint_states", "sensor_msgs/msg/JointState", at, state)


def _position(t: float) -> float:
    return 0.4 * math.sin(t)


def _render(contract: RobotContract) -> dict[str, list[NDArray[np.uint8]]]:
    arm = SimulatedArm()
    arm.reset()
    pictures: dict[str, list[NDArray[np.uint8]]] = {view: [] for view in contract.cameras}
    with CameraRenderer(arm.model, WIDTH, HEIGHT) as renderer:
        home = arm.scene.copy()
        for number in range(_RENDERED):
            scene = home.copy()
            scene[: len(contract.joints)] += 0.3 * math.sin(number / FPS)
            for view, own in pictures.items():
                own.append(renderer.render(scene, view))
    return pictures


def main(arguments: Sequence[str] = ()) -> int:
    """Print the CPU time of a conversion, relative to the duration of the bag."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conversion")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the bag (default: 10)")
    args = parser.parse_args(arguments)
    robot = robot_path("so101")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_bag(folder / "bag", load_contract(robot), args.seconds)
        size = sum(file.stat().st_size for file in (folder / "bag").iterdir())
        before = resource.getrusage(resource.RUSAGE_SELF)
        settings = ConversionSettings(RowSettings(fps=0, trim_idle=False), robot)
        convert_bags([folder / "bag"], folder / "data", settings, jobs=1)
        after = resource.getrusage(resource.RUSAGE_SELF)
        written = sum(file.stat().st_size for file in (folder / "data").rglob("*.mp4"))
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    rows = [
        ["bag", f"{args.seconds:.0f} s, {size / 1e6:.0f} MB"],
        ["videos", f"{written / 1e6:.1f} MB"],
        ["CPU time", f"{cpu:.1f} s"],
        ["relative to real time, one core", f"{args.seconds / cpu:.2f}x (target 1.5)"],
    ]
    print(format_table(["what", "figure"], rows))
    return 0
