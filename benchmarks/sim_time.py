# SPDX-License-Identifier: Apache-2.0
"""Policy and executor with `use_sim_time`, next to the same with wall time.

    python -m benchmarks sim_time [--seconds 15]

Policy, executor and simulated robot of `groot-ros up --sim` are driven by three instructions in
turn. The clock is wall time, the /clock that the simulated robot publishes, or that of a separate
process at 100, 250 or 1000 Hz.

    policy, executor    user and system time of the process, of a core, while driving
    idle                the same of the policy before the first instruction
    backbone p95        as the policy reports it, of the last chunks
    jitter p99          of the executor's 100 Hz timer, |interval - period|
    underruns           times the executor ran out of motion
    chunks              accepted of received chunks
    other load          cores that other processes of the machine used meanwhile; with more than
                        half a core the policy waits for them, and latencies cannot be compared
"""

import argparse
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.running_executor import processor_seconds
from groot_ros.bridge.isolated_domain import use_isolated_domain
from groot_ros.bringup.node_graph import Graph, demo_graph
from groot_ros.bringup.supervisor import Supervisor
from groot_ros.evaluation.table import format_table

#: Policy CPU and backbone p95 may reach this multiple of their values with wall time.
TARGET = 1.2
INSTRUCTIONS = ("touch the red cube", "touch the blue cube", "touch the green cube")
#: s per instruction, s of measured idling, s until the first chunk.
_INSTRUCTION_SECONDS, _IDLE_SECONDS, _START_TIMEOUT = 5.0, 4.0, 60.0
#: Case -> rate of the separate process that publishes /clock, Hz; 0 = no such process.
CASES = {"wall time": 0.0, "robot's /clock": 0.0, "/clock 100 Hz": 100.0}
CASES |= {"/clock 250 Hz": 250.0, "/clock 1000 Hz": 1000.0}


def publish_clock(rate: float) -> None:
    """Publish /clock until the process is terminated."""
    import rclpy
    from rosgraph_msgs.msg import Clock

    from groot_ros.bridge import qos
    from groot_ros.bridge.messages import ns_to_time

    rclpy.init()
    publisher = rclpy.create_node("clock").create_publisher(Clock, "/clock", qos.DRIVER)
    began = time.monotonic_ns()
    for tick in itertools.count(1):
        time.sleep(max(0.0, tick / rate - (time.monotonic_ns() - began) / 1e9))
        if not rclpy.ok():
            return
        publisher.publish(Clock(clock=ns_to_time(10**9 + time.monotonic_ns() - began)))


@contextmanager
def clock(rate: float) -> Iterator[None]:
    """Run a separate process that publishes /clock."""
    command = [sys.executable, "-m", "benchmarks.sim_time", "--clock", str(rate)]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.terminate()


def graph_of(case: str) -> Graph:
    """Return the demo's graph with the clock of a case."""
    graph = demo_graph({"use_sim_time": "false" if case == "wall time" else "true"})
    changed = []
    for process in graph.processes:
        parameters = dict(process.parameters)
        if process.executable == "sim_robot_node":
            parameters |= {"image_width": 320, "image_height": 240}
            if CASES[case]:
                parameters |= {"publish_clock": False, "use_sim_time": True}
        changed.append(replace(process, parameters=parameters))
    return replace(graph, processes=tuple(changed))


class Observer:
    """Node that instructs the policy and keeps what the nodes report."""

    def __init__(self) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from std_msgs.msg import String

        from groot_ros.bridge import qos
        from groot_ros.msg import ExecutorState, PolicyStatus

        rclpy.init()
        self.policy: Any = None
        self.executor: Any = None
        self.timing: dict[str, str] = {}
        self._node = rclpy.create_node("benchmark")
        self._instruction = self._node.create_publisher(String, "instruction", qos.LATCHED)
        subscribe = self._node.create_subscription
        subscribe(PolicyStatus, "policy_status", lambda m: setattr(self, "policy", m), qos.LATCHED)
        subscribe(
            ExecutorState, "executor_state", lambda m: setattr(self, "executor", m), qos.LATCHED
        )
        subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def __enter__(self) -> "Observer":
        return self

    def __exit__(self, *_: object) -> None:
        import rclpy

        self._node.destroy_node()
        rclpy.shutdown()

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.name == "executor_node: timing":
                self.timing = {v.key: v.value for v in status.values}

    def instruct(self, text: str) -> None:
        """Publish an instruction."""
        from std_msgs.msg import String

        self._instruction.publish(String(data=text))

    def spin(self, seconds: float) -> None:
        """Receive messages for some time."""
        import rclpy

        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0.0:
            rclpy.spin_once(self._node, timeout_sec=min(left, 0.2))

    def wait_for_policy(self, supervisor: Supervisor) -> None:
        """Wait until the policy is active."""
        end = time.monotonic() + _START_TIMEOUT
        while self.policy is None or self.policy.lifecycle != self.policy.ACTIVE:
            if dead := supervisor.dead():
                sys.exit(supervisor.exit_report(dead))
            if time.monotonic() > end:
                sys.exit(f"the policy is not active after {_START_TIMEOUT:g} s")
            self.spin(0.2)


def busy_seconds() -> float:
    """Return the processor time that was used on this machine since it was started, s."""
    user, nice, system = (int(n) for n in Path("/proc/stat").read_text().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


class Meter:
    """Share of a core that a process uses after the creation of this object."""

    def __init__(self, pid: int) -> None:
        self._pid, self._began, self._used = pid, time.monotonic(), processor_seconds(pid)

    def share(self) -> float:
        """Return the share since the creation."""
        return (processor_seconds(self._pid) - self._used) / (time.monotonic() - self._began)


def measure(case: str, seconds: float) -> dict[str, float]:
    """Run one case and return its figures."""
    around = clock(CASES[case]) if CASES[case] else nullcontext()
    supervisor = Supervisor(graph_of(case), show=lambda _: None)
    with around, Observer() as observer:
        try:
            supervisor.start()
            pids = {r.spec.executable: r.process.pid for r in supervisor.running}
            observer.wait_for_policy(supervisor)
            observer.spin(2.0)
            meter = Meter(pids["policy_node"])
            observer.spin(_IDLE_SECONDS)
            idle = meter.share()
            words = itertools.cycle(INSTRUCTIONS)
            observer.instruct(next(words))
            observer.spin(_INSTRUCTION_SECONDS)
            underruns = observer.executor.underruns
            meters = {name: Meter(pid) for name, pid in pids.items()}
            began, busy = time.monotonic(), busy_seconds()
            end = began + seconds
            while time.monotonic() < end:
                observer.instruct(next(words))
                observer.spin(min(_INSTRUCTION_SECONDS, end - time.monotonic()))
            shares = {name: meter.share() for name, meter in meters.items()}
            busy = (busy_seconds() - busy) / (time.monotonic() - began)
            backbone = next(s.p95 for s in observer.policy.stages if s.name == "backbone")
            state = observer.executor
            return {
                "idle": idle,
                "policy": shares["policy_node"],
                "backbone p95": backbone,
                "executor": shares["executor_node"],
                "jitter p99": float(observer.timing["jitter p99"].split()[0]) / 1e3,
                "underruns": state.underruns - underruns,
                "received": state.received,
                "accepted": state.accepted,
                "other": busy - sum(shares.values()),
            }
        finally:
            supervisor.stop()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all cases and print one table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.sim_time",
        description=__doc__.splitlines()[0] if __doc__ else "",
    )
    parser.add_argument(
        "--seconds", type=float, default=15.0, help="measured time of each case (%(default)s)"
    )
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="to run")
    parser.add_argument("--clock", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.clock:
        publish_clock(options.clock)
        return
    use_isolated_domain()
    rows = []
    for case in options.cases:
        found = measure(case, options.seconds)
        rows.append(
            [
                case,
                f"{found['policy']:.0%}",
                f"{found['idle']:.0%}",
                f"{1e3 * found['backbone p95']:.1f} ms",
                f"{found['executor']:.0%}",
                f"{1e3 * found['jitter p99']:.2f} ms",
                str(int(found["underruns"])),
                f"{found['accepted']:.0f} of {found['received']:.0f}",
                f"{found['other']:.1f}",
            ]
        )
    header = ["clock", "policy", "idle", "backbone p95", "executor", "jitter p99"]
    print(format_table([*header, "underruns", "chunks", "other load"], rows))
    print(f"target: policy and backbone p95 within {TARGET:g} x wall time, no underrun")


if __name__ == "__main__":
    main()
