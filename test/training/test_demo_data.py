# SPDX-License-Identifier: Apache-2.0
"""Demonstrations: repeatable, labelled by the expert, with the statistics of a checkpoint."""

from pathlib import Path

import numpy as np
import pytest

from groot_ros.robot import load_contract
from groot_ros.sim import SimulatedArm
from groot_ros.sim.expert import Goal
from groot_ros.sim.tasks.touch import INSTRUCTIONS, TouchExpert
from groot_ros.training.demo_checkpoint import statistics, to_groups
from groot_ros.training.demo_data import DT, HORIZON, DemoData, generate

CONTRACT = load_contract(Path(__file__).parents[2] / "config/robots/so101.yaml")
COUNT = 20


@pytest.fixture(scope="module")
def data():
    return generate(COUNT, seed=4, camera_size=(64, 48))


def test_every_state_has_two_images_and_a_plan_for_each_instruction(data):
    assert len(data) == COUNT
    assert data.images.shape == (COUNT, 2, 48, 64, 3)
    assert data.images.dtype == np.uint8
    assert data.states.shape == (COUNT, 6)
    assert data.actions.shape == (COUNT, len(INSTRUCTIONS), HORIZON, 6)
    assert data.goals.shape == (COUNT, len(INSTRUCTIONS), 6)


def test_the_plans_are_those_of_the_expert_and_lead_to_the_goals(data):
    expert = TouchExpert(SimulatedArm().model)
    home = INSTRUCTIONS.index("go home")
    for state, goals, plans in zip(data.states, data.goals, data.actions, strict=True):
        path = expert.path(state, Goal(goals[home], goals[home]), HORIZON, DT)
        np.testing.assert_allclose(plans[home], path, atol=1e-12)
        before = np.abs(state - goals).max(axis=-1)
        after = np.abs(plans[:, -1] - goals).max(axis=-1)
        assert (after < before + 0.5).all()


def test_the_data_depends_on_the_seed(data):
    again = generate(3, seed=4, camera_size=(64, 48))
    other = generate(3, seed=5, camera_size=(64, 48))
    assert (again.states == data.states[:3]).all()
    assert (again.images == data.images[:3]).all()
    assert not (other.states == data.states[:3]).any()


def test_images_are_stored_transformed(data):
    halved = generate(2, seed=4, camera_size=(64, 48), transform=lambda image: image[::2, ::2])
    assert (halved.images == data.images[:2, :, ::2, ::2]).all()


def test_saved_data_loads_unchanged(data, tmp_path):
    data.save(tmp_path / "demo.npz")
    loaded = DemoData.load(tmp_path / "demo.npz")
    for name in ("images", "states", "actions", "goals"):
        assert (getattr(loaded, name) == getattr(data, name)).all()
    assert loaded.instructions == INSTRUCTIONS


def test_groups_are_in_the_units_of_the_checkpoint(data):
    groups = to_groups(CONTRACT, np.array([0.1, 0.2, 0.3, 0.4, 0.5, 1.75]))
    np.testing.assert_allclose(groups["single_arm"], np.degrees([0.1, 0.2, 0.3, 0.4, 0.5]))
    np.testing.assert_allclose(groups["gripper"], [100.0])


def test_statistics_have_the_layout_of_a_checkpoint_and_cover_the_data(data):
    entry = statistics(CONTRACT, data)
    assert set(entry) == {"state", "action", "relative_action"}
    assert set(entry["relative_action"]) == {"single_arm"}
    for modality, group, shape in (
        ("state", "single_arm", (5,)),
        ("action", "gripper", (1,)),
        ("relative_action", "single_arm", (HORIZON, 5)),
    ):
        stats = entry[modality][group]
        assert set(stats) == {"min", "max", "mean", "std", "q01", "q99"}
        assert all(values.shape == shape for values in stats.values())
        for low, high in (("min", "q01"), ("q01", "mean"), ("mean", "q99"), ("q99", "max")):
            assert (stats[low] <= stats[high]).all()
    lead = np.degrees(data.actions[:, :, 0, :5] - data.states[:, None, :5])
    np.testing.assert_allclose(
        entry["relative_action"]["single_arm"]["max"][0], lead.max((0, 1)), atol=1e-9
    )
