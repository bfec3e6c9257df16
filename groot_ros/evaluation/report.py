# SPDX-License-Identifier: Apache-2.0
"""Report of a recorded run: a table on the terminal, and pictures."""

import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from groot_ros.evaluation.pictures import animation, contact_sheet, joint_curves
from groot_ros.evaluation.run_log import RunLog, read_frames, read_run
from groot_ros.evaluation.run_metrics import RunMetrics, chunk_span, run_metrics
from groot_ros.evaluation.table import format_table

_SHEET_COLUMNS = 6
_ANIMATION_FPS = 8.0
_ANIMATION_SECONDS = 20.0


def write_report(bag: Path, out: Path) -> RunMetrics:
    """Print the table, and write cameras.png, joints.png, run.webp and table.txt into `out`.

    Raises:
        ValueError: `bag` is not a bag, cannot be read, or has messages of another version;
            nothing is written then.

    """
    with tqdm(total=4, desc="report", bar_format="{desc} {bar} {postfix}", leave=False) as steps:
        steps.set_postfix_str("reading the bag")
        log = read_run(bag)
        out.mkdir(parents=True, exist_ok=True)
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
            animation(next(iter(animated.values())), _ANIMATION_FPS, out / "run.webp")
        steps.update()
        steps.set_postfix_str("joints.png")
        if log.joints:
            joint_curves(log, out / "joints.png")
        steps.update()
    for topic, why in frames.rejected.items():
        print(f"{topic}: an image cannot be shown: {why}", file=sys.stderr)
    text = describe(log, metrics)
    print(text)
    (out / "table.txt").write_text(text + "\n", encoding="utf-8")
    return metrics


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
    state, policy = log.executor, log.policy
    age = "/".join(_ms(a) for a in metrics.chunk_age)
    rows = [
        ["recorded, including start-up", f"{log.duration:.1f} s"],
        ["images", str(log.images)],
        ["observations used (chunks)", str(len(log.chunks))],
        ["chunks accepted", str(state.accepted) if state is not None else "-"],
        ["observations rejected", _counts(policy)],
        ["chunks rejected", _counts(state)],
        ["underruns", str(state.underruns) if state is not None else "-"],
        ["trajectory messages", str(log.commands)],
        ["chunk age p50/p95/max", f"{age} ms"],
    ]
    rows += [[f"executor {key}", value] for key, value in log.timing.items()]
    return rows


def _stage_rows(metrics: RunMetrics) -> list[list[str]]:
    rows = [[stage, _ms(p50), _ms(p95)] for stage, (p50, p95) in metrics.stages.items()]
    return [*rows, ["image to chunk received", _ms(metrics.latency[0]), _ms(metrics.latency[1])]]


def _joint_rows(log: RunLog, metrics: RunMetrics) -> list[list[str]]:
    limited: dict[str, int] = {}
    if log.executor is not None:
        limited = dict(zip(log.executor.joint_names, log.executor.limited_chunks, strict=True))
    return [
        [name, f"{travel:.2f} {log.unit(name)}", str(limited.get(name, "-"))]
        for name, travel in metrics.travelled.items()
    ]


def _counts(message: object) -> str:
    pairs = [f"{r.code} x{r.count}" for r in getattr(message, "rejections", ()) if r.count]
    return ", ".join(pairs) or "none"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}"
