# SPDX-License-Identifier: Apache-2.0
"""Success and smoothness by inference delay and mode of execution, in closed loop in one process.

    python -m benchmarks delay_and_mode --checkpoint DIR [--tasks reach push pick_place]
                                        [--episodes 40] [--delays 0 0.2] [--out out/delay_and_mode]

Every cell has the same scenes. A chunk arrives `delay` after its inference began, and then

    hard        replaces the motion; only the limits of the joints smooth the change
    crossfade   is blended into it by the executor
    native      is also sampled from the committed motion, as GR00T does it
    guided      is also pulled towards the committed motion while it is sampled

    success     share of scenes, with the Wilson interval of 95 %
    jerk        root mean square of the commanded jerk of the arm, rad/s^3: median of the episodes
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from groot_ros.control import ExecutorConfig
from groot_ros.evaluation.table import format_table

if TYPE_CHECKING:
    from groot_ros.rollout.evaluate import Evaluation, EvaluationSettings

#: Mode -> (blend window in s or None for the default, rtc.mode).
MODES: dict[str, tuple[float | None, str]] = {
    "hard": (0.0, "off"),
    "crossfade": (None, "off"),
    "native": (None, "native"),
    "guided": (None, "guided"),
}
_COLOURS = ("#b0b0b0", "#4c78a8", "#f2a33a", "#54a24b")
#: Cell of the table: task, delay in s, mode.
Cell = tuple[str, float, str]


def settings_of(cell: Cell, checkpoint: str, seed: int) -> "EvaluationSettings":
    """Return the settings of a cell of the table."""
    from groot_ros.rollout.closed_loop import LoopSettings
    from groot_ros.rollout.evaluate import EXPERT, EvaluationSettings

    task, delay, mode = cell
    window, rtc_mode = MODES[mode]
    executor = ExecutorConfig() if window is None else ExecutorConfig(blend_window=window)
    return EvaluationSettings(
        task=task,
        policy=checkpoint or EXPERT,
        policy_options={"torch_threads": 1} if checkpoint else {},
        seed=seed,
        loop=LoopSettings(delay=delay, rtc_mode=rtc_mode, executor=executor),
    )


def rows(results: "dict[Cell, Evaluation]") -> list[list[str]]:
    """Return one row of the table for each task and mode, with the delays next to each other."""
    from groot_ros.rollout.evaluate import wilson_interval

    delays = sorted({delay for _, delay, _ in results})
    table = []
    for task, mode in dict.fromkeys((task, mode) for task, _, mode in results):
        row = [task, mode]
        for delay in delays:
            found = results[task, delay, mode]
            low, high = wilson_interval(found.successes, len(found.outcomes))
            row.append(f"{found.success_rate:.0%} ({low:.0%} to {high:.0%})")
            row.append(f"{found.summary()['jerk']:.0f}")
        table.append(row)
    return table


def draw(results: "dict[Cell, Evaluation]", path: Path) -> None:
    """Write the picture: success above, jerk below, one column for each task."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    from groot_ros.rollout.evaluate import wilson_interval

    tasks = list(dict.fromkeys(task for task, _, _ in results))
    delays = sorted({delay for _, delay, _ in results})
    figure, axes = plt.subplots(
        2, len(tasks), figsize=(3.2 * len(tasks) + 1, 5), squeeze=False, sharey="row"
    )
    width = 0.8 / len(MODES)
    for column, task in enumerate(tasks):
        for i, mode in enumerate(MODES):
            cells = [results[task, delay, mode] for delay in delays]
            x = [k + (i - (len(MODES) - 1) / 2) * width for k in range(len(delays))]
            shares = [cell.success_rate for cell in cells]
            intervals = [wilson_interval(c.successes, len(c.outcomes)) for c in cells]
            errors = [
                [s - low for s, (low, _) in zip(shares, intervals, strict=True)],
                [high - s for s, (_, high) in zip(shares, intervals, strict=True)],
            ]
            style = {"width": width * 0.95, "color": _COLOURS[i], "label": mode}
            axes[0][column].bar(x, shares, yerr=errors, capsize=2, **style)
            axes[1][column].bar(x, [cell.summary()["jerk"] for cell in cells], **style)
        for row, name in enumerate(("success", "jerk, rad/s³")):
            axis = axes[row][column]
            axis.set_xticks(range(len(delays)), [f"{delay * 1e3:.0f} ms" for delay in delays])
            axis.set_xlabel("inference delay")
            if not column:
                axis.set_ylabel(name)
        axes[0][column].set_title(task)
        axes[0][column].set_ylim(0, 1.05)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=9, loc="upper center", ncols=len(MODES))
    figure.tight_layout(rect=(0.0, 0.0, 1.0, 0.95))
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all cells, print the table and write the picture."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.delay_and_mode",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--checkpoint", default="", help="default: the scripted expert")
    parser.add_argument("--tasks", nargs="+", default=["reach", "push", "pick_place"])
    parser.add_argument("--delays", nargs="+", type=float, default=[0.0, 0.2], metavar="S")
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, help="episodes at a time (default: one per CPU)")
    parser.add_argument("--out", type=Path, default=Path("out/delay_and_mode"))
    options = parser.parse_args(arguments)
    os.environ.setdefault("MUJOCO_GL", "osmesa")
    from groot_ros.rollout.evaluate import evaluate

    cells = [(t, d, m) for t in options.tasks for d in options.delays for m in MODES]
    results = {
        cell: evaluate(
            settings_of(cell, options.checkpoint, options.seed),
            options.episodes,
            jobs=options.jobs,
            label=" ".join(map(str, cell)),
        )
        for cell in cells
    }
    header = ["task", "mode"]
    for delay in sorted(options.delays):
        header += [f"success, {delay * 1e3:.0f} ms", "jerk"]
    table = format_table(header, rows(results))
    print(table)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table.txt").write_text(table + "\n", encoding="utf-8")
    draw(results, options.out / "picture.png")


if __name__ == "__main__":
    main()
