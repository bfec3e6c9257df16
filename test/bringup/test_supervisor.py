# SPDX-License-Identifier: Apache-2.0
"""Supervisor: exit reports and the ordered stop.

Regressions pinned: orphans after a killed supervisor; the executor stops first.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from groot_ros.bringup.node_graph import Graph, NodeProcess, demo_graph
from groot_ros.bringup.supervisor import Supervisor
from groot_ros.core.share import robot_path

pytestmark = pytest.mark.ros


class Lines:
    """Collected output; a test can wait for a line."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._condition = threading.Condition()

    def __call__(self, line: str) -> None:
        with self._condition:
            self.seen.append(line)
            self._condition.notify_all()

    def wait_for(self, text: str, timeout: float = 60.0) -> None:
        with self._condition:
            found = self._condition.wait_for(lambda: any(text in s for s in self.seen), timeout)
        assert found, f"'{text}' was not printed; output:\n" + "\n".join(self.seen)


#: Stand-in for a node: prints when it receives SIGINT and, 0.2 s later, when it exits.
_NODE = """
import signal, sys, time
name = sys.argv[4]
def on_sigint(*_):
    print(name, "stopping", flush=True)
    time.sleep(0.2)
    print(name, "stopped", flush=True)
    sys.exit(0)
signal.signal(signal.SIGINT, on_sigint)
print(name, "ready", flush=True)
signal.pause()
"""
_PRINT_LINES = "for _ in range(5000): print(99 * 'x', flush=True)"


@dataclass(frozen=True)
class StandIn(NodeProcess):
    """Process of the graph that runs a script instead of its node."""

    script: str = _NODE

    @property
    def prefix(self) -> list[str]:
        """Run the script; the node's command becomes its arguments."""
        return [sys.executable, "-c", self.script]


def graph(*processes: NodeProcess) -> Graph:
    return Graph(processes, namespace="", log_level="info", environment={"PYTHONUNBUFFERED": "1"})


def executor_process(**parameters: object) -> NodeProcess:
    robot = {"robot": str(robot_path("so101")), "autostart": True}
    return NodeProcess("executor_node", stop_order=1, parameters={**robot, **parameters})


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def supervise(lines: Lines, ros_domain: int) -> Iterator:
    started: list[Supervisor] = []

    def start(*processes: NodeProcess) -> Supervisor:
        supervisor = Supervisor(graph(*processes), lines)
        started.append(supervisor)
        supervisor.start()
        return supervisor

    yield start
    for supervisor in started:
        supervisor.stop()


def test_the_exit_report_has_name_exit_status_and_last_lines_of_output(
    supervise, lines: Lines
) -> None:
    supervisor = supervise(executor_process(robot="/no/such/robot.yaml"))
    lines.wait_for("/no/such/robot.yaml")
    supervisor.running[0].process.wait(60)
    dead = supervisor.dead()
    assert dead is not None
    exit_report = supervisor.exit_report(dead)
    assert "executor_node died (exit status 1)" in exit_report
    assert "/no/such/robot.yaml" in exit_report


def test_the_exit_report_names_the_signal_of_a_killed_node(supervise, lines: Lines) -> None:
    supervisor = supervise(executor_process())
    process = supervisor.running[0].process
    process.kill()
    process.wait(60)
    dead = supervisor.dead()
    assert dead is not None
    assert "killed by SIGKILL" in supervisor.exit_report(dead)


def test_a_process_that_ended_can_be_forgotten_and_the_others_keep_running(
    supervise, lines: Lines
) -> None:
    supervisor = supervise(StandIn("policy_node", 1), StandIn("sim_robot_node", 2))
    lines.wait_for("policy_node ready")
    lines.wait_for("sim_robot_node ready")
    policy, robot = supervisor.running
    policy.process.kill()
    policy.process.wait(60)
    assert supervisor.dead() is policy
    supervisor.forget(policy)
    assert supervisor.dead() is None
    assert robot.process.poll() is None


def test_the_executor_has_stopped_before_the_policy_and_the_policy_before_the_robot(
    supervise, lines: Lines
) -> None:
    processes = demo_graph({}).processes
    started = [StandIn(p.executable, p.stop_order) for p in reversed(processes)]
    supervisor = supervise(*started)
    for process in started:
        lines.wait_for(f"[{process.executable}] {process.executable} ready")
    supervisor.stop()
    printed = [line.split("] ")[1] for line in lines.seen if not line.endswith("ready")]
    assert printed == [
        f"{name} {what}"
        for name in ("executor_node", "policy_node", "sim_robot_node")
        for what in ("stopping", "stopped")
    ]
    assert [r.process.returncode for r in supervisor.running] == [0, 0, 0]


def test_only_a_node_that_crashes_while_stopping_is_reported(supervise, lines: Lines) -> None:
    crashes = _NODE.replace("sys.exit(0)", "import os; os.abort()")
    supervisor = supervise(StandIn("executor_node", 0, script=crashes), StandIn("policy_node", 1))
    for name in ("executor_node", "policy_node"):
        lines.wait_for(f"[{name}] {name} ready")
    supervisor.stop()
    reported = [line for line in lines.seen if "failed while stopping" in line]
    assert reported == ["executor_node failed while stopping: killed by SIGABRT"]


@pytest.mark.parametrize("error", [BrokenPipeError, OSError(28, "No space left on device")])
def test_a_node_keeps_running_when_its_output_cannot_be_shown(error: Exception) -> None:
    shown: list[str] = []

    def show(line: str) -> None:
        shown.append(line)
        raise error

    printing = StandIn("policy_node", 0, script=_PRINT_LINES)
    supervisor = Supervisor(graph(printing), show)
    supervisor.start()
    try:
        assert supervisor.running[0].process.wait(30) == 0
        assert len(shown) == 1
        assert f"    {99 * 'x'}" in supervisor.exit_report(supervisor.running[0])
    finally:
        supervisor.stop()


def test_stop_ends_an_active_executor_with_status_0(supervise, lines: Lines) -> None:
    supervisor = supervise(executor_process())
    lines.wait_for("active")
    supervisor.stop()
    assert supervisor.running[0].process.returncode == 0


def test_a_closed_terminal_stops_the_nodes_like_ctrl_c(ros_domain: int) -> None:
    code = f"""
from groot_ros.bringup.node_graph import Graph, NodeProcess
from groot_ros.bringup.supervisor import ShutdownSignal
from groot_ros.bringup.supervisor import Supervisor, wait_until_stopped
parameters = {{"robot": {str(robot_path("so101"))!r}, "autostart": True}}
node = NodeProcess("executor_node", 1, parameters=parameters)
supervisor = Supervisor(Graph((node,), "", "info", {{}}), lambda line: print(line, flush=True))
with ShutdownSignal() as shutdown:
    supervisor.start()
    dead = wait_until_stopped(supervisor, shutdown)
    supervisor.stop()
print(dead, supervisor.running[0].process.returncode, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        while not up.stdout.readline().rstrip().endswith("active"):
            assert up.poll() is None
        up.send_signal(signal.SIGHUP)
        rest = up.stdout.read()
    assert "timing: jitter" in rest
    assert rest.splitlines()[-1] == "None 0"


def test_nodes_do_not_outlive_a_killed_supervisor(tmp_path: Path, ros_domain: int) -> None:
    code = f"""
import sys
from groot_ros.bringup.node_graph import Graph, NodeProcess
from groot_ros.bringup.supervisor import Supervisor
node = NodeProcess("executor_node", 1, parameters={{"robot": {str(robot_path("so101"))!r}}})
supervisor = Supervisor(Graph((node,), "", "info", {{}}), lambda line: None)
supervisor.start()
print(supervisor.running[0].process.pid, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        watch = os.pidfd_open(child)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    import select

    ended, _, _ = select.select([watch], [], [], 20.0)
    os.close(watch)
    assert ended, "the node outlived its supervisor"
