# SPDX-License-Identifier: Apache-2.0
"""Time of an offline evaluation that is not the policy's, for each observation.

    python -m benchmarks offline_evaluation [--seconds 20] [--interval 0.2] [--folder DIR]

A bag of two 640x480 rgb8 cameras at 30 Hz and joint states at 200 Hz is written into a temporary
folder (55 MB for each second) and evaluated with a policy that repeats its state. What is measured
is everything but the policy: reading the bag, choosing and decoding images, interpolating the
state, looking up commands, and computing the errors. The first pass is not counted: it reads the
bag from the disk.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from benchmarks.observation_path import NoModel
from groot_ros.bags.recording import RobotBag
from groot_ros.core.share import robot_path
from groot_ros.evaluation.prediction_errors import joint_errors
from groot_ros.evaluation.predictions import BagRecording, predict
from groot_ros.evaluation.table import format_table
from groot_ros.observation.spec import SyncTolerances
from groot_ros.robot import load_contract

#: Largest time for each observation, s.
GOAL = 0.010
CAMERA_HZ, STATE_HZ, COMMAND_HZ = 30, 200, 30
SIZE = (480, 640)
_START = 1_700_000_000_000_000_000
_RUNS = 3


class _Repeating(NoModel):
    """A policy without a model, with sessions as `groot_ros.policy.Policy` has them."""

    def new_session(self) -> None:
        """Return None, as there is no state."""

    def infer(self, observation: Any, prefix: None, seed: int, session: None) -> Any:  # type: ignore[override]
        """Return a chunk that repeats the state."""
        return super().infer(observation)


def write_bag(path: Path, seconds: float) -> Path:
    """Write the bag; images differ from each other."""
    types = get_typestore(Stores.ROS2_JAZZY)
    contract = load_contract(robot_path("so101"))
    names = list(contract.joint_names)
    controller = contract.controllers[0]

    def header(stamp: int) -> Any:
        time_type = types.types["builtin_interfaces/msg/Time"]
        own = time_type(sec=stamp // 10**9, nanosec=stamp % 10**9)
        return types.types["std_msgs/msg/Header"](stamp=own, frame_id="")

    kinds = {
        **{f"/{camera.topic}": "sensor_msgs/msg/Image" for camera in contract.cameras.values()},
        "/joint_states": "sensor_msgs/msg/JointState",
        f"/{controller.topic}": "trajectory_msgs/msg/JointTrajectory",
        "/instruction": "std_msgs/msg/String",
    }
    events = [(0, "/instruction")]
    for topic, kind in kinds.items():
        rate = {"Image": CAMERA_HZ, "JointState": STATE_HZ, "JointTrajectory": COMMAND_HZ}
        if hz := rate.get(kind.rpartition("/")[2]):
            events += [(round(1e9 * i / hz), topic) for i in range(round(hz * seconds))]
    pixels = np.random.default_rng(0).integers(0, 256, 3 * SIZE[0] * SIZE[1], dtype=np.uint8)
    none = np.empty(0)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {t: writer.add_connection(t, kind, typestore=types) for t, kind in kinds.items()}
        for at, topic in sorted(events):
            kind = kinds[topic]
            fields: dict[str, Any] = {"header": header(_START + at)}
            positions = np.full(len(names), np.sin(at / 1e9))
            if kind.endswith("Image"):
                pixels += 1
                fields |= {"height": SIZE[0], "width": SIZE[1], "encoding": "rgb8"}
                fields |= {"is_bigendian": 0, "step": 3 * SIZE[1], "data": pixels}
            elif kind.endswith("JointState"):
                fields |= {"name": names, "position": positions, "velocity": none, "effort": none}
            elif kind.endswith("JointTrajectory"):
                point = types.types["trajectory_msgs/msg/JointTrajectoryPoint"](
                    positions=positions[: len(controller.joints)],
                    velocities=none,
                    accelerations=none,
                    effort=none,
                    time_from_start=types.types["builtin_interfaces/msg/Duration"](0, 0),
                )
                fields |= {"joint_names": list(controller.joints), "points": [point]}
            else:
                fields = {"data": "stay"}
            message = types.types[kind](**fields)
            received = _START + at + 1_000_000
            writer.write(topics[topic], received, types.serialize_cdr(message, kind))
    return path


def measure(bag: Path, interval: float) -> tuple[int, float, float]:
    """Evaluate once; return the number of observations, and wall and CPU time, s.

    The wall time is without that of the policy. The CPU time is with it, but that policy takes
    little; it tells how much of the wall time other processes used.
    """
    contract = load_contract(robot_path("so101"))
    policy = _Repeating()
    began, busy = time.perf_counter(), time.process_time()
    episode = predict(
        BagRecording(RobotBag(bag, contract)),
        policy,  # type: ignore[arg-type]
        name="bag",
        seeds=(0,),
        interval=interval,
        tolerances=SyncTolerances(),
    )
    for errors in joint_errors([episode]).values():
        errors.summary()
    total = time.perf_counter() - began
    busy = time.process_time() - busy
    return len(episode.numbers), total - episode.seconds["policy"], busy


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the time for each observation; return 1 if it exceeds GOAL."""
    parser = argparse.ArgumentParser("python -m benchmarks.offline_evaluation", allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=20.0, help="duration of the bag")
    parser.add_argument("--interval", type=float, default=0.2, help="s between observations")
    parser.add_argument("--folder", help="where the bag is written (default: a temporary folder)")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        bag = write_bag(Path(folder) / "bag", args.seconds)
        measure(bag, args.interval)
        runs = [measure(bag, args.interval) for _ in range(_RUNS)]
    worst = max(wall / count for count, wall, _ in runs)
    rows = [
        [str(count), *(f"{1e3 * seconds / count:.2f}" for seconds in times)]
        for count, *times in runs
    ]
    print(format_table(["observations", "ms each", "CPU ms each"], rows))
    print(f"at most {1e3 * GOAL:g} ms: {'met' if worst <= GOAL else 'NOT met'}")
    return 0 if worst <= GOAL else 1


if __name__ == "__main__":
    raise SystemExit(main())
