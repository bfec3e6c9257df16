# SPDX-License-Identifier: Apache-2.0
"""Data sets of scripted experts: episodes in many processes, written as LeRobot v2.1."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from groot_ros.bags.parallel import EpisodeResult, map_episodes
from groot_ros.core import NS_PER_S, s_to_ns
from groot_ros.core.share import robot_path
from groot_ros.datasets import DatasetError
from groot_ros.datasets.episodes import EpisodeFiles
from groot_ros.datasets.features import (
    ACTION,
    IMAGES,
    INTERVENTION,
    STAMP,
    STATE,
    SUCCESS,
    Description,
    describe,
    to_table,
)
from groot_ros.datasets.statistics import ImageStatistics, sampled_rows
from groot_ros.datasets.video import VideoEncoder
from groot_ros.datasets.writer import new_folder, write_dataset
from groot_ros.robot import RobotContract, load_contract
from groot_ros.rollout.closed_loop import ClosedLoop, LoopSettings
from groot_ros.rollout.expert_episode import DirectRobot, RecordedEpisode, run_expert
from groot_ros.rollout.simulation import (
    ATTEMPTS,
    START_NS,
    check_policy,
    collected_scene,
    loop_policy,
    simulator,
)
from groot_ros.sim.disturbance import DisturbanceSettings
from groot_ros.sim.judge import Judge
from groot_ros.sim.table import Scene
from groot_ros.sim.table_expert import STEP
from groot_ros.sim.table_task import TableTask
from groot_ros.sim.tasks import load_table_task

FPS = round(1 / STEP)
#: Prefix of the columns with where things are in the images; see RecordedEpisode.labels.
LABEL = "label."
#: Share of the time of an episode after which the expert takes over from a policy at the latest.
_POLICY_SHARE = 0.6


@dataclass(frozen=True)
class CollectSettings:
    """Settings of a collection.

    Attributes:
        task: name of the task.
        seed: episode i has the same scene and disturbances for the same seed.
        size: (width, height) of the images.
        disturbances: how much the episodes are disturbed.
        checkpoint: policy that acts first; empty = none.
        policy_options: fields of PolicyConfig.
        loop: how the policy acts.

    """

    task: str
    seed: int = 0
    size: tuple[int, int] = (128, 128)
    disturbances: DisturbanceSettings = field(default_factory=DisturbanceSettings)
    checkpoint: str = ""
    policy_options: Mapping[str, Any] = field(default_factory=dict)
    loop: LoopSettings = field(default_factory=LoopSettings)


@dataclass(frozen=True)
class Collection:
    """Result of a collection.

    Attributes:
        episodes: the episodes of the data set.
        failures: scenes in which the policy left nothing to do, or the expert failed; other scenes
            took their place.
        left_out: episodes without a scene in which the policy left something to do and the expert
            succeeded.
        failed: results of the episodes that could not be recorded.

    """

    episodes: Sequence[EpisodeFiles]
    failures: int
    left_out: int
    failed: Sequence[EpisodeResult[Any]]

    @property
    def rows(self) -> int:
        """Return the number of rows of all episodes."""
        return sum(episode.length for episode in self.episodes)


def collect(
    settings: CollectSettings, episodes: int, out: Path, *, jobs: int | None = None, dask: str = ""
) -> Collection:
    """Record episodes and write them as a data set.

    Args:
        settings: what is recorded.
        episodes: number of episodes.
        out: folder of the data set; must not exist yet.
        jobs: local processes at a time; None = one per CPU.
        dask: address of a Dask cluster; empty = local processes.

    Raises:
        DatasetError: `out` exists, or no episode could be recorded.
        ValueError: there is no such task, or the checkpoint does not fit its robot.

    """
    task = load_table_task(settings.task)
    if settings.checkpoint:
        check_policy(settings.checkpoint, task.robot, settings.policy_options)
    with new_folder(out) as folder:
        staging = folder / "staging"
        staging.mkdir()
        record = partial(record_episode, settings=settings, folder=staging.absolute())
        results = map_episodes(
            record,
            range(episodes),
            names=[f"episode {i}" for i in range(episodes)],
            label=f"recording {settings.task}",
            jobs=jobs,
            dask=dask,
            paths=[staging],
        )
        returned = [result.value for result in results if result.value is not None]
        files = [own for own, _ in returned if own is not None]
        left_out = len(returned) - len(files)
        if not files and left_out:
            raise DatasetError(
                f"none of the {episodes} episodes was recorded: in {left_out} the policy left "
                "nothing to do for the expert"
            )
        if not files:
            raise DatasetError(f"none of the {episodes} episodes could be recorded, see above")
        write_dataset(folder, description(task.robot, settings.size), files)
        shutil.rmtree(staging)
    failures = sum(attempts for _, attempts in returned)
    return Collection(files, failures, left_out, [result for result in results if result.failed])


def record_episode(
    index: int, settings: CollectSettings, folder: Path
) -> tuple[EpisodeFiles | None, int]:
    """Record one episode as files in a new folder within `folder`.

    Returns:
        The files, and the number of scenes that gave no episode. There are no files if the policy
        left nothing to do for the expert in some scenes, and the expert failed in the others.

    Raises:
        DatasetError: the expert failed in all scenes that were tried.

    """
    task = load_table_task(settings.task)
    left_out = False
    for attempt in range(ATTEMPTS):
        episode = simulate_episode(task, index, attempt, settings)
        if episode is None:
            left_out = True
        elif episode.succeeded:
            target = Path(tempfile.mkdtemp(prefix=f"{index}-", dir=folder))
            return write_episode(f"episode {index}", task.robot, episode, target), attempt
    if left_out:
        return None, ATTEMPTS
    raise DatasetError(f"the expert failed in each of {ATTEMPTS} scenes")


def simulate_episode(
    task: TableTask, index: int, attempt: int, settings: CollectSettings
) -> RecordedEpisode | None:
    """Run the expert in the scene of an episode; None if a policy leaves nothing to do for it."""
    contract, robot, renderer = simulator(task.robot, settings.size)
    scene, disturbance, rng = collected_scene(
        task, settings.seed, index, attempt, settings.disturbances
    )
    robot.jump_to(START_NS)
    robot.reset(scene.apply)
    judge = task.judge(robot.model, scene)
    if settings.checkpoint and not _act_first(settings, task, scene, judge, rng):
        return None
    direct = DirectRobot(task, scene, judge, robot.arm, renderer, tuple(contract.cameras))
    expert = task.expert(robot.model, scene)
    run_expert(task, expert, judge, robot.arm, direct, disturbance)
    return direct.episode(succeeded=judge.succeeded, after_policy=bool(settings.checkpoint))


def _act_first(
    settings: CollectSettings,
    task: TableTask,
    scene: Scene,
    judge: Judge,
    rng: np.random.Generator,
) -> bool:
    """Let the policy act for a random time; return whether the task is still to be done."""
    contract, robot, renderer = simulator(task.robot, settings.size)
    options = tuple(sorted(settings.policy_options.items()))
    policy, spec = loop_policy(settings.checkpoint, task.robot, options)
    policy.reset()
    seed = int(rng.integers(2**31))
    loop = ClosedLoop(
        robot, renderer, contract, policy, spec, scene.instruction, settings.loop, seed
    )
    seconds = rng.uniform(0.0, _POLICY_SHARE * task.seconds)
    for _ in range(round(seconds * NS_PER_S / robot.period_ns)):
        loop.cycle()
        judge.observe(robot.arm)
    return not judge.succeeded


def description(robot: str, size: tuple[int, int]) -> Description:
    """Return the description of a data set of this robot with images of (width, height)."""
    path = robot_path(robot)
    contract = load_contract(path)
    sizes = {view: (size[1], size[0]) for view in contract.cameras}
    widths = {name: group.min_width for name, group in contract.action_groups.items()}
    source = {
        "contract": path.read_text(encoding="utf-8"),
        "contract_file": str(path.absolute()),
        "fingerprint": contract.fingerprint(),
    }
    own = describe(contract, source, sizes, FPS, widths)
    names = ["cube.u", "cube.v", "goal.u", "goal.v"]
    labels: Mapping[str, Any] = {
        f"{LABEL}{view}": {"dtype": "float32", "shape": [4], "names": names} for view in sizes
    }
    return Description(own.fps, own.robot_type, {**own.features, **labels}, own.modality, own.robot)


def write_episode(name: str, robot: str, episode: RecordedEpisode, folder: Path) -> EpisodeFiles:
    """Write the rows and videos of an episode into a folder."""
    contract = load_contract(robot_path(robot))
    rows = len(episode.states)
    success = np.zeros(rows, dtype=bool)
    success[-1] = episode.succeeded
    columns: dict[str, NDArray[Any]] = {
        STATE: to_model_units(contract, episode.states, is_action=False),
        ACTION: to_model_units(contract, episode.actions, is_action=True),
        STAMP: START_NS + np.arange(rows) * s_to_ns(STEP),
        INTERVENTION: np.full(rows, episode.after_policy),
        SUCCESS: success,
        "task_index": np.zeros(rows, dtype=np.int64),
        **{f"{LABEL}{view}": own.astype(np.float32) for view, own in episode.labels.items()},
    }
    height, width = next(iter(episode.images.values())).shape[1:3]
    own = description(robot, (width, height))
    table = to_table(columns, {column: own.all_features[column] for column in columns})
    path = folder / "rows.parquet"
    pq.write_table(table, path)
    videos, statistics = {}, {}
    for view, images in episode.images.items():
        encoder = VideoEncoder(folder / f"{view}.mp4", FPS)
        for image in images:
            encoder.add_frame(image)
        encoder.close()
        found = ImageStatistics()
        for row in sampled_rows(rows):
            found.add_image(images[row])
        videos[f"{IMAGES}{view}"] = folder / f"{view}.mp4"
        statistics[f"{IMAGES}{view}"] = found.result()
    entry = {"outcome": "success" if episode.succeeded else "failure"}
    return EpisodeFiles(
        name, path, rows, videos, {0: episode.instruction}, entry, statistics, owned=True
    )


def to_model_units(
    contract: RobotContract, joints: NDArray[np.float64], *, is_action: bool
) -> NDArray[np.float32]:
    """Convert joint positions [N, 6] rad of the model to the columns of the data set."""
    order = list(contract.joint_names)
    parts = []
    if is_action:
        for name, group in contract.action_groups.items():
            own = joints[:, [order.index(joint) for joint in group.joints]]
            parts.append(contract.action_to_model(name, own, group.min_width))
    else:
        for name, members in contract.state_groups.items():
            own = joints[:, [order.index(joint) for joint in members]]
            parts.append(contract.state_to_model(name, own))
    return np.concatenate(parts, axis=1).astype(np.float32)
