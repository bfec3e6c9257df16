"""A run's report from its bag: a table on the terminal, pictures beside it."""

import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from groot_ros.evaluation.pictures import animation, contact_sheet, joint_curves
from groot_ros.evaluation.run_figures import RunFigures, driven_span, run_figures
from groot_ros.evaluation.run_log import RunLog, read_frames, read_run
from groot_ros.evaluation.table import format_table

_SHEET_COLUMNS = 6
_ANIMATION_FPS = 8.0
_ANIMATION_SECONDS = 20.0


def write_report(bag: Path, out: Path) -> RunFigures:
    """Print the table, write cameras.png, joints.png, run.webp and table.txt into `out`.

    Raises:
        ValueError: `bag` is not a bag, or cannot be read; nothing is written then.

    """
    with tqdm(total=4, desc="report", bar_format="{desc} {bar} {postfix}", leave=False) as steps:
        steps.set_postfix_str("reading the bag")
        log = read_run(bag)
        out.mkdir(parents=True, exist_ok=True)
        figures = run_figures(log)
        steps.update()
        steps.set_postfix_str("cameras.png")
        begin, end = driven_span(log)
        # The last instant of each equal part: what the arm was about then shows best.
        times = np.linspace(begin, end, _SHEET_COLUMNS + 1)[1:]
        frames = read_frames(bag, times)
        if frames.shown:
            contact_sheet(frames.shown, times, log, out / "cameras.png")
        steps.update()
        steps.set_postfix_str("run.webp")
        moments = np.arange(begin, min(end, begin + _ANIMATION_SECONDS), 1 / _ANIMATION_FPS)
        moving = read_frames(bag, moments).shown
        if moving:
            animation(next(iter(moving.values())), _ANIMATION_FPS, out / "run.webp")
        steps.update()
        steps.set_postfix_str("joints.png")
        if log.joints:
            joint_curves(log, out / "joints.png")
        steps.update()
    for topic, why in frames.rejected.items():
        print(f"an image of {topic} cannot be shown: {why}", file=sys.stderr)
    text = describe(log, figures)
    print(text)
    (out / "table.txt").write_text(text + "\n", encoding="utf-8")
    return figures


def describe(log: RunLog, figures: RunFigures) -> str:
    """The tables of one run."""
    return "\n\n".join(
        [
            format_table(["run", "value"], _run_rows(log, figures)),
            format_table(["latency by stage", "p50 ms", "p95 ms"], _stage_rows(figures)),
            format_table(["joint", "travelled", "chunks limited"], _joint_rows(log, figures))
            + "\n(chunks limited: some part of them asked for more than a limit and was slowed)",
        ]
    )


def _run_rows(log: RunLog, figures: RunFigures) -> list[list[str]]:
    state, policy = log.executor, log.policy
    age = "/".join(_ms(a) for a in figures.chunk_age)
    rows = [
        ["recorded, start-up included", f"{log.duration:.1f} s"],
        ["images", str(log.images)],
        ["observations acted on (chunks)", str(len(log.chunks))],
        ["chunks accepted", str(state.accepted) if state is not None else "-"],
        ["observations rejected", _counts(policy)],
        ["chunks rejected", _counts(state)],
        ["underruns", str(state.underruns) if state is not None else "-"],
        ["trajectory messages", str(log.commands)],
        ["chunk age p50/p95/max", f"{age} ms"],
    ]
    rows += [[f"executor {key}", value] for key, value in log.timing.items()]
    return rows


def _stage_rows(figures: RunFigures) -> list[list[str]]:
    rows = [[stage, _ms(p50), _ms(p95)] for stage, (p50, p95) in figures.stages.items()]
    return [*rows, ["image to chunk received", _ms(figures.latency[0]), _ms(figures.latency[1])]]


def _joint_rows(log: RunLog, figures: RunFigures) -> list[list[str]]:
    hits: dict[str, int] = {}
    if log.executor is not None:
        hits = dict(zip(log.executor.joint_names, log.executor.limited_chunks, strict=True))
    return [
        [name, f"{travel:.2f} {log.unit(name)}", str(hits.get(name, "-"))]
        for name, travel in figures.travelled.items()
    ]


def _counts(message: object) -> str:
    pairs = [f"{r.code} x{r.count}" for r in getattr(message, "rejections", ()) if r.count]
    return ", ".join(pairs) or "none"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}"
