# SPDX-License-Identifier: Apache-2.0
"""State and action are described separately: field reports of kind A, and neighbours."""

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.robot import ContractError
from groot_ros.robot.contract import parse_contract

BASE = """
version: 2
robot: r
action_dt: 0.05
joints:
  waist: {limits: {position: [-1, 1], velocity: 1, acceleration: 5}}
  elbow: {limits: {position: [-2, 2], velocity: 1, acceleration: 5}, unit_in: deg}
  left_finger: {type: prismatic, limits: {position: [0, 0.04], velocity: 0.1, acceleration: 1}}
  right_finger: {type: prismatic, limits: {position: [0, 0.04], velocity: 0.1, acceleration: 1}}
  gripper:
    type: prismatic
    limits: {position: [0, 0.08], velocity: 0.2, acceleration: 2}
    gripper: true
    unit_out: {closed: 0, open: 100}
inputs:
  sources: {all: {topic: joint_states}}
  state:
    arm: [{joint: waist}, {joint: elbow}]
    hand: [{joint: left_finger}, {joint: right_finger}]
outputs:
  arm: [{controller: arm, joints: [elbow]}]
  hand: [{controller: hand, joints: [gripper]}]
cameras: {front: {topic: front, rate: 30}}
controllers:
  - {name: arm, joints: [elbow]}
  - {name: hand, joints: [gripper]}
"""


def contract(**changes):
    return parse_contract({**yaml.safe_load(BASE), **changes})


def outputs(*hand, ignore=()):
    """A contract whose group 'hand' has these entries."""
    arm = [{"controller": "arm", "joints": ["elbow"]}]
    changes = {"ignore": list(ignore)} if ignore else {}
    return contract(outputs={"arm": arm, "hand": list(hand)}, **changes)


def test_joints_of_the_state_need_not_be_commanded():
    robot = contract()
    assert robot.state_groups["arm"] == ("waist", "elbow")
    assert robot.action_groups["arm"].joints == ("elbow",)
    assert robot.measured_joints == {"waist", "elbow", "left_finger", "right_finger"}


def test_two_measured_fingers_are_moved_by_one_command():
    robot = contract()
    assert robot.state_to_model("hand", [[0.01, 0.03]]).tolist() == [[0.01, 0.03]]
    assert robot.action_to_si("hand", [[50.0]]) == pytest.approx(np.array([[0.04]]))


def test_state_groups_and_action_groups_have_different_names():
    robot = contract(
        outputs={"body": [{"controller": "arm", "joints": ["elbow"]}]}, ignore=["hand.*"]
    )
    assert set(robot.state_groups) == {"arm", "hand"}
    assert set(robot.action_groups) == {"body", "hand"}
    assert robot.action_groups["hand"].width_problem(6) == ""


def test_one_state_group_is_moved_by_two_action_groups():
    everything = [{"joint": j} for j in ("waist", "elbow", "left_finger", "right_finger")]
    robot = contract(
        inputs={"sources": {"all": {"topic": "joint_states"}}, "state": {"all": everything}}
    )
    assert [robot.action_groups[g].joints for g in ("arm", "hand")] == [("elbow",), ("gripper",)]


def test_the_mean_of_several_columns_moves_one_joint():
    robot = outputs({"controller": "hand", "joints": ["gripper"], "map": {"type": "mean"}})
    assert robot.action_to_si("hand", [[20.0, 40.0, 60.0]])[0] == pytest.approx([0.032])
    assert robot.action_groups["hand"].width_problem(3) == ""


def test_one_column_moves_several_joints_each_in_its_direction():
    controllers = [
        {"name": "arm", "joints": ["elbow"]},
        {"name": "hand", "joints": ["left_finger", "right_finger"]},
    ]
    entries = [
        {"controller": "hand", "joints": ["left_finger"], "columns": [0]},
        {
            "controller": "hand",
            "joints": ["right_finger"],
            "columns": [0],
            "map": {"type": "affine", "scale": -1.0, "offset": 0.04},
        },
    ]
    robot = contract(
        controllers=controllers,
        outputs={"arm": [{"controller": "arm", "joints": ["elbow"]}], "hand": entries},
    )
    assert robot.action_to_si("hand", [[0.01]])[0] == pytest.approx([0.01, 0.03])
    assert robot.action_to_model("hand", [[0.01, 0.03]], 1)[0] == pytest.approx([0.01])


def test_a_single_column_is_passed_on_to_every_joint_of_its_entry():
    controllers = [
        {"name": "arm", "joints": ["elbow"]},
        {"name": "hand", "joints": ["left_finger", "right_finger"]},
    ]
    entry = {"controller": "hand", "joints": ["left_finger", "right_finger"], "columns": [2]}
    robot = contract(
        controllers=controllers,
        outputs={"arm": [{"controller": "arm", "joints": ["elbow"]}], "hand": [entry]},
        ignore=["hand.0", "hand.1"],
    )
    assert robot.action_to_si("hand", [[9.0, 9.0, 0.02]])[0] == pytest.approx([0.02, 0.02])


def test_a_column_that_nothing_takes_is_an_error_until_it_is_ignored():
    entry = {"controller": "hand", "joints": ["gripper"]}
    lost = outputs(entry).action_groups["hand"].width_problem(2)
    assert "no controller takes column 1" in lost
    assert "hand.1 under 'ignore'" in lost
    assert outputs(entry, ignore=["hand.1"]).action_groups["hand"].width_problem(2) == ""
    beyond = outputs(entry, ignore=["hand.5"]).action_groups["hand"].width_problem(2)
    assert beyond == "has 2 columns, so there is no column 5"


def test_ignored_columns_are_unknown_in_committed_motion():
    robot = outputs({"controller": "hand", "joints": ["gripper"]}, ignore=["hand.1"])
    columns = robot.action_to_model("hand", [[0.04], [0.08]], 2)
    assert columns[:, 0] == pytest.approx([50.0, 100.0])
    assert np.isnan(columns[:, 1]).all()


def test_the_units_of_state_and_action_may_differ():
    joints = yaml.safe_load(BASE)["joints"]
    joints["elbow"]["unit_out"] = {"scale": 2.0, "offset": 0.5}
    robot = contract(joints=joints)
    assert robot.state_to_model("arm", [[0.0, np.pi]])[0] == pytest.approx([0.0, 180.0])
    assert robot.action_to_si("arm", [[1.0]])[0] == pytest.approx([1.0])


def test_gripper_semantics_belong_to_the_joint_and_not_to_its_group():
    joints = yaml.safe_load(BASE)["joints"]
    hand = {f"finger_{i}": {**joints["left_finger"], "gripper": True} for i in range(6)}
    names = ["elbow", *hand]
    robot = contract(
        joints={**joints, **hand},
        inputs={
            "sources": {"all": {"topic": "joint_states"}},
            "state": {"arm": [{"joint": j} for j in names]},
        },
        outputs={"arm": [{"controller": "all", "joints": names}]},
        controllers=[{"name": "all", "joints": names}],
    )
    assert [robot.joints[j].gripper is not None for j in names] == [False] + [True] * 6


def test_a_suction_cup_needs_no_joint_state_but_an_arm_joint_does():
    joints = yaml.safe_load(BASE)["joints"]
    two = {"sources": {"a": {"topic": "a"}, "b": {"topic": "b"}}, "state": {}}
    with pytest.raises(ContractError, match="no entry that measures joint 'elbow'"):
        contract(inputs=two)
    two["sources"]["a"]["joints"] = ["elbow"]
    robot = contract(inputs=two)
    assert robot.measured_joints == {"elbow"}
    del joints["gripper"]["gripper"], joints["gripper"]["unit_out"]
    with pytest.raises(ContractError, match="no entry that measures joint 'gripper'"):
        contract(inputs=two, joints=joints)


@given(
    values=st.lists(st.floats(-100, 100), min_size=1, max_size=6),
    scale=st.floats(0.1, 10) | st.floats(-10, -0.1),
    offset=st.floats(-5, 5),
    kind=st.sampled_from(["copy", "affine", "mean"]),
    data=st.data(),
)
def test_columns_of_committed_motion_give_the_same_targets_again(values, scale, offset, kind, data):
    count = 1 if kind == "mean" else len(values)
    names = [f"j{i}" for i in range(count)]
    limits = {"position": [-6, 6], "velocity": 1, "acceleration": 5}
    order = data.draw(st.permutations(range(len(values))))
    entry = {
        "controller": "all",
        "joints": names,
        "columns": list(order),
        "map": {"type": kind} if kind == "copy" else dict(type=kind, scale=scale, offset=offset),
    }
    robot = contract(
        joints={name: {"limits": limits, "unit_out": "deg"} for name in names},
        inputs={"sources": {"all": {"topic": "joint_states"}}, "state": {}},
        outputs={"all": [entry]},
        controllers=[{"name": "all", "joints": names}],
    )
    targets = robot.action_to_si("all", [values])
    columns = robot.action_to_model("all", targets, len(values))
    assert robot.action_to_si("all", columns) == pytest.approx(targets, abs=1e-9)
    if kind != "mean":
        assert columns[0] == pytest.approx(values, abs=1e-9)
