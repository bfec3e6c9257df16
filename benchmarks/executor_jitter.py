# SPDX-License-Identifier: Apache-2.0
"""Timer jitter of the executor, idle and at work, with and without a two-thread torch load.

    python -m benchmarks.executor_jitter [--seconds 20]

The executor is the real node, activated, at 100 Hz. "At work" adds two processes: the simulated
robot (joint states at 100 Hz, commands executed) and a substitute for the policy that sends a
chunk of 16 steps five times per second, 100 ms after its observation, with offsets of 20 mrad. The
load multiplies matrices on two threads without pauses, at nice level 0 or that of bringup's policy.

    jitter    |interval - period| of the timer, as the node reports it on /diagnostics
    tick      duration of one tick
    of a core user and system time of the executor's process
    chunks    accepted of received chunks
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from groot_ros.bridge.isolated_domain import use_isolated_domain
from groot_ros.bringup.arguments import default_values
from groot_ros.core.share import robot_path
from groot_ros.evaluation.table import format_table

_LOAD = """
import torch
torch.set_num_threads(2)
a = torch.randn(1024, 1024)
print("loading", flush=True)
while True:
    a = torch.tanh(a @ a)
"""
#: Standard deviation of a chunk's offset (rad), time between chunks (s), their delay (s), steps.
_SIGMA, _INTERVAL, _LATENCY, _HORIZON = 0.02, 0.2, 0.1, 16


@contextmanager
def torch_load(nice: int) -> Iterator[None]:
    """Run a process that keeps two cores busy."""
    command = ["nice", "-n", str(nice), sys.executable, "-c", _LOAD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


@contextmanager
def node(name: str, **parameters: object) -> Iterator[int]:
    """Run a node of this package in a separate process; yields its process id."""
    given = {"robot": robot_path("so101"), **parameters}
    arguments = [a for k, v in given.items() for a in ("-p", f"{k}:={v}")]
    command = [sys.executable, "-m", "groot_ros.nodes", name, "--ros-args", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            yield process.pid
        finally:
            process.terminate()


@contextmanager
def robot_and_policy() -> Iterator[None]:
    """Run the simulated robot, and a process that sends it oscillating chunks."""
    policy = [sys.executable, "-m", "benchmarks.executor_jitter", "--role", "chunks"]
    with (
        node("sim_robot_node", image_width=64, image_height=48),
        subprocess.Popen(policy) as chunks,
    ):
        try:
            yield
        finally:
            chunks.terminate()


def send_chunks() -> None:
    """Publish chunks until the process is terminated."""
    import rclpy

    from groot_ros.bridge import qos
    from groot_ros.bridge.messages import chunk_to_msg
    from groot_ros.core import ActionChunk, ActionGroup, ActionKind
    from groot_ros.msg import ActionChunk as ActionChunkMsg
    from groot_ros.robot import load_contract
    from groot_ros.sim import HOME, JOINTS

    contract = load_contract(robot_path("so101"))
    home = dict(zip(JOINTS, HOME, strict=True))
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
            off = rng.normal(0.0, _SIGMA, len(middle))
            values = middle + off + 0.2 * np.sin(2 * np.pi * 0.3 * seconds)
            units = ("rad",) * len(middle)
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
            half, used = now, _processor_seconds(pid)
        rclpy.spin_once(onlooker, timeout_sec=0.2)
    assert used is not None
    share = (_processor_seconds(pid) - used) / (time.monotonic() - half)
    onlooker.destroy_node()
    rclpy.shutdown()
    if not report:
        sys.exit(
            "no diagnostics from the executor: it did not start, or --seconds is too short; to see "
            "why, run 'python -m groot_ros.nodes executor_node --ros-args -p robot:=FILE'"
        )
    chunks = f"{motion['accepted']} of {motion['received']}"
    return {**report, "of a core": f"{share:.0%}", "chunks": chunks}


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all cases and print one table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.executor_jitter",
        description=__doc__.splitlines()[0] if __doc__ else "",
    )
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="duration of each run (%(default)s)"
    )
    parser.add_argument("--role", choices=("chunks",), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.role:
        send_chunks()
        return
    use_isolated_domain()
    nice = int(default_values()["policy_nice"])
    rows = []
    for name, works, loads in (
        ("alone", False, None),
        ("alone, load at nice 0", False, 0),
        (f"alone, load at nice {nice}", False, nice),
        ("at work", True, None),
        ("at work, load at nice 0", True, 0),
        (f"at work, load at nice {nice}", True, nice),
    ):
        with ExitStack() as around:
            pid = around.enter_context(node("executor_node", autostart="true"))
            if works:
                around.enter_context(robot_and_policy())
            if loads is not None:
                around.enter_context(torch_load(loads))
            report = watched(options.seconds, pid)
        rows.append([name, *report.values()])
    print(format_table(["executor at 100 Hz", *report], rows))
    print("target under load at the policy's nice level: jitter p99 <= 2 ms, <= 25% of a core")


if __name__ == "__main__":
    main()
