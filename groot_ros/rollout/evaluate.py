# SPDX-License-Identifier: Apache-2.0
"""Success of a policy in unseen scenes of a task."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.bags.parallel import EpisodeResult, map_episodes
from groot_ros.core import ns_to_s
from groot_ros.datasets.video import VideoEncoder
from groot_ros.observation.spec import ObservationSpec
from groot_ros.robot import RobotContract
from groot_ros.rollout.closed_loop import ClosedLoop, LoopPolicy, LoopSettings
from groot_ros.rollout.expert_policy import ExpertPolicy
from groot_ros.rollout.simulation import (
    START_NS,
    check_policy,
    evaluation_scene,
    loop_policy,
    noise_seed,
    simulator,
)
from groot_ros.sim.camera import CameraRenderer
from groot_ros.sim.clock import PeriodicTimer
from groot_ros.sim.robot import SimulatedRobot
from groot_ros.sim.table import Scene
from groot_ros.sim.table_task import TableTask
from groot_ros.sim.tasks import load_table_task

#: The policy that is the scripted expert.
EXPERT = "expert"
#: Size of videos (width, height), and frames per second.
_VIDEO_SIZE, _VIDEO_FPS = (320, 240), 10
#: s that an episode goes on after its success, for the video.
_AFTER_SUCCESS = 0.3


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation.

    Attributes:
        task: name of the task.
        policy: EXPERT, or a checkpoint.
        policy_options: fields of PolicyConfig.
        seed: scene i is the same for the same seed, and never one that was collected.
        size: (width, height) of the images.
        loop: of the closed loop.
        camera_shift: distance by which all cameras are moved, m, in a direction of the scene.
        videos: folder for videos of failures; None = none.

    """

    task: str
    policy: str = EXPERT
    policy_options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    size: tuple[int, int] = (128, 128)
    loop: LoopSettings = field(default_factory=LoopSettings)
    camera_shift: float = 0.0
    videos: Path | None = None


@dataclass(frozen=True)
class EpisodeOutcome:
    """Outcome of one episode.

    Attributes:
        index: number of the scene.
        instruction: what the robot was told.
        success: whether it did it in time.
        seconds: s until it was done; None without success.
        wrong_touches: other cubes that the hand touched.
        chunks: chunks that were executed.
        rejections: code -> number of rejected observations and chunks.
        jerk: root mean square of the arm's commanded jerk, rad/s^3; None if it was not recorded.
        cpu_seconds: processor time.

    """

    index: int
    instruction: str
    success: bool
    seconds: float | None
    wrong_touches: tuple[str, ...]
    chunks: int
    rejections: Mapping[str, int]
    jerk: float | None
    cpu_seconds: float


@dataclass(frozen=True)
class Evaluation:
    """Outcomes of all episodes under one condition.

    Attributes:
        outcomes: of the episodes that ran.
        failed: results of the episodes that could not be run.

    """

    outcomes: Sequence[EpisodeOutcome]
    failed: Sequence[EpisodeResult[Any]] = ()

    @property
    def successes(self) -> int:
        """Return the number of successes."""
        return sum(outcome.success for outcome in self.outcomes)

    @property
    def success_rate(self) -> float:
        """Return the share of successes."""
        return self.successes / max(1, len(self.outcomes))

    @property
    def no_chunk(self) -> int:
        """Return the number of episodes in which no chunk was executed."""
        return sum(outcome.chunks == 0 for outcome in self.outcomes)

    @property
    def wrong_touch_rate(self) -> float:
        """Return the share of episodes in which the hand touched another cube."""
        return sum(bool(o.wrong_touches) for o in self.outcomes) / max(1, len(self.outcomes))

    def summary(self) -> dict[str, Any]:
        """Return all figures, for JSON."""
        seconds = [o.seconds for o in self.outcomes if o.seconds is not None]
        jerks = [o.jerk for o in self.outcomes if o.jerk is not None]
        low, high = wilson_interval(self.successes, len(self.outcomes))
        return {
            "episodes": len(self.outcomes),
            "success_rate": self.success_rate,
            "successes": self.successes,
            "success_interval_95": [low, high],
            "no_chunk": self.no_chunk,
            "wrong_touch_rate": self.wrong_touch_rate,
            "seconds_to_success": (
                {"median": float(np.median(seconds)), "p90": float(np.quantile(seconds, 0.9))}
                if seconds
                else None
            ),
            "jerk": float(np.median(jerks)) if jerks else None,
            "cpu_seconds_per_episode": (
                float(np.mean([o.cpu_seconds for o in self.outcomes])) if self.outcomes else None
            ),
            "not_run": len(self.failed),
        }


def wilson_interval(successes: int, episodes: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the Wilson score interval of a share, by default of 95 %; (0, 1) without episodes."""
    if episodes == 0:
        return 0.0, 1.0
    share = successes / episodes
    centre = share + z**2 / (2 * episodes)
    margin = z * np.sqrt(share * (1 - share) / episodes + z**2 / (4 * episodes**2))
    scale = 1 + z**2 / episodes
    low = 0.0 if successes == 0 else float((centre - margin) / scale)
    high = 1.0 if successes == episodes else float((centre + margin) / scale)
    return low, high


def evaluate(
    settings: EvaluationSettings,
    episodes: int,
    *,
    jobs: int | None = None,
    dask: str = "",
    label: str = "",
) -> Evaluation:
    """Run episodes and return their outcomes.

    Raises:
        ValueError: an argument is wrong.

    """
    task = load_table_task(settings.task)
    if settings.policy != EXPERT:
        check_policy(settings.policy, task.robot, settings.policy_options)
    run = partial(run_episode, settings=settings)
    return run_all(run, episodes, label or settings.task, jobs=jobs, dask=dask)


def run_all(
    run: Callable[[int], EpisodeOutcome],
    episodes: int,
    label: str,
    *,
    jobs: int | None,
    dask: str,
) -> Evaluation:
    """Run episodes in many processes; ValueError if there are none."""
    if episodes < 1:
        raise ValueError(f"the number of episodes must be positive, not {episodes}")
    results = map_episodes(
        run,
        range(episodes),
        names=[f"scene {i}" for i in range(episodes)],
        label=label,
        jobs=jobs,
        dask=dask,
    )
    return Evaluation(
        [r.value for r in results if r.value is not None], [r for r in results if r.failed]
    )


def run_episode(index: int, settings: EvaluationSettings) -> EpisodeOutcome:
    """Run one episode in the closed loop."""
    task = load_table_task(settings.task)
    contract, robot, renderer = simulator(task.robot, settings.size)
    scene = evaluation_scene(task, settings.seed, index, settings.camera_shift)
    robot.jump_to(START_NS)
    robot.reset(scene.apply)
    policy, spec = policy_for(settings, task, scene, robot, contract)
    policy.reset()
    seed = noise_seed(settings.seed, index)
    loop = ClosedLoop(
        robot, renderer, contract, policy, spec, scene.instruction, settings.loop, seed
    )
    return judged(
        index, settings, task, scene, robot, loop.cycle, lambda: (loop.chunks, loop.rejections)
    )


def judged(
    index: int,
    settings: EvaluationSettings,
    task: TableTask,
    scene: Scene,
    robot: SimulatedRobot,
    cycle: Callable[[], None],
    counts: Callable[[], tuple[int, Mapping[str, int]]],
) -> EpisodeOutcome:
    """Run an episode until its time is up, or shortly after its success, and judge it.

    Args:
        index: number of the episode.
        settings: of the evaluation.
        task: the task.
        scene: the scene, in which the robot is.
        robot: the robot at the start of the episode.
        cycle: runs one control period.
        counts: returns the number of executed chunks, and code -> number of rejections.

    """
    began, start_ns = time.process_time(), robot.now_ns
    judge = task.judge(robot.model, scene)
    renderer = video = None
    if settings.videos is not None:
        renderer = CameraRenderer(robot.model, *_VIDEO_SIZE)
        video = FailureVideo(settings, index)
    commands, ended = [], False
    try:
        for _ in range(round(task.seconds * 1e9 / robot.period_ns)):
            cycle()
            judge.observe(robot.arm)
            commands.append(robot.arm.data.ctrl[:5].copy())
            if video is not None and renderer is not None:
                video.add_frame(robot.now_ns, partial(renderer.render, robot.scene, "front"))
            done = judge.succeeded_after
            if done is not None and ns_to_s(robot.now_ns - start_ns) > done + _AFTER_SUCCESS:
                break
        ended = True
    finally:
        # The video of an episode that was stopped is not that of a failure.
        if video is not None and renderer is not None:
            video.close(keep=ended and not judge.succeeded)
            renderer.close()
    chunks, rejections = counts()
    return EpisodeOutcome(
        index=index,
        instruction=scene.instruction,
        success=judge.succeeded,
        seconds=judge.succeeded_after,
        wrong_touches=tuple(sorted(judge.wrong_touches)),
        chunks=chunks,
        rejections=dict(rejections),
        jerk=rms_jerk(np.array(commands), ns_to_s(robot.period_ns)),
        cpu_seconds=time.process_time() - began,
    )


def policy_for(
    settings: EvaluationSettings,
    task: TableTask,
    scene: Scene,
    robot: SimulatedRobot,
    contract: RobotContract,
) -> tuple[LoopPolicy, ObservationSpec]:
    """Return the policy of an episode and what it observes."""
    if settings.policy == EXPERT:
        expert = task.expert(robot.model, scene)
        return ExpertPolicy(robot, expert, contract), ExpertPolicy.observation_spec(contract)
    options = tuple(sorted(settings.policy_options.items()))
    return loop_policy(settings.policy, task.robot, options)


def rms_jerk(positions: np.ndarray, period: float) -> float:
    """Return the root mean square of the third differences over 20 ms of positions [N, D]."""
    step = max(1, round(0.02 / period))
    coarse = positions[::step]
    if len(coarse) < 4:
        return 0.0
    return float(np.sqrt(np.mean((np.diff(coarse, 3, axis=0) / (step * period) ** 3) ** 2)))


class FailureVideo:
    """Video of an episode, kept only if it failed; frames may come from another thread.

    Args:
        settings: with a folder for videos.
        index: number of the episode.

    """

    def __init__(self, settings: EvaluationSettings, index: int) -> None:
        assert settings.videos is not None
        settings.videos.mkdir(parents=True, exist_ok=True)
        name = f"{settings.task}_{settings.seed}_{index:04d}.mp4"
        self._encoder = VideoEncoder(settings.videos / name, _VIDEO_FPS)
        self._timer: PeriodicTimer | None = None
        self._lock = threading.Lock()
        self._closed = False

    def add_frame(self, stamp_ns: int, render: Callable[[], NDArray[np.uint8]]) -> None:
        """Add a frame if the time of the next one has come; `render` returns RGB [H, W, 3]."""
        with self._lock:
            if self._timer is None:
                self._timer = PeriodicTimer(_VIDEO_FPS, stamp_ns)
            if self._timer.due(stamp_ns) and not self._closed:
                self._encoder.add_frame(render())

    def close(self, *, keep: bool) -> None:
        """End the video, and delete it unless it is to be kept."""
        with self._lock:
            self._closed = True
            self._encoder.close()
            if not keep:
                # Without any frame there is no file.
                self._encoder.path.unlink(missing_ok=True)


def to_json(settings: EvaluationSettings, evaluation: Evaluation) -> dict[str, Any]:
    """Return settings, figures and outcomes, for JSON."""
    loop = settings.loop
    return {
        "task": settings.task,
        "policy": settings.policy,
        "policy_options": dict(settings.policy_options),
        "seed": settings.seed,
        "rate_hz": loop.rate_hz,
        "delay": loop.delay,
        "rtc_mode": loop.rtc_mode,
        "blend_window": loop.executor.blend_window,
        "camera_dropout": loop.camera_dropout,
        "joint_offset": loop.joint_offset,
        "camera_shift": settings.camera_shift,
        **evaluation.summary(),
        "outcomes": [asdict(outcome) for outcome in evaluation.outcomes],
    }
