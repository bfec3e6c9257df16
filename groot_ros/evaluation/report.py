# SPDX-License-Identifier: Apache-2.0
"""Report of a recorded run: a table on the terminal, and pictures."""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from groot_ros.evaluation.counters import CounterIncrease
from groot_ros.evaluation.pictures import animation, contact_sheet, joint_curves
from groot_ros.evaluation.run_log import RunLog, read_frames, read_run
from groot_ros.evaluation.run_metrics import RunMetrics, chunk_span, run_metrics
from groot_ros.evaluation.table import format_table

_SHEET_COLUMNS = 6
_ANIMATION_FPS = 8.0
_ANIMATION_SECONDS = 20.0


#: Files of a report; one that the recording has no data for is left out.
FILES = ("cameras.png", "joints.png", "run.webp", "table.txt")


def write_report(
    bag: Path, out: Path, limits: Mapping[str, tuple[float, float]] | None = None
) -> RunMetrics:
    """Print the table, and write FILES into `out`.

    Args:
        bag: directory of the bag.
        out: directory of the report; its FILES are replaced.
        limits: joint -> position limits to draw, rad or m.

    Raises:
        ValueError: `bag` is not a bag, cannot be read, or has messages of another version;
            nothing is written then.

    """
    # disable=None: no bar where the output is not a terminal.
    with tqdm(
        total=4, desc="report", bar_format="{desc} {bar} {postfix}", leave=False, disable=None
    ) as steps:
        steps.set_postfix_str("reading the bag")
        log = read_run(bag)
        out.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (out / name).unlink(missing_ok=True)
        metrics = run_metrics(log)
        steps.update()
        steps.set_postfix_str("cameras.png")
        begin, end = chunk_span(log)
        # The end of each of six equal parts of the run shows best what the arm was doing.
        times = np.linspace(begin, end, _SHEET_COLUMNS + 1)[1:]
        frames = read_frames(bag, times)
        if frames.shown:
            contact_sheet(frames.shown, times, log, out / "cameras.png")
        steps.update()
        steps.set_postfix_str("run.webp")
        instants = np.arange(begin, min(end, begin + _ANIMATION_SECONDS), 1 / _ANIMATION_FPS)
        animated = read_frames(bag, instants).shown
        if animated:
            frames_of_run = next(iter(animated.values()))
            captions = [_caption(log, time) for time in instants[: len(frames_of_run)]]
            animation(frames_of_run, captions, _ANIMATION_FPS, out / "run.webp")
        steps.update()
        steps.set_postfix_str("joints.png")
        if log.joints:
            joint_curves(log, out / "joints.png", limits or {})
        steps.update()
    for topic, why in frames.rejected.items():
        print(f"{topic}: an image cannot be shown: {why}", file=sys.stderr)
    text = describe(log, metrics)
    print(text)
    (out / "table.txt").write_text(text + "\n", encoding="utf-8")
    return metrics


def written_files(out: Path) -> list[str]:
    """Return the names of a report's files, for its user."""
    return [name for name in FILES if (out / name).is_file()]


def describe(log: RunLog, metrics: RunMetrics) -> str:
    """Return the tables of one run."""
    return "\n\n".join(
        [
            format_table(["run", "value"], _run_rows(log, metrics)),
            format_table(["latency by stage", "p50 ms", "p95 ms"], _stage_rows(metrics)),
            format_table(["joint", "travelled", "chunks limited"], _joint_rows(log, metrics))
            + "\n(chunks limited: chunks that exceeded a limit and were slowed down)",
        ]
    )


def _run_rows(log: RunLog, metrics: RunMetrics) -> list[list[str]]:
    counts = log.counts
    age = "none"
    if not np.isnan(metrics.chunk_age[0]):
        age = "/".join(_ms(a) for a in metrics.chunk_age) + " ms"
    rows = [
        ["recorded, including start-up", f"{log.duration:.1f} s"],
        ["images", str(log.images)],
        ["observations used (chunks)", str(len(log.chunks))],
        ["chunks accepted", _count(counts.chunks, "accepted")],
        ["observations rejected", _counts(counts.observations_rejected)],
        ["chunks rejected", _counts(counts.chunks_rejected)],
        ["underruns", _count(counts.chunks, "underruns")],
        ["trajectory messages", str(log.commands)],
        ["chunk age p50/p95/max", age],
    ]
    rows += [[f"executor {key}", value] for key, value in log.timing.items()]
    return rows


def _stage_rows(metrics: RunMetrics) -> list[list[str]]:
    rows = [[stage, _ms(p50), _ms(p95)] for stage, (p50, p95) in metrics.stages.items()]
    return [*rows, ["image to chunk received", _ms(metrics.latency[0]), _ms(metrics.latency[1])]]


def _joint_rows(log: RunLog, metrics: RunMetrics) -> list[list[str]]:
    limited = log.counts.limited
    return [
        [
            name,
            f"{travel:.2f} {log.unit(name)}",
            str(limited.total[name]) if name in limited.names else "-",
        ]
        for name, travel in metrics.travelled.items()
    ]


def _caption(log: RunLog, time: float) -> tuple[str, str]:
    """Return the lines below a frame: time since the first chunk, instruction, and status."""
    begin, _ = chunk_span(log)
    status = log.status_at(time)
    instruction = log.instruction_at(time) or "no instruction"
    return f"{time - begin:.1f} s  {instruction}", "" if status is None else status.name.lower()


def _count(counter: CounterIncrease, name: str) -> str:
    return str(counter.total[name]) if name in counter.names else "-"


def _counts(rejections: CounterIncrease) -> str:
    return ", ".join(f"{code} x{n}" for code, n in sorted(rejections.total.items())) or "none"


def _ms(seconds: float) -> str:
    return "none" if np.isnan(seconds) else f"{seconds * 1e3:.1f}"
