# SPDX-License-Identifier: Apache-2.0
"""Figure of a run: executor, chunks, latencies, splices, rejections, joints on one time axis.

All rows share the x axis, s since the start of the bag. Rows without data are left out.
"""

from collections.abc import Mapping

import numpy as np
from plotly import graph_objects as go

from groot_ros.evaluation.execution_rows import BAND, NO_SCALE, Row, execution_rows, thinned
from groot_ros.evaluation.page import BLUE, GREY, VERMILLION, label
from groot_ros.evaluation.run_metrics import commanded_curves
from groot_ros.evaluation.run_records import RunLog

#: Height of the row of a joint, also where there are many, and of the gap with a row's title, px.
_JOINT, _SMALL_JOINT, _GAP = 112, 78, 25
#: With more joints, their rows are smaller.
_MANY_JOINTS = 10
#: Space for tick labels and, at the right, legends, px.
LEFT, _RIGHT, BOTTOM = 64, 150, 44
#: Points of all curves of joints, at most, and of one curve, at least.
_MAX_POINTS, _MIN_POINTS = 240_000, 1500
#: A limit is drawn if it is at most this share of the motion's range away from the motion.
_NEAR_LIMIT = 0.15


def timeline_figure(
    log: RunLog, limits: Mapping[str, tuple[float, float]] | None = None
) -> go.Figure:
    """Draw a run.

    Args:
        log: the run.
        limits: joint -> position limits, rad or m, drawn where the motion comes near them.

    """
    rows = [
        *execution_rows(log),
        *_joint_rows(log, limits or {}),
    ]
    if not rows:
        # The images still need the axis.
        rows = [Row("", BAND, [go.Scatter(x=[], y=[])], NO_SCALE)]
    inner = sum(row.height + _GAP for row in rows)
    figure = go.Figure()
    top = float(inner)
    for number, row in enumerate(rows, start=1):
        suffix = "" if number == 1 else str(number)
        top -= _GAP
        upper, lower = top / inner, (top - row.height) / inner
        top -= row.height
        for trace in row.traces:
            trace.update(xaxis="x", yaxis=f"y{suffix}", legend=f"legend{suffix}")
            figure.add_trace(trace)
        figure.layout[f"yaxis{suffix}"] = {"domain": [lower, upper], "anchor": "x", **row.axis}
        figure.layout[f"legend{suffix}"] = {
            "x": 1.008,
            "y": upper,
            "yanchor": "top",
            "font": {"size": 11},
            "tracegroupgap": 0,
            "visible": row.legend,
        }
        figure.add_annotation(
            text=f"<b>{row.title}</b>",
            x=0,
            xref="paper",
            xanchor="left",
            y=upper,
            yref="paper",
            yanchor="bottom",
            showarrow=False,
            font={"size": 12},
            bgcolor="white",
            borderpad=1,
        )
    _mark_instructions(figure, log)
    figure.update_layout(
        height=inner + BOTTOM,
        margin={"l": LEFT, "r": _RIGHT, "t": 0, "b": BOTTOM},
        barmode="overlay",
        bargap=0,
        hovermode="closest",
        hoverlabel={"align": "left"},
        dragmode="zoom",
        # A text that does not fit into its band is not shown.
        uniformtext={"minsize": 10, "mode": "hide"},
    )
    figure.update_xaxes(
        range=[0.0, max(log.duration, 1e-3)],
        title={"text": "s since the start of the bag", "standoff": 6},
        anchor="free",
        position=0.0,
        zeroline=False,
        showspikes=False,
    )
    return figure


def _joint_rows(log: RunLog, limits: Mapping[str, tuple[float, float]]) -> list[Row]:
    commanded = commanded_curves(log)
    joints = list(dict.fromkeys([*commanded, *log.joints]))
    if not joints:
        return []
    height = _JOINT if len(joints) <= _MANY_JOINTS else _SMALL_JOINT
    most = max(_MAX_POINTS // (2 * len(joints)), _MIN_POINTS)
    rows = []
    for number, joint in enumerate(joints):
        traces = []
        curves = {
            "measured": (log.joints.get(joint), BLUE, 1.4, "solid"),
            "committed" if log.timelines else "commanded": (
                commanded.get(joint),
                VERMILLION,
                1.6,
                "3px,2px",
            ),
        }
        for name, (curve, colour, width, dash) in curves.items():
            if curve is None or not len(curve):
                continue
            points = thinned(curve, most)
            traces.append(
                go.Scatter(
                    x=points[:, 0],
                    y=points[:, 1].astype(np.float32),
                    name=name,
                    legendgroup=name,
                    mode="lines",
                    line={"color": colour, "width": width, "dash": dash},
                    hovertemplate=f"%{{x:.3f}} s: {name} %{{y:.4f}}<extra></extra>",
                )
            )
        traces += _limit_lines(log, joint, traces, limits)
        if traces:
            axis = {"nticks": 5}
            title = label(f"{joint} [{log.unit(joint)}]")
            rows.append(Row(title, height, traces, axis, legend=number == 0))
    return rows


def _limit_lines(
    log: RunLog,
    joint: str,
    curves: list[go.Scatter],
    limits: Mapping[str, tuple[float, float]],
) -> list[go.Scatter]:
    """Return the lines of the joint's limits that its motion comes near."""
    values = np.concatenate([curve.y for curve in curves]) if curves else np.empty(0)
    if joint not in limits or np.all(np.isnan(values)):
        return []
    bottom, top = float(np.nanmin(values)), float(np.nanmax(values))
    margin = _NEAR_LIMIT * max(top - bottom, 1e-3)
    near = [limit for limit in limits[joint] if bottom - margin <= limit <= top + margin]
    return [
        go.Scatter(
            x=[0.0, log.duration],
            y=[limit, limit],
            name="limit",
            legendgroup="limit",
            mode="lines",
            line={"color": GREY, "width": 1.2, "dash": "dot"},
            showlegend=i == 0,
            hovertemplate=f"limit {limit:.4f}<extra></extra>",
        )
        for i, limit in enumerate(near)
    ]


def _mark_instructions(figure: go.Figure, log: RunLog) -> None:
    """Draw a dashed line through all rows at each change of the instruction."""
    for time, _ in log.instructions:
        figure.add_shape(
            type="line",
            x0=time,
            x1=time,
            xref="x",
            y0=0,
            y1=1,
            yref="paper",
            line={"color": "#5b6875", "width": 1, "dash": "dash"},
            layer="below",
        )
