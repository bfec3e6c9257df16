# SPDX-License-Identifier: Apache-2.0
"""Latency from camera to chunk without the model: two processes, two 640x480 cameras at 30 Hz.

    python -m benchmarks.observation_path [--seconds 20]

One process replaces the robot: it publishes two rgb8 cameras and joint states at 100 Hz, and
receives the chunks. The other is the real policy node with a policy that needs no time. It runs
with the defaults of Fast DDS, and with config/fastdds.xml.

    transport   time from just before publish() in one process to the callback in the other
    lost        gaps in the numbers of the received frames
    path        duration of snapshot and publish of each chunk, the stages outside the model
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

from groot_ros.bridge.isolated_domain import use_isolated_domain
from groot_ros.core import ActionChunk, ActionGroup, ActionKind, Observation, ns_to_s
from groot_ros.core.share import robot_path, share_directory
from groot_ros.evaluation.table import format_table
from groot_ros.families.family import PolicySpec
from groot_ros.robot import load_contract

WIDTH, HEIGHT, CAMERA_HZ, JOINT_HZ, RATE_HZ = 640, 480, 30.0, 100.0, 10.0
#: s at the beginning that are not counted, because of discovery and first allocations.
WARM_UP = 2.0
PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE"


class NoModel:
    """Policy that needs no time and proposes the current state."""

    spec = PolicySpec(
        family="none",
        embodiment="none",
        views=("front", "wrist"),
        image_history=(0,),
        state_history=(0,),
        state_groups={"single_arm": 5, "gripper": 1},
        action_groups={"single_arm": 5, "gripper": 1},
        action_space={"single_arm": "joint", "gripper": "joint"},
        horizon=16,
    )
    joint_groups = ("single_arm", "gripper")
    dt, first_step, device, memory_bytes = 1 / 30, 0.0, "none", 0
    engine = SimpleNamespace(name="none")
    notes = ()

    def __init__(self) -> None:
        self._joints = load_contract(robot_path("so101")).state_groups

    def reset(self) -> None:
        """Do nothing, as there is no state."""

    def warm_up(self) -> float:
        """Return the latency, s."""
        return 0.0

    def close(self) -> None:
        """Do nothing, as there is nothing to release."""

    def infer(self, observation: Observation, prefix: None = None, seed: int = 0) -> ActionChunk:
        """Return a chunk that repeats the state for the whole horizon."""
        kind = ActionKind.JOINT_POSITION
        groups = tuple(
            ActionGroup(
                kind,
                name,
                self._joints[name],
                ("rad",) * width,
                np.repeat(observation.state[name], self.spec.horizon, axis=0),
            )
            for name, width in self.spec.action_groups.items()
        )
        t_obs = observation.stamp_ns
        model = dict.fromkeys(("preprocess", "backbone", "head", "decode"), 0.0)
        return ActionChunk(t_obs, t_obs, self.dt, groups, stage_seconds=model)


def play_policy(seconds: float) -> dict[str, Any]:
    """Run the policy node, and return counts and transport times (s) of its images."""
    import rclpy
    from rclpy.executors import MultiThreadedExecutor
    from sensor_msgs.msg import Image

    from groot_ros.core import time_to_ns
    from groot_ros.nodes.policy_node import PolicyNode
    from groot_ros.observation import received

    arrivals: list[tuple[str, int, int, int]] = []
    decoder = received.checked_decoder

    def note(msg: Image, stated: str) -> Any:
        view, number = msg.header.frame_id.split()
        arrivals.append((view, int(number), time_to_ns(msg.header.stamp), time.time_ns()))
        return decoder(msg, stated)

    received.checked_decoder = note
    given = {"checkpoint": "none", "robot": robot_path("so101"), "rate_hz": RATE_HZ}
    given["torch_threads"] = 1
    arguments = [a for k, v in given.items() for a in ("-p", f"{k}:={v}")]
    rclpy.init(args=["--ros-args", *arguments, "-p", "instruction:=stay"])
    node = PolicyNode(lambda *_, **__: NoModel())  # type: ignore[arg-type,return-value]
    executor = MultiThreadedExecutor(num_threads=4)
    executor.add_node(node)
    threading.Thread(target=node.autostart, daemon=True).start()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        executor.spin_once(timeout_sec=0.1)
    node.close()
    begin = arrivals[0][3] + int(WARM_UP * 1e9) if arrivals else 0
    counted = [a for a in arrivals if a[3] >= begin]
    numbers = [[n for v, n, _, _ in counted if v == view] for view in NoModel.spec.views]
    return {
        "sent": sum(own[-1] - own[0] + 1 for own in numbers if own),
        "received": sum(len(own) for own in numbers),
        "transport": [ns_to_s(arrival - stamp) for _, _, stamp, arrival in counted],
    }


def play_robot(seconds: float) -> dict[str, Any]:
    """Publish images and joint states, and return the path durations (s) of the chunks."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import Image, JointState

    from groot_ros.bridge import qos
    from groot_ros.bridge.messages import ns_to_time
    from groot_ros.msg import ActionChunk as ActionChunkMsg

    rclpy.init()
    node = rclpy.create_node("robot")
    contract = load_contract(robot_path("so101"))
    noise = np.random.default_rng(0).integers(0, 256, HEIGHT * WIDTH * 3, np.uint8)
    data = array("B", noise.tobytes())
    joints = JointState(name=list(contract.joint_names), position=[0.1] * len(contract.joint_names))
    joint_states = node.create_publisher(JointState, "joint_states", qos.DRIVER)
    stages: list[dict[str, float]] = []

    def on_chunk(msg: Any) -> None:
        stages.append({stage.name: stage.seconds for stage in msg.stages})

    def publish_joints() -> None:
        joints.header.stamp = ns_to_time(time.time_ns())
        joint_states.publish(joints)

    def add_camera(view: str) -> None:
        publisher = node.create_publisher(Image, contract.cameras[view].topic, qos.DRIVER)
        image = Image(width=WIDTH, height=HEIGHT, step=WIDTH * 3, encoding="rgb8", data=data)
        number = 0

        def publish() -> None:
            nonlocal number
            number += 1
            image.header.frame_id = f"{view} {number}"
            image.header.stamp = ns_to_time(time.time_ns())
            publisher.publish(image)

        node.create_timer(1 / CAMERA_HZ, publish)

    for view in NoModel.spec.views:
        add_camera(view)
    node.create_timer(1 / JOINT_HZ, publish_joints)
    node.create_subscription(ActionChunkMsg, "action_chunk", on_chunk, qos.CHUNKS)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        executor.spin_once(timeout_sec=0.1)
    later = stages[int(WARM_UP * RATE_HZ) :]
    # A chunk contains the publishing time of the previous chunk.
    return {"path": [a["snapshot"] + b["publish"] for a, b in pairwise(later)]}


def measure(profile: str, seconds: float) -> dict[str, Any]:
    """Run both processes with one DDS profile ("" = defaults of Fast DDS); return their results."""
    environment = {**os.environ, PROFILE: profile, "OMP_NUM_THREADS": "1"}
    if not profile:
        del environment[PROFILE]
    command = [sys.executable, "-m", "benchmarks.observation_path", "--seconds", str(seconds)]
    processes = [
        subprocess.Popen(
            [*command, "--role", role],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for role in ("policy", "robot")
    ]
    results: dict[str, Any] = {}
    for process in processes:
        out, _ = process.communicate(timeout=seconds + 60)
        results |= json.loads(out.splitlines()[-1])
    if not results["path"]:
        sys.exit(f"no chunk arrived; to see why, run: {' '.join(command)} --role policy")
    return results


def row(name: str, results: dict[str, Any]) -> list[str]:
    """Return one row of the table."""
    sent, received = results["sent"], results["received"]
    return [
        name,
        str(sent),
        f"{sent - received}",
        *_milliseconds(results["transport"], (50, 99)),
        str(len(results["path"])),
        *_milliseconds(results["path"], (50, 95)),
    ]


def _milliseconds(seconds: Sequence[float], percentiles: Sequence[int]) -> list[str]:
    if not seconds:
        return ["-"] * len(percentiles)
    return [f"{1e3 * value:.2f}" for value in np.percentile(seconds, percentiles)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark with both profiles and print one table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.observation_path",
        description=__doc__.splitlines()[0] if __doc__ else "",
    )
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="duration of each run (%(default)s)"
    )
    parser.add_argument("--role", choices=("policy", "robot"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.role:
        play = play_policy if options.role == "policy" else play_robot
        print(json.dumps(play(options.seconds)), flush=True)
        os._exit(0)
    use_isolated_domain()
    header = ["two 640x480 cameras, 30 Hz", "images", "lost", "transport p50 ms", "p99 ms"]
    header += ["chunks", "path p50 ms", "p95 ms"]
    profiles = {
        "Fast DDS defaults": "",
        "config/fastdds.xml": str(share_directory() / "config" / "fastdds.xml"),
    }
    rows = [row(name, measure(profile, options.seconds)) for name, profile in profiles.items()]
    print(format_table(header, rows))
    print("target: none lost, transport p99 <= 5 ms, path p95 <= 5 ms")


if __name__ == "__main__":
    main()
