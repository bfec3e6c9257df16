# SPDX-License-Identifier: Apache-2.0
"""Predictions of a policy at the places of a recording, and what the robot did after them.

The predicted position of a joint at step i of a chunk is compared with the recorded one at the time
at which that step is due: the active command, or the measured position of joints that nobody
commanded.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from groot_ros.bags.recording import RobotBag
from groot_ros.core import NS_PER_S, ActionChunk, ActionKind, Observation
from groot_ros.evaluation.bag_observations import Place, observe
from groot_ros.evaluation.reproduction import Reproduction
from groot_ros.observation.spec import ObservationSpec, SyncTolerances
from groot_ros.policy import InferenceError, Policy
from groot_ros.robot import RobotContract

Array = NDArray[np.float64]
#: What predictions are compared with: "auto" takes commands where a joint has some.
Reference = Literal["auto", "commands", "motion"]
REFERENCES: tuple[Reference, ...] = ("auto", "commands", "motion")


class Recording(Protocol):
    """One recorded episode, from a bag or a data set."""

    @property
    def contract(self) -> RobotContract:
        """The robot."""

    @property
    def repairs(self) -> Sequence[str]:
        """Lines about everything that was left out; complete after `places`."""

    def places(
        self, spec: ObservationSpec, tolerances: SyncTolerances, interval: float
    ) -> Iterator[Place]:
        """Yield the places, in order."""

    def references(self, joints: Sequence[str], wanted: Reference) -> dict[str, str]:
        """Return joint -> name of what it is compared with; joints without a recording lack.

        Raises:
            ValueError: commands are wanted, and there are none.

        """

    def reference(self, joint: str, source: str, times_ns: NDArray[np.int64]) -> Array:
        """Return the recorded position of a joint at these times, [T]; NaN where there is none."""

    def last_action(self, joint: str, times_ns: NDArray[np.int64]) -> Array:
        """Return the active command at these times, [T]; NaN where there is none."""


MOTION = "measured position"


class BagRecording:
    """A bag as a recorded episode; see `Recording`.

    Args:
        bag: not read yet.
        instruction: replaces the instructions of the bag.

    """

    def __init__(self, bag: RobotBag, instruction: str | None = None) -> None:
        self.bag = bag
        self._instruction = instruction

    @property
    def contract(self) -> RobotContract:
        """The robot."""
        return self.bag.contract

    @property
    def repairs(self) -> Sequence[str]:
        """Lines about everything that was left out."""
        return self.bag.repairs

    def places(
        self, spec: ObservationSpec, tolerances: SyncTolerances, interval: float
    ) -> Iterator[Place]:
        """Yield the places, in order."""
        return observe(self.bag, spec, tolerances, interval=interval, instruction=self._instruction)

    def references(self, joints: Sequence[str], wanted: Reference) -> dict[str, str]:
        """Return joint -> topic of its commands, "executor", "leader" or MOTION."""
        commanded = {} if wanted == "motion" else self.bag.commands.sources
        measured = {} if wanted == "commands" else dict.fromkeys(self.bag.joints.joints, MOTION)
        found = {**measured, **commanded}
        if wanted == "commands" and not commanded:
            raise ValueError(
                f"bag {self.bag.path} has no commands: name the topic of a leader arm with "
                "--leader, or compare with the motion (--reference motion)"
            )
        return {joint: found[joint] for joint in joints if joint in found}

    def reference(self, joint: str, source: str, times_ns: NDArray[np.int64]) -> Array:
        """Return the recorded position of a joint at these times, [T]."""
        samples = self.bag.joints if source == MOTION else self.bag.commands
        inside = times_ns < self.bag.contents.end_ns
        return np.where(inside, samples.at(joint, times_ns), np.nan)

    def last_action(self, joint: str, times_ns: NDArray[np.int64]) -> Array:
        """Return the active command at these times, [T]."""
        if joint not in self.bag.commands.sources:
            return np.full(len(times_ns), np.nan)
        return self.bag.commands.at(joint, times_ns)


@dataclass
class EpisodePredictions:
    """Predictions of one policy in one episode; P places, S seeds, H steps, J joints.

    Attributes:
        name: of the episode.
        joints: names, J.
        units: "rad" or "m", J.
        sources: what each joint is compared with, J.
        endless: whether each joint turns without end, J; differences are at most half a turn then.
        dt: s between steps.
        numbers: int [P], numbers of the places.
        times: [P], s from the start of the recording to the observation.
        predicted: [P, S, H, J].
        recorded: [P, H, J], NaN where nothing is recorded.
        hold: [P, J], position at the observation.
        repeat: [P, J], active command at the observation; NaN without one.
        missing: reason -> intervals without a chunk.
        repairs: what was left out of the recording.
        reproduction: of the chunks in the bag; None for a data set.
        seconds: "policy" -> s in Policy.infer; "other" -> s for everything else.

    """

    name: str
    joints: tuple[str, ...]
    units: tuple[str, ...]
    sources: tuple[str, ...]
    endless: tuple[bool, ...]
    dt: float
    numbers: NDArray[np.int64]
    times: Array
    predicted: Array
    recorded: Array
    hold: Array
    repeat: Array
    missing: Counter[str] = field(default_factory=Counter)
    repairs: tuple[str, ...] = ()
    reproduction: Reproduction | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def difference(self, a: Array, b: Array) -> Array:
        """Return |a - b| of arrays whose last axis is the joints, rad or m."""
        difference = a - b
        turning = np.array(self.endless)
        difference[..., turning] = np.remainder(difference[..., turning] + np.pi, 2 * np.pi) - np.pi
        return np.abs(difference)

    @property
    def horizon(self) -> int:
        """Return the number of steps of a chunk."""
        return self.predicted.shape[2]


#: Called with s from the start of the recording.
OnPlace = Callable[[float], None]


def predict(
    recording: Recording,
    policy: Policy,
    *,
    name: str,
    seeds: Sequence[int],
    interval: float,
    tolerances: SyncTolerances,
    reference: Reference = "auto",
    on_place: OnPlace = lambda _: None,
) -> EpisodePredictions:
    """Infer at every place of a recording with every seed, and look up what was recorded.

    Args:
        recording: an episode that was not read yet.
        policy: with the robot contract of the recording.
        name: of the episode, for the report.
        seeds: of the noise; a stateful policy has one session for each.
        interval: s between places.
        tolerances: of the observation, as those of the live node.
        reference: what predictions are compared with.
        on_place: called after every place.

    Raises:
        ValueError: no place has an observation, the policy moves no joint, or nothing is recorded
            to compare with.

    """
    started, inferring = time.perf_counter(), 0.0
    sessions = [policy.new_session() for _ in seeds]
    taken: list[tuple[Place, Observation, list[ActionChunk]]] = []
    missing: Counter[str] = Counter()
    last = Place(0, 0.0, None)
    for place in recording.places(ObservationSpec.of_policy(policy.spec), tolerances, interval):
        on_place(place.since_start)
        if place.observation is None:
            missing[place.reason] += 1
            last = place
            continue
        began = time.perf_counter()
        try:
            chunks = [
                policy.infer(place.observation, None, seed, session)
                for seed, session in zip(seeds, sessions, strict=True)
            ]
        except InferenceError:
            missing["inference_error"] += 1
            continue
        finally:
            inferring += time.perf_counter() - began
        taken.append((place, _without_images(place.observation), chunks))
    if not taken:
        why = f" (last rejection: {last.reason}, {last.detail})" if last.reason else ""
        raise ValueError(f"{name}: no place with a complete observation and a chunk{why}")
    predictions = _compared(recording, name, taken, missing, reference)
    total = time.perf_counter() - started
    predictions.seconds = {"policy": inferring, "other": total - inferring}
    return predictions


def _compared(
    recording: Recording,
    name: str,
    taken: Sequence[tuple[Place, Observation, list[ActionChunk]]],
    missing: Counter[str],
    wanted: Reference,
) -> EpisodePredictions:
    """Look up what was recorded at the times of all steps."""
    contract = recording.contract
    first = taken[0][2][0]
    columns = [
        (group, column, joint)
        for group, own in enumerate(first.groups)
        if own.kind in (ActionKind.JOINT_POSITION, ActionKind.GRIPPER)
        for column, joint in enumerate(own.names)
    ]
    sources = recording.references([joint for *_, joint in columns], wanted)
    columns = [each for each in columns if each[2] in sources]
    if not columns:
        raise ValueError(f"{name}: none of the joints that the policy moves was recorded")
    joints = tuple(joint for *_, joint in columns)
    predicted = np.array(
        [
            [
                np.stack([chunk.groups[g].values[:, c] for g, c, _ in columns], axis=1)
                for chunk in chunks
            ]
            for _, _, chunks in taken
        ]
    )
    steps = np.round(np.arange(first.horizon) * first.dt * NS_PER_S).astype(np.int64)
    starts = np.array([chunks[0].start_ns for *_, chunks in taken], dtype=np.int64)
    t_obs = np.array([seen.stamp_ns for _, seen, _ in taken], dtype=np.int64)
    due = starts[:, None] + steps
    recorded = np.stack(
        [recording.reference(j, sources[j], due.ravel()).reshape(due.shape) for j in joints],
        axis=-1,
    )
    hold = np.stack([_observed(contract, j, recording, taken, t_obs) for j in joints], axis=-1)
    repeat = np.stack([recording.last_action(j, t_obs) for j in joints], axis=-1)
    if not np.isfinite(recorded).any():
        raise ValueError(
            f"{name}: nothing is recorded at the times of the chunks' steps: is the recording "
            "shorter than a chunk?"
        )
    return EpisodePredictions(
        name,
        joints,
        tuple(contract.joints[j].unit for j in joints),
        tuple(sources[j] for j in joints),
        tuple(contract.joints[j].kind == "continuous" for j in joints),
        first.dt,
        np.array([place.number for place, *_ in taken], dtype=np.int64),
        np.array([place.since_start for place, *_ in taken]),
        predicted,
        recorded,
        hold,
        repeat,
        missing,
        tuple(recording.repairs),
    )


def _observed(
    contract: RobotContract,
    joint: str,
    recording: Recording,
    taken: Sequence[tuple[Place, Observation, Any]],
    t_obs: NDArray[np.int64],
) -> Array:
    """Return the position [P] of a joint in the observations, or as recorded at their times."""
    for group, joints in contract.state_groups.items():
        if joint in joints and group in taken[0][1].state:
            column = joints.index(joint)
            return np.array([float(seen.state[group][-1, column]) for _, seen, _ in taken])
    known = recording.references([joint], "motion")
    return recording.reference(joint, MOTION, t_obs) if known else np.full(len(t_obs), np.nan)


def _without_images(observation: Observation) -> Observation:
    """Return the observation without its images, which need the most memory."""
    return Observation(
        observation.stamp_ns, {}, observation.state, observation.instruction, observation.inputs
    )
