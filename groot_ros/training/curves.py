# SPDX-License-Identifier: Apache-2.0
"""Losses and errors over the steps of a run: a JSON file by line, TensorBoard, a picture."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib
from torch.utils.tensorboard import SummaryWriter

FILE = "metrics.jsonl"


class Metrics:
    """Writes the metrics of a run."""

    def __init__(self, out: Path, step: int) -> None:
        """Continue the metrics of a run.

        Args:
            out: directory of the run.
            step: step from which the run continues; later entries are removed.

        """
        self._file = out / FILE
        self.entries: list[dict[str, Any]] = []
        if self._file.is_file():
            self.entries = [e for e in _entries(self._file) if e["step"] <= step]
        text = "".join(json.dumps(entry) + "\n" for entry in self.entries)
        self._file.write_text(text, encoding="utf-8")
        self._board = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1)

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Append values of one step."""
        entry = {"step": step, **values}
        self.entries.append(entry)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Finish the files."""
        self._board.close()


def _entries(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries; ValueError if a line is damaged and was not merely cut off at the end."""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            entry["step"]
        except (KeyError, TypeError, ValueError) as error:
            if number == len(lines) and not text.endswith("\n"):
                return  # the program or the computer stopped while it was written
            raise ValueError(f"{file}, line {number} is damaged: delete the line") from error
        yield entry


def draw_curves(entries: list[dict[str, Any]], path: Path, unit: str) -> None:
    """Write a picture of the losses and of the errors on held-out episodes.

    Args:
        entries: as `Metrics.entries`.
        path: PNG file.
        unit: unit of the errors, as it follows their name; "" = unknown.

    """
    matplotlib.use("Agg", force=False)
    from matplotlib.figure import Figure

    # Errors of single joints are in TensorBoard only.
    names = sorted({name for entry in entries for name in entry})
    panels = {"loss": "loss", "error": f"held-out error{unit}", "share": "share of episodes"}
    shown = {p: [n for n in names if n.startswith(f"{p}/")] for p in panels}
    shown = {panel: own for panel, own in shown.items() if own or panel != "share"}
    figure = Figure(figsize=(8, 3 * len(shown)), layout="constrained")
    axes = figure.subplots(len(shown), 1, sharex=True)
    for axis, (panel, own) in zip(axes, shown.items(), strict=True):
        for name in own:
            points = [(e["step"], e[name]) for e in entries if name in e]
            axis.plot(*zip(*points, strict=True), label=name.replace("_", " "), marker=".")
        axis.set_yscale("linear" if panel == "share" else "log")
        axis.set_ylabel(panels[panel])
        axis.grid(alpha=0.3)
        if own:
            axis.legend()
    axes[-1].set_xlabel("step")
    figure.savefig(path, dpi=100)
