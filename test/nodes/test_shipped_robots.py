# SPDX-License-Identifier: Apache-2.0
"""Every shipped robot is driven by a random checkpoint through all nodes, over real DDS."""

import numpy as np
import pytest
from support.policy_stage import wait_until
from support.robot_checkpoint import write_robot_checkpoint
from support.robot_world import FOLDER, World

from groot_ros.robot import load_contract

pytestmark = [pytest.mark.ros, pytest.mark.slow]


@pytest.fixture(scope="module", params=["arm7", "arm7_suction", "bimanual", "ur5e_robotiq"])
def robot(request):
    return request.param


@pytest.fixture
def world(ros_domain, robot, tmp_path):
    contract = load_contract(FOLDER / f"{robot}.yaml")
    world = World(robot, write_robot_checkpoint(contract, tmp_path / "checkpoint"))
    yield world
    world.end()


def test_a_random_checkpoint_moves_all_joints_within_their_limits(world, robot):
    contract = load_contract(FOLDER / f"{robot}.yaml")
    joints = world.sim.robot.joints
    limits = [contract.joints[joint].limits for joint in joints]
    seen = [world.sim.robot.reading(joints).positions]
    commanded = []
    world.start()
    control, clock = world.executor.control, world.executor.get_clock()

    def all_have_moved():
        seen.append(world.sim.robot.reading(joints).positions)
        now = control.committed(clock.now().nanoseconds)
        if now is not None:
            commanded.append(now)
        # 5 mm of a finger, 0.05 rad of a joint; a suction cup jumps from 0 to 1.
        needed = [0.005 if limit.upper < 0.1 else 0.05 for limit in limits]
        return bool((np.ptp(seen, axis=0) >= needed).all())

    wait_until(all_have_moved, f"all joints of {robot} move")
    state = control.state(clock.now().nanoseconds)
    assert not state.latched, state.reason
    assert state.accepted >= 1
    for name, values in zip(control.joint_names, np.transpose(commanded), strict=True):
        limit = contract.joints[name].limits
        assert limit.lower <= values.min(), name
        assert values.max() <= limit.upper, name
    for name, limit, values in zip(joints, limits, np.transpose(seen), strict=True):
        # Random motion may push a finger onto the table, and so past its stop.
        beyond = 0.05 if contract.joints[name].gripper else 0.002
        assert limit.lower - beyond <= values.min(), name
        assert values.max() <= limit.upper + beyond, name
