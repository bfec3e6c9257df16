# SPDX-License-Identifier: Apache-2.0
"""The executor's process at work: the node itself, a simulated robot, and a sender of chunks.

    python -m benchmarks.running_executor ROBOT        # sends chunks until it is terminated

The sender stands for the policy: five times per second it sends a chunk of 16 steps, 100 ms after
its observation, with offsets of 20 mrad.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from groot_ros.core.share import robot_path

#: Standard deviation of a chunk's offset (rad), time between chunks (s), their delay (s), steps.
_SIGMA, _INTERVAL, _LATENCY, _HORIZON = 0.02, 0.2, 0.1, 16
#: Amplitude of the motion, rad, but at most this share of a joint's range.
_AMPLITUDE, _SHARE = 0.2, 0.2


@contextmanager
def node(
    name: str, robot: str | Path = "so101", *, profile: Path | None = None, **parameters: object
) -> Iterator[int]:
    """Run a node of this package in a separate process; yields its process id.

    Args:
        name: name of the node.
        robot: robot contract, a shipped name or a file.
        profile: file that cProfile writes at the end of the process.
        parameters: of the node.

    """
    given = {"robot": robot_path(str(robot)), **parameters}
    arguments = [a for k, v in given.items() for a in ("-p", f"{k}:={v}")]
    profiler = ["-m", "cProfile", "-o", str(profile)] if profile else []
    command = [sys.executable, *profiler, "-m", "groot_ros.nodes", name, "--ros-args", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait()


@contextmanager
def robot_and_policy(robot: str | Path = "so101") -> Iterator[None]:
    """Run the simulated robot, and a process that sends it oscillating chunks."""
    policy = [sys.executable, "-m", "benchmarks.running_executor", str(robot)]
    with (
        node("sim_robot_node", robot, image_width=64, image_height=48),
        subprocess.Popen(policy) as chunks,
    ):
        try:
            yield
        finally:
            chunks.terminate()


def send_chunks(robot: str) -> None:
    """Publish chunks that move all joints about their home, until the process is terminated."""
    import rclpy

    from groot_ros.bridge import qos
    from groot_ros.bridge.messages import chunk_to_msg
    from groot_ros.core import ActionChunk, ActionGroup, ActionKind
    from groot_ros.msg import ActionChunk as ActionChunkMsg
    from groot_ros.robot import load_contract
    from groot_ros.sim.model import RobotModel, model_of

    contract = load_contract(robot_path(robot))
    model = RobotModel.load(model_of(contract))
    home = dict(zip(model.joints, model.home.tolist(), strict=True))
    extent = {j: _SHARE * float(np.ptp(r)) for j, r in zip(model.joints, model.limits, strict=True)}
    rng = np.random.default_rng(0)
    rclpy.init()
    publisher = rclpy.create_node("chunks").create_publisher(
        ActionChunkMsg, "action_chunk", qos.COMMAND
    )
    number = 0
    while True:
        number += 1
        observed_ns = time.time_ns()
        seconds = observed_ns / 1e9 % 1000 + contract.action_dt * np.arange(_HORIZON)[:, None]
        groups = []
        for name, group in contract.action_groups.items():
            middle = np.array([home[joint] for joint in group.joints])
            size = np.array([min(1.0, extent[joint] / _AMPLITUDE) for joint in group.joints])
            off = rng.normal(0.0, _SIGMA, len(middle))
            motion = off + _AMPLITUDE * np.sin(2 * np.pi * 0.3 * seconds)
            values = middle + size * motion
            units = tuple(contract.joints[joint].unit for joint in group.joints)
            kind = ActionKind.JOINT_POSITION
            groups.append(ActionGroup(kind, name, group.joints, units, values))
        chunk = ActionChunk(
            observed_ns, observed_ns, contract.action_dt, tuple(groups), session="b", id=number
        )
        time.sleep(_LATENCY)
        if not rclpy.ok():
            return
        publisher.publish(chunk_to_msg(chunk))
        time.sleep(max(0.0, _INTERVAL - (time.time_ns() - observed_ns) / 1e9))


def watched(seconds: float, pid: int) -> dict[str, str]:
    """Return the executor's last diagnostics within `seconds`, and its CPU load.

    The CPU load is measured over the second half of this time.
    """
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray

    report: dict[str, str] = {}
    motion: dict[str, str] = {}

    def on_diagnostics(message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "executor_node: timing":
                report.update({v.key: v.value for v in status.values})
            if status.name == "executor_node: motion":
                motion.update({v.key: v.value for v in status.values})

    rclpy.init()
    onlooker = rclpy.create_node("benchmark")
    onlooker.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 10)
    end = time.monotonic() + seconds
    half, used = end - seconds / 2, None
    while (now := time.monotonic()) < end:
        if used is None and now >= half:
            half, used = now, processor_seconds(pid)
        rclpy.spin_once(onlooker, timeout_sec=0.2)
    assert used is not None
    share = (processor_seconds(pid) - used) / (time.monotonic() - half)
    onlooker.destroy_node()
    rclpy.shutdown()
    if not report:
        sys.exit(
            "no diagnostics from the executor: it did not start, or --seconds is too short; to see "
            "why, run 'python -m groot_ros.nodes executor_node --ros-args -p robot:=FILE'"
        )
    chunks = f"{motion['accepted']} of {motion['received']}"
    return {**report, "of a core": f"{share:.1%}", "chunks": chunks}


def processor_seconds(pid: int) -> float:
    """Return user and system time of a process, s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    send_chunks(sys.argv[1])
