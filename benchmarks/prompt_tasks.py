# SPDX-License-Identifier: Apache-2.0
"""The scripted expert in the tasks with prompts of words and pictures.

    python -m benchmarks prompt_tasks [--episodes 20] [--picture docs/images/vima_tasks.webp]

    by the arm      share of scenes in which its actions succeed with the suction cup, by level
    without it      the same, with objects that are put where the arm would put them
    episodes per s  that `groot-ros sim collect` writes with one core

Actions are rounded to VIMA's bins. `--picture` draws one scene of each task.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import groot_ros.sim  # noqa: F401 - chooses the rendering backend before mujoco is imported
from groot_ros.evaluation.table import format_table
from groot_ros.rollout.prompt_collect import PromptCollectSettings, record_prompt_episode
from groot_ros.rollout.prompt_episode import prompt_table, take_pictures
from groot_ros.rollout.prompt_evaluate import PromptEvaluationSettings, run_prompt_episode
from groot_ros.sim.camera import CameraRenderer
from groot_ros.sim.prompt_objects import LEVELS
from groot_ros.sim.prompt_task import oracle
from groot_ros.sim.tasks import load_prompt_task, prompt_task_names
from groot_ros.vision.objects import find_objects

#: (width, height) of an image of the table in the picture.
_SIZE = (512, 256)


def row(task: str, episodes: int) -> list[str]:
    """Return one row of the table."""
    cells = [task]
    for with_arm in (True, False):
        for level in LEVELS:
            settings = PromptEvaluationSettings(task, level=level, with_arm=with_arm)
            outcomes = [run_prompt_episode(i, settings) for i in range(episodes)]
            cells.append(f"{sum(o.success for o in outcomes) / episodes:.0%}")
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        for index in range(episodes):
            record_prompt_episode(index, PromptCollectSettings(task), Path(folder))
        cells.append(f"{episodes / (time.process_time() - began):.0f}")
    return cells


def draw(path: Path) -> None:
    """Draw one scene of each task: its prompt, and the table before and after the expert."""
    from matplotlib import pyplot as plt

    names = prompt_task_names()
    figure = plt.figure(figsize=(9.0, 1.85 * len(names)), layout="constrained")
    table = prompt_table()
    with CameraRenderer(table.arm.model, *_SIZE) as renderer:
        # A column of two or more parts is an array.
        parts: Any = figure.subfigures(len(names))
        for seed, (name, part) in enumerate(zip(names, parts, strict=True)):
            scene = load_prompt_task(name).scene(np.random.default_rng(seed))
            table.reset(scene)
            part.suptitle(f"{name}: {scene.text}", fontsize=9, x=0.01, ha="left")
            axes = part.subplots(1, 5, width_ratios=(1, 1, 1, 2, 2))
            for card, picture in zip(axes, scene.pictures, strict=False):
                view = take_pictures(picture)["top"]
                found = find_objects({"top": view})
                crop = found.crops["top"][0].transpose(1, 2, 0)
                card.imshow(crop if len(found.ids) == 1 else view.image)
                card.set_title(f"{{{picture}}}", fontsize=7)
            axes[3].imshow(renderer.render(table.layout(), "front"))
            for step in range(len(scene.moves)):
                table.carry(*oracle(table, step))
            axes[4].imshow(renderer.render(table.layout(), "front"))
            axes[4].set_title("after the expert", fontsize=7)
            for number, own in enumerate(axes):
                own.set(xticks=[], yticks=[])
                own.set_visible(number > 2 or number < len(scene.pictures))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prompt_tasks", description=__doc__)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--picture", type=Path, help="draw one scene of each task instead")
    args = parser.parse_args(arguments)
    if args.picture is not None:
        draw(args.picture)
        print(f"wrote {args.picture}")
        return
    head = ["task", *(f"by the arm, {level}" for level in LEVELS)]
    head += [*(f"without it, {level}" for level in LEVELS), "episodes per s"]
    print(format_table(head, [row(task, args.episodes) for task in prompt_task_names()]))
