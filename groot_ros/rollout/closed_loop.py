# SPDX-License-Identifier: Apache-2.0
"""Closed loop in one process: the parts of the nodes around a simulated robot, in simulated time.

Observation buffer, inference loop, executor and controllers are those of the nodes, and are called
in the order of their data. Without ROS, messages arrive immediately, and a chunk arrives `delay`
after its inference began, however long that takes here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from groot_ros.control import Executor, ExecutorConfig, Update
from groot_ros.control.rtc import ChunkPolicy, Continuation
from groot_ros.core import (
    ActionChunk,
    ChunkOrigin,
    Observation,
    Prefix,
    RtcMode,
    ns_to_s,
    s_to_ns,
)
from groot_ros.observation.buffer import ObservationBuffer
from groot_ros.observation.inference import Inference, InferringPolicy
from groot_ros.observation.inference_stats import step_budget
from groot_ros.observation.instruction import InstructionBox
from groot_ros.observation.spec import ObservationSpec, SyncTolerances
from groot_ros.robot import RobotContract
from groot_ros.sim.camera import CameraRenderer
from groot_ros.sim.clock import PeriodicTimer
from groot_ros.sim.robot import SimulatedRobot
from groot_ros.sim.trajectory import TrajectoryMessage, TrajectoryPoint


class LoopPolicy(InferringPolicy, ChunkPolicy, Protocol):
    """The part of groot_ros.policy.Policy that the loop needs."""


@dataclass(frozen=True)
class LoopSettings:
    """Settings of the loop and its disturbances.

    Attributes:
        rate_hz: inferences per second.
        delay: s from the start of an inference until its chunk reaches the executor.
        rtc_mode: real-time chunking, as the parameter rtc.mode of the policy node.
        executor: configuration of the executor.
        joint_state_rate: joint states per second.
        camera_dropout: probability that a frame of a camera is lost.
        joint_offset: error of the arm's encoders, rad; see SimulatedRobot.encoder_error.

    Raises:
        ValueError: a value is out of range.

    """

    rate_hz: float = 4.0
    delay: float = 0.0
    rtc_mode: str = "off"
    executor: ExecutorConfig = field(default_factory=ExecutorConfig)
    joint_state_rate: float = 100.0
    camera_dropout: float = 0.0
    joint_offset: float = 0.0

    def __post_init__(self) -> None:
        if not self.rate_hz > 0:
            raise ValueError(f"rate_hz must be positive, not {self.rate_hz:g}")
        if not self.delay >= 0:
            raise ValueError(f"delay must not be negative, not {self.delay:g}")
        if not 0 <= self.camera_dropout <= 1:
            raise ValueError(f"camera_dropout must be from 0 to 1, not {self.camera_dropout:g}")


class _DelayedPolicy:
    """A policy whose inference takes `delay` of simulated time."""

    def __init__(self, policy: InferringPolicy, finish: Callable[[], None]) -> None:
        self._policy, self._finish = policy, finish

    def infer(
        self, observation: Observation, prefix: Prefix | None = None, seed: int | None = None
    ) -> ActionChunk:
        """Infer, then let the time of the inference pass."""
        chunk = self._policy.infer(observation, prefix, seed)
        self._finish()
        return chunk

    def reset(self) -> None:
        """Begin a new session."""
        self._policy.reset()


class ClosedLoop:
    """One episode; advance it with `cycle`.

    Args:
        robot: at the start of the episode.
        renderer: of the robot's model.
        contract: of the robot.
        policy: proposes chunks.
        spec: what the policy sees.
        instruction: what it is told.
        settings: see LoopSettings.
        seed: of the policy's noise and of lost frames.

    Attributes:
        rejections: code -> number of rejected observations and chunks.
        chunks: chunks that the executor has accepted.

    """

    def __init__(
        self,
        robot: SimulatedRobot,
        renderer: CameraRenderer,
        contract: RobotContract,
        policy: LoopPolicy,
        spec: ObservationSpec,
        instruction: str,
        settings: LoopSettings,
        seed: int,
    ) -> None:
        self._robot, self._renderer, self._contract = robot, renderer, contract
        robot.encoder_error = settings.joint_offset
        self._settings = settings
        self._rng = np.random.default_rng(seed)
        self._policy = policy
        self.rejections: dict[str, int] = {}
        self.chunks = 0
        now = robot.now_ns
        self._executor = Executor(contract, settings.executor)
        # A chunk must be observed after the start.
        self._executor.start(now - robot.period_ns)
        self._buffer = ObservationBuffer(contract, spec, SyncTolerances())
        self._continuation = Continuation.of_policy(
            RtcMode[settings.rtc_mode.upper()], policy, contract
        )
        instructions = InstructionBox()
        instructions.set(instruction)
        self._pending: list[tuple[int, ActionChunk]] = []
        #: Simulated time that an inference in progress has taken.
        self._taken_ns = 0
        #: Largest time from an observation to its chunk so far, s.
        self._largest_delay = 0.0
        self._idle_from_ns = now
        self._inference = Inference(
            _DelayedPolicy(policy, self._finish_inference),
            self._buffer,
            instructions,
            self._inference_clock,
            self._publish_chunk,
            self._reject,
            seed,
            self._prefix_for,
        )
        self._joint_timer = PeriodicTimer(settings.joint_state_rate, now)
        self._cameras = {
            view: PeriodicTimer(camera.rate, now) for view, camera in contract.cameras.items()
        }
        self._policy_timer = PeriodicTimer(settings.rate_hz, now)
        self._executor_timer = PeriodicTimer(settings.executor.rate_hz, now)

    @property
    def executor(self) -> Executor:
        """The executor of the loop."""
        return self._executor

    def cycle(self) -> None:
        """Run everything that is due now, then one control period of the robot."""
        now = self._robot.now_ns
        if self._joint_timer.due(now):
            self._take_joint_states(now)
        for view, timer in self._cameras.items():
            if timer.due(now) and view in self._buffer.cameras:
                self._take_frame(view, now)
        if self._policy_timer.due(now) and now >= self._idle_from_ns:
            self._taken_ns = 0
            self._inference.step()
            self._taken_ns = 0
        while self._pending and self._pending[0][0] <= now:
            self._receive(self._pending.pop(0)[1], now)
        if self._executor_timer.due(now):
            self._send(self._executor.update(now))
        self._robot.cycle()

    def _take_joint_states(self, now_ns: int) -> None:
        for source in self._contract.sources:
            reading = self._robot.reading(source.joints)
            positions = reading.positions.tolist()
            names = list(source.joints)
            self._buffer.add_joint_state(source.topic, now_ns, now_ns, names, positions)
            self._executor.observe(now_ns, names, positions, reading.velocities.tolist())

    def _take_frame(self, view: str, now_ns: int) -> None:
        if self._settings.camera_dropout and self._rng.random() < self._settings.camera_dropout:
            return
        scene = self._robot.scene
        # Rendered only if an observation uses the frame.
        self._buffer.add_frame(view, now_ns, now_ns, lambda: self._renderer.render(scene, view))

    def _inference_clock(self) -> int:
        return self._robot.now_ns + self._taken_ns

    def _finish_inference(self) -> None:
        self._taken_ns = s_to_ns(self._settings.delay)
        self._idle_from_ns = self._inference_clock()

    def _publish_chunk(self, chunk: ActionChunk) -> None:
        self._pending.append((self._inference_clock(), chunk))

    def _reject(self, reason: str, detail: str) -> None:
        self.rejections[reason] = self.rejections.get(reason, 0) + 1
        if reason == "inference_error":
            # In the nodes it costs a chunk; here it is an error of the evaluation.
            raise RuntimeError(detail)

    def _prefix_for(self, origin: ChunkOrigin) -> Prefix | None:
        settings, policy = self._settings, self._policy
        # A policy node takes the p95 of the delays that it has measured. Here the delay of this
        # chunk is known before, so that the first chunks of an episode are conditioned as well.
        age = ns_to_s(self._robot.now_ns - origin.t_obs_ns)
        self._largest_delay = max(self._largest_delay, age + settings.delay)
        period = max(1 / settings.rate_hz, settings.delay)
        budget = step_budget(self._largest_delay, period, policy.dt, policy.spec.horizon)
        return self._continuation.prefix(origin, budget.inference_delay, budget.execution_horizon)

    def _receive(self, chunk: ActionChunk, now_ns: int) -> None:
        rejection = self._executor.receive(chunk, now_ns)
        if rejection is None:
            self.chunks += 1
        else:
            self._reject(rejection.reason, rejection.detail)
        self._send(self._executor.update(now_ns))

    def _send(self, update: Update | None) -> None:
        if update is None:
            return
        for trajectory in update.trajectories:
            points = [
                TrajectoryPoint(int(offset), p.tolist(), v.tolist())
                for offset, p, v in zip(
                    trajectory.offsets_ns, trajectory.positions, trajectory.velocities, strict=True
                )
            ]
            message = TrajectoryMessage(trajectory.stamp_ns, trajectory.joint_names, points)
            self._robot.accept_trajectory(trajectory.controller, message)
        self._continuation.set_timeline(update.timeline)
