# SPDX-License-Identifier: Apache-2.0
"""Checks whether a chunk lasts until the next one can act."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from groot_ros.checks.check import Check, Problem, Severity
from groot_ros.checks.input_rates import used_cameras
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import PolicyConfig, ns_to_s
from groot_ros.families.family import PolicySpec
from groot_ros.observation.inference_stats import step_budget
from groot_ros.robot import RobotContract


@dataclass(frozen=True)
class ChunkTiming:
    """Duration of a chunk, and the time that it must cover, s.

    Attributes:
        steps: number of steps.
        dt: time between steps.
        first: time from the observation to the first step.
        period: time between inferences: one of `rate_hz`, or as many as the latency takes, because
            an inference that is slower than its period skips ticks.
        image_latency: largest latency of the cameras that are used.
        latency: time from an observation to its published chunk, 0 if it is not known.

    """

    steps: int
    dt: float
    first: float
    period: float
    image_latency: float
    latency: float

    @property
    def duration(self) -> float:
        """Return the duration of a chunk."""
        return self.steps * self.dt

    @property
    def needed(self) -> float:
        """Return the time from an observation until the next chunk can act."""
        return self.period + self.image_latency + self.latency

    @property
    def is_over(self) -> bool:
        """Return whether its last step is due before the chunk is there."""
        last = self.first + self.duration - self.dt
        return last <= self.image_latency + self.latency

    def __str__(self) -> str:
        start = f", from {self.first:.3f} s after the observation" if self.first else ""
        images = f" + camera latency {self.image_latency:.3f} s" if self.image_latency else ""
        if self.latency:
            needs = (
                f"an inference every {self.period:.3f} s{images} + latency {self.latency:.3f} s = "
                f"{self.needed:.3f} s"
            )
        else:
            left = max(0.0, self.first + self.duration - self.needed)
            needs = (
                f"an inference every {self.period:.3f} s{images} leaves {left:.3f} s for its "
                "latency, which is not known"
            )
        return (
            f"chunk: {self.steps} steps of {self.dt:.4f} s = {self.duration:.3f} s{start}; {needs}"
        )


def chunk_timing(
    spec: PolicySpec, robot: RobotContract, policy: PolicyConfig, latency: float
) -> ChunkTiming:
    """Return the timing of this policy's chunks; see `ChunkTiming`."""
    period = 1.0 / policy.rate_hz
    cameras = used_cameras(spec, robot)
    return ChunkTiming(
        spec.horizon,
        robot.action_dt * spec.step_spacing,
        spec.first_step * robot.action_dt,
        period * max(1, math.ceil(latency / period - 1e-6)),
        max((ns_to_s(camera.latency_ns) for camera in cameras), default=0.0),
        latency,
    )


def _chunk_duration(
    spec: PolicySpec, robot: RobotContract, policy: PolicyConfig, latency: float
) -> Iterator[Problem]:
    timing = chunk_timing(spec, robot, policy, latency)
    if timing.first + timing.duration < timing.needed - 1e-6:
        yield Problem(
            "horizon",
            f"is {timing.steps} steps of {timing.dt:.4f} s: a chunk lasts {timing.duration:.3f} s"
            + (f" from {timing.first:.3f} s after its observation" if timing.first else "")
            + f", but the next one comes {timing.needed:.3f} s after the same observation (period "
            f"{timing.period:.3f} s"
            + (f", camera latency {timing.image_latency:.3f} s" if timing.image_latency else "")
            + (f", latency {timing.latency:.3f} s" if latency else "")
            + (
                "): every chunk is over before it can act (no_steps_left)"
                if timing.is_over
                else "): the robot stops between chunks"
            ),
        )


def _chunk_over(spec: PolicySpec, robot: RobotContract, policy: PolicyConfig) -> Iterator[Problem]:
    timing = chunk_timing(spec, robot, policy, 0.0)
    if timing.is_over and timing.steps > 1:
        end = timing.first + timing.duration - timing.dt
        images = (
            f", whose camera has a latency of {timing.image_latency:.3f} s"
            if timing.image_latency
            else ""
        )
        yield Problem(
            "horizon",
            f"is {timing.steps} steps of {timing.dt:.4f} s, the last of them {end:.3f} s after the "
            f"observation{images}: every chunk is over before it "
            "can act, and the executor rejects it (no_steps_left)",
        )


def _chunk_age(
    spec: PolicySpec,
    robot: RobotContract,
    policy: PolicyConfig,
    latency: float,
    executor: ExecutorConfig,
) -> Iterator[Problem]:
    timing = chunk_timing(spec, robot, policy, latency)
    if timing.needed > executor.max_chunk_age:
        yield Problem(
            "max_chunk_age",
            f"is {executor.max_chunk_age:g} s, but the next chunk comes {timing.needed:.3f} s "
            "after the observation of the one before: the robot stops between chunks",
            f"set it to at least {1.2 * timing.needed:.2f}, or infer faster",
        )


def _image_latency(
    spec: PolicySpec | None, robot: RobotContract, executor: ExecutorConfig
) -> Iterator[Problem]:
    """Find cameras that make every chunk too old; without a checkpoint, if all cameras do."""
    cameras = list(robot.cameras.values()) if spec is None else used_cameras(spec, robot)
    late = [c for c in cameras if ns_to_s(c.latency_ns) >= executor.max_chunk_age]
    if spec is None and len(late) < len(cameras):
        return
    for camera in late:
        yield Problem(
            f"cameras.{camera.name}.latency",
            f"is {ns_to_s(camera.latency_ns):g} s, but the executor rejects chunks of observations "
            f"older than max_chunk_age {executor.max_chunk_age:g} s (too_old)",
            "increase max_chunk_age, or correct the latency",
        )


def _chunk_overlap(
    spec: PolicySpec, robot: RobotContract, policy: PolicyConfig, latency: float
) -> Iterator[Problem]:
    if policy.rtc_mode == "off" or not latency or policy.rtc_frozen_steps >= 0:
        return
    timing = chunk_timing(spec, robot, policy, latency)
    delay = timing.image_latency + latency
    budget = step_budget(delay, timing.period, timing.dt, timing.steps)
    if not budget.ok:
        yield Problem(
            "rtc.mode",
            f"is {policy.rtc_mode}, but a chunk of {budget.horizon} steps is "
            f"{budget.inference_delay} steps late and {budget.execution_horizon} of its steps are "
            "executed: nothing is left to continue",
        )


_FASTER = (
    "infer faster (fewer num_inference_steps, a faster engine, another rate_hz), or use a "
    "checkpoint with more action steps"
)

CHECKS = (
    Check(
        "chunk_over",
        Severity.ERROR,
        "checkpoint",
        "the last step of a chunk with the latency of the cameras",
        "use a checkpoint whose actions follow its observation, or correct the latency",
        ("spec", "robot", "policy"),
        _chunk_over,
    ),
    Check(
        "chunk_duration",
        Severity.WARNING,
        "checkpoint",
        "the duration of a chunk with the period of rate_hz and the latency",
        _FASTER,
        ("spec", "robot", "policy", "latency"),
        _chunk_duration,
    ),
    Check(
        "chunk_age",
        Severity.WARNING,
        "parameter",
        "period and latency with max_chunk_age",
        "increase it, or infer faster",
        ("spec", "robot", "policy", "latency", "executor"),
        _chunk_age,
    ),
    Check(
        "chunk_latency",
        Severity.ERROR,
        "robot",
        "the latency of a camera with max_chunk_age",
        "increase max_chunk_age",
        ("spec?", "robot", "executor"),
        _image_latency,
    ),
    Check(
        "chunk_overlap",
        Severity.WARNING,
        "parameter",
        "the steps that real-time chunking needs with those of a chunk",
        _FASTER,
        ("spec", "robot", "policy", "latency"),
        _chunk_overlap,
    ),
)
