# SPDX-License-Identifier: Apache-2.0
"""Success of a policy in unseen scenes of tasks with prompts of words and pictures."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from groot_ros.core import PolicyConfig, ToolPose, ns_to_s
from groot_ros.core.config_reader import CheckpointError
from groot_ros.core.prompt import PromptImage
from groot_ros.families.family import PickPlaceModel, TablePose, UnusableObjectsError
from groot_ros.families.registry import find_family
from groot_ros.primitives import UnreachableError
from groot_ros.rollout.evaluate import EXPERT, EpisodeOutcome, Evaluation, run_all
from groot_ros.rollout.pose_bins import from_bins, to_bins, tool_pose
from groot_ros.rollout.prompt_episode import END_EFFECTOR, prompt_table, take_pictures
from groot_ros.rollout.prompt_motion import move_with_arm, move_without_arm
from groot_ros.rollout.simulation import EVALUATED, episode_rng
from groot_ros.sim.prompt_objects import Level
from groot_ros.sim.prompt_scene import PromptScene, table_area
from groot_ros.sim.prompt_table import PromptTable
from groot_ros.sim.prompt_task import oracle
from groot_ros.sim.tasks import load_prompt_task

#: Reasons why an action is not executed, as codes of `rejections`.
UNUSABLE_OBJECTS, NO_ACTION, UNREACHABLE = "unusable_objects", "no_action", "unreachable_pose"

#: Returns the next pick and place on a table; ValueError if there is none.
_Act = Callable[[PromptTable], tuple[ToolPose, ToolPose]]


@dataclass(frozen=True)
class PromptEvaluationSettings:
    """Settings of an evaluation.

    Attributes:
        task: name of the task.
        policy: EXPERT, or a checkpoint.
        assets: tokenizer of a checkpoint that has none; empty = its own.
        level: "placement", or "combination" of shapes and textures that training data never have.
        seed: scene i is the same for the same seed and level, and never one that was collected.
        with_arm: whether the arm executes the actions; without it, objects are put where the arm
            would put them.

    """

    task: str
    policy: str = EXPERT
    assets: str = ""
    level: Level = "placement"
    seed: int = 0
    with_arm: bool = True


def evaluate_prompts(
    settings: PromptEvaluationSettings,
    episodes: int,
    *,
    jobs: int | None = None,
    dask: str = "",
    label: str = "",
) -> Evaluation:
    """Run episodes and return their outcomes.

    Raises:
        ValueError: an argument is wrong, or the checkpoint's actions are not poses on a table.

    """
    load_prompt_task(settings.task)
    if settings.policy != EXPERT:
        _open(settings.policy, settings.assets)
    run = partial(run_prompt_episode, settings=settings)
    return run_all(run, episodes, label or settings.task, jobs=jobs, dask=dask)


def run_prompt_episode(index: int, settings: PromptEvaluationSettings) -> EpisodeOutcome:
    """Run one episode: as many actions as the expert needs, or until one is rejected."""
    began = time.process_time()
    rng = episode_rng(settings.seed, index, EVALUATED)
    scene = load_prompt_task(settings.task).scene(rng, settings.level)
    table = prompt_table()
    table.reset(scene)
    execute = move_with_arm if settings.with_arm else move_without_arm
    executed, done = 0, False
    rejections: dict[str, int] = {}
    try:
        act = _actor(settings, scene)
        for move in scene.moves:
            execute(table, *act(table))
            executed += 1
            done = table.fulfilled(move)
            if scene.in_order and not done:
                break
    except UnreachableError:
        rejections[UNREACHABLE] = 1
    except UnusableObjectsError:
        rejections[UNUSABLE_OBJECTS] = 1
    except _NoActionError:
        rejections[NO_ACTION] = 1
    success = executed == len(scene.moves) and table.succeeded and (done or not scene.in_order)
    return EpisodeOutcome(
        index=index,
        instruction=scene.text,
        success=success,
        seconds=ns_to_s(table.arm.time_ns) if success and settings.with_arm else None,
        wrong_touches=tuple(sorted(table.displaced())),
        chunks=executed,
        rejections=rejections,
        jerk=None,
        cpu_seconds=time.process_time() - began,
    )


class _NoActionError(Exception):
    """The policy gives no action for this prompt and these objects."""


def _actor(settings: PromptEvaluationSettings, scene: PromptScene) -> _Act:
    """Return what chooses the actions of an episode.

    Raises:
        _NoActionError, UnusableObjectsError: the policy cannot use the prompt.

    """
    if settings.policy == EXPERT:
        steps = iter(range(len(scene.moves)))
        return lambda table: _expert_action(table, next(steps))
    pictures = {
        name: {
            view: PromptImage(shown.image, shown.labels)
            for view, shown in take_pictures(name).items()
        }
        for name in scene.pictures
    }
    area = table_area()
    low, high = (area.x[0], area.y[0]), (area.x[1], area.y[1])
    model = _model(settings.policy, settings.assets)
    try:
        session = model.session(scene.text, pictures, low, high)
    except ValueError as error:
        raise _rejected(error) from error

    def act(table: PromptTable) -> tuple[ToolPose, ToolPose]:
        views = take_pictures()
        images = {view: shown.image for view, shown in views.items()}
        labels = {view: shown.labels for view, shown in views.items()}
        try:
            action = session.step(images, labels, END_EFFECTOR)
        except ValueError as error:
            raise _rejected(error) from error
        return (
            _tool_pose(action.pick, area.pick_height),
            _tool_pose(action.place, area.place_height),
        )

    return act


def _rejected(error: ValueError) -> Exception:
    return error if isinstance(error, UnusableObjectsError) else _NoActionError(str(error))


def _tool_pose(pose: TablePose, height: float) -> ToolPose:
    return ToolPose((pose.x, pose.y, height), pose.rotation)


def _expert_action(table: PromptTable, step: int) -> tuple[ToolPose, ToolPose]:
    """Return the expert's action as a policy with bins can state it."""
    area = table_area()
    pick, place = from_bins(to_bins(*oracle(table, step)))
    return tool_pose(pick, area.pick_height), tool_pose(place, area.place_height)


def _open(checkpoint: str, assets: str) -> Any:
    path = Path(checkpoint).expanduser()
    # VIMA has no embodiments; a checkpoint that needs one is rejected below.
    embodiment = PolicyConfig().embodiment
    opened = find_family(path).open(path, embodiment=embodiment, assets=assets or None)
    if opened.spec.action != "pick_place":
        raise CheckpointError(
            f"{checkpoint}: its actions are {opened.spec.action}s, but tasks vima/... need poses "
            "on a table"
        )
    return opened


@lru_cache(maxsize=1)
def _model(checkpoint: str, assets: str) -> PickPlaceModel:
    import torch

    # The episodes run in several processes, so that one thread each is fastest.
    torch.set_num_threads(1)
    model: PickPlaceModel = _open(checkpoint, assets).load(torch.device("cpu"))
    return model


def prompts_to_json(settings: PromptEvaluationSettings, evaluation: Evaluation) -> dict[str, Any]:
    """Return settings, figures and outcomes, for JSON."""
    return {
        "task": settings.task,
        "policy": settings.policy,
        "level": settings.level,
        "seed": settings.seed,
        "with_arm": settings.with_arm,
        **evaluation.summary(),
        "outcomes": [asdict(outcome) for outcome in evaluation.outcomes],
    }
