from dataclasses import replace

from support.control_bench import ARM, GRIPPER, JOINTS, contract

from groot_ros.control.actuated_joints import ActuatedJoints


def test_joints_are_in_the_contracts_order_with_limits_methods_and_grippers():
    joints = ActuatedJoints.of(contract(velocity=2.0, interpolation="quintic"))
    assert joints.names == JOINTS
    assert joints.limits.velocity.tolist() == [2.0] * 4
    assert joints.methods == ("quintic", "quintic", "quintic", "cubic")
    assert joints.blended.tolist() == [True, True, True, False]


def test_a_controller_finds_its_own_joints_in_its_own_order():
    robot = contract()
    assert robot.controllers[0].joints == tuple(reversed(ARM))
    assert ActuatedJoints.of(robot).columns(robot.controllers[0]) == [2, 1, 0]


def test_joints_that_no_controller_drives_are_left_out():
    robot = contract()
    joints = ActuatedJoints.of(replace(robot, controllers=robot.controllers[1:]))
    assert joints.names == (GRIPPER,)
