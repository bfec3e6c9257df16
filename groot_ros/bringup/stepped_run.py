# SPDX-License-Identifier: Apache-2.0
"""Run a process whose simulated time waits for its nodes, and follow its episodes.

The process appends the result of each episode to a file, as a line of JSON.
"""

import json
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from groot_ros.bringup.node_graph import Graph
from groot_ros.bringup.supervisor import ShutdownSignal, Supervisor, wait_until_stopped

#: s between two looks at the results.
_POLL = 0.2


class Progress:
    """Bar of the episodes on a terminal, else a line for each."""

    def __init__(self, label: str, episodes: int) -> None:
        self._label, self._episodes = label, episodes
        self._bar = tqdm(total=episodes, desc=label, unit="episode", file=sys.stderr, disable=None)
        self._shown = 0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, done: int) -> None:
        """Show the number of episodes that are done."""
        if done > self._shown:
            self._bar.update(done - self._shown)
            self._shown = done
            if self._bar.disable:
                print(f"{self._label} {done}/{self._episodes}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class SteppedRun:
    """Results of the episodes, and whether a signal stopped the run before its end."""

    results: Sequence[Mapping[str, Any]]
    stopped: bool


def run_stepped(graph: Graph, results: Path, label: str, episodes: int) -> SteppedRun:
    """Run a graph of one process to its end, or until SIGINT, SIGTERM or SIGHUP.

    Args:
        graph: the process.
        results: file to which it appends a line for each episode.
        label: of the progress on stderr.
        episodes: number of lines that are expected.

    Raises:
        RuntimeError: the process failed; has its last lines of output.

    """
    supervisor = Supervisor(graph, lambda line: None)
    with ShutdownSignal() as shutdown, Progress(label, episodes) as progress:

        def show() -> bool:
            progress.show(len(_read(results)))
            return False

        try:
            supervisor.start()
            ended = wait_until_stopped(supervisor, shutdown, show, _POLL)
            show()
        finally:
            supervisor.stop()
    (run,) = supervisor.running
    stopped = ended is None
    # Ended by the signal itself: it had not installed its handlers yet.
    allowed = (0, -signal.SIGINT, -signal.SIGTERM) if stopped else (0,)
    if run.process.returncode not in allowed:
        raise RuntimeError(supervisor.exit_report(run))
    return SteppedRun(_read(results), stopped)


def _read(file: Path) -> list[dict[str, Any]]:
    """Return the lines that are complete."""
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def write_parameters(file: Path, parameters: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write a file of ROS parameters, executable -> name -> value, and return it."""
    text = yaml.safe_dump(
        {f"/**/{name}": {"ros__parameters": dict(own)} for name, own in parameters.items()}
    )
    file.write_text(text, encoding="utf-8")
    return file
