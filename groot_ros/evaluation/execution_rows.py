# SPDX-License-Identifier: Apache-2.0
"""Rows of the figure of a run about policy and executor: status, chunks, latencies, rejections."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from plotly import graph_objects as go

from groot_ros.core import ExecutorStatus, ReasonCode
from groot_ros.evaluation.page import (
    BLUE,
    GREEN,
    ORANGE,
    PALETTE,
    PURPLE,
    SKY,
    VERMILLION,
    YELLOW,
    label,
)
from groot_ros.evaluation.run_metrics import splices
from groot_ros.evaluation.run_records import ChunkKey, RunLog

#: Height of a row with a band of text, px.
BAND = 24
#: Axis of a row without a scale.
NO_SCALE = {"visible": False, "fixedrange": True}
_CHUNKS, _LATENCY, _SPLICES, _AGE, _CODE = 54, 120, 76, 64, 24
#: Points of the curve of the chunk's age, at most: 20 minutes at 10 Hz.
_MAX_AGES = 12_000
#: Chunks of consecutive numbers are drawn on this many lines, so that they do not cover each other.
_LANES = 3
#: Status -> colour of its band, and of the text in it.
_STATUS_COLOURS = {
    ExecutorStatus.IDLE: ("#d5dae0", "#1c2733"),
    ExecutorStatus.RUNNING: (GREEN, "white"),
    ExecutorStatus.BRAKING: (YELLOW, "#1c2733"),
    ExecutorStatus.HOLDING: (ORANGE, "#1c2733"),
    ExecutorStatus.ESTOPPED: (VERMILLION, "white"),
}


@dataclass(frozen=True)
class Row:
    """One row of the figure.

    Attributes:
        height: px.
        traces: without axes.
        axis: options of its y axis.
        legend: whether its traces are listed at the right.

    """

    title: str
    height: int
    traces: list[go.Scatter | go.Bar]
    axis: Mapping[str, object]
    legend: bool = False


def execution_rows(log: RunLog) -> list[Row]:
    """Return the rows of policy and executor; those without data are left out."""
    return [
        *_executor_rows(log),
        *_instruction_rows(log),
        *_chunk_rows(log),
        *_age_rows(log),
        *_latency_rows(log),
        *_splice_rows(log),
        *_rejection_rows(log),
    ]


def thinned(curve: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Return at most `most` rows of [N, 2] (time, value), with the extremes of equal parts."""
    if len(curve) <= most:
        return curve
    parts = np.array_split(curve, max(most // 2, 1))
    # NaN is left out unless a part has nothing else.
    low = [int(np.argmin(np.where(np.isnan(p[:, 1]), np.inf, p[:, 1]))) for p in parts]
    high = [int(np.argmax(np.where(np.isnan(p[:, 1]), -np.inf, p[:, 1]))) for p in parts]
    chosen = [
        part[sorted({first, second})] for part, first, second in zip(parts, low, high, strict=True)
    ]
    return np.concatenate(chosen)


def status_spans(log: RunLog) -> list[tuple[float, float, ExecutorStatus, str, str]]:
    """Return (begin, end, status, reason code, reason) of the executor, until each change."""
    spans: list[tuple[float, float, ExecutorStatus, str, str]] = []
    ends = [*(report.time for report in log.reports), log.duration][1:]
    for report, end in zip(log.reports, ends, strict=True):
        state = (report.status, report.reason_code)
        if spans and spans[-1][2:4] == state:
            spans[-1] = (spans[-1][0], end, *spans[-1][2:])
        else:
            spans.append((report.time, end, *state, report.reason))
    return spans


def status_text(status: ExecutorStatus, reason: str) -> str:
    """Return a status with its reason, which goes without saying while a chunk is executed."""
    return status.name if reason in ("", ReasonCode.EXECUTING.value) else f"{status.name}: {reason}"


def _executor_rows(log: RunLog) -> list[Row]:
    spans = status_spans(log)
    traces = []
    for status, (colour, text_colour) in _STATUS_COLOURS.items():
        own = [span for span in spans if span[2] is status]
        if own:
            texts = [label(status_text(status, code)) for _, _, _, code, _ in own]
            hover = [label(reason or code) for _, _, _, code, reason in own]
            bands = [(begin, end) for begin, end, *_ in own]
            traces.append(_bands(status.name, bands, texts, hover, colour, text_colour))
    return [Row("executor", BAND, list(traces), NO_SCALE)] if traces else []


def _instruction_rows(log: RunLog) -> list[Row]:
    if not log.instructions:
        return []
    ends = [*(time for time, _ in log.instructions[1:]), log.duration]
    traces = []
    for i, colour in enumerate(("#dbe9f4", "#b9d5ea")):
        own = list(zip(log.instructions, ends, strict=True))[i::2]
        texts = [label(text or "no instruction") for (_, text), _ in own]
        bands = [(begin, end) for (begin, _), end in own]
        if own:
            traces.append(_bands("instruction", bands, texts, texts, colour, "#1c2733"))
    return [Row("instruction", BAND, list(traces), NO_SCALE)]


def _chunk_rows(log: RunLog) -> list[Row]:
    """Draw each chunk as a line from its image to its reception, and one while it was executed."""
    if not log.chunks:
        return []
    executed = _executed(log)
    waited: list[tuple[float, float, float]] = []
    used: list[tuple[float, float, float]] = []
    unused: list[tuple[float, float]] = []
    hover = []
    for number, chunk in enumerate(log.chunks):
        lane = float(number % _LANES)
        if not np.isnan(chunk.t_obs):
            waited.append((chunk.t_obs, chunk.received, lane))
        if chunk.key in executed:
            used.append((*executed[chunk.key], lane))
        elif log.timelines:
            unused.append((chunk.received, lane))
        latency = f", {(chunk.received - chunk.t_obs) * 1e3:.0f} ms after its images"
        hover.append(
            f"chunk {chunk.key[1]} received{'' if np.isnan(chunk.t_obs) else latency}<br>"
            f"{chunk.horizon} steps of {chunk.dt * 1e3:.0f} ms"
        )
    traces = [
        _lines("image to chunk", waited, SKY, 2.5),
        _lines("executed", used, BLUE, 7.0),
        go.Scatter(
            x=np.array([chunk.received for chunk in log.chunks]),
            y=np.arange(len(log.chunks), dtype=np.float32) % _LANES,
            mode="markers",
            marker={"size": 5, "color": BLUE},
            showlegend=False,
            text=hover,
            hovertemplate="%{x:.3f} s: %{text}<extra></extra>",
        ),
    ]
    if unused:
        traces.append(
            go.Scatter(
                x=np.array([time for time, _ in unused]),
                y=np.array([lane for _, lane in unused]),
                mode="markers",
                name="not executed",
                marker={"size": 9, "color": VERMILLION, "symbol": "x"},
                hovertemplate="%{x:.3f} s: not executed<extra></extra>",
            )
        )
    axis = {"visible": False, "fixedrange": True, "range": [_LANES - 0.4, -0.6]}
    return [Row("action chunks", _CHUNKS, [t for t in traces if len(t.x)], axis, legend=True)]


def _age_rows(log: RunLog) -> list[Row]:
    if not len(log.chunk_ages):
        return []
    ages = thinned(log.chunk_ages, _MAX_AGES)
    trace = go.Scatter(
        x=ages[:, 0],
        y=(ages[:, 1] * 1e3).astype(np.float32),
        mode="lines",
        line={"color": PURPLE, "width": 1.2, "shape": "hv"},
        hovertemplate="%{x:.3f} s: %{y:.0f} ms<extra></extra>",
        showlegend=False,
    )
    axis = {"rangemode": "tozero", "nticks": 4}
    return [Row("age of the chunk being executed [ms]", _AGE, [trace], axis)]


def _latency_rows(log: RunLog) -> list[Row]:
    """Draw the stages of inference on top of each other, and the latency from image to chunk."""
    if not log.chunks:
        return []
    times = np.array([chunk.received for chunk in log.chunks])
    names = list(dict.fromkeys(name for chunk in log.chunks for name in chunk.stages))
    traces = []
    for name, colour in zip(names, PALETTE * (len(names) // len(PALETTE) + 1), strict=False):
        values = [chunk.stages.get(name, 0.0) * 1e3 for chunk in log.chunks]
        traces.append(
            go.Scatter(
                x=times,
                y=np.array(values, dtype=np.float32),
                name=label(name),
                mode="lines",
                line={"width": 0.5, "color": colour},
                fillcolor=colour,
                stackgroup="stages",
                hovertemplate=f"%{{x:.3f}} s: {label(name)} %{{y:.1f}} ms<extra></extra>",
            )
        )
    arrivals = np.array([(chunk.received - chunk.t_obs) * 1e3 for chunk in log.chunks])
    if not np.all(np.isnan(arrivals)):
        traces.append(
            go.Scatter(
                x=times,
                y=arrivals.astype(np.float32),
                name="image to chunk",
                mode="markers",
                marker={"size": 4, "color": "#1c2733"},
                hovertemplate="%{x:.3f} s: image to chunk %{y:.1f} ms<extra></extra>",
            )
        )
    if not traces:
        return []
    axis = {"rangemode": "tozero", "nticks": 6}
    return [Row("inference latency by stage [ms]", _LATENCY, traces, axis, legend=True)]


def _splice_rows(log: RunLog) -> list[Row]:
    found = [splice for splice in splices(log) if not np.isnan(splice.discontinuity)]
    if not found:
        return []
    trace = go.Scatter(
        x=np.array([splice.time for splice in found]),
        y=np.array([splice.discontinuity for splice in found], dtype=np.float32),
        mode="markers",
        marker={"size": 5, "color": PURPLE},
        text=[label(f"{s.discontinuity:.4f} {log.unit(s.joint)} at {s.joint}") for s in found],
        hovertemplate="%{x:.3f} s: %{text}<extra></extra>",
        showlegend=False,
    )
    title = "splices: largest difference between a chunk and the motion that it replaces [rad or m]"
    return [Row(title, _SPLICES, [trace], {"rangemode": "tozero", "nticks": 4})]


def _rejection_rows(log: RunLog) -> list[Row]:
    if not log.rejections:
        return []
    codes = list(dict.fromkeys(f"{r.node}: {r.code}" for r in log.rejections))
    trace = go.Scatter(
        x=np.array([r.time for r in log.rejections]),
        y=np.array([codes.index(f"{r.node}: {r.code}") for r in log.rejections], dtype=np.float32),
        mode="markers",
        marker={
            "size": 11,
            "color": [VERMILLION if r.node == "executor" else ORANGE for r in log.rejections],
            "symbol": ["x" if r.node == "executor" else "diamond" for r in log.rejections],
        },
        text=[label(f"{r.node} rejected {r.code} x{r.count}") for r in log.rejections],
        hovertemplate="%{x:.3f} s: %{text}<extra></extra>",
        showlegend=False,
    )
    axis = {
        "fixedrange": True,
        "range": [len(codes) - 0.4, -0.6],
        "tickvals": list(range(len(codes))),
        "ticktext": [label(code) for code in codes],
        "side": "right",
    }
    title = "rejections (diamond: observations, by the policy; cross: chunks, by the executor)"
    return [Row(title, _CODE * len(codes) + 8, [trace], axis)]


def _executed(log: RunLog) -> dict[ChunkKey, tuple[float, float]]:
    """Return chunk -> (begin, end) of the time in which the newest timeline was of this chunk."""
    spans: dict[ChunkKey, tuple[float, float]] = {}
    changes = [(timeline.received, timeline.chunk) for timeline in log.timelines]
    for (begin, chunk), (end, _) in pairwise([*changes, (log.duration, ("", 0))]):
        if chunk[1]:
            spans[chunk] = (spans[chunk][0] if chunk in spans else begin, end)
    return spans


def _bands(
    name: str,
    spans: list[tuple[float, float]],
    texts: list[str],
    hover: list[str],
    colour: str,
    text_colour: str,
) -> go.Bar:
    """Return a row of horizontal bars with texts in them."""
    return go.Bar(
        base=[begin for begin, _ in spans],
        x=[end - begin for begin, end in spans],
        y=[0] * len(spans),
        width=1,
        orientation="h",
        name=name,
        marker={"color": colour, "line": {"width": 1, "color": "white"}},
        text=texts,
        textposition="inside",
        insidetextanchor="start",
        textangle=0,
        constraintext="inside",
        textfont={"color": text_colour, "size": 12},
        customdata=hover,
        hovertemplate="%{base:.2f} s, %{x:.2f} s long: %{customdata}<extra></extra>",
        showlegend=False,
    )


def _lines(
    name: str, spans: list[tuple[float, float, float]], colour: str, width: float
) -> go.Scatter:
    """Return horizontal lines (begin, end, y)."""
    table = np.array(spans, dtype=float).reshape(-1, 3)
    gap = np.full(len(table), np.nan)
    return go.Scatter(
        x=np.stack([table[:, 0], table[:, 1], gap], axis=1).ravel(),
        y=np.repeat(table[:, 2], 3).astype(np.float32),
        name=name,
        mode="lines",
        line={"color": colour, "width": width},
        hoverinfo="skip",
    )
