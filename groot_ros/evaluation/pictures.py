# SPDX-License-Identifier: Apache-2.0
"""Pictures of a run: camera images, and commanded and measured joint positions."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from groot_ros.evaluation.run_metrics import chunk_span, commanded_curves, without_chunk
from groot_ros.evaluation.run_records import RunLog

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

#: Shown before the first chunk and after the last, s.
_MARGIN_SECONDS = 1.0
#: A limit is drawn if it is at most this share of the motion's range away from the motion.
_NEAR_LIMIT = 0.15
#: Height of a line of text below a frame, px.
_LINE_HEIGHT = 13
_MEASURED, _COMMANDED, _CHUNK = "#1f77b4", "#d62728", "#999999"


def contact_sheet(
    frames: dict[str, list[NDArray[np.uint8]]], times: NDArray[np.float64], log: RunLog, path: Path
) -> None:
    """Draw one row per camera and one column per time, with the current instruction above.

    The times shown are those since the first chunk, as in joint_curves.
    """
    begin, _ = chunk_span(log)
    rows, columns = len(frames), len(times)
    figure, axes = plt.subplots(
        rows, columns, figsize=(2.6 * columns, 2.15 * rows + 0.3), squeeze=False
    )
    for row, (topic, images) in enumerate(frames.items()):
        for column, axis in enumerate(axes[row]):
            axis.set_axis_off()
            if column < len(images):
                axis.imshow(images[column])
            if row == 0:
                axis.set_title(
                    f"{times[column] - begin:.0f} s: {_instruction_at(log, times[column])}", size=8
                )
        axes[row][0].text(4, 14, topic, size=7, color="white", backgroundcolor="#000000a0")
    figure.tight_layout(pad=0.4)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def joint_curves(
    log: RunLog, path: Path, limits: Mapping[str, tuple[float, float]] | None = None
) -> None:
    """Plot committed and measured position of each joint, with a line at each chunk.

    Changes of the instruction are dashed lines with the instruction above the first joint.
    `limits` are drawn where the motion comes near them, and named in any case.
    """
    commanded = commanded_curves(log)
    begin, end = chunk_span(log)
    still = without_chunk(log)
    names = tuple(commanded) if log.timelines else tuple(log.joints)
    figure, axes = plt.subplots(
        len(names), 1, figsize=(11, 1.7 * len(names)), sharex=True, squeeze=False
    )
    for name, axis in zip(names, axes[:, 0], strict=True):
        for chunk in log.chunks:
            axis.axvline(chunk.received - begin, color=_CHUNK, linewidth=0.4, alpha=0.6)
        for start, stop in still:
            axis.axvspan(start - begin, stop - begin, color=_CHUNK, linewidth=0, alpha=0.25)
        if name in commanded:
            axis.plot(
                commanded[name][:, 0] - begin,
                commanded[name][:, 1],
                color=_COMMANDED,
                linewidth=1.6,
                label="committed" if log.timelines else "commanded",
            )
        if name in log.joints:
            measured = log.joints[name]
            axis.plot(
                measured[:, 0] - begin,
                measured[:, 1],
                color=_MEASURED,
                linewidth=1.0,
                label="measured",
            )
        _draw_limits(axis, (limits or {}).get(name))
        axis.set_ylabel(f"{name}\n[{log.unit(name)}]", size=8)
        axis.tick_params(labelsize=7)
        axis.set_xlim(-_MARGIN_SECONDS, end - begin + _MARGIN_SECONDS)
    lines, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="lower right", fontsize=8, frameon=False)
    _draw_instructions(log, axes[:, 0], begin)
    axes[-1, 0].set_xlabel(
        "time since the first chunk [s]\n"
        "grey line: action chunk received; shaded: no chunk to execute, braking or at rest; "
        "dashed line: change of the instruction; red dotted line: joint limit",
        size=8,
    )
    figure.align_ylabels()
    figure.tight_layout(pad=0.5)
    figure.savefig(path, dpi=110, bbox_inches="tight", pad_inches=0.05)
    plt.close(figure)


def animation(
    frames: list[NDArray[np.uint8]], captions: Sequence[Sequence[str]], fps: float, path: Path
) -> None:
    """Write the frames as an animated WebP, each with the lines of its caption below."""
    pictures = [captioned(frame, lines) for frame, lines in zip(frames, captions, strict=True)]
    pictures[0].save(
        path,
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / fps),
        loop=0,
        quality=60,
        method=2,
    )


def captioned(frame: NDArray[np.uint8], lines: Sequence[str]) -> Image.Image:
    """Return an RGB frame [H, W, 3] with lines of white text on black below it."""
    height, width, _ = frame.shape
    picture = Image.new("RGB", (width, height + _LINE_HEIGHT * len(lines)))
    picture.paste(Image.fromarray(frame))
    draw = ImageDraw.Draw(picture)
    for i, line in enumerate(lines):
        # Pillow's own font has the characters of Latin-1 in every version.
        text = line.encode("latin-1", "replace").decode("latin-1")
        draw.text((4, height + _LINE_HEIGHT * i + 1), text, fill="white")
    return picture


def _draw_limits(axis: Axes, limits: tuple[float, float] | None) -> None:
    """Draw the limits that the motion comes near, and name both at the right edge."""
    if limits is None:
        return
    bottom, top = axis.get_ylim()
    margin = _NEAR_LIMIT * (top - bottom)
    for limit in limits:
        if bottom - margin <= limit <= top + margin:
            axis.axhline(limit, color=_COMMANDED, linewidth=1.0, linestyle=":")
    axis.text(
        1.005,
        0.5,
        f"limits\n{limits[0]:.2f}\n{limits[1]:.2f}",
        transform=axis.transAxes,
        size=7,
        va="center",
    )


def _draw_instructions(log: RunLog, axes: Iterable[Axes], begin: float) -> None:
    """Draw a line at each change of the instruction, with the instruction above the first axis."""
    for row, axis in enumerate(axes):
        left, right = axis.get_xlim()
        for time, text in log.instructions:
            at = time - begin
            # The instruction that is followed at the left edge was given before it.
            if at > right or (at < left and log.instruction_at(begin + left) != text):
                continue
            at = max(at, left)
            axis.axvline(at, color="black", linewidth=1.0, linestyle="--")
            if row == 0:
                axis.annotate(
                    _shortened(text or "no instruction"),
                    (at, 1.0),
                    xycoords=("data", "axes fraction"),
                    xytext=(2, 3),
                    textcoords="offset points",
                    size=8,
                )


def _shortened(text: str, length: int = 32) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _instruction_at(log: RunLog, time: float) -> str:
    return log.instruction_at(time) or "-"
