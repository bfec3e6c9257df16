# SPDX-License-Identifier: Apache-2.0
"""Checks whether checkpoint and robot fit, and whether the executor accepts the chunks' form."""

from collections.abc import Iterator

from groot_ros.checks.check import Check, NotApplicable, Problem, Severity
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import CHUNK_DT, CHUNK_STEPS, PolicyConfig
from groot_ros.families.family import PolicySpec
from groot_ros.observation.spec import history_problem
from groot_ros.policy.robot_columns import commanded, missing_counterparts
from groot_ros.robot import RobotContract


def _image_history(spec: PolicySpec) -> Iterator[Problem]:
    if problem := history_problem(spec.image_history, ends_now=True):
        yield Problem("image_history", problem)


def _state_history(spec: PolicySpec) -> Iterator[Problem]:
    if problem := history_problem(spec.state_history, ends_now=False):
        yield Problem("state_history", problem)


def _contract_warnings(robot: RobotContract, robot_file: str) -> Iterator[Problem]:
    for warning in robot.warnings:
        text, _, remedy = warning.removeprefix(f"{robot_file}: ").rpartition(": ")
        yield Problem("", text or warning, remedy)


def _counterparts(spec: PolicySpec, robot: RobotContract) -> Iterator[Problem]:
    for problem in missing_counterparts(spec, robot):
        yield Problem("", problem)


def _uncommanded_joints(spec: PolicySpec, robot: RobotContract) -> Iterator[Problem]:
    if missing_counterparts(spec, robot):
        return
    moved = {joint for name in commanded(spec, robot) for joint in robot.action_groups[name].joints}
    for i, controller in enumerate(robot.controllers):
        missing = [joint for joint in controller.joints if joint not in moved]
        if missing:
            yield Problem(
                f"controllers[{i}].joints",
                f"has {', '.join(missing)}, which no action group of embodiment "
                f"'{spec.embodiment}' commands; the executor rejects such chunks (missing_joint)",
            )


def _pose_groups(spec: PolicySpec, robot: RobotContract) -> Iterator[Problem]:
    if spec.action == "pick_place":
        raise NotApplicable("a primitive turns its poses into joint positions")
    for group, space in spec.action_space.items():
        mapped = robot.action_groups.get(group)
        if space == "pose" and (mapped is None or mapped.maps):
            yield Problem(
                "action_groups",
                f"has group '{group}', the pose of an end effector; the executor rejects chunks "
                "with poses (unsupported_kind)",
            )


def _table(spec: PolicySpec, robot: RobotContract) -> Iterator[Problem]:
    if spec.action != "pick_place":
        raise NotApplicable("the checkpoint commands joints, not poses on a table")
    if robot.table is None:
        yield Problem("", f"has no 'table', on which model family '{spec.family}' gives poses")
    if robot.model is None and robot.urdf is None:
        yield Problem("", "has neither 'model' nor 'urdf', by which poses become joint positions")


def _labels(spec: PolicySpec, robot: RobotContract) -> Iterator[Problem]:
    if not spec.labels:
        raise NotApplicable("the checkpoint needs no labels of objects")
    for view in spec.views:
        camera = robot.cameras.get(view)
        if camera is not None and camera.labels is None:
            yield Problem(f"cameras.{view}", "has no 'labels', which say what each pixel shows")


def _chunk_steps(spec: PolicySpec) -> Iterator[Problem]:
    low, high = CHUNK_STEPS
    if not low <= spec.horizon <= high:
        yield Problem(
            "horizon",
            f"gives chunks of {spec.horizon} step{'' if spec.horizon == 1 else 's'}, out of range "
            f"[{low}, {high}]; the executor rejects them",
        )


def _chunk_dt(spec: PolicySpec, robot: RobotContract) -> Iterator[Problem]:
    dt = robot.action_dt * spec.step_spacing
    low, high = CHUNK_DT
    if not low <= dt <= high:
        yield Problem(
            "action_dt",
            f"is {robot.action_dt:g} s and the checkpoint uses every {spec.step_spacing}. action, "
            f"so the steps of a chunk are {dt:g} s apart, out of range [{low:g}, {high:g}] s; the "
            "executor rejects them (bad_dt)",
        )


def _start_too_late(
    spec: PolicySpec, robot: RobotContract, executor: ExecutorConfig
) -> Iterator[Problem]:
    start = spec.first_step * robot.action_dt
    if start >= executor.max_chunk_age:
        yield Problem(
            "max_chunk_age",
            f"is {executor.max_chunk_age:g} s, but chunks begin {start:.3g} s after their "
            "observation; the executor rejects them (start_too_late)",
            f"set it above {start:.3g}",
        )


def _prefix_support(spec: PolicySpec, policy: PolicyConfig) -> Iterator[Problem]:
    if policy.rtc_mode != "off" and not spec.supports_prefix:
        yield Problem(
            "rtc.mode",
            f"is {policy.rtc_mode}, but model family '{spec.family}' cannot continue committed "
            "motion",
        )


_ERROR = Severity.ERROR

CHECKS = (
    Check(
        "image_history",
        _ERROR,
        "checkpoint",
        "the steps of the image history with those that an observation can have",
        "an observation ends with its newest images, so they must ascend and end at 0: train with "
        "such steps",
        ("spec",),
        _image_history,
    ),
    Check(
        "state_history",
        _ERROR,
        "checkpoint",
        "the steps of the state history with those that an observation can have",
        "they must ascend and end at or before 0: train with such steps",
        ("spec",),
        _state_history,
    ),
    Check(
        "contract_warnings",
        Severity.WARNING,
        "robot",
        "the robot contract with the newest version of its format",
        "convert it: groot-ros contract upgrade",
        ("robot", "robot_file"),
        _contract_warnings,
    ),
    Check(
        "counterparts",
        _ERROR,
        "robot",
        "cameras and groups of the checkpoint with those of the robot contract",
        "describe it in the robot contract as the checkpoint has it",
        ("spec", "robot"),
        _counterparts,
    ),
    Check(
        "uncommanded_joints",
        _ERROR,
        "robot",
        "joints of the controllers with those that the checkpoint commands",
        "remove them from the controllers of the contract that is used with this checkpoint",
        ("spec", "robot"),
        _uncommanded_joints,
    ),
    Check(
        "pose_groups",
        _ERROR,
        "checkpoint",
        "kinds of action groups with those that the executor supports",
        "use a checkpoint whose actions are joint positions, or list GROUP.* under 'ignore' of the "
        "robot contract",
        ("spec", "robot"),
        _pose_groups,
    ),
    Check(
        "table",
        _ERROR,
        "robot",
        "a checkpoint whose actions are poses with the table of the robot contract",
        "add it, as docs/how-to/vima.md describes",
        ("spec", "robot"),
        _table,
    ),
    Check(
        "labels",
        _ERROR,
        "robot",
        "a checkpoint that needs the objects in its images with the cameras' labels",
        "add the topic on which your segmentation publishes, as docs/how-to/vima.md describes",
        ("spec", "robot"),
        _labels,
    ),
    Check(
        "chunk_steps",
        _ERROR,
        "checkpoint",
        "the number of steps of a chunk with what the executor accepts",
        "use a checkpoint with another action horizon",
        ("spec",),
        _chunk_steps,
    ),
    Check(
        "chunk_dt",
        _ERROR,
        "robot",
        "the time between the steps of a chunk with what the executor accepts",
        "give the time between two actions of the training data in s",
        ("spec", "robot"),
        _chunk_dt,
    ),
    Check(
        "start_too_late",
        _ERROR,
        "parameter",
        "the first step of a chunk with max_chunk_age",
        "increase it",
        ("spec", "robot", "executor"),
        _start_too_late,
    ),
    Check(
        "prefix_support",
        _ERROR,
        "parameter",
        "rtc.mode with what the model family can do",
        "set it to off",
        ("spec", "policy"),
        _prefix_support,
    ),
)
