# SPDX-License-Identifier: Apache-2.0
"""HTML page of a run: key figures, what is missing, cameras and curves on one time axis, tables."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from groot_ros.bags.episode import EpisodeInfo, Outcome
from groot_ros.core import NS_PER_S
from groot_ros.evaluation.camera_frames import Thumbnails
from groot_ros.evaluation.execution_rows import status_spans, status_text
from groot_ros.evaluation.page import Page, asset_block, data_block, figure_block, table_block
from groot_ros.evaluation.run_metrics import RunMetrics, splices, without_chunk
from groot_ros.evaluation.run_records import RunLog
from groot_ros.evaluation.run_tables import RunTable, milliseconds
from groot_ros.evaluation.timeline_figure import BOTTOM, LEFT, timeline_figure

#: Stamps before this are of a simulation, not of wall time: 2001.
_WALL_TIME_NS = 10**9 * NS_PER_S
#: Type -> what the page lacks without its messages.
_MISSING = {
    "sensor_msgs/msg/JointState": "No joint states were recorded: measured positions are missing.",
    "groot_ros/msg/ActionChunk": "No chunks were recorded: they and their latencies are missing.",
    "groot_ros/msg/CommittedTimeline": "No committed motion was recorded: splices are missing.",
    "groot_ros/msg/ExecutorState": (
        "No state of an executor was recorded: its status, underruns and rejected chunks are "
        "missing."
    ),
    "groot_ros/msg/PolicyStatus": (
        "No status of a policy was recorded: rejected observations are missing."
    ),
}
_HELP = (
    "Drag to zoom, double-click to see the whole run. The images at the top are those at the "
    "cursor. Thin blue lines: splices, where there is space for them; dashed lines: "
    "changes of the instruction."
)


def run_page(
    bag: Path,
    log: RunLog,
    metrics: RunMetrics,
    tables: Sequence[RunTable],
    thumbnails: Thumbnails,
    info: EpisodeInfo,
    limits: Mapping[str, tuple[float, float]],
) -> Page:
    """Make the page of a run.

    Args:
        bag: names the page.
        log: the run.
        metrics: of the run.
        tables: shown below the curves.
        thumbnails: of the cameras.
        info: what the bag says about its recording.
        limits: joint -> position limits, rad or m.

    """
    page = Page(f"Run {bag.parent.name}/{bag.name}", " · ".join(_description(bag, log, info)))
    _add_facts(page, log, metrics, info)
    page.notes += _missing(log)
    page.notes += log.repairs
    page.add_section(
        "Timeline",
        figure_block(timeline_figure(log, limits), "run"),
        data_block("run-data", _script_data(log, thumbnails)),
        asset_block("run_timeline.html"),
        text=_HELP,
    )
    blocks = Markup("").join(table_block(t.header, t.rows, t.caption) for t in tables)
    page.add_section("Tables", Markup('<div class="tables">{}</div>').format(blocks))
    return page


def _description(bag: Path, log: RunLog, info: EpisodeInfo) -> list[str]:
    texts = [str(bag)]
    if log.start_ns >= _WALL_TIME_NS:
        start = datetime.fromtimestamp(log.start_ns / NS_PER_S, timezone.utc)
        texts.append(f"started {start:%Y-%m-%d %H:%M:%S} UTC")
    else:
        texts.append(f"started at {log.start_ns / NS_PER_S:.3f} s of simulated time")
    if info.robot:
        texts.append(f"robot {info.robot}")
    if info.checkpoint_hash:
        texts.append(f"checkpoint {info.checkpoint_hash[:12]} ({info.embodiment}, {info.engine})")
    return texts


def _add_facts(page: Page, log: RunLog, metrics: RunMetrics, info: EpisodeInfo) -> None:
    """Add the key figures; those that need attention are emphasised."""
    counts = log.counts
    page.add_fact("recorded", f"{log.duration:.1f} s")
    if info.outcome is not Outcome.UNKNOWN:
        page.add_fact("outcome", info.outcome.value, warn=info.outcome is Outcome.FAILURE)
    if log.chunks:
        page.add_fact("chunks received", f"{len(log.chunks):,}")
    if log.reports:
        page.add_fact("chunks accepted", f"{counts.chunks.total['accepted']:,}")
        rejected = counts.chunks_rejected.total.total()
        page.add_fact("chunks rejected", f"{rejected:,}", warn=rejected > 0)
    if "groot_ros/msg/PolicyStatus" in log.types:
        rejected = counts.observations_rejected.total.total()
        page.add_fact("observations rejected", f"{rejected:,}", warn=rejected > 0)
    if log.reports:
        underruns = counts.chunks.total["underruns"]
        page.add_fact("underruns", f"{underruns:,}", warn=underruns > 0)
    if log.chunks and log.reports:
        idle = sum(end - begin for begin, end in without_chunk(log))
        page.add_fact("without a chunk", f"{idle:.1f} s")
    if not np.isnan(metrics.latency[0]):
        p50, p95 = (milliseconds(value) for value in metrics.latency)
        page.add_fact("image to chunk p50 / p95", f"{p50} / {p95} ms")
    if not np.isnan(metrics.chunk_age[0]):
        p50, p95, _ = (milliseconds(value) for value in metrics.chunk_age)
        page.add_fact("chunk age p50 / p95", f"{p50} / {p95} ms")
    if log.images:
        page.add_fact("images", f"{log.images:,}")


def _missing(log: RunLog) -> list[str]:
    """Return a sentence for each part of the page that the bag has no data for."""
    notes = [] if log.cameras else ["No camera topic was recorded: images are missing."]
    notes += [f"No image was recorded on {topic}." for topic, n in log.cameras.items() if not n]
    notes += [text for msgtype, text in _MISSING.items() if msgtype not in log.types]
    if any(report.shadow for report in log.reports):
        notes.append("The executor was in shadow mode: it did not send the committed motion.")
    return notes


def _script_data(log: RunLog, thumbnails: Thumbnails) -> dict[str, Any]:
    """Return what run_timeline.html reads."""
    return {
        "duration": log.duration,
        "left": LEFT,
        "bottom": BOTTOM,
        "cameras": [
            {
                "topic": topic,
                "aspect": thumbnails.aspects[topic],
                "times": [round(time, 4) for time, _ in shown],
                "images": [image for _, image in shown],
            }
            for topic, shown in thumbnails.shown.items()
        ],
        "statuses": [
            [begin, status_text(status, reason or code)]
            for begin, _, status, code, reason in status_spans(log)
        ],
        "instructions": [[time, text or "no instruction"] for time, text in log.instructions],
        "splices": [round(splice.time, 4) for splice in splices(log)],
    }
