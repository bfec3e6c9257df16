# SPDX-License-Identifier: Apache-2.0
"""Evaluate policies offline on recorded episodes, one call for each policy and episode."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from groot_ros import __version__
from groot_ros.bags.recording import RobotBag
from groot_ros.checkpoint.locate import find_checkpoint
from groot_ros.core import PolicyConfig
from groot_ros.core.share import robot_path
from groot_ros.evaluation.prediction_errors import compared, joint_errors, over_joints
from groot_ros.evaluation.predictions import (
    BagRecording,
    EpisodePredictions,
    Recording,
    Reference,
    predict,
)
from groot_ros.evaluation.reproduction import Reproduction, reproduce
from groot_ros.observation.spec import ObservationSpec, SyncTolerances
from groot_ros.policy import Policy, load_policy
from groot_ros.policy.loading import open_checkpoint, set_threads
from groot_ros.robot import RobotContract, load_contract
from groot_ros.runtime.device import choose_device

#: Version of the JSON file.
FORMAT = 1
#: Decimals of the predictions in the JSON file, far below what any engine reproduces.
_DECIMALS = 9


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation; see the options of `groot-ros evaluate`.

    Attributes:
        seeds: of the noise.
        interval: s between places.
        reference: what predictions are compared with.
        instruction: replaces those of the recording.
        namespace: of the robot in bags; None = the only one.
        leader: topic of a leader arm; None = no leader.
        reproduce: whether to compute the chunks in a bag again.

    """

    seeds: tuple[int, ...] = (0, 1, 2)
    interval: float = 0.2
    reference: Reference = "auto"
    instruction: str | None = None
    namespace: str | None = None
    leader: str | None = None
    reproduce: bool = True


@dataclass(frozen=True)
class EvaluationJob:
    """One policy and one episode.

    Attributes:
        name: of the episode in the report, unique.
        path: bag, or data set.
        episode: number of the episode in a data set; None for a bag.
        robot: name or file of a robot contract; empty = the contract in the recording.
        shows_progress: whether to show a bar for the episode.

    """

    name: str
    path: Path
    config: PolicyConfig
    settings: EvaluationSettings
    robot: str = ""
    episode: int | None = None
    shows_progress: bool = False


@dataclass(frozen=True)
class EpisodeEvaluation:
    """Result of one job; `policy` has the facts about the policy as JSON values."""

    predictions: EpisodePredictions
    policy: dict[str, Any]


#: The policy that this process loaded last, with its configuration and robot.
_loaded: list[tuple[PolicyConfig, RobotContract, Policy]] = []


def evaluate_episode(job: EvaluationJob) -> EpisodeEvaluation:
    """Evaluate one policy on one episode; a process keeps its policy for the next episode.

    Raises:
        ValueError: the recording or the checkpoint cannot be used; one line.

    """
    contract = load_contract(robot_path(job.robot)) if job.robot else None
    if job.episode is not None:
        policy, predictions = _evaluate_dataset(job, job.episode, contract)
    else:
        policy, predictions = _evaluate_bag(job, contract)
    facts = {
        "checkpoint_hash": policy.checkpoint_hash,
        "embodiment": policy.spec.embodiment,
        "engine": policy.engine.name,
        "num_inference_steps": policy.num_inference_steps,
        "dt": policy.dt,
        "horizon": policy.spec.horizon,
    }
    return EpisodeEvaluation(predictions, facts)


def _evaluate_bag(
    job: EvaluationJob, contract: RobotContract | None
) -> tuple[Policy, EpisodePredictions]:
    settings = job.settings
    bag = RobotBag(
        job.path,
        contract,
        **_needs(job.config, contract),
        namespace=settings.namespace,
        leader=settings.leader,
    )
    policy = _policy(job.config, bag.contract)
    recording = BagRecording(bag, settings.instruction)
    predictions = _predict(job, recording, policy, bag.contents.duration)
    if settings.reproduce and bag.chunks:
        predictions.reproduction = reproduce(bag, policy)
    return policy, predictions


def _evaluate_dataset(
    job: EvaluationJob, number: int, contract: RobotContract | None
) -> tuple[Policy, EpisodePredictions]:
    # PyArrow and PyAV are needed for data sets only.
    from groot_ros.datasets.reader import Dataset
    from groot_ros.evaluation.dataset_recording import DatasetRecording, dataset_contract

    dataset = Dataset(job.path)
    contract = contract or dataset_contract(dataset)
    episode = dataset.episodes[number]
    recording = DatasetRecording(episode, contract, job.settings.instruction)
    policy = _policy(job.config, contract)
    return policy, _predict(job, recording, policy, recording.duration)


def _predict(
    job: EvaluationJob, recording: Recording, policy: Policy, duration: float
) -> EpisodePredictions:
    settings = job.settings
    with _bar(job, duration) as bar:
        return predict(
            recording,
            policy,
            name=job.name,
            seeds=settings.seeds,
            interval=settings.interval,
            tolerances=SyncTolerances.of_config(job.config),
            reference=settings.reference,
            on_place=lambda since: bar.update(max(since - bar.n, 0.0)),
        )


def _needs(config: PolicyConfig, contract: RobotContract | None) -> dict[str, Any]:
    """Return the cameras and state groups that the checkpoint needs."""
    spec = ObservationSpec.of_policy(open_checkpoint(config, contract).spec)
    return {"views": spec.views, "groups": spec.groups}


def _policy(config: PolicyConfig, robot: RobotContract) -> Policy:
    """Return the loaded policy of this process, or load another one in its place."""
    if _loaded and _loaded[0][:2] == (config, robot):
        return _loaded[0][2]
    while _loaded:
        _loaded.pop()[2].close()
    set_threads(config)
    policy = load_policy(config, robot=robot)
    _loaded.append((config, robot, policy))
    return policy


@contextmanager
def _bar(job: EvaluationJob, seconds: float) -> "Iterator[tqdm[None]]":
    form = "{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s"
    disable = None if job.shows_progress else True
    with tqdm(
        total=max(seconds, 0.1), desc=job.name, bar_format=form, leave=False, disable=disable
    ) as bar:
        yield bar


def default_jobs(config: PolicyConfig, episodes: int) -> int:
    """Return how many processes to use: each one loads the model.

    One on a GPU; on the CPU one per core, as far as half of the free memory holds the models.
    """
    if episodes == 1 or choose_device(config.device).type != "cpu":
        return 1
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    files = find_checkpoint(config.checkpoint).glob("*.safetensors")
    # Weights in bfloat16 may be converted to float32.
    model = 2 * sum(file.stat().st_size for file in files)
    fitting = max(1, free // 2 // model) if model else 1
    return int(min(episodes, len(os.sched_getaffinity(0)), fitting))


def threads_per_job(config: PolicyConfig, jobs: int) -> int:
    """Return `torch_threads` for processes that share this machine; 0 = the policy's default."""
    if config.torch_threads or jobs == 1:
        return config.torch_threads
    return max(1, len(os.sched_getaffinity(0)) // jobs)


def policy_result(label: str, episodes: Sequence[EpisodeEvaluation]) -> dict[str, Any]:
    """Return the JSON values of one policy."""
    joints = joint_errors([each.predictions for each in episodes])
    return {
        "label": label,
        **episodes[0].policy,
        "all_joints": over_joints(joints),
        "joints": {joint: errors.summary() for joint, errors in joints.items()},
        "episodes": [_episode_result(each.predictions) for each in episodes],
    }


def evaluation_result(
    settings: EvaluationSettings,
    policies: Mapping[str, Sequence[EpisodeEvaluation]],
    failed: Mapping[str, str],
    times: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of the JSON file; it depends on the inputs only, except for "times".

    Args:
        settings: of the evaluation.
        policies: label -> its episodes.
        failed: name of an episode -> why it could not be evaluated.
        times: when and how fast; not compared between runs.

    """
    labels = list(policies)
    predictions = {label: [e.predictions for e in own] for label, own in policies.items()}
    return {
        "format": FORMAT,
        "groot_ros": __version__,
        "settings": {**asdict(settings), "seeds": list(settings.seeds)},
        "policies": [policy_result(label, own) for label, own in policies.items()],
        "comparisons": [
            {
                "first": labels[0],
                "second": other,
                **compared(predictions[labels[0]], predictions[other]),
            }
            for other in labels[1:]
        ],
        "failed": dict(failed),
        "times": dict(times),
    }


def _episode_result(episode: EpisodePredictions) -> dict[str, Any]:
    return {
        "name": episode.name,
        "places": len(episode.numbers),
        "without_chunk": dict(sorted(episode.missing.items())),
        "repairs": list(episode.repairs),
        "recorded_chunks": _reproduction_result(episode.reproduction),
        "joints": list(episode.joints),
        "chunks": {
            "seed": "the first",
            "numbers": episode.numbers.tolist(),
            "times": episode.times.round(_DECIMALS).tolist(),
            "predicted": episode.predicted[:, 0].round(_DECIMALS).tolist(),
        },
    }


def _reproduction_result(found: Reproduction | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "recorded": found.recorded,
        "exact": found.exact,
        "differing": len(found.differing),
        "not_reproducible": dict(sorted(found.not_reproducible.items())),
        "largest_difference": None if found.worst is None else asdict(found.worst),
    }
