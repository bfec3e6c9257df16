# SPDX-License-Identifier: Apache-2.0
"""Keys of the terminal in which a recorder of episodes runs: start, keep and discard episodes.

One key both starts and ends an episode, so that a pedal that sends it is enough.
"""

import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from groot_ros.cli.operator import print_replies

if TYPE_CHECKING:
    from groot_ros.bridge.episode_commands import RecorderWatch
    from groot_ros.bridge.graph_client import GraphClient

HELP = "keys: space = start, and end as a success; f = end as a failure; d = discard; q = quit"
#: s between two looks whether the recorder has ended.
_POLL_PERIOD = 0.2


def action_of_key(key: str, *, recording: bool) -> tuple[str, str] | None:
    """Return action and outcome of a key, as in `groot-ros episode`; None if it has none now."""
    if key == " ":
        return ("stop", "success") if recording else ("start", "")
    if key == "f" and recording:
        return "stop", "failure"
    if key == "d" and recording:
        return "discard", ""
    return None


class EpisodeKeys:
    """Context manager that reads keys in a thread; without a terminal it does nothing.

    Args:
        namespace: namespace of the recorder.
        quit_recording: called for the key q.
        terminal: where keys are read.

    """

    def __init__(
        self, namespace: str, quit_recording: Callable[[], None], terminal: TextIO = sys.stdin
    ) -> None:
        self._namespace = namespace
        self._quit = quit_recording
        self._terminal = terminal
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "EpisodeKeys":
        if self._is_ours():
            self._settings = termios.tcgetattr(self._terminal)
            tty.setcbreak(self._terminal)
            self._thread = threading.Thread(target=self._run, name="keys", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._settings)

    def _is_ours(self) -> bool:
        """Return whether the terminal sends its keys to this process.

        A job in the background that read from it would be stopped.
        """
        try:
            return os.tcgetpgrp(self._terminal.fileno()) == os.getpgrp()
        except (OSError, ValueError):  # no terminal, or not that of this session
            return False

    def _run(self) -> None:
        from groot_ros.bridge.episode_commands import RecorderWatch
        from groot_ros.bridge.graph_client import GraphClient

        print(HELP, flush=True)
        with GraphClient(self._namespace, "episode_keys") as client:
            watch = RecorderWatch(client)
            while not self._ended.is_set():
                if not select.select([self._terminal], [], [], _POLL_PERIOD)[0]:
                    continue
                key = os.read(self._terminal.fileno(), 1).decode(errors="replace")
                if key in ("q", ""):
                    self._quit()
                    return
                self._press(key, client, watch)

    def _press(self, key: str, client: "GraphClient", watch: "RecorderWatch") -> None:
        from groot_ros.bridge.episode_commands import discard_episode, start_episode, stop_episode
        from groot_ros.bridge.operator_commands import run_command

        report = watch.latest
        chosen = action_of_key(key, recording=report is not None and report.recording)
        if chosen is None:
            print(HELP, flush=True)
            return
        action, outcome = chosen
        commands = {"start": start_episode, "discard": discard_episode}
        command = stop_episode(outcome) if action == "stop" else commands[action]()
        _, replies = run_command(client, command)
        # The recorder has logged what it accepted.
        print_replies(f"episode {action}", [r for r in replies if r.outcome.value])
