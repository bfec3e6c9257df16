# SPDX-License-Identifier: Apache-2.0
"""Pick and place in physics: chunks of the path through the executor and the controllers."""

import numpy as np
import pytest

from groot_ros.control import Executor
from groot_ros.core import ActionChunk, ActionGroup, ActionKind, ToolPose, s_to_ns
from groot_ros.primitives import plan_pick_place
from groot_ros.sim.robot import SimulatedRobot
from groot_ros.sim.trajectory import TrajectoryMessage, TrajectoryPoint

START_NS = 1_000_000_000
#: Steps of a chunk, control cycles between two chunks and between two ticks of the executor.
STEPS, CHUNK_CYCLES, TICK_CYCLES = 16, 50, 3
THRESHOLD = 0.5


def one_cube(arm):
    """Reset the arm with the red cube at (0.5, -0.2), and the others out of the way."""
    arm.reset(cubes={"red": (0.5, -0.2, 0.0), "green": (0.1, 0.6, 0.0), "blue": (0.1, 0.7, 0)})


def chunk_of(path, contract, elapsed: float, now_ns: int, number: int) -> ActionChunk:
    rows = path.sample(elapsed, contract.action_dt, STEPS)
    groups = tuple(
        ActionGroup(
            ActionKind.JOINT_POSITION,
            name,
            group.joints,
            tuple(contract.joints[j].unit for j in group.joints),
            rows[:, [path.joints.index(j) for j in group.joints]],
        )
        for name, group in contract.action_groups.items()
    )
    return ActionChunk(now_ns, now_ns, contract.action_dt, groups, session="a", id=number)


def stream(path, contract, robot: SimulatedRobot, seconds: float) -> list[float]:
    """Stream the path as overlapping chunks; return the height of the red cube over time."""
    executor = Executor(contract)
    begin_ns = robot.now_ns
    executor.start(begin_ns - robot.period_ns)
    heights = []
    for cycle in range(round(seconds * 1e9) // robot.period_ns):
        now = robot.now_ns
        for source in contract.sources:
            reading = robot.reading(source.joints)
            executor.observe(now, source.joints, reading.positions, reading.velocities)
        if cycle % CHUNK_CYCLES == 0:
            chunk = chunk_of(path, contract, (now - begin_ns) / 1e9, now, cycle)
            assert executor.receive(chunk, now) is None
        if cycle % TICK_CYCLES == 0:
            update = executor.update(now)
            for sent in () if update is None else update.trajectories:
                rows = zip(sent.offsets_ns, sent.positions, sent.velocities, strict=True)
                points = [TrajectoryPoint(int(t), p, v) for t, p, v in rows]
                message = TrajectoryMessage(sent.stamp_ns, sent.joint_names, points)
                robot.accept_trajectory(sent.controller, message)
            for controller, position in executor.targets(now):
                robot.accept_flag(controller.name, bool(position[0] > THRESHOLD))
        robot.cycle()
        heights.append(float(robot.cubes["red"][2]))
    return heights


@pytest.mark.slow
def test_streamed_as_chunks_the_cup_lifts_a_cube_and_puts_it_down_turned_within_1_cm(contract, cup):
    robot = SimulatedRobot(contract, START_NS)
    robot.reset(one_cube)
    for _ in range(100):
        robot.cycle()
    start = dict(zip(robot.joints, robot.reading(robot.joints).positions, strict=True))
    turn = np.deg2rad(60.0)
    pick = ToolPose((0.5, -0.2, contract.table.pick_height))
    place = ToolPose(
        (0.4, 0.25, contract.table.place_height), (0.0, 0.0, np.sin(turn / 2), np.cos(turn / 2))
    )
    path = plan_pick_place(cup, start, pick, place)
    heights = stream(path, contract, robot, path.duration + 0.8)
    assert max(heights) == pytest.approx(contract.table.approach - 0.02, abs=0.01)
    where = robot.cubes["red"]
    assert np.linalg.norm(where[:2] - place.position[:2]) < 0.01
    assert where[2] == pytest.approx(0.02, abs=0.002)
    matrix = robot.arm.data.body("red_cube").xmat.reshape(3, 3)
    assert np.arctan2(matrix[1, 0], matrix[0, 0]) == pytest.approx(turn, abs=np.deg2rad(3.0))
    # The cup is off and over the cube again.
    assert robot.arm.grasp_point[2] == pytest.approx(contract.table.approach, abs=0.005)
    assert s_to_ns(path.duration) < robot.now_ns - START_NS
