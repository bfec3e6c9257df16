# SPDX-License-Identifier: Apache-2.0
"""Supervision of the processes of a node graph: prefixed output, exit reports, ordered stop.

Each process runs in its own session, so that Ctrl-C in the terminal reaches only the supervisor and
the stop order is kept: the executor first (its last message is a hold, so the current chunk is not
executed to its end), then the policy, then the robot. If the supervisor is killed, the kernel sends
SIGTERM to every process.
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
from types import FrameType
from typing import IO, Any

from groot_ros.bringup.node_graph import Graph, NodeProcess

#: Signals that end a command; its child processes must handle them too.
END_SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
#: s between SIGINT and SIGTERM.
STOP_GRACE = 8.0
#: s between SIGTERM and SIGKILL.
TERM_GRACE = 3.0
#: Lines of output in an exit report.
_KEPT_LINES = 12
_PR_SET_PDEATHSIG = 1


class ShutdownSignal:
    """Context manager that records the first end signal; later signals have no effect.

    It only sets a flag: an exception raised by a signal handler can surface inside a lock, an
    import or a destructor and be lost there, and the robot would not be stopped.
    """

    def __init__(self) -> None:
        self._received = threading.Event()
        self._number = 0
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "ShutdownSignal":
        for number in END_SIGNALS:
            # SIGHUP (terminal closed) ends the command as Ctrl-C does, except under nohup.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            # None: the previous handler was not installed from Python and cannot be restored.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    @property
    def received(self) -> bool:
        """Return whether an end signal has been received."""
        return self._received.is_set()

    @property
    def number(self) -> int:
        """Return the number of the first end signal, 0 if none has been received."""
        return self._number

    def request(self) -> None:
        """Behave as if SIGINT had been received, for commands that end in another way."""
        self._on_signal(signal.SIGINT, None)

    def wait(self, timeout: float) -> bool:
        """Wait for an end signal for at most `timeout` s; return whether one was received."""
        return self._received.wait(timeout)

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self._number).name}" if self._number else "running"

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._number = self._number or number
        self._received.set()


@dataclass
class Running:
    """One started process with its last lines of output."""

    spec: NodeProcess
    process: subprocess.Popen[str]
    last_lines: deque[str]
    reader: threading.Thread


class Supervisor:
    """Starts the processes of a graph and stops them in order.

    Args:
        graph: processes to run.
        show: called with each line of output, prefixed with the node name. After an OSError (closed
            pipe, full disk) it is not called again; the nodes keep running.
        remaps: executable -> remapping rules ("from:=to") of that process.

    Attributes:
        running: the started processes.

    """

    def __init__(
        self,
        graph: Graph,
        show: Callable[[str], None],
        remaps: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._graph = graph
        self._output = show
        self._output_failed = False
        self._remaps = remaps or {}
        self.running: list[Running] = []

    def start(self) -> None:
        """Start all processes."""
        for spec in self._graph.processes:
            self.running.append(self._launch(spec))

    def dead(self) -> Running | None:
        """Return the first process that has ended without being stopped, or None."""
        return next((r for r in self.running if r.process.poll() is not None), None)

    def forget(self, dead: Running) -> None:
        """Supervise a process that has ended no longer; the others keep running."""
        self.running.remove(dead)

    def exit_report(self, dead: Running) -> str:
        """Describe a process that has ended: name, exit status or signal, last lines of output."""
        dead.reader.join(timeout=2.0)
        lines = "\n".join(f"    {line}" for line in dead.last_lines) or "    (no output)"
        return f"{self.exit_line(dead)}. Last lines of output:\n{lines}"

    def exit_line(self, dead: Running) -> str:
        """Return name and exit status or signal of a process that has ended."""
        return f"{dead.spec.executable} died ({_exit_status(dead.process)})"

    def stop(self) -> None:
        """Stop the processes one after another: SIGINT, then SIGTERM, then SIGKILL."""
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
            # A process that is ended by the signal itself had not installed its handlers yet, which
            # is not an error.
            if entry.process.returncode not in (0, -signal.SIGINT, -signal.SIGTERM):
                self._show(
                    f"{entry.spec.executable} failed while stopping: {_exit_status(entry.process)}"
                )

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
        if self._output_failed:
            return
        try:
            self._output(line)
        except OSError:
            # Keep reading: a full pipe would block the node.
            self._output_failed = True

    def _read(self, name: str, output: IO[str], last_lines: deque[str]) -> None:
        for line in output:
            text = line.rstrip()
            last_lines.append(text)
            self._show(f"[{name}] {text}")


def wait_until_stopped(
    supervisor: Supervisor,
    shutdown: ShutdownSignal,
    finished: Callable[[], bool] = lambda: False,
    poll_period: float = 0.1,
) -> Running | None:
    """Wait until a process ends, an end signal is received, or `finished` returns True.

    Args:
        supervisor: supervisor of the started processes.
        shutdown: entered context manager.
        finished: called every `poll_period` s.
        poll_period: time between two checks, s.

    Returns:
        The process that has ended, None in the other cases.

    """
    while (dead := supervisor.dead()) is None and not finished():
        if shutdown.wait(poll_period):
            return None
    return dead


def _exit_status(ended: subprocess.Popen[str]) -> str:
    code = ended.returncode
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _prepare_child() -> None:
    # Background jobs of a non-interactive shell ignore SIGINT, and under nohup SIGHUP; children
    # inherit this.
    for number in END_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
