# SPDX-License-Identifier: Apache-2.0
"""Episodes of a scripted expert, recorded through the topics of a simulated robot into bags."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from groot_ros.bringup.node_graph import expert_graph
from groot_ros.bringup.stepped_run import run_stepped, write_parameters
from groot_ros.rollout.collect import CollectSettings
from groot_ros.sim.disturbance import UNDISTURBED
from groot_ros.sim.tasks import load_table_task


@dataclass(frozen=True)
class BagCollection:
    """Result of a collection into bags.

    Attributes:
        bags: of the episodes, in their order.
        rows: number of rows that a data set of these bags has.
        failures: scenes in which the expert failed; other scenes took their place.
        failed: numbers of the episodes that could not be recorded, from 0.
        stopped: whether a signal ended the collection early.

    """

    bags: Sequence[Path]
    rows: int
    failures: int
    failed: Sequence[int]
    stopped: bool


def collect_bags(settings: CollectSettings, episodes: int, out: Path) -> BagCollection:
    """Record each episode into a bag in `out`; an interrupted episode leaves none.

    The nodes use the ROS domain of this process, which should have no others.

    Args:
        settings: what is recorded; without a checkpoint, disturbed or not.
        episodes: number of episodes.
        out: folder of the bags; must not exist yet.

    Raises:
        ValueError: `out` exists, or a checkpoint is given.
        RuntimeError: the process of the nodes failed; the bags that were recorded before are kept.

    """
    if settings.checkpoint:
        raise ValueError("bags are recorded of the expert alone, without a checkpoint")
    try:
        out.mkdir(parents=True)
    except FileExistsError:
        raise ValueError(f"{out} already exists: choose another directory, or move it") from None
    try:
        with TemporaryDirectory() as folder:
            results = Path(folder) / "results.jsonl"
            file = write_parameters(
                Path(folder) / "parameters.yaml", _parameters(settings, episodes, out, results)
            )
            run = run_stepped(expert_graph(file), results, f"recording {settings.task}", episodes)
    finally:
        if not any(out.iterdir()):
            out.rmdir()
    recorded = [result for result in run.results if result["bag"] is not None]
    return BagCollection(
        bags=[out / Path(result["bag"]).name for result in recorded],
        rows=sum(result["rows"] for result in recorded),
        failures=sum(result["failures"] for result in recorded),
        failed=[result["index"] for result in run.results if result["bag"] is None],
        stopped=run.stopped,
    )


def _parameters(
    settings: CollectSettings, episodes: int, out: Path, results: Path
) -> dict[str, dict[str, object]]:
    robot = load_table_task(settings.task).robot
    width, height = settings.size
    return {
        "sim_robot_node": {
            "robot": robot,
            "publish_clock": True,
            "image_width": width,
            "image_height": height,
        },
        "recorder_node": {
            "robot": robot,
            "output": str(out.absolute()),
            "episodes": True,
            "use_sim_time": True,
        },
        "expert_node": {
            "task": settings.task,
            "seed": settings.seed,
            "episodes": episodes,
            "calm": settings.disturbances == UNDISTURBED,
            "results": str(results),
        },
    }
