# SPDX-License-Identifier: Apache-2.0
"""Contracts of version 1 are read as before, with errors that name their keys."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from support.contract_changes import drop, put

from groot_ros.robot import ContractError, load_contract

SO101_VERSION_1 = Path(__file__).parents[1] / "data" / "so101_version_1.yaml"
ARM = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")

JOINT = ("joints", "elbow_flex")
CAMERA = ("cameras", "front")
SLIDE = {"type": "prismatic", "velocity": 1.0, "acceleration": 1.0}
MISTAKES = [
    (drop("robot"), "'robot' is missing"),
    (put("robot", ""), "'robot' must be a non-empty string"),
    (put("robot", 101), "'robot' must be a non-empty string, not 101"),
    (drop("action_dt"), "'action_dt' is missing"),
    (put("action_dt", 0), "'action_dt' is 0, out of range [0.001, 1]"),
    (put("action_dt", -0.1), "'action_dt' is -0.1, out of range [0.001, 1]"),
    (put("action_dt", "1/30"), "'action_dt' must be a number, not '1/30'"),
    (put("action_dt", True), "'action_dt' must be a number, not True"),
    (put("action_dt", math.inf), "'action_dt' must be finite"),
    (put("action_dt", None), "'action_dt' must be a number, not nothing"),
    (put("acton_dt", 0.1), "'acton_dt' is not a key here"),
    (drop("joints"), "'joints' is missing"),
    (put("joints", {}), "'joints' must not be empty"),
    (put("joints", ["a"]), "'joints' must be a mapping of keys"),
    (put("joints", 3, {}), "joints: '3' must be a name"),
    (put(*JOINT, None), "joints: 'elbow_flex' must be a mapping of keys, not nothing"),
    (
        put(*JOINT, "type", "ball"),
        "joints.elbow_flex: 'type' must be one of revolute, continuous, prismatic",
    ),
    (drop(*JOINT, "position"), "joints.elbow_flex: 'position' is missing"),
    (put(*JOINT, "position", [1.0]), "joints.elbow_flex: 'position' must be two numbers"),
    (
        put(*JOINT, "position", [1, 1]),
        "joints.elbow_flex: 'position' must be [low, high] with low < high",
    ),
    (
        put(*JOINT, "position", [2, 1]),
        "joints.elbow_flex: 'position' must be [low, high] with low < high",
    ),
    (put(*JOINT, "position", [0, math.nan]), "joints.elbow_flex: 'position' must be two numbers"),
    (put(*JOINT, "position", "-1, 1"), "joints.elbow_flex: 'position' must be two numbers"),
    (put(*JOINT, "position", [False, True]), "joints.elbow_flex: 'position' must be two numbers"),
    (drop(*JOINT, "velocity"), "joints.elbow_flex: 'velocity' is missing"),
    (put(*JOINT, "velocity", 0), "joints.elbow_flex: 'velocity' is 0, out of range [0.001, 100]"),
    (
        put(*JOINT, "velocity", 1e9),
        "joints.elbow_flex: 'velocity' is 1e+09, out of range [0.001, 100]",
    ),
    (
        put(*JOINT, "acceleration", 1e12),
        "joints.elbow_flex: 'acceleration' is 1e+12, out of range [0.01, 10000]",
    ),
    (
        put(*JOINT, "acceleration", 1e-9),
        "joints.elbow_flex: 'acceleration' is 1e-09, out of range [0.01, 10000]",
    ),
    (put(*JOINT, "jerk", 0.05), "joints.elbow_flex: 'jerk' is 0.05, out of range [0.1, 1e+06]"),
    (
        put("joints", "elbow_flex", {**SLIDE, "position": [0, 101]}),
        "joints.elbow_flex: 'position' is [0, 101], beyond 100 m: give limits in m",
    ),
    (
        put(*JOINT, "acceleration", -1),
        "joints.elbow_flex: 'acceleration' is -1, out of range [0.01, 10000]",
    ),
    (put(*JOINT, "snap", 3), "joints.elbow_flex: 'snap' is not a key here"),
    (put(*JOINT, "jerk", 0), "joints.elbow_flex: 'jerk' is 0, out of range [0.1, 1e+06]"),
    (put(*JOINT, "model", 3), "joints.elbow_flex: 'model' must be a mapping of keys"),
    (put(*JOINT, "model", {"unit": "grad"}), "joints.elbow_flex.model: 'unit' must be one of"),
    (
        put(*JOINT, "model", {"unit": "mm"}),
        "joints.elbow_flex.model: 'unit' must be one of rad, deg",
    ),
    (
        put(*JOINT, "model", {"unit": "deg", "scale": 2}),
        "joints.elbow_flex.model: 'scale' must not be given together with 'unit'",
    ),
    (put(*JOINT, "model", {"scale": 0}), "joints.elbow_flex.model: 'scale' must be greater than 0"),
    (put(*JOINT, "model", {"scale": -57.3}), "joints.elbow_flex.model: 'scale' must be greater"),
    (put(*JOINT, "model", {"sign": 0}), "joints.elbow_flex.model: 'sign' must be 1 or -1, not 0"),
    (
        put(*JOINT, "model", {"offset": "0 deg"}),
        "joints.elbow_flex.model: 'offset' must be a number",
    ),
    (put(*JOINT, "model", {"zero": 0}), "joints.elbow_flex.model: 'zero' is not a key"),
    (put("gripper", {}), "'gripper' must not be empty"),
    (drop("gripper", "gripper", "open"), "gripper.gripper: 'open' is missing"),
    (drop("gripper", "gripper", "closed", "si"), "gripper.gripper.closed: 'si' is missing"),
    (
        put("gripper", "gripper", "open", "si", -0.17),
        "gripper.gripper: 'open.si' equals closed.si (-0.17): give the values of both",
    ),
    (
        put("gripper", "gripper", "open", "si", 12),
        "joints.gripper.gripper: 'open' is 12, outside the position limits [-0.17, 1.75]",
    ),
    (
        put("gripper", "gripper", "open", "model", 0),
        "gripper.gripper: 'open.model' equals closed.model (0)",
    ),
    (put("gripper", "gripper", "open", "deg", 1), "gripper.gripper.open: 'deg' is not a key"),
    (put("gripper", "gripper", "half", {}), "gripper.gripper: 'half' is not a key"),
    (
        lambda c: c["gripper"].update(thumb=c["gripper"].pop("gripper")),
        "'gripper' names 'thumb', which is not under 'joints'",
    ),
    (
        put("joints", "gripper", "model", {"unit": "deg"}),
        "joints.gripper: 'model' must not be given: 'gripper' already defines the units",
    ),
    (drop("groups"), "'groups' is missing"),
    (put("groups", {}), "'groups' must not be empty"),
    (drop("groups", "single_arm", "joints"), "groups.single_arm: 'joints' is missing"),
    (put("groups", "single_arm", "joints", []), "groups.single_arm: 'joints' must be a list of"),
    (put("groups", "single_arm", "joints", "all"), "groups.single_arm: 'joints' must be a list of"),
    (
        put("groups", "single_arm", "joints", ["elbow"]),
        "groups.single_arm: 'joints' names 'elbow', which is not under 'joints'",
    ),
    (
        put("groups", "single_arm", "joints", ["elbow_flex", "elbow_flex"]),
        "groups.single_arm: 'joints' contains elbow_flex more than once",
    ),
    (
        put("groups", "gripper", "joints", ["elbow_flex"]),
        "'groups' lists joint 'elbow_flex' in more than one entry",
    ),
    (put("groups", "gripper", "kind", "claw"), "groups.gripper: 'kind' must be one of"),
    (put("groups", "gripper", "unit", "rad"), "groups.gripper: 'unit' is not a key"),
    (drop("cameras"), "'cameras' is missing"),
    (drop(*CAMERA, "topic"), "cameras.front: 'topic' is missing"),
    (put(*CAMERA, "topic", ["a"]), "cameras.front: 'topic' must be a non-empty string"),
    (
        put(*CAMERA, "topic", "front image"),
        "cameras.front: 'topic' must be a topic name, not 'front image'",
    ),
    (
        put(*CAMERA, "topic", "0/image"),
        "cameras.front: 'topic' must be a topic name, not '0/image'",
    ),
    (put(*CAMERA, "topic", "a//b"), "cameras.front: 'topic' must be a topic name, not 'a//b'"),
    (put(*CAMERA, "encoding", "rgb16"), "cameras.front: 'encoding' is 'rgb16', which is not"),
    (put(*CAMERA, "stamp", "exposure"), "cameras.front: 'stamp' must be one of header, arrival"),
    (put(*CAMERA, "latency", -0.1), "cameras.front: 'latency' is -0.1, out of range [0, 10]"),
    (put(*CAMERA, "latency", 1e6), "cameras.front: 'latency' is 1e+06, out of range [0, 10]"),
    (drop(*CAMERA, "rate"), "cameras.front: 'rate' is missing"),
    (put(*CAMERA, "rate", 0), "cameras.front: 'rate' must be greater than 0"),
    (put(*CAMERA, "fps", 30), "cameras.front: 'fps' is not a key"),
    (
        put(*CAMERA, "topic", "wrist/image_raw"),
        "'cameras' uses topic 'wrist/image_raw' more than once",
    ),
    (drop("joint_states"), "'joint_states' is missing"),
    (put("joint_states", []), "'joint_states' must be a list with at least one entry"),
    (put("joint_states", "joint_states"), "'joint_states' must be a list with at least one"),
    (put("joint_states", 0, "joint_states"), "'joint_states[0]' must be a mapping of keys"),
    (drop("joint_states", 0, "topic"), "joint_states[0]: 'topic' is missing"),
    (put("joint_states", 0, "rate", -1), "joint_states[0]: 'rate' must be at least 0"),
    (
        put("joint_states", 0, "joints", ["x"]),
        "joint_states[0]: 'joints' names 'x', which is not under",
    ),
    (put("joint_states", 0, "name", "x"), "joint_states[0]: 'name' is not a key"),
    (
        put("joint_states", 0, "joints", ["gripper"]),
        "'joint_states' has no entry that lists joint 'shoulder_pan'",
    ),
    (
        lambda c: c["joint_states"].append({"topic": "other", "joints": ["gripper"]}),
        "'joint_states' lists joint 'gripper' in more than one entry",
    ),
    (drop("controllers"), "'controllers' is missing"),
    (put("controllers", []), "'controllers' must be a list with at least one entry"),
    (drop("controllers", 0, "name"), "controllers[0]: 'name' is missing"),
    (
        put("controllers", 0, "type", "pid"),
        "controllers[0]: 'type' must be one of digital_output, forward_command_controller",
    ),
    (
        put("controllers", 0, "topic", "a b"),
        "controllers[0]: 'topic' must be a topic name, not 'a b'",
    ),
    (
        put("controllers", 1, "joints", ["thumb"]),
        "controllers[1]: 'joints' names 'thumb', which is not under",
    ),
    (put("controllers", 0, "interpolation", "spline"), "controllers[0]: 'interpolation' must be"),
    (put("controllers", 0, "gains", {}), "controllers[0]: 'gains' is not a key"),
    (
        lambda c: c["controllers"][0]["joints"].remove("wrist_roll"),
        "'controllers' has no entry that drives 'wrist_roll' of group 'single_arm'",
    ),
    (
        put("controllers", 1, "joints", ["gripper", "wrist_roll"]),
        "'controllers' lists joint 'wrist_roll' in more than one entry",
    ),
    (
        put("controllers", 1, "topic", "arm_controller/joint_trajectory"),
        "'controllers' uses topic 'arm_controller/joint_trajectory' more than once",
    ),
    (
        put("controllers", 1, "name", "arm_controller"),
        "'controllers' uses name 'arm_controller' more than once",
    ),
]


@pytest.mark.parametrize(("change", "problem"), MISTAKES, ids=[problem for _, problem in MISTAKES])
def test_a_mistake_names_the_file_and_the_key(load_changed_version_1, tmp_path, change, problem):
    with pytest.raises(ContractError) as error:
        load_changed_version_1(change)
    message = str(error.value)
    assert message.startswith(f"{tmp_path}/robot.yaml: {problem}")
    assert "\n" not in message


def test_the_error_of_a_misspelt_key_lists_the_known_keys(load_changed_version_1):
    with pytest.raises(ContractError, match=r"known: .*gripper.*joint_states") as error:
        load_changed_version_1(lambda c: c.update(griper=c.pop("gripper")))
    assert "'griper' is not a key here" in str(error.value)


def test_it_says_the_same_as_the_shipped_contract_in_version_2(so101):
    old = load_contract(SO101_VERSION_1)
    assert replace(old, warnings=(), sources=()) == replace(so101, sources=(), model=None)
    assert [(s.topic, s.joints, s.rate) for s in old.sources] == [
        (s.topic, s.joints, s.rate) for s in so101.sources
    ]


def test_it_is_read_with_one_warning_that_names_the_remedy():
    (warning,) = load_contract(SO101_VERSION_1).warnings
    assert "version 1" in warning
    assert "groot-ros contract upgrade" in warning


@pytest.mark.parametrize("kind", ["joint_position", "gripper"])
def test_gripper_ends_of_any_group_keep_their_units(load_changed_version_1, kind):
    contract = load_changed_version_1(put("groups", "gripper", "kind", kind))
    joint = contract.joints["gripper"]
    assert joint.units.to_model([-0.17, 1.75]) == pytest.approx([0.0, 100.0])
    assert (joint.gripper is not None) == (kind == "gripper")


def test_a_group_of_two_controllers_keeps_its_column_order(load_changed_version_1):
    def change(contract):
        contract["groups"] = {"all": {"joints": ["gripper", *ARM]}}

    contract = load_changed_version_1(change)
    assert contract.action_groups["all"].joints == ("gripper", *ARM)
    assert [m.columns for m in contract.action_groups["all"].maps] == [(0,), (1, 2, 3, 4, 5)]
    assert contract.state_groups["all"] == ("gripper", *ARM)


def test_a_joint_that_no_group_has_stays_measured(load_changed_version_1):
    def change(contract):
        del contract["groups"]["gripper"]
        contract["joint_states"] = [
            {"topic": "a", "joints": list(ARM)},
            {"topic": "b", "joints": ["gripper"]},
        ]

    arm, hand = load_changed_version_1(change).sources
    assert (arm.joints, hand.joints) == (ARM, ("gripper",))


def test_a_contract_of_version_1_that_says_2_is_told_how_to_convert_it(tmp_path):
    path = tmp_path / "arm.yaml"
    path.write_text("version: 2\n" + SO101_VERSION_1.read_text(encoding="utf-8"))
    with pytest.raises(ContractError, match=r"'groups' is a key of version 1.*contract upgrade"):
        load_contract(path)
