# SPDX-License-Identifier: Apache-2.0
"""Report of a recorded run: a table on the terminal, an HTML page, and pictures."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from groot_ros.bags.episode import EpisodeInfo, read_episode
from groot_ros.evaluation.camera_frames import FramesAt, Thumbnails, read_frames
from groot_ros.evaluation.pictures import animation, contact_sheet, joint_curves
from groot_ros.evaluation.run_log import read_run
from groot_ros.evaluation.run_metrics import RunMetrics, chunk_span, run_metrics
from groot_ros.evaluation.run_page import run_page
from groot_ros.evaluation.run_records import RunLog
from groot_ros.evaluation.run_tables import describe, run_tables
from groot_ros.robot import ContractError, RobotContract

_SHEET_COLUMNS = 6
_ANIMATION_FPS = 8.0
_ANIMATION_SECONDS = 30.0

PAGE = "report.html"
#: Files of a report; one that the recording has no data for is left out.
FILES = (PAGE, "cameras.png", "joints.png", "run.webp", "table.txt")


def write_report(
    bag: Path,
    out: Path,
    limits: Mapping[str, tuple[float, float]] | None = None,
    page: Path | None = None,
) -> RunMetrics:
    """Print the table, and write FILES into `out`.

    Args:
        bag: directory of the bag, or an .mcap file.
        out: directory of the report; its FILES are replaced.
        limits: joint -> position limits to draw, rad or m; by default those of the robot contract
            in the bag, if it has one.
        page: file of the HTML page; by default PAGE in `out`.

    Returns:
        The metrics of the run.

    Raises:
        ValueError: `bag` is not a bag, cannot be read, or has messages of another version;
            nothing is written then.

    """
    log = read_run(bag)
    info = read_episode(bag)
    limits = _recorded_limits(info, log) if limits is None else limits
    metrics = run_metrics(log)
    tables = run_tables(log, metrics)
    begin, end = chunk_span(log)
    # The end of each of six equal parts of the run shows best what the arm was doing.
    sheet = FramesAt(np.linspace(begin, end, _SHEET_COLUMNS + 1)[1:])
    instants = np.arange(begin, min(end, begin + _ANIMATION_SECONDS), 1 / _ANIMATION_FPS)
    animated = FramesAt(instants, list(log.cameras)[:1])
    thumbnails = Thumbnails(log.duration, len(log.cameras))
    rejected = read_frames(bag, [sheet, animated, thumbnails])
    log.repairs += [f"{topic}: an image cannot be shown: {why}." for topic, why in rejected.items()]
    for repair in log.repairs:
        print(repair, file=sys.stderr)
    text = describe(tables)
    html = run_page(bag.resolve(), log, metrics, tables, thumbnails, info, limits)
    out.mkdir(parents=True, exist_ok=True)
    # An earlier report is replaced as a whole, and only by a complete one.
    with TemporaryDirectory(prefix=".report_", dir=out) as temporary:
        part = Path(temporary)
        html.write(page or part / PAGE)
        if sheet.shown:
            contact_sheet(sheet.shown, sheet.times, log, part / "cameras.png")
        for frames in animated.shown.values():
            captions = [_caption(log, time) for time in instants[: len(frames)]]
            animation(frames, captions, _ANIMATION_FPS, part / "run.webp")
        if log.joints:
            joint_curves(log, part / "joints.png", limits)
        (part / "table.txt").write_text(text + "\n", encoding="utf-8")
        for name in FILES:
            if (part / name).is_file():
                os.replace(part / name, out / name)
            else:
                (out / name).unlink(missing_ok=True)
    print(text)
    return metrics


def written_files(out: Path) -> list[str]:
    """Return the names of a report's files, for its user."""
    return [name for name in FILES if (out / name).is_file()]


def joint_limits(contract: RobotContract) -> dict[str, tuple[float, float]]:
    """Return joint -> position limits, rad or m."""
    joints = contract.joints
    return {name: (joint.limits.lower, joint.limits.upper) for name, joint in joints.items()}


def _recorded_limits(info: EpisodeInfo, log: RunLog) -> dict[str, tuple[float, float]]:
    """Return the limits of the contract in the bag; none if there is no usable one."""
    if not info.contract:
        return {}
    try:
        return joint_limits(info.robot_contract())
    # For example, a URDF that the contract names is not on this machine.
    except (ContractError, OSError) as error:
        log.repairs.append(f"Joint limits are not drawn: {error}")
        return {}


def _caption(log: RunLog, time: float) -> tuple[str, str]:
    """Return the lines below a frame: time since the first chunk, instruction, and status."""
    begin, _ = chunk_span(log)
    status = log.status_at(time)
    instruction = log.instruction_at(time) or "no instruction"
    return f"{time - begin:.1f} s  {instruction}", "" if status is None else status.name.lower()
