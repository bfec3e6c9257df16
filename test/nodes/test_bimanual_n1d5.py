# SPDX-License-Identifier: Apache-2.0
"""A GR00T N1.5 checkpoint with bimanual decoders drives the two arms through all nodes."""

import numpy as np
import pytest
from support.policy_stage import wait_until
from support.robot_world import FOLDER, World
from support.tiny_n1d5 import BIMANUAL, write_tiny_n1d5

from groot_ros.robot import load_contract

pytestmark = [pytest.mark.ros, pytest.mark.slow]
#: Half of the range of an arm's actions around the rest position, rad.
REACH = 0.25


@pytest.fixture
def world(ros_domain, tmp_path):
    world = World("bimanual", tmp_path / "checkpoint", **{"rtc.mode": "native"})
    yield world
    world.end()


def statistics(contract, home):
    """Return ranges around the rest position; grippers are half open, 0 to 1 is their range."""

    def around(joints):
        ends = [
            (0.4, 0.6) if contract.joints[j].gripper else (home[j] - REACH, home[j] + REACH)
            for j in joints
        ]
        low, high = np.transpose(ends)
        return {"min": low, "max": high}

    action = {name: around(group.joints) for name, group in contract.action_groups.items()}
    state = {name: around(joints) for name, joints in contract.state_groups.items()}
    return {"state": state, "action": action}


def test_both_arms_and_grippers_move_within_their_limits(world, tmp_path):
    contract = load_contract(FOLDER / "bimanual.yaml")
    joints = world.sim.robot.joints
    limits = [contract.joints[joint].limits for joint in joints]
    seen = [world.sim.robot.reading(joints).positions]
    home = dict(zip(joints, seen[0], strict=True))
    write_tiny_n1d5(
        tmp_path / "checkpoint",
        BIMANUAL,
        views=tuple(contract.cameras),
        statistics=statistics(contract, home),
    )
    world.start()

    def all_have_moved():
        seen.append(world.sim.robot.reading(joints).positions)
        # 5 mm of a finger, 0.05 rad of a joint.
        needed = [0.005 if limit.upper < 0.1 else 0.05 for limit in limits]
        return bool((np.ptp(seen, axis=0) >= needed).all())

    wait_until(all_have_moved, "all joints of both arms move")
    state = world.executor.control.state(world.executor.get_clock().now().nanoseconds)
    assert not state.latched, state.reason
    assert state.accepted >= 1
    for name, limit, values in zip(joints, limits, np.transpose(seen), strict=True):
        assert limit.lower - 0.002 <= values.min(), name
        assert values.max() <= limit.upper + 0.002, name
