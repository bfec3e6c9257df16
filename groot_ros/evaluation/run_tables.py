# SPDX-License-Identifier: Apache-2.0
"""Tables of a run, for the terminal and for the page."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from groot_ros.evaluation.counters import CounterIncrease
from groot_ros.evaluation.run_metrics import RunMetrics
from groot_ros.evaluation.run_records import RunLog
from groot_ros.evaluation.table import format_table


@dataclass(frozen=True)
class RunTable:
    """A table, with an explanation below it or an empty one."""

    header: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    caption: str = ""


def run_tables(log: RunLog, metrics: RunMetrics) -> list[RunTable]:
    """Return the tables of one run."""
    return [
        RunTable(("run", "value"), _run_rows(log, metrics)),
        RunTable(("latency by stage", "p50 ms", "p95 ms"), _stage_rows(metrics)),
        RunTable(
            ("joint", "travelled", "chunks limited"),
            _joint_rows(log, metrics),
            "chunks limited: chunks that exceeded a limit and were slowed down",
        ),
    ]


def describe(tables: Sequence[RunTable]) -> str:
    """Return the tables as plain text."""
    texts = [
        format_table(table.header, table.rows) + (f"\n({table.caption})" if table.caption else "")
        for table in tables
    ]
    return "\n\n".join(texts)


def milliseconds(seconds: float) -> str:
    """Return a duration in ms, "none" for NaN."""
    return "none" if np.isnan(seconds) else f"{seconds * 1e3:.1f}"


def _run_rows(log: RunLog, metrics: RunMetrics) -> list[list[str]]:
    counts = log.counts
    age = "none"
    if not np.isnan(metrics.chunk_age[0]):
        age = "/".join(milliseconds(a) for a in metrics.chunk_age) + " ms"
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
    stages = {**metrics.stages, "image to chunk received": metrics.latency}
    return [[name, milliseconds(p50), milliseconds(p95)] for name, (p50, p95) in stages.items()]


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


def _count(counter: CounterIncrease, name: str) -> str:
    return str(counter.total[name]) if name in counter.names else "-"


def _counts(rejections: CounterIncrease) -> str:
    return ", ".join(f"{code} x{n}" for code, n in sorted(rejections.total.items())) or "none"
