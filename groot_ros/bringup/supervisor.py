"""Runs a bringup graph as processes: their output prefixed, their deaths told, a safe stop.

Each process has a session of its own, so that Ctrl-C in the terminal reaches the supervisor
alone, and the stop keeps its order: the executor first (whose last message is a hold: a chunk
under way need not run out), then the policy, then the robot. A process outlives a killed
supervisor by nothing: the kernel sends it SIGTERM.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from groot_ros.bringup.node_graph import Graph, NodeProcess
from groot_ros.bringup.shutdown_signal import END_SIGNALS, ShutdownSignal

#: s that a process has to stop after SIGINT, and again after SIGTERM.
STOP_GRACE = 8.0
TERM_GRACE = 3.0
_KEPT_LINES = 12
_PR_SET_PDEATHSIG = 1


@dataclass
class Running:
    """One started process and its last words."""

    spec: NodeProcess
    process: subprocess.Popen[str]
    last_lines: deque[str]
    reader: threading.Thread


class Supervisor:
    """Starts the graph's processes and stops them in order.

    Args:
        graph: what to run.
        show: receives each line of output, already prefixed with the node's name. When it raises
            OSError (a closed pipe, a full disk) it is called no more: the nodes go on.
        remaps: executable -> remap rules ("from:=to") for that process.

    """

    def __init__(
        self,
        graph: Graph,
        show: Callable[[str], None],
        remaps: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._graph = graph
        self._shown = show
        self._show_gone = False
        self._remaps = remaps or {}
        self.running: list[Running] = []

    def start(self) -> None:
        """Start every process."""
        for spec in self._graph.processes:
            self.running.append(self._launch(spec))

    def dead(self) -> Running | None:
        """A process that ended by itself, or None."""
        return next((r for r in self.running if r.process.poll() is not None), None)

    def exit_report(self, dead: Running) -> str:
        """Which process ended, how, and its last lines."""
        dead.reader.join(timeout=2.0)
        lines = "\n".join(f"    {line}" for line in dead.last_lines) or "    (it said nothing)"
        return f"{dead.spec.executable} died ({_how(dead.process)}). Its last lines:\n{lines}"

    def stop(self) -> None:
        """SIGINT in stop order, each awaited before the next; then SIGTERM, then SIGKILL."""
        for entry in sorted(self.running, key=lambda r: r.spec.stop_order):
            if entry.process.poll() is not None:
                continue
            for number, grace in ((signal.SIGINT, STOP_GRACE), (signal.SIGTERM, TERM_GRACE)):
                entry.process.send_signal(number)
                try:
                    entry.process.wait(grace)
                    break
                except subprocess.TimeoutExpired:
                    self._show(f"{entry.spec.executable} ignores {number.name}")
            if entry.process.poll() is None:
                entry.process.kill()
                entry.process.wait()
            entry.reader.join(timeout=2.0)
            # Killed by what it was sent, it was not listening yet: it had nothing to lose.
            if entry.process.returncode not in (0, -signal.SIGINT, -signal.SIGTERM):
                self._show(f"{entry.spec.executable} did not end well: {_how(entry.process)}")

    def _launch(self, spec: NodeProcess) -> Running:
        command = [*spec.prefix, sys.executable, "-m", "groot_ros.nodes", spec.executable]
        command += self._graph.ros_arguments(spec)
        for rule in self._remaps.get(spec.executable, ()):
            command += ["-r", rule]
        process = subprocess.Popen(
            command,
            env={**os.environ, **self._graph.environment, **spec.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            bufsize=1,
            start_new_session=True,
            preexec_fn=_prepare_child,
        )
        assert process.stdout is not None
        last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        reader = threading.Thread(
            target=self._read, args=(spec.executable, process.stdout, last_lines), daemon=True
        )
        reader.start()
        return Running(spec, process, last_lines, reader)

    def _show(self, line: str) -> None:
        if self._show_gone:
            return
        try:
            self._shown(line)
        except OSError:
            # A reader that died of it would leave a pipe that fills up and blocks the node.
            self._show_gone = True

    def _read(self, name: str, output: IO[str], last_lines: deque[str]) -> None:
        for line in output:
            text = line.rstrip()
            last_lines.append(text)
            self._show(f"[{name}] {text}")


def wait_until_stopped(
    supervisor: Supervisor,
    ending: ShutdownSignal,
    over: Callable[[], bool] = lambda: False,
    poll: float = 0.1,
) -> Running | None:
    """Until a process dies (returned), or a signal to end arrives or it is `over` (None)."""
    while (dead := supervisor.dead()) is None and not over():
        if ending.wait(poll):
            return None
    return dead


def _how(ended: subprocess.Popen[str]) -> str:
    code = ended.returncode
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _prepare_child() -> None:
    # A background job of a non-interactive shell ignores SIGINT, one of nohup SIGHUP, and
    # children inherit that.
    for number in END_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
