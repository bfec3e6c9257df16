# SPDX-License-Identifier: Apache-2.0
"""Show an evaluation: tables on the terminal, curves as PNG, and one HTML page.

Everything is taken from the content of the JSON file, see `offline.evaluation_result`.
"""

import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from groot_ros.evaluation.page import PALETTE, Page, picture_block, table_block
from groot_ros.evaluation.table import format_table

#: Files of a report.
PAGE, CURVES, RESULT = "evaluation.html", "errors.png", "evaluation.json"
_COLUMNS = 3
_HOLD, _REPEAT = "#8a9099", "#c9ced3"

Table = tuple[list[str], list[list[str]]]


def write_result(result: Mapping[str, Any], path: Path) -> None:
    """Write the JSON file; an existing one is replaced only once the new one is complete."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_evaluation(result: Mapping[str, Any], out: Path, title: str) -> None:
    """Write PAGE, CURVES and RESULT into a directory, which is created."""
    out.mkdir(parents=True, exist_ok=True)
    write_result(result, out / RESULT)
    curves = draw_curves(result)
    (out / CURVES).write_bytes(curves)
    make_page(result, curves, title).write(out / PAGE)


def describe(result: Mapping[str, Any]) -> str:
    """Return the tables of the terminal."""
    parts = []
    for name, (header, rows), text in _tables(result):
        parts.append(f"{name}\n{format_table(header, rows)}" + (f"\n{text}" if text else ""))
    return "\n\n".join(parts)


def notes(result: Mapping[str, Any]) -> list[str]:
    """Return what was repaired, left out or failed, one line each."""
    lines = [f"{name}: not evaluated: {why}" for name, why in result["failed"].items()]
    for policy in result["policies"]:
        for episode in policy["episodes"]:
            lines += [f"{episode['name']}: {line}" for line in episode["repairs"]]
    return list(dict.fromkeys(lines))


def make_page(result: Mapping[str, Any], curves: bytes, title: str) -> Page:
    """Return the HTML page of an evaluation."""
    policies = result["policies"]
    page = Page(title, ", ".join(policy["label"] for policy in policies), notes=notes(result))
    for policy in policies:
        label = f" ({policy['label']})" if len(policies) > 1 else ""
        for unit, summary in policy["all_joints"].items():
            worse = summary["hold"] is not None and summary["error"] >= summary["hold"]
            value = f"{_value(summary['error'])} {unit} ({_interval(summary['interval'])})"
            page.add_fact(f"mean error{label}", value, warn=worse)
    page.add_section(
        "Error over the chunk",
        picture_block(curves, "Error of each joint by the step of the chunk"),
        text="Mean absolute error by the time after the observation. Grey: hold the position of "
        "the observation; light grey: repeat the last command. Band: spread over the seeds.",
    )
    for name, (header, rows), text in _tables(result):
        page.add_section(name, table_block(header, rows), text=text)
    return page


def draw_curves(result: Mapping[str, Any]) -> bytes:
    """Draw the error of each joint by the step of the chunk, as PNG."""
    joints = list(dict.fromkeys(j for policy in result["policies"] for j in policy["joints"]))
    columns = min(_COLUMNS, len(joints))
    rows = math.ceil(len(joints) / columns)
    size = (4.0 * columns, 2.5 * rows + 0.4)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, sharex=True)
    for axis, joint in zip(axes.flat, joints, strict=False):
        _draw_joint(axis, result["policies"], joint)
    for axis in axes.flat[len(joints) :]:
        axis.set_axis_off()
    for axis in axes[-1]:
        axis.set_xlabel("time in the chunk [s]")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=len(labels), frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.35 / size[1]))
    return _png(figure)


def _draw_joint(axis: Axes, policies: Sequence[Mapping[str, Any]], joint: str) -> None:
    baselines_drawn = False
    for color, policy in zip(_colors(), policies, strict=False):
        own = policy["joints"].get(joint)
        if own is None:
            continue
        times = [policy["dt"] * step for step in range(policy["horizon"])]
        error = _numbers(own["by_step"])
        if not baselines_drawn:
            baselines_drawn = True
            axis.plot(times, _numbers(own["repeat_by_step"]), color=_REPEAT, label="repeat")
            axis.plot(times, _numbers(own["hold_by_step"]), color=_HOLD, label="hold")
            axis.set_title(f"{joint} [{own['unit']}]", size=9)
        axis.plot(times, error, color=color, label=policy["label"])
        if own["spread_by_step"] is not None:
            spread = _numbers(own["spread_by_step"])
            low = [max(e - s, 0.0) for e, s in zip(error, spread, strict=True)]
            high = [e + s for e, s in zip(error, spread, strict=True)]
            axis.fill_between(times, low, high, color=color, alpha=0.15, linewidth=0)
    axis.set_ylim(bottom=0)
    axis.grid(color="#e4e8ec")


def _tables(result: Mapping[str, Any]) -> Iterator[tuple[str, Table, str]]:
    """Yield (title, table, explanation) of everything that is shown as a table."""
    policies = result["policies"]
    for policy in policies:
        name = f"Errors of {policy['label']}" if len(policies) > 1 else "Errors"
        yield name, _error_table(policy), _explanation(policy)
    for comparison in result["comparisons"]:
        title = f"{comparison['second']} compared with {comparison['first']}"
        yield title, _comparison_table(comparison), _largest(comparison)
    yield "Recordings", _episode_table(policies), ""


def _error_table(policy: Mapping[str, Any]) -> Table:
    header = ["joint", "unit", "error", "95 %", "hold", "repeat", "seeds", "compared with"]
    rows = []
    named = {f"all in {unit}": own for unit, own in policy["all_joints"].items()}
    for name, own in {**policy["joints"], **named}.items():
        rows.append(
            [
                name,
                own["unit"],
                _value(own["error"]),
                _interval(own["interval"]),
                _value(own["hold"]),
                _value(own["repeat"]),
                _value(own["seed_spread"]),
                own["reference"],
            ]
        )
    return header, rows


def _explanation(policy: Mapping[str, Any]) -> str:
    steps = next(iter(policy["joints"].values()))
    text = (
        "error: mean absolute error over all observations, steps and seeds; hold, repeat: the same "
        "of a policy that holds the observed position, or repeats the last command; seeds: "
        "standard deviation of the prediction over the seeds"
    )
    if missing := steps["steps_without_reference"]:
        text += f"; {missing} steps lie beyond the end of their recording and are not compared"
    return text + "."


def _comparison_table(comparison: Mapping[str, Any]) -> Table:
    header = ["joint", "unit", "difference of the errors", "95 %"]
    rows = [
        [joint, own["unit"], _value(own["difference"], signed=True), _interval(own["interval"])]
        for joint, own in comparison["joints"].items()
    ]
    return header, rows


def _largest(comparison: Mapping[str, Any]) -> str:
    worst = comparison["largest"]
    if worst is None:
        return "There is no observation for which both have a chunk."
    where = f"joint '{worst['joint']}', step {worst['step']} of the chunk at {worst['time']:.3f} s"
    difference = (
        f"The chunks differ most at {where} of '{worst['episode']}': {worst['value']:.6f}."
        if worst["value"]
        else "All chunks are equal."
    )
    return f"{comparison['places']} observations; negative: the second one is better. {difference}"


def _episode_table(policies: Sequence[Mapping[str, Any]]) -> Table:
    header = ["recording", "chunks", "intervals without", "recorded", "equal", "different"]
    header += ["not reproducible"]
    rows = []
    for policy in policies:
        for episode in policy["episodes"]:
            name = episode["name"]
            if len(policies) > 1:
                name += f" ({policy['label']})"
            own = episode["recorded_chunks"]
            recorded = ["none", "", "", ""]
            if own is not None:
                worst = own["largest_difference"]
                differing = str(own["differing"])
                if worst is not None:
                    differing += f" (at most {worst['value']:.6f})"
                recorded = [
                    str(own["recorded"]),
                    str(own["exact"]),
                    differing,
                    _counts(own["not_reproducible"]),
                ]
            missing = _counts(episode["without_chunk"])
            rows.append([name, str(episode["places"]), missing, *recorded])
    return header, rows


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} x{count}" for reason, count in counts.items()) or "none"


def _value(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "-"
    return f"{value:+.4f}" if signed else f"{value:.4f}"


def _interval(interval: Sequence[float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]


def _colors() -> Iterator[str]:
    while True:
        yield from PALETTE


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # Without the version of matplotlib, so that the same result gives the same file.
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()
