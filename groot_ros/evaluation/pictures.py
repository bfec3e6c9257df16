# SPDX-License-Identifier: Apache-2.0
"""Pictures of a run: camera images, and commanded and measured joint positions."""

from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from groot_ros.evaluation.run_log import RunLog
from groot_ros.evaluation.run_metrics import chunk_span, commanded_curve, without_chunk

matplotlib.use("Agg")

from matplotlib import pyplot as plt

#: Shown before the first chunk and after the last, s.
_MARGIN_SECONDS = 1.0
_MEASURED, _COMMANDED, _CHUNK = "#1f77b4", "#d62728", "#999999"


def contact_sheet(
    frames: dict[str, list[NDArray[np.uint8]]], times: NDArray[np.float64], log: RunLog, path: Path
) -> None:
    """Draw one row per camera and one column per time, with the current instruction above."""
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
                    f"{times[column]:.0f} s: {_instruction_at(log, times[column])}", size=8
                )
        axes[row][0].text(4, 14, topic, size=7, color="white", backgroundcolor="#000000a0")
    figure.tight_layout(pad=0.4)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def joint_curves(log: RunLog, path: Path) -> None:
    """Plot committed and measured position of each joint, with a grey line at each chunk."""
    times, commanded = commanded_curve(log)
    begin, end = chunk_span(log)
    still = without_chunk(log)
    names = log.timelines[0].joint_names if log.timelines else tuple(log.joints)
    figure, axes = plt.subplots(
        len(names), 1, figsize=(11, 1.7 * len(names)), sharex=True, squeeze=False
    )
    for column, (name, axis) in enumerate(zip(names, axes[:, 0], strict=True)):
        for chunk in log.chunks:
            axis.axvline(chunk.received - begin, color=_CHUNK, linewidth=0.4, alpha=0.6)
        for start, stop in still:
            axis.axvspan(start - begin, stop - begin, color=_CHUNK, linewidth=0, alpha=0.25)
        if len(times):
            axis.plot(
                times - begin,
                commanded[:, column],
                color=_COMMANDED,
                linewidth=1.6,
                label="committed",
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
        axis.set_ylabel(f"{name}\n[{log.unit(name)}]", size=8)
        axis.tick_params(labelsize=7)
        axis.set_xlim(-_MARGIN_SECONDS, end - begin + _MARGIN_SECONDS)
    lines, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="upper right", fontsize=8, ncols=2, frameon=False)
    axes[0, 0].set_title(
        "grey line: action chunk received; shaded: no chunk to execute, braking or at rest",
        size=8,
        loc="left",
    )
    axes[-1, 0].set_xlabel("time since the first chunk [s]", size=8)
    figure.align_ylabels()
    figure.tight_layout(pad=0.5)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def animation(frames: list[NDArray[np.uint8]], fps: float, path: Path) -> None:
    """Write the frames as an animated WebP."""
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(
        path,
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / fps),
        loop=0,
        quality=60,
        method=2,
    )


def _instruction_at(log: RunLog, time: float) -> str:
    earlier = [c for c in log.chunks if c.received <= time]
    return earlier[-1].instruction if earlier else "-"
