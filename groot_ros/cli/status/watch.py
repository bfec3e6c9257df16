# SPDX-License-Identifier: Apache-2.0
"""Live view of `groot-ros status --watch`, with the library textual."""

import threading
from typing import TYPE_CHECKING, ClassVar, Protocol

from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Footer, Static

from groot_ros.cli.status.text import sections

if TYPE_CHECKING:
    from groot_ros.bridge.robot_status import RobotStatus

#: s between two updates.
_PERIOD = 0.25


class Reader(Protocol):
    """Source of the status; StatusReader is one."""

    @property
    def has_robot(self) -> bool:
        """Return whether the robot contract is known."""

    def status(self) -> "RobotStatus":
        """Return the present status."""

    def find_robot(self) -> None:
        """Look for the robot contract; may take a second."""


class StatusApp(App[None]):
    """Shows one panel per section, four times a second.

    Args:
        reader: source of the status.

    """

    CSS = """
    Screen { layout: vertical; }
    .panel { border: round $primary; padding: 0 1; height: auto; }
    """
    BINDINGS: ClassVar = [
        Binding("q", "quit", "Quit"),
        Binding("p", "pause", "Pause"),
    ]
    #: Ids of the panels, in the order of the sections.
    PANELS = ("nodes", "inputs", "latency", "budget", "joints", "timeline", "rejections")

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self._reader = reader
        self._paused = False
        self._search: threading.Thread | None = None

    def compose(self) -> ComposeResult:
        """Create the panels."""
        with VerticalScroll():
            for name in self.PANELS:
                yield Static(id=name, classes="panel")
        yield Footer()

    def on_mount(self) -> None:
        """Show the first status, and begin to update it."""
        self.refresh_status()
        self.set_interval(_PERIOD, self.refresh_status)

    def action_pause(self) -> None:
        """Stop or continue the updates."""
        self._paused = not self._paused

    def refresh_status(self) -> None:
        """Show the present status, unless paused."""
        if self._paused:
            return
        status = self._reader.status()
        if status.executor is not None and not self._reader.has_robot:
            self._find_robot()
        for name, (title, lines) in zip(self.PANELS, sections(status).items(), strict=True):
            panel = self.query_one(f"#{name}", Static)
            panel.border_title = title
            # Not as markup: names and reasons may contain brackets.
            panel.update(Content("\n".join(lines) or "none"))

    def _find_robot(self) -> None:
        """Look for the robot contract in a thread, one at a time."""
        if self._search is None:
            self._search = threading.Thread(target=self._reader.find_robot, daemon=True)
            self._search.start()
