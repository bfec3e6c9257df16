# SPDX-License-Identifier: Apache-2.0
"""Checks of tolerances against the rates and latencies that the robot contract promises.

A rate is a promise on average: a check warns when a single period already exceeds the tolerance,
and is an error only where no message can ever satisfy it.
"""

import math
from collections.abc import Iterator

from groot_ros.checks.check import Check, Problem, Severity
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import PolicyConfig, ns_to_s
from groot_ros.families.family import PolicySpec
from groot_ros.robot import Camera, JointStateSource, RobotContract


def used_cameras(spec: PolicySpec, robot: RobotContract) -> list[Camera]:
    """Return the cameras of the contract that the checkpoint uses."""
    return [robot.cameras[view] for view in spec.views if view in robot.cameras]


def _image_latency(
    spec: PolicySpec, robot: RobotContract, policy: PolicyConfig
) -> Iterator[Problem]:
    for camera in used_cameras(spec, robot):
        latency = ns_to_s(camera.latency_ns)
        if latency >= policy.max_image_age:
            yield Problem(
                f"cameras.{camera.name}.latency",
                f"is {latency:g} s, but images older than max_image_age {policy.max_image_age:g} s "
                "are not used, so none ever is",
                f"set max_image_age to at least {_up(latency + 2 / camera.rate)}, or correct the "
                "latency",
            )


def _image_age(spec: PolicySpec, robot: RobotContract, policy: PolicyConfig) -> Iterator[Problem]:
    for camera in used_cameras(spec, robot):
        latency, period = ns_to_s(camera.latency_ns), 1 / camera.rate
        if latency < policy.max_image_age < latency + period:
            yield Problem(
                f"cameras.{camera.name}.rate",
                f"is {camera.rate:g} Hz with a latency of {latency:g} s, so its newest image is up "
                f"to {latency + period:.3f} s old, more than max_image_age "
                f"{policy.max_image_age:g} s (stale_image)",
                f"set max_image_age to at least {_up(latency + 2 * period)}",
            )


def _image_skew(spec: PolicySpec, robot: RobotContract, policy: PolicyConfig) -> Iterator[Problem]:
    cameras = used_cameras(spec, robot)
    slow = [c for c in cameras if 1 / c.rate > policy.max_image_skew]
    if len(cameras) < 2:
        return
    for camera in slow:
        others = [c for c in cameras if c is not camera]
        shown = ", ".join(f"'{c.name}' has {c.rate:g} Hz" for c in others)
        yield Problem(
            f"cameras.{camera.name}.rate",
            f"is {camera.rate:g} Hz, an image every {1 / camera.rate:.3f} s, but images of one "
            f"observation may be max_image_skew {policy.max_image_skew:g} s apart ({shown}): the "
            "newest ones often do not fit, so that older ones are used, or none (skewed_images)",
            f"set max_image_skew to at least {_up(1 / camera.rate)}, or increase the rate",
        )


def _image_history_rate(
    spec: PolicySpec, robot: RobotContract, policy: PolicyConfig
) -> Iterator[Problem]:
    if len(spec.image_history) < 2:
        return
    steps = zip(spec.image_history, spec.image_history[1:], strict=False)
    shortest = min(after - before for before, after in steps) * robot.action_dt
    for camera in used_cameras(spec, robot):
        period = 1 / camera.rate
        if period / 2 > policy.max_image_skew:
            yield Problem(
                f"cameras.{camera.name}.rate",
                f"is {camera.rate:g} Hz, so the image nearest to a time of the history is up to "
                f"{period / 2:.3f} s away from it, more than max_image_skew "
                f"{policy.max_image_skew:g} s (missing_history)",
                f"set max_image_skew to at least {_up(period / 2)}, or increase the rate",
            )
        elif period > 1.5 * shortest > 0:
            yield Problem(
                f"cameras.{camera.name}.rate",
                f"is {camera.rate:g} Hz, but the images of the history are {shortest:.3f} s apart: "
                "the same image is used more than once",
                f"increase the rate to {1 / shortest:.3g} Hz, that of the training data",
            )


def _state_gap(spec: PolicySpec, robot: RobotContract, policy: PolicyConfig) -> Iterator[Problem]:
    groups = spec.state_groups.keys() & robot.state_groups.keys()
    read = {joint for group in groups for joint in robot.state_groups[group]}
    images = min((ns_to_s(c.latency_ns) for c in used_cameras(spec, robot)), default=0.0)
    for source in robot.sources:
        behind = max(0.0, ns_to_s(source.latency_ns) - images)
        if read.isdisjoint(source.joints) or behind + _period(source) <= policy.max_state_gap:
            continue
        yield _problem(
            source,
            f"joint states are up to {behind + _period(source):.3f} s away from the images, "
            f"but only those within max_state_gap {policy.max_state_gap:g} s are used "
            "(stale_joint_state)",
            f"set max_state_gap to at least {_up(behind + _period(source))}, or increase the rate",
        )


def _joint_state_timeout(robot: RobotContract, executor: ExecutorConfig) -> Iterator[Problem]:
    timeout = executor.joint_state_timeout
    for source in robot.sources:
        age = ns_to_s(source.latency_ns) + _period(source)
        if age >= timeout:
            yield _problem(
                source,
                f"a joint state is {age:.3f} s old when the next one comes, but motion stops when "
                f"it is older than joint_state_timeout {timeout:g} s",
                f"set joint_state_timeout to at least {_up(age + _period(source))}, or increase "
                "the rate",
            )


def _lost_joint_state(robot: RobotContract, executor: ExecutorConfig) -> Iterator[Problem]:
    timeout = executor.joint_state_timeout
    for source in robot.sources:
        age = ns_to_s(source.latency_ns) + _period(source)
        if age < timeout < age + _period(source):
            yield _problem(
                source,
                "motion stops when a single joint state is lost: joint_state_timeout is "
                f"{timeout:g} s",
                f"set joint_state_timeout to at least {_up(age + _period(source))}, or increase "
                "the rate",
            )


def _period(source: JointStateSource) -> float:
    """Return the time between joint states, s; 0 if the contract does not state it."""
    return 1 / source.rate if source.rate > 0 else 0.0


def _problem(source: JointStateSource, text: str, remedy: str) -> Problem:
    """Return a problem with the rate of a source, or with its latency if the rate is not stated."""
    late = ns_to_s(source.latency_ns)
    latency = f" with a latency of {late:g} s" if late else ""
    if source.rate > 0:
        key, stated = "rate", f"is {source.rate:g} Hz{latency}"
    else:
        key, stated = "latency", f"is {late:g} s"
    return Problem(f"inputs.sources.{source.name}.{key}", f"{stated}: {text}", remedy)


def _up(seconds: float) -> str:
    """Return a tolerance with 20 % for jitter, rounded up to 0.01 s."""
    return f"{math.ceil(120 * seconds) / 100:g}"


_INPUTS = ("spec", "robot", "policy")

CHECKS = (
    Check(
        "image_latency",
        Severity.ERROR,
        "robot",
        "the latency of a camera with max_image_age",
        "increase max_image_age",
        _INPUTS,
        _image_latency,
    ),
    Check(
        "image_age",
        Severity.WARNING,
        "robot",
        "latency and period of a camera with max_image_age",
        "increase max_image_age, or the rate of the camera",
        _INPUTS,
        _image_age,
    ),
    Check(
        "image_skew",
        Severity.WARNING,
        "robot",
        "the periods of several cameras with max_image_skew",
        "increase max_image_skew, or the rate of the slow camera",
        _INPUTS,
        _image_skew,
    ),
    Check(
        "image_history_rate",
        Severity.WARNING,
        "robot",
        "the rate of a camera with the steps of the image history",
        "increase the rate of the camera",
        _INPUTS,
        _image_history_rate,
    ),
    Check(
        "state_gap",
        Severity.WARNING,
        "robot",
        "the period of joint states with max_state_gap",
        "increase max_state_gap, or the rate of the joint states",
        _INPUTS,
        _state_gap,
    ),
    Check(
        "joint_state_timeout",
        Severity.ERROR,
        "robot",
        "the period of joint states with joint_state_timeout",
        "increase joint_state_timeout, or the rate of the joint states",
        ("robot", "executor"),
        _joint_state_timeout,
    ),
    Check(
        "lost_joint_state",
        Severity.WARNING,
        "robot",
        "two periods of joint states with joint_state_timeout",
        "increase joint_state_timeout, or the rate of the joint states",
        ("robot", "executor"),
        _lost_joint_state,
    ),
)
