# SPDX-License-Identifier: Apache-2.0
"""Episodes that the expert records through topics become the data set collected directly."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import rclpy
import yaml

from groot_ros.bags.episode import Outcome, read_episode
from groot_ros.bags.recording import RobotBag
from groot_ros.bridge.isolated_domain import IsolatedDomain
from groot_ros.core.node_config import ExpertConfig
from groot_ros.datasets.features import STAMP
from groot_ros.datasets.from_bags import ConversionSettings, convert_bag
from groot_ros.datasets.rows import RowSettings, runs_of_rows
from groot_ros.nodes import expert_node
from groot_ros.nodes.expert_node import TopicRobot, record_episode
from groot_ros.nodes.lockstep import SteppedNodes
from groot_ros.rollout.collect import LABEL, CollectSettings, simulate_episode, write_episode
from groot_ros.sim.table import ROBOT
from groot_ros.sim.tasks import load_table_task

SIZE, SEED = (64, 48), 2
TASKS = ("reach", "push", "pick_place")


def parameters(output: Path) -> dict:
    width, height = SIZE
    return {
        "sim_robot_node": {
            "robot": ROBOT,
            "publish_clock": True,
            "image_width": width,
            "image_height": height,
        },
        "recorder_node": {
            "robot": ROBOT,
            "use_sim_time": True,
            "episodes": True,
            "output": str(output),
        },
    }


@pytest.fixture(scope="module")
def robot(tmp_path_factory) -> Iterator[TopicRobot]:
    folder = tmp_path_factory.mktemp("expert")
    file = folder / "parameters.yaml"
    own = {f"/**/{n}": {"ros__parameters": p} for n, p in parameters(folder / "bags").items()}
    file.write_text(yaml.safe_dump(own))
    with pytest.MonkeyPatch.context() as patch, IsolatedDomain(os.getpid()) as domain:
        patch.setenv("ROS_DOMAIN_ID", str(domain.number))
        rclpy.init(args=["--ros-args", "--params-file", str(file)])
        try:
            with TopicRobot(ROBOT) as robot:
                yield robot
        finally:
            rclpy.try_shutdown()


def bags_of(robot: TopicRobot) -> list[Path]:
    output = Path(robot.recorder.get_parameter("output").value)
    return sorted(output.iterdir()) if output.is_dir() else []


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_states_actions_images_instruction_and_success_are_those_of_the_direct_data_set(
    robot, tmp_path, task
):
    bag, failures = record_episode(robot, ExpertConfig(task=task, seed=SEED), 0)
    settings = CollectSettings(task, seed=SEED, size=SIZE)
    direct = simulate_episode(load_table_task(task), 0, failures, settings)
    info = read_episode(bag)
    assert (info.outcome, info.instruction) == (Outcome.SUCCESS, direct.instruction)

    (tmp_path / "direct").mkdir()
    expected = write_episode("direct", ROBOT, direct, tmp_path / "direct")
    converted = convert_bag(bag, ConversionSettings(), tmp_path)
    assert converted.notes == ()
    (episode,) = converted.episodes
    assert (episode.length, robot.rows) == (len(direct.states), len(direct.states))
    assert (episode.tasks, episode.entry["outcome"]) == (expected.tasks, "success")
    columns = pq.read_table(episode.rows).to_pydict()
    for name, values in pq.read_table(expected.rows).to_pydict().items():
        if name == STAMP:
            # Simulated time goes on from one episode to the next.
            columns[name], values = np.diff(columns[name]), np.diff(values)
        if not name.startswith(LABEL):
            np.testing.assert_array_equal(columns[name], values, err_msg=name)

    recorded = RobotBag(bag).read()
    (rows,), _ = runs_of_rows(recorded, RowSettings(fps=10))
    wanted = {view: indices.tolist() for view, indices in rows.images.items()}
    compared = 0
    for view, index, image in recorded.frames(wanted):
        np.testing.assert_array_equal(image, direct.images[view][wanted[view].index(index)])
        compared += 1
    assert compared == 2 * len(direct.states)


@pytest.mark.ros
@pytest.mark.slow
def test_scenes_in_which_the_expert_fails_leave_no_bag(robot, monkeypatch):
    before = bags_of(robot)
    task = load_table_task("reach")
    monkeypatch.setattr(task, "seconds", 0.2)
    assert record_episode(robot, ExpertConfig(task="reach", seed=SEED), 0) == (
        None,
        expert_node.ATTEMPTS,
    )
    assert bags_of(robot) == before


@pytest.mark.ros
@pytest.mark.slow
def test_controllers_that_do_not_execute_the_commands_are_an_error_and_leave_no_bag(
    robot, monkeypatch
):
    before = bags_of(robot)
    monkeypatch.setattr(robot.sim_node.robot, "encoder_error", 0.02)
    with pytest.raises(RuntimeError, match="the controllers have not executed the commands"):
        record_episode(robot, ExpertConfig(task="reach", seed=SEED), 0)
    assert bags_of(robot) == before


def test_waiting_for_what_never_comes_ends_with_its_name():
    nodes = SteppedNodes((), timeout=0.05)
    with pytest.raises(RuntimeError, match=r"not received within 0\.05 s: /front, /wrist"):
        nodes.wait_for(lambda: ["/front", "/wrist"], "topics are not received")
