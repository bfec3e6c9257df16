# SPDX-License-Identifier: Apache-2.0
"""Committed motion of joints that turn without end, as a policy sees it."""

import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_policy import STATE, group_values, load, observation

from groot_ros.control.rtc import schedule
from groot_ros.core import Prefix, RtcMode
from groot_ros.policy import Policy
from groot_ros.policy.robot_columns import RobotColumns
from groot_ros.robot import RobotContract
from groot_ros.robot.contract import parse_contract

CONTRACT = Path(__file__).resolve().parents[2] / "config" / "robots" / "so101.yaml"
TURN = {"type": "continuous", "limits": {"velocity": 3.0, "acceleration": 15.0}, "unit_in": "deg"}
#: Column of wrist_roll, whose target is relative to the state.
ROLL = 4
STEPS = 8


def endless(*joints: str) -> RobotContract:
    raw = yaml.safe_load(CONTRACT.read_text())
    raw["joints"].update(dict.fromkeys(joints, TURN))
    del raw["model"]
    return parse_contract(raw)


@pytest.fixture(scope="module")
def rolling(checkpoint: Path) -> Policy:
    return load(checkpoint, robot=endless("wrist_roll"))


def state_at(policy: Policy, roll: float) -> dict:
    assert policy.robot is not None
    si = {group: policy.robot.state_to_si(group, v) for group, v in STATE.items()}
    si["single_arm"][0, ROLL] = roll
    return si


@pytest.mark.parametrize("turns", [-3, 0, 1, 40])
@pytest.mark.parametrize(
    ("state", "begin"), [(3.1, 3.12), (3.13, -3.12), (-3.1, 3.1), (0.2, 0.25), (9.3, 9.4)]
)
@pytest.mark.parametrize("mode", [RtcMode.NATIVE, RtcMode.GUIDED])
def test_a_prefix_is_reproduced_in_the_turn_of_the_state(rolling, state, begin, turns, mode):
    """Whichever turn the executor has counted to, and the driver of the joint reports."""
    si = state_at(rolling, state)
    committed = np.tile(si["single_arm"], (STEPS, 1))
    committed[:, ROLL] = begin + np.linspace(0.0, 0.2, STEPS) + turns * math.tau
    frozen = schedule(mode, STEPS, STEPS, STEPS)
    prefix = Prefix({"single_arm": committed}, **vars(frozen), mode=mode, frozen_steps=STEPS)
    roll = group_values(rolling.infer(observation(si), prefix, seed=1), "single_arm")[:, ROLL]
    assert abs(roll[0] - state) < 0.2
    whole_turns = (roll - committed[:, ROLL]) / math.tau
    np.testing.assert_allclose(whole_turns, round(whole_turns[0]), atol=1e-6)


@given(st.floats(-math.pi, math.pi), st.floats(-0.5, 0.5), st.integers(-50, 50))
def test_committed_motion_begins_within_half_a_turn_of_the_state(rolling, state, ahead, turns):
    columns = RobotColumns(rolling.spec, rolling.robot)
    si = state_at(rolling, state)
    committed = np.zeros((STEPS, 5))
    committed[:, ROLL] = state + ahead + turns * math.tau + np.linspace(0.0, 3.0, STEPS)
    (values,) = columns.prefix_to_model({"single_arm": committed}, si).values()
    roll = np.deg2rad(values[:, ROLL])
    assert roll[0] - state == pytest.approx(ahead, abs=1e-6)
    np.testing.assert_allclose(np.diff(roll), 3.0 / (STEPS - 1), atol=1e-6)


@pytest.mark.parametrize(
    ("state", "begin", "known"),
    [
        (0.5, 0.6, True),
        (0.5, 0.6 + 3 * math.tau, True),
        (3.0, 3.05, False),
        (-3.1, 3.1, False),
        (2.0, 2.3, False),  # it ends near the seam
        (-1.5, -1.4 - math.tau, True),
        (9.4, 9.5, True),  # this driver counts turns, so its data set has no seam
    ],
)
def test_absolute_targets_near_the_seam_of_a_driver_are_not_continued(
    checkpoint, state, begin, known
):
    """The gripper of this checkpoint has absolute targets."""
    policy = load(checkpoint, robot=endless("gripper"))
    si = {**state_at(policy, 0.0), "gripper": np.full((1, 1), state)}
    committed = begin + np.linspace(0.0, 0.2, STEPS)[:, None]
    columns = RobotColumns(policy.spec, policy.robot)
    values = columns.prefix_to_model({"gripper": committed}, si)["gripper"]
    assert np.isfinite(values).all() == known
    assert np.isnan(values).all() != known
    if known:
        assert math.radians(values[0, 0]) == pytest.approx(state + 0.1, abs=1e-9)
    frozen = schedule(RtcMode.NATIVE, STEPS, STEPS, STEPS)
    prefix = Prefix({"gripper": committed}, **vars(frozen), frozen_steps=STEPS)
    chunk = policy.infer(observation(si), prefix, seed=1)
    assert np.isfinite(group_values(chunk, "gripper")).all()


def test_a_joint_that_the_state_lacks_is_taken_nearest_to_zero(checkpoint):
    policy = load(checkpoint, robot=endless("wrist_roll"))
    columns = RobotColumns(policy.spec, policy.robot)
    committed = np.zeros((STEPS, 5))
    committed[:, ROLL] = 0.3 + 5 * math.tau
    values = columns.prefix_to_model({"single_arm": committed}, {})["single_arm"]
    np.testing.assert_allclose(np.deg2rad(values[:, ROLL]), 0.3, atol=1e-9)


def test_joints_with_limits_are_never_turned(checkpoint, robot):
    policy = load(checkpoint, robot=robot)
    columns = RobotColumns(policy.spec, policy.robot)
    committed = np.full((STEPS, 5), 2.7)
    values = columns.prefix_to_model({"single_arm": committed}, state_at(policy, -2.7))
    np.testing.assert_allclose(np.deg2rad(values["single_arm"]), 2.7, atol=1e-9)
